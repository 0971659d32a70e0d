#include "coordinator/frontend/validate.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <string.h>

#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/frontend/field_error.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

using absl::StatusCode;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr int kVocabSize = 1000;
constexpr int kModelLen = 64;
constexpr char kPrompt[] = "tokenized { input_ids: [1, 2, 3] } ";

Limits TestLimits() {
  Limits limits;
  limits.served_model_name = "tiny";
  limits.vocab_size = kVocabSize;
  limits.max_model_len = kModelLen;
  limits.max_logprobs = 20;
  limits.max_num_seqs = 64;
  return limits;
}

// One token per byte: lengths are easy to see.
absl::StatusOr<std::vector<int32_t>> EncodeBytes(const std::string& text, bool) {
  return std::vector<int32_t>(text.begin(), text.end());
}

v1::GenerateRequest Parse(const std::string& text) {
  v1::GenerateRequest message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

absl::StatusOr<request::Request> Check(const std::string& text) {
  return Validate(Parse(text), TestLimits(), EncodeBytes);
}

std::string Sampling(const std::string& fields) { return absl::StrCat(kPrompt, "sampling_params { ", fields, " }"); }

std::string Repeat(const std::string& item, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += item;
  return all;
}

std::string BiasEntries(int count) {
  std::string all;
  for (int i = 0; i < count; ++i) absl::StrAppend(&all, "logit_bias { key: ", i % kVocabSize, " value: 1 } ");
  return all;
}

// One value of one field. Accepted iff `message` is empty, else refused with exactly this code and message, about
// `param` (else the field).
struct Row {
  std::string field;
  std::string request;
  StatusCode code = StatusCode::kOk;
  std::string message;
  std::string param;
};

Row Good(const std::string& field, const std::string& request) { return {field, request, StatusCode::kOk, "", ""}; }
Row Bad(const std::string& field, const std::string& request, const std::string& what, const std::string& param = "") {
  const std::string& about = param.empty() ? field : param;
  return {field, request, StatusCode::kInvalidArgument, absl::StrCat(about, " ", what), about};
}
Row GoodSampling(const std::string& name, const std::string& fields) {
  return Good(absl::StrCat("sampling_params.", name), Sampling(fields));
}
Row BadSampling(const std::string& name, const std::string& fields, const std::string& what) {
  return Bad(absl::StrCat("sampling_params.", name), Sampling(fields), what);
}

void AddEnvelopeRows(std::vector<Row>* rows) {
  const std::string p = kPrompt;
  const std::string id128(128, 'a');
  for (Row& row : std::vector<Row>{
           Good("request_id", p + "request_id: 'a'"),
           Good("request_id", p + "request_id: 'AZaz09._:-'"),
           Good("request_id", absl::StrCat(p, "request_id: '", id128, "'")),
           Bad("request_id", p + "request_id: ''", "must have 1 to 128 bytes, got 0."),
           Bad("request_id", absl::StrCat(p, "request_id: '", id128, "a'"), "must have 1 to 128 bytes, got 129."),
           Bad("request_id", p + "request_id: 'a b'", "may hold only [A-Za-z0-9._:-], got 'a b'."),
           Bad("request_id", p + "request_id: 'a\\n'", "may hold only [A-Za-z0-9._:-], got 'a\\n'."),
           Good("tokenized.original_text", "tokenized { original_text: 'abc' input_ids: 1 }"),
           Good("tokenized.input_ids", "tokenized { input_ids: [0, 999] }"),
           Good("tokenized.input_ids", absl::StrCat("tokenized { ", Repeat("input_ids: 1 ", 63), "}")),
           Bad("tokenized.input_ids", "tokenized { }", "must hold at least 1 token id, got 0."),
           Bad("tokenized.input_ids", "tokenized { input_ids: [1, 1000] }",
               "must be below the vocabulary size 1000, got 1000 at position 1."),
           Bad("tokenized.input_ids", "tokenized { input_ids: 4294967295 }",
               "must be below the vocabulary size 1000, got 4294967295 at position 0."),
           Bad("tokenized.input_ids", absl::StrCat("tokenized { ", Repeat("input_ids: 1 ", 64), "}"),
               "leaves no room for output: the prompt has 64 tokens, prompt + 1 must be at most max_model_len = 64."),
           Good("text", "text: 'a'"),
           Good("text", absl::StrCat("text: '", std::string(63, 'a'), "'")),
           Bad("text", "text: ''", "must not be empty."),
           Bad("text", absl::StrCat("text: '", std::string(64, 'a'), "'"),
               "leaves no room for output: the prompt has 64 tokens, prompt + 1 must be at most max_model_len = 64."),
           Bad("text", "", "is required: set text, chat or tokenized.", "input"),
           Good("stream", p + "stream: true"),
           Good("stream", p + "stream: false"),
           Good("model", p + "model: 'tiny'"),
           Row{"model", p + "model: 'huge'", StatusCode::kNotFound,
               "model must be 'tiny', the only model served here, got 'huge'.", "model"},
           Row{"model", p + "model: ''", StatusCode::kNotFound,
               "model must be 'tiny', the only model served here, got ''.", "model"},
           Good("priority", p + "priority: 0"),
           Bad("priority", p + "priority: 1", "must be 0 unless --scheduling_policy=priority, got 1."),
           Bad("priority", p + "priority: -1", "must be 0 unless --scheduling_policy=priority, got -1."),
           Good("shared_prefix_tokens", "text: 'abcd' shared_prefix_tokens: 0"),
           Good("shared_prefix_tokens", "text: 'abcd' shared_prefix_tokens: 4"),
           Bad("shared_prefix_tokens", "text: 'abcd' shared_prefix_tokens: 5",
               "must be at most the prompt's length of 4 tokens, got 5."),
           Good("echo", p + "echo: false"),
           Good("echo", p + "echo: true"),
       }) {
    rows->push_back(std::move(row));
  }
}

void AddFloatRows(std::vector<Row>* rows) {
  const auto add = [rows](const std::string& name, const std::vector<std::string>& good,
                          const std::vector<std::string>& bad, const std::string& rule) {
    for (const std::string& v : good) rows->push_back(GoodSampling(name, absl::StrCat(name, ": ", v)));
    for (const std::string& v : bad) {
      rows->push_back(BadSampling(name, absl::StrCat(name, ": ", v), absl::StrCat(rule, ", got ", v, ".")));
    }
  };
  const std::vector<std::string> wild = {"nan", "inf", "-inf"};
  const auto with_wild = [&wild](std::vector<std::string> bad) {
    bad.insert(bad.end(), wild.begin(), wild.end());
    return bad;
  };
  add("temperature", {"0", "0.7", "2"}, with_wild({"-0.1", "2.00000024", "1e+30"}), "must be in [0, 2]");
  add("top_p", {"1e-30", "0.5", "1"}, with_wild({"0", "-0.5", "1.5", "1.00000012"}), "must be in (0, 1]");
  add("min_p", {"0", "1"}, with_wild({"-0.01", "1.00000012"}), "must be in [0, 1]");
  add("frequency_penalty", {"-2", "0", "2"}, with_wild({"-2.1", "2.1"}), "must be in [-2, 2]");
  add("presence_penalty", {"-2", "0", "2"}, with_wild({"-2.1", "2.1"}), "must be in [-2, 2]");
  add("repetition_penalty", {"1e-10", "1", "1000"}, with_wild({"0", "-1"}), "must be finite and greater than 0");
}

void AddCountRows(std::vector<Row>* rows) {
  for (Row& row : std::vector<Row>{
           GoodSampling("top_k", "top_k: 0"),
           GoodSampling("top_k", "top_k: 4294967295"),
           GoodSampling("max_tokens", "max_tokens: 1"),
           GoodSampling("max_tokens", "max_tokens: 61"),
           BadSampling("max_tokens", "max_tokens: 0", "must be at least 1, got 0."),
           BadSampling("max_tokens", "max_tokens: 62",
                       "must be at most 61, got 62: a prompt of 3 tokens + max_tokens 62 exceeds max_model_len = 64."),
           // -1 of a client that ignores the sign looks like this on the wire.
           BadSampling("max_tokens", "max_tokens: 4294967295",
                       "must be at most 61, got 4294967295: a prompt of 3 tokens + max_tokens 4294967295 exceeds "
                       "max_model_len = 64."),
           GoodSampling("min_tokens", "min_tokens: 0"),
           GoodSampling("min_tokens", "min_tokens: 5 max_tokens: 5"),
           GoodSampling("min_tokens", "min_tokens: 61"),
           BadSampling("min_tokens", "min_tokens: 6 max_tokens: 5", "must be at most max_tokens = 5, got 6."),
           BadSampling("min_tokens", "min_tokens: 62", "must be at most max_tokens = 61, got 62."),
           GoodSampling("n", "n: 1"),
           GoodSampling("n", "n: 64"),
           GoodSampling("n", "n: 1 temperature: 0"),
           BadSampling("n", "n: 0", "must be in [1, 128], got 0."),
           BadSampling("n", "n: 129", "must be in [1, 128], got 129."),
           BadSampling("n", "n: 65", "must be at most max_num_seqs = 64, got 65."),
           BadSampling("n", "n: 2 temperature: 0",
                       "must be 1 with temperature 0 (all choices would be the same), got 2."),
           GoodSampling("logprobs", "logprobs: 0"),
           GoodSampling("logprobs", "logprobs: 20"),
           BadSampling("logprobs", "logprobs: 21", "must be in [0, 20], got 21."),
           BadSampling("logprobs", "logprobs: -1", "must be in [0, 20], got -1."),
           GoodSampling("prompt_logprobs", "prompt_logprobs: 20"),
           BadSampling("prompt_logprobs", "prompt_logprobs: 21", "must be in [0, 20], got 21."),
           GoodSampling("truncate_prompt_tokens", "truncate_prompt_tokens: 1"),
           GoodSampling("truncate_prompt_tokens", "truncate_prompt_tokens: -1"),
           BadSampling("truncate_prompt_tokens", "truncate_prompt_tokens: 0",
                       "must be at least 1, or -1 for as many as leave room for max_tokens, got 0."),
           GoodSampling("detokenize", "detokenize: false"),
           GoodSampling("spaces_between_special_tokens", "spaces_between_special_tokens: true"),
           GoodSampling("spaces_between_special_tokens", "spaces_between_special_tokens: false"),
           GoodSampling("seed", "seed: -9223372036854775808"),
           GoodSampling("seed", "seed: 9223372036854775807"),
           GoodSampling("skip_special_tokens", "skip_special_tokens: false"),
           GoodSampling("ignore_eos", "ignore_eos: true"),
           GoodSampling("include_stop_str_in_output", "include_stop_str_in_output: true"),
       }) {
    rows->push_back(std::move(row));
  }
}

void AddListRows(std::vector<Row>* rows) {
  const std::string s1024(1024, 's');
  for (Row& row : std::vector<Row>{
           GoodSampling("bad_words", Repeat("bad_words: 'x' ", 64)),
           BadSampling("bad_words", Repeat("bad_words: 'x' ", 65), "may hold at most 64 words, got 65."),
           BadSampling("bad_words", "bad_words: ' '",
                       "must hold words of 1 to 256 bytes that are not blank, got one of 1 bytes."),
           GoodSampling("allowed_token_ids", "allowed_token_ids: [0, 999, 0]"),
           BadSampling("allowed_token_ids", "allowed_token_ids: 1000",
                       "must be below the vocabulary size 1000, got 1000."),
           GoodSampling("stop", "stop: 'x'"),
           BadSampling("stop", "stop: 'x' detokenize: false",
                       "must be empty with detokenize false: it is found in the text."),
           GoodSampling("stop", Repeat("stop: 'x' ", 16)),
           GoodSampling("stop", absl::StrCat("stop: '", s1024, "'")),
           BadSampling("stop", Repeat("stop: 'x' ", 17), "may hold at most 16 strings, got 17."),
           BadSampling("stop", "stop: ''", "must hold strings of 1 to 1024 bytes, got one of 0."),
           BadSampling("stop", absl::StrCat("stop: '", s1024, "s'"),
                       "must hold strings of 1 to 1024 bytes, got one of 1025."),
           GoodSampling("stop_token_ids", "stop_token_ids: [0, 999]"),
           GoodSampling("stop_token_ids", Repeat("stop_token_ids: 1 ", 64)),
           BadSampling("stop_token_ids", Repeat("stop_token_ids: 1 ", 65), "may hold at most 64 ids, got 65."),
           BadSampling("stop_token_ids", "stop_token_ids: 1000", "must be below the vocabulary size 1000, got 1000."),
           GoodSampling("logit_bias", "logit_bias { key: 0 value: -100 } logit_bias { key: 999 value: 100 }"),
           GoodSampling("logit_bias", BiasEntries(1000)),
           BadSampling("logit_bias", "logit_bias { key: -1 value: 1 }", "must have token ids in [0, 1000), got -1."),
           BadSampling("logit_bias", "logit_bias { key: 1000 value: 1 }",
                       "must have token ids in [0, 1000), got 1000."),
           BadSampling("logit_bias", "logit_bias { key: 5 value: 100.5 }",
                       "must be in [-100, 100], got 100.5 for token 5."),
           BadSampling("logit_bias", "logit_bias { key: 5 value: nan }",
                       "must be in [-100, 100], got nan for token 5."),
           BadSampling("logit_bias", "logit_bias { key: 5 value: -inf }",
                       "must be in [-100, 100], got -inf for token 5."),
       }) {
    rows->push_back(std::move(row));
  }
}

void AddConstraintRows(std::vector<Row>* rows) {
  for (const char* field : {"json_schema", "regex", "grammar", "structural_tag"}) {
    rows->push_back(GoodSampling(field, absl::StrCat(field, ": '{}'")));
    rows->push_back(BadSampling(field, absl::StrCat(field, ": ''"), "must have 1 to 65536 bytes, got 0."));
    rows->push_back(GoodSampling(field, absl::StrCat(field, ": '", std::string(65536, 'a'), "'")));
    rows->push_back(BadSampling(field, absl::StrCat(field, ": '", std::string(65537, 'a'), "'"),
                                "must have 1 to 65536 bytes, got 65537."));
  }
  rows->push_back(GoodSampling("json_object", "json_object: true"));
  rows->push_back(GoodSampling("json_object", "json_object: false ignore_eos: true"));
  rows->push_back(GoodSampling("choice.choices", "choice { choices: 'a' choices: '\"b\"' }"));
  rows->push_back(BadSampling("choice.choices", "choice { }", "must have 1 to 1024 choices, got 0."));
  rows->push_back(BadSampling("choice.choices", "choice { choices: 'a' choices: '' }",
                              "must hold strings of 1 to 1024 bytes, got one of 0."));
  rows->push_back(BadSampling("choice.choices", absl::StrCat("choice { choices: '", std::string(1025, 'a'), "' }"),
                              "must hold strings of 1 to 1024 bytes, got one of 1025."));
  for (const char* other :
       {"use_beam_search: true", "min_tokens: 1", "ignore_eos: true", "bad_words: 'a'", "allowed_token_ids: 5"}) {
    const std::string field(other, strchr(other, ':'));
    rows->push_back(BadSampling(field, absl::StrCat("regex: 'a' ", other),
                                "cannot go with a constraint on the output; leave it unset."));
  }
}

void AddBestOfRows(std::vector<Row>* rows) {
  rows->push_back(GoodSampling("best_of", "best_of: 64 n: 2"));
  rows->push_back(BadSampling("best_of", "best_of: 1 n: 2", "must be in [n, 128] with n = 2, got 1."));
  rows->push_back(BadSampling("best_of", "best_of: 0", "must be in [n, 128] with n = 1, got 0."));
  rows->push_back(BadSampling("best_of", "best_of: 129", "must be in [n, 128] with n = 1, got 129."));
  rows->push_back(BadSampling("best_of", "best_of: 65", "must be at most max_num_seqs = 64, got 65."));
  rows->push_back(BadSampling("best_of", "best_of: 2 temperature: 0",
                              "must be 1 with temperature 0 (all samples would be the same), got 2."));
  Row streamed = BadSampling("best_of", "best_of: 3 n: 2",
                             "cannot be streamed when it is greater than n: which samples are best is known at the "
                             "end, got 3 with n = 2.");
  streamed.request += " stream: true";
  rows->push_back(std::move(streamed));
  rows->push_back(GoodSampling("best_of", "best_of: 1"));
  rows->push_back(GoodSampling("best_of", "best_of: 2 n: 2"));
}

// More in validate_beams_test.cc.
void AddBeamRows(std::vector<Row>* rows) {
  rows->push_back(GoodSampling("use_beam_search", "use_beam_search: true beam_width: 2"));
  for (const char* field : {"beam_width: 2", "length_penalty: 1", "early_stopping: 'never'"}) {
    rows->push_back(BadSampling(std::string(field, std::string(field).find(':')), field,
                                "is for beam search only; set use_beam_search or leave it unset."));
  }
}

std::vector<Row> Table() {
  std::vector<Row> rows;
  AddEnvelopeRows(&rows);
  AddFloatRows(&rows);
  AddCountRows(&rows);
  AddListRows(&rows);
  AddBeamRows(&rows);
  AddConstraintRows(&rows);
  AddBestOfRows(&rows);
  return rows;
}

// Paths of all fields that hold a value; those of a chat have their own test (validate_chat_test.cc).
void Leaves(const Descriptor& type, const std::string& prefix, std::vector<std::string>* out) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string path = absl::StrCat(prefix, field.name());
    if (field.type() == FieldDescriptor::TYPE_MESSAGE && !field.is_map()) {
      if (path != "chat") Leaves(*field.message_type(), absl::StrCat(path, "."), out);
    } else {
      out->push_back(path);
    }
  }
}

