// The digest covers every field of Step and NewSequence (D1), found through the descriptors.
#include "proto/plan_digest.h"

#include <gtest/gtest.h>

#include <set>

#include "proto/worker.pb.h"

namespace quire::proto {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using worker::v1::Step;

Step SampleStep() {
  Step step;
  step.set_epoch(3);
  step.set_step(9);
  auto* s = step.add_new_sequences();
  s->set_seq(2);
  for (uint32_t t : {5, 6, 7}) s->add_token_ids(t);
  s->mutable_logit_bias()->add_ids(4);
  s->mutable_logit_bias()->add_values(1.5f);
  for (uint32_t i = 0; i < 9; ++i) step.add_decode(i);
  return step;
}

// Gives the field a value that it did not have: one more element, or another scalar.
void Change(Message* message, const FieldDescriptor* field) {
  const Reflection* r = message->GetReflection();
  const bool repeated = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32:
      repeated ? r->AddUInt32(message, field, 0) : r->SetUInt32(message, field, r->GetUInt32(*message, field) + 1);
      return;
    case FieldDescriptor::CPPTYPE_INT32:
      r->SetInt32(message, field, r->GetInt32(*message, field) - 1);
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      r->SetUInt64(message, field, r->GetUInt64(*message, field) + 1);
      return;
    case FieldDescriptor::CPPTYPE_BOOL:
      r->SetBool(message, field, !r->GetBool(*message, field));
      return;
    case FieldDescriptor::CPPTYPE_FLOAT:
      repeated ? r->AddFloat(message, field, 0.0f) : r->SetFloat(message, field, r->GetFloat(*message, field) + 0.5f);
      return;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      if (repeated) {
        r->AddMessage(message, field);
      } else {
        Message* sub = r->MutableMessage(message, field);
        Change(sub, sub->GetDescriptor()->field(0));
      }
      return;
    default:
      FAIL() << "a field of a kind that the test does not know: " << field->full_name();
  }
}

TEST(PlanDigestTest, EveryFieldCounts) {
  const uint64_t base = PlanDigest(SampleStep());
  std::set<uint64_t> digests = {base};
  size_t changes = 1;
  for (int i = 0; i < Step::descriptor()->field_count(); ++i) {
    const FieldDescriptor* field = Step::descriptor()->field(i);
    Step step = SampleStep();
    Change(&step, field);
    if (field->name() == "plan_digest") {
      EXPECT_EQ(PlanDigest(step), base);
      continue;
    }
    EXPECT_TRUE(digests.insert(PlanDigest(step)).second) << field->full_name();
    ++changes;
  }
  const auto* sequence = worker::v1::NewSequence::descriptor();
  for (int i = 0; i < sequence->field_count(); ++i) {
    Step step = SampleStep();
    Change(step.mutable_new_sequences(0), sequence->field(i));
    EXPECT_TRUE(digests.insert(PlanDigest(step)).second) << sequence->field(i)->full_name();
    ++changes;
  }
  EXPECT_EQ(digests.size(), changes);
}

TEST(PlanDigestTest, OrderAndBordersCount) {
  Step a, b;
  for (uint32_t v : {1, 2}) a.add_decode(v);
  for (uint32_t v : {2, 1}) b.add_decode(v);
  EXPECT_NE(PlanDigest(a), PlanDigest(b));
  Step c, d;  // the same numbers, but the border between two neighbouring lists differs
  c.add_decode(7);
  c.add_prefill(8);
  d.add_decode(7);
  d.add_decode(8);
  EXPECT_NE(PlanDigest(c), PlanDigest(d));
}

TEST(PlanDigestTest, MasksCountByContent) {
  std::set<uint64_t> digests;
  Step step;
  worker::v1::TokenMask* mask = step.add_masks();
  digests.insert(PlanDigest(step));
  mask->add_allowed_ids(7);
  digests.insert(PlanDigest(step));
  mask->clear_allowed_ids();
  mask->add_words(7);
  digests.insert(PlanDigest(step));
  mask->set_words(0, 8);
  digests.insert(PlanDigest(step));
  EXPECT_EQ(digests.size(), 4u);
}

TEST(PlanDigestTest, SurvivesTheWire) {
  Step step = SampleStep();
  step.set_plan_digest(PlanDigest(step));
  Step copy;
  ASSERT_TRUE(copy.ParseFromString(step.SerializeAsString()));
  EXPECT_EQ(PlanDigest(copy), copy.plan_digest());
}

TEST(PlanDigestTest, OneValueOnEveryMachine) {
  // Frozen: both ends of a mixed upgrade must agree. A change of this number is a change of kProtocolVersion.
  EXPECT_EQ(PlanDigest(SampleStep()), 7088049835071354775u);
}

}  // namespace
}  // namespace quire::proto
