// How plans and replies map to worker.proto: see the header for what it promises.
#include "coordinator/cluster/step_codec.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "proto/plan_digest.h"
#include "proto/worker.pb.h"

namespace quire::cluster {
namespace {

using Uint32List = google::protobuf::RepeatedField<uint32_t>;
using BlockPairs = std::vector<std::pair<int32_t, int32_t>>;

void Assign(const std::vector<uint32_t>& from, Uint32List* to) { to->Add(from.begin(), from.end()); }

void Assign(const std::vector<int32_t>& from, Uint32List* to) {
  to->Reserve(static_cast<int>(from.size()));
  for (const int32_t value : from) to->AddAlreadyReserved(static_cast<uint32_t>(value));
}

void Assign(const BlockPairs& from, Uint32List* to) {
  to->Reserve(static_cast<int>(2 * from.size()));
  for (const auto& [source, destination] : from) {
    to->AddAlreadyReserved(static_cast<uint32_t>(source));
    to->AddAlreadyReserved(static_cast<uint32_t>(destination));
  }
}

void EncodeSampling(const RankSampling& from, worker::v1::NewSequence* to) {
  to->set_seed(from.seed);
  to->set_choice(from.choice);
  to->set_temperature(from.temperature);
  to->set_top_p(from.top_p);
  to->set_top_k(from.top_k);
  to->set_min_p(from.min_p);
  to->set_repetition_penalty(from.repetition_penalty);
  to->set_frequency_penalty(from.frequency_penalty);
  to->set_presence_penalty(from.presence_penalty);
  to->set_min_tokens(from.min_tokens);
  Assign(from.banned_until_min, to->mutable_banned_until_min());
  to->set_num_logprobs(from.num_logprobs);
  to->set_given_tokens(from.given_tokens);
  if (from.prompt_rows.has_value()) {
    to->mutable_prompt_rows()->set_first(from.prompt_rows->first);
    to->mutable_prompt_rows()->set_num_top(from.prompt_rows->num_top);
  }
  for (const std::vector<int32_t>& word : from.bad_words) Assign(word, to->add_bad_words()->mutable_ids());
  Assign(from.allowed_token_ids, to->mutable_allowed_token_ids());
  if (from.logit_bias.empty()) return;
  for (const auto& [id, value] : from.logit_bias) {
    to->mutable_logit_bias()->add_ids(static_cast<uint32_t>(id));
    to->mutable_logit_bias()->add_values(value);
  }
}

void EncodeSequence(const NewSequence& from, worker::v1::NewSequence* to) {
  to->set_seq(from.seq);
  Assign(from.token_ids, to->mutable_token_ids());
  to->set_prompt_len(from.prompt_len);
  to->set_num_computed(from.num_computed);
  Assign(from.block_ids, to->mutable_block_ids());
  EncodeSampling(from.sampling, to);
}

void EncodeTables(const StepPlan& plan, worker::v1::Step* to) {
  for (const BranchItem& branch : plan.branches) {
    to->add_branches(branch.parent);
    to->add_branches(branch.child);
  }
  for (const GivenToken& given : plan.given) {
    to->add_given(given.seq);
    to->add_given(static_cast<uint32_t>(given.token));
  }
  for (const ForkItem& fork : plan.forks) {
    to->add_forks(fork.parent);
    to->add_forks(fork.child);
    to->add_forks(fork.choice);
  }
  for (const BlockAppend& append : plan.block_appends) {
    to->add_block_appends(append.seq);
    to->add_block_appends(static_cast<uint32_t>(append.block));
  }
  for (const BlockReplace& replace : plan.block_replaces) {
    to->add_block_replaces(replace.seq);
    to->add_block_replaces(replace.index);
    to->add_block_replaces(static_cast<uint32_t>(replace.block));
  }
  Assign(plan.swap_outs, to->mutable_swap_outs());
  Assign(plan.block_copies, to->mutable_block_copies());
  Assign(plan.swap_ins, to->mutable_swap_ins());
}

// A list takes about 3 bytes an id, the bits one byte for 8 ids.
void EncodeMask(const MaskItem& from, worker::v1::TokenMask* to) {
  constexpr size_t kListBytesPerId = 3;
  to->set_seq(from.seq);
  const std::vector<uint32_t>& words = *from.mask;
  size_t count = 0;
  for (const uint32_t word : words) count += static_cast<size_t>(__builtin_popcount(word));
  if (kListBytesPerId * count >= sizeof(uint32_t) * words.size() || count == 0) {
    to->mutable_words()->Add(words.begin(), words.end());
    return;
  }
  for (size_t i = 0; i < words.size(); ++i) {
    for (uint32_t bits = words[i]; bits != 0; bits &= bits - 1) {
      to->add_allowed_ids(static_cast<uint32_t>(32 * i) + static_cast<uint32_t>(__builtin_ctz(bits)));
    }
  }
}

// As many alternatives for each position as there are for all; a reply that does not divide is judged by its rows.
std::vector<TokenLogprobs> DecodePromptLogprobs(const worker::v1::PromptLogprobs& from) {
  std::vector<TokenLogprobs> rows(from.sampled_size());
  if (rows.empty()) return rows;
  const int num_top = std::min(from.top_ids_size(), from.top_values_size()) / from.sampled_size();
  for (int i = 0; i < from.sampled_size(); ++i) {
    rows[i].sampled = from.sampled(i);
    rows[i].top.reserve(num_top);
    for (int k = i * num_top; k < (i + 1) * num_top; ++k) {
      rows[i].top.emplace_back(static_cast<int32_t>(from.top_ids(k)), from.top_values(k));
    }
  }
  return rows;
}

}  // namespace

StepEncoder::StepEncoder() : message_(std::make_unique<worker::v1::CoordinatorMessage>()) {}
StepEncoder::~StepEncoder() = default;

EncodedStep StepEncoder::Encode(const StepPlan& plan) {
  // Clearing the inner message (not the oneof, which would free it) keeps the arrays' room.
  worker::v1::Step* step = message_->mutable_step();
  step->Clear();
  step->set_epoch(plan.epoch);
  step->set_step(plan.step);
  step->set_deadline_ms(plan.deadline_ms);
  for (const NewSequence& sequence : plan.new_sequences) EncodeSequence(sequence, step->add_new_sequences());
  Assign(plan.host_frees, step->mutable_host_frees());
  Assign(plan.finished, step->mutable_finished());
  EncodeTables(plan, step);
  Assign(plan.decode, step->mutable_decode());
  for (const PrefillItem& item : plan.prefill) {
    step->add_prefill(item.seq);
    step->add_prefill(item.num_tokens);
    step->add_prefill(item.sample ? 1 : 0);
  }
  ExpectedStep expected;
  for (const DraftItem& draft : plan.drafts) {
    step->add_drafts(draft.item);
    step->add_drafts(draft.count);
    expected.drafts.push_back(draft.count);
  }
  Assign(plan.draft_ids, step->mutable_draft_ids());
  for (const MaskItem& mask : plan.masks) EncodeMask(mask, step->add_masks());
  const uint64_t digest = proto::PlanDigest(*step);
  step->set_plan_digest(digest);
  auto bytes = std::make_shared<std::string>();
  CHECK(message_->SerializeToString(bytes.get())) << "step " << plan.step << " cannot be serialized";
  expected.epoch = plan.epoch;
  expected.step = plan.step;
  expected.digest = digest;
  expected.num_tokens = static_cast<size_t>(plan.num_samples());
  return {std::move(expected), std::move(bytes)};
}

RankReply DecodeDone(const worker::v1::Done& done) {
  RankReply reply;
  reply.epoch = done.epoch();
  reply.step = done.step();
  reply.digest = done.plan_digest();
  reply.rank = done.rank();
  reply.tokens.assign(done.tokens().begin(), done.tokens().end());
  reply.accepted.assign(done.accepted().begin(), done.accepted().end());
  reply.logprobs.reserve(done.logprobs_size());
  for (const worker::v1::Logprobs& from : done.logprobs()) {
    TokenLogprobs& to = reply.logprobs.emplace_back();
    to.sampled = from.sampled();
    const int count = std::min(from.top_ids_size(), from.top_values_size());
    to.top.reserve(count);
    for (int i = 0; i < count; ++i) to.top.emplace_back(static_cast<int32_t>(from.top_ids(i)), from.top_values(i));
  }
  for (const worker::v1::PromptLogprobs& from : done.prompt_logprobs()) {
    reply.prompt_logprobs.push_back(DecodePromptLogprobs(from));
  }
  reply.usage.device_blocks_total = done.device_blocks_total();
  reply.usage.device_blocks_used = done.device_blocks_used();
  reply.usage.device_blocks_cached = done.device_blocks_cached();
  reply.usage.host_blocks_total = done.host_blocks_total();
  reply.usage.host_blocks_used = done.host_blocks_used();
  reply.usage.exec_us = done.exec_us();
  reply.usage.collective_us = done.collective_us();
  reply.usage.wait_us = done.wait_us();
  reply.usage.swap_us = done.swap_us();
  return reply;
}

}  // namespace quire::cluster