TEST(ValidateTest, EveryRowOfTheTable) {
  for (const Row& row : Table()) {
    SCOPED_TRACE(absl::StrCat(row.field, " <- ", row.request.substr(0, 120)));
    const absl::StatusOr<request::Request> request = Check(row.request);
    EXPECT_EQ(request.status().code(), row.code) << request.status();
    EXPECT_EQ(request.status().message(), row.message);
    EXPECT_EQ(ErrorField(request.status()), row.param);
  }
}

TEST(ValidateTest, EveryFieldOfTheProtocolHasARow) {
  std::vector<std::string> leaves;
  Leaves(*v1::GenerateRequest::descriptor(), "", &leaves);
  std::set<std::string> rows;
  for (const Row& row : Table()) rows.insert(row.field);
  for (const std::string& leaf : leaves) EXPECT_EQ(rows.count(leaf), 1u) << "no row for " << leaf;
  EXPECT_EQ(rows.size(), leaves.size()) << "a row is about a field that does not exist";
}

TEST(ValidateTest, EveryFloatRefusesWhatIsNotANumber) {
  const Descriptor& type = *v1::SamplingParams::descriptor();
  int num_floats = 0;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_FLOAT) continue;
    ++num_floats;
    for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}) {
      v1::GenerateRequest message = Parse(kPrompt);
      v1::SamplingParams* params = message.mutable_sampling_params();
      params->GetReflection()->SetFloat(params, &field, value);
      const absl::StatusOr<request::Request> request = Validate(message, TestLimits(), EncodeBytes);
      EXPECT_FALSE(request.ok()) << field.name() << " = " << value;
      EXPECT_EQ(ErrorField(request.status()), absl::StrCat("sampling_params.", field.name()));
    }
  }
  EXPECT_GE(num_floats, 6);
}

