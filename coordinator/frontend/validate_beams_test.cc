// Which fields go with a beam search, which do not, and what is said then.
#include "coordinator/frontend/validate_beams.h"

#include <glog/logging.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/frontend/validate.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

absl::StatusOr<request::Request> Check(const std::string& sampling) {
  v1::GenerateRequest message;
  CHECK(google::protobuf::TextFormat::ParseFromString(
      absl::StrCat("tokenized { input_ids: [1, 2, 3] } sampling_params { ", sampling, " }"), &message))
      << sampling;
  Limits limits;
  limits.vocab_size = 1000;
  limits.max_model_len = 64;
  limits.max_num_seqs = 100;
  limits.defaults.temperature = 0.6f;  // of the model, for sampling
  limits.defaults.top_p = 0.9f;
  return Validate(message, limits, nullptr);
}

void Good(const std::string& name, const std::string& sampling) {
  EXPECT_TRUE(Check(sampling).ok()) << name << " <- " << sampling << ": " << Check(sampling).status();
}

void Bad(const std::string& name, const std::string& sampling, const std::string& what) {
  const absl::Status status = Check(sampling).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << sampling;
  EXPECT_EQ(status.message(), absl::StrCat("sampling_params.", name, " ", what)) << sampling;
  EXPECT_EQ(ErrorField(status), absl::StrCat("sampling_params.", name));
}

TEST(ValidateBeamsTest, EachFieldAndItsLimits) {
  Good("beam_width", "use_beam_search: true beam_width: 64");
  Good("beam_width", "use_beam_search: true n: 3");
  Good("n", "use_beam_search: true beam_width: 4 n: 4 temperature: 0");
  Bad("beam_width", "use_beam_search: true beam_width: 0", "must be in [1, 64], got 0.");
  Bad("beam_width", "use_beam_search: true beam_width: 65", "must be in [1, 64], got 65.");
  Bad("n", "use_beam_search: true beam_width: 2 n: 3", "must be at most beam_width = 2, got 3.");
  Good("length_penalty", "use_beam_search: true length_penalty: -10");
  Bad("length_penalty", "use_beam_search: true length_penalty: 10.5", "must be in [-10, 10], got 10.5.");
  Bad("length_penalty", "use_beam_search: true length_penalty: nan", "must be in [-10, 10], got nan.");
  for (const char* value : {"true", "false", "never"}) {
    Good("early_stopping", absl::StrCat("use_beam_search: true early_stopping: '", value, "'"));
  }
  Bad("early_stopping", "use_beam_search: true early_stopping: 'True'", "must be 'true', 'false' or 'never'.");
  constexpr char kNoMeaning[] = "has no meaning in a beam search; leave it unset.";
  for (const char* field : {"temperature: 0.7", "top_p: 0.5", "top_k: 3", "min_p: 0.5", "seed: 1"}) {
    const std::string name(field, std::string(field).find(':'));
    Bad(name, absl::StrCat("use_beam_search: true ", field), kNoMeaning);
  }
  constexpr char kNotTogether[] = "cannot go with use_beam_search; leave it unset.";
  for (const char* field : {"frequency_penalty: 1", "presence_penalty: 1", "repetition_penalty: 2"}) {
    const std::string name(field, std::string(field).find(':'));
    Bad(name, absl::StrCat("use_beam_search: true ", field), kNotTogether);
  }
  Bad("best_of", "use_beam_search: true n: 2 best_of: 3", kNotTogether);
  Bad("logit_bias", "use_beam_search: true logit_bias { key: 5 value: 1 }", kNotTogether);
}

TEST(ValidateBeamsTest, ValuesArriveAndSamplingDefaultsAreSetAside) {
  const absl::StatusOr<request::Request> request =
      Check("use_beam_search: true beam_width: 5 n: 2 length_penalty: 0.5 early_stopping: 'never'");
  ASSERT_TRUE(request.ok()) << request.status();
  const request::SamplingParams& p = request->params;
  EXPECT_EQ(p.beam_width, 5u);
  EXPECT_EQ(p.n, 2u);
  EXPECT_EQ(p.length_penalty, 0.5f);
  EXPECT_EQ(p.early_stopping, request::EarlyStopping::kNever);
  EXPECT_EQ(p.temperature, 0);
  EXPECT_EQ(p.top_p, 1);
  EXPECT_EQ(Check("use_beam_search: true n: 3")->params.beam_width, 3u);
  EXPECT_EQ(Check("n: 3")->params.beam_width, 0u);
}

}  // namespace
}  // namespace quire::frontend