TEST(ValidateTest, TooManyBiasesAreCountedAfterTheMapMergedThem) {
  Limits limits = TestLimits();
  limits.vocab_size = 5000;
  v1::GenerateRequest message = Parse(kPrompt);
  for (int id = 0; id < 1024; ++id) (*message.mutable_sampling_params()->mutable_logit_bias())[id] = 1;
  ASSERT_TRUE(Validate(message, limits, EncodeBytes).ok());
  (*message.mutable_sampling_params()->mutable_logit_bias())[1024] = 1;
  EXPECT_EQ(Validate(message, limits, EncodeBytes).status().message(),
            "sampling_params.logit_bias may hold at most 1024 entries, got 1025.");
}

TEST(ValidateTest, InvalidUtf8IsRefusedByName) {
  v1::GenerateRequest message;
  message.set_text("ab\xff");
  absl::Status status = Validate(message, TestLimits(), EncodeBytes).status();
  EXPECT_EQ(status.message(), "text must be valid UTF-8, got a bad byte at 2.");
  EXPECT_EQ(ErrorField(status), "text");
  message = Parse(kPrompt);
  message.mutable_sampling_params()->add_stop("\xc0\x80");
  status = Validate(message, TestLimits(), EncodeBytes).status();
  EXPECT_EQ(status.message(), "sampling_params.stop must be valid UTF-8, got a bad byte at 0.");
}

TEST(ValidateTest, ValuesArriveInTheRequest) {
  const absl::StatusOr<request::Request> request = Check(absl::StrCat(
      "request_id: 'r1' ",
      Sampling("temperature: 0.5 top_p: 0.25 top_k: 7 min_p: 0.125 frequency_penalty: -1 presence_penalty: 1.5 "
               "repetition_penalty: 1.25 max_tokens: 9 min_tokens: 4 stop: ['a', 'bc'] stop_token_ids: [5, 6] "
               "ignore_eos: true include_stop_str_in_output: true n: 3 logprobs: 2 seed: -5 "
               "logit_bias { key: 9 value: 1 } logit_bias { key: 2 value: -3 }")));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->request_id, "r1");
  EXPECT_EQ(request->prompt_ids, (std::vector<int32_t>{1, 2, 3}));
  const request::SamplingParams& p = request->params;
  EXPECT_EQ(p.temperature, 0.5f);
  EXPECT_EQ(p.top_p, 0.25f);
  EXPECT_EQ(p.top_k, 7u);
  EXPECT_EQ(p.min_p, 0.125f);
  EXPECT_EQ(p.frequency_penalty, -1.0f);
  EXPECT_EQ(p.presence_penalty, 1.5f);
  EXPECT_EQ(p.repetition_penalty, 1.25f);
  EXPECT_EQ(p.max_tokens, 9u);
  EXPECT_EQ(p.min_tokens, 4u);
  EXPECT_EQ(p.stop, (std::vector<std::string>{"a", "bc"}));
  EXPECT_EQ(p.stop_token_ids, (std::vector<int32_t>{5, 6}));
  EXPECT_TRUE(p.ignore_eos);
  EXPECT_TRUE(p.include_stop_str_in_output);
  EXPECT_EQ(p.n, 3u);
  EXPECT_EQ(p.logprobs, 2);
  EXPECT_EQ(static_cast<int64_t>(p.seed), -5);
  EXPECT_EQ(p.logit_bias, (std::vector<std::pair<int32_t, float>>{{2, -3.0f}, {9, 1.0f}}));
}

TEST(ValidateTest, DefaultsWithoutAModelsOwn) {
  const absl::StatusOr<request::Request> request = Check("text: 'hello'");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->prompt_ids.size(), 5u);
  EXPECT_EQ(request->params.temperature, 1.0f);
  EXPECT_EQ(request->params.top_p, 1.0f);
  EXPECT_EQ(request->params.top_k, 0u);
  EXPECT_EQ(request->params.n, 1u);
  EXPECT_EQ(request->params.logprobs, -1);
  EXPECT_EQ(request->params.max_tokens, 59u);
  EXPECT_FALSE(request->params.ignore_eos);
  EXPECT_EQ(request->deadline, absl::InfiniteFuture());
}

TEST(ValidateTest, TopKOfTheWholeVocabularyIsNoTopK) {
  EXPECT_EQ(Check(Sampling("top_k: 999"))->params.top_k, 999u);
  EXPECT_EQ(Check(Sampling("top_k: 1000"))->params.top_k, 0u);
}

TEST(ValidateTest, AbsentSeedsAndIdsAreDrawnAndDiffer) {
  std::set<uint64_t> seeds;
  std::set<std::string> ids;
  for (int i = 0; i < 32; ++i) {
    const absl::StatusOr<request::Request> request = Check(kPrompt);
    ASSERT_TRUE(request.ok());
    EXPECT_GE(static_cast<int64_t>(request->params.seed), 0);
    EXPECT_EQ(request->request_id.size(), 36u);
    EXPECT_EQ(request->request_id[14], '4') << request->request_id;
    EXPECT_TRUE(Check(absl::StrCat(kPrompt, "request_id: '", request->request_id, "'")).ok());
    seeds.insert(request->params.seed);
    ids.insert(request->request_id);
  }
  EXPECT_EQ(seeds.size(), 32u);
  EXPECT_EQ(ids.size(), 32u);
}

TEST(ValidateTest, PrioritiesPassUnderTheirPolicy) {
  Limits limits = TestLimits();
  limits.priorities = true;
  const absl::StatusOr<request::Request> request =
      Validate(Parse(std::string(kPrompt) + "priority: -7"), limits, EncodeBytes);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->priority, -7);
}

TEST(ValidateTest, WithoutATokenizerTextIsRefusedAndIdsAreTaken) {
  const absl::Status status = Validate(Parse("text: 'a'"), TestLimits(), nullptr).status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorField(status), "text");
  EXPECT_TRUE(Validate(Parse(kPrompt), TestLimits(), nullptr).ok());
}

TEST(ValidateTest, TokenizersErrorsNameTheField) {
  const auto failing = [](const std::string&, bool) -> absl::StatusOr<std::vector<int32_t>> {
    return absl::InternalError("no merges");
  };
  const absl::Status status = Validate(Parse("text: 'a'"), TestLimits(), failing).status();
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_EQ(ErrorField(status), "text");
  const auto outside = [](const std::string&, bool) -> absl::StatusOr<std::vector<int32_t>> {
    return std::vector<int32_t>{kVocabSize};
  };
  EXPECT_EQ(Validate(Parse("text: 'a'"), TestLimits(), outside).status().code(), StatusCode::kFailedPrecondition);
}

TEST(ValidateTest, ClientBytesInMessagesAreShortAndPrintable) {
  v1::GenerateRequest message = Parse(kPrompt);
  message.set_model(std::string(100000, '\n'));
  const absl::Status status = Validate(message, TestLimits(), EncodeBytes).status();
  EXPECT_LT(status.message().size(), 300u);
  EXPECT_FALSE(absl::StrContains(status.message(), "\n"));
}

}  // namespace
}  // namespace quire::frontend
