#include "worker/model/hf_config.h"

#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/model/families.h"

namespace quire::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kGood[] = R"("architectures":["LlamaForCausalLM"],"vocab_size":101,"hidden_size":64,
    "intermediate_size":80,"num_hidden_layers":2,"num_attention_heads":8,"max_position_embeddings":512)";

// A good config with more keys behind it; a key that it has already makes it bad, so `without` takes one away first.
std::string With(const std::string& more, const std::string& without = "") {
  std::string good = kGood;
  if (!without.empty()) {
    const size_t at = good.find("\"" + without + "\"");
    CHECK(at != std::string::npos) << without;
    good.replace(at + 1, without.size(), "gone_" + without);
  }
  return absl::StrCat("{", good, more.empty() ? "" : ",", more, "}");
}

absl::StatusOr<ModelSpec> SpecOf(const std::string& config_json) {
  auto config = ParseHfConfig("config.json", config_json, "");
  if (!config.ok()) return config.status();
  auto family = FindFamily(*config);
  if (!family.ok()) return family.status();
  return MakeModelSpec(**family, *config);
}

TEST(HfConfigTest, ReadsBothSpellingsOfRope) {
  const char* v5 = R"("rope_parameters":{"rope_type":"llama3","rope_theta":500000.0,"factor":8,"low_freq_factor":1,
      "high_freq_factor":4,"original_max_position_embeddings":16})";
  const char* v4 = R"("rope_theta":500000.0,"rope_scaling":{"type":"llama3","factor":8.0,"low_freq_factor":1.0,
      "high_freq_factor":4.0,"original_max_position_embeddings":16})";
  for (const char* rope : {v5, v4}) {
    auto spec = SpecOf(With(rope));
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(spec->rope.scaling, RopeScaling::kLlama3);
    EXPECT_EQ(spec->rope.theta, 500000.0);
    EXPECT_EQ(spec->rope.factor, 8.0);
    EXPECT_EQ(spec->rope.high_freq_factor, 4.0);
    EXPECT_EQ(spec->rope.original_max_position, 16);
    EXPECT_EQ(spec->rope.dims, 8);
  }
}

// InternLM's first version names the scaling beside the base; DynamicNTK's default factor is 1.
TEST(HfConfigTest, RotaryOfInternLmIsDynamicScaling) {
  const struct {
    const char* rotary;
    double theta;
  } cases[] = {
      {R"({"base":1000,"type":"dynamic"})", 1000 * std::pow(2.0, 8 / 6.0)},
      {R"({"base":1000,"type":"dynamic","scaling_factor":3.0})", 1000 * std::pow(4.0, 8 / 6.0)},
      {R"({"base":1000,"type":"origin","scaling_factor":3.0})", 1000},
  };
  for (const auto& c : cases) {
    std::string json = With(absl::StrCat("\"rotary\":", c.rotary), "architectures");
    json.insert(1, R"("architectures":["InternLMForCausalLM"],)");
    auto config = ParseHfConfig("config.json", json, "");
    ASSERT_TRUE(config.ok()) << config.status();
    const FamilyRow* family = *FindFamily(*config);
    const auto within = MakeModelSpec(*family, *config, 512), beyond = MakeModelSpec(*family, *config, 1024);
    ASSERT_TRUE(within.ok() && beyond.ok()) << within.status() << beyond.status();
    EXPECT_EQ(within->rope.theta, 1000);
    EXPECT_EQ(beyond->max_position, c.theta == 1000 ? 512 : 1024);
    EXPECT_DOUBLE_EQ(beyond->rope.theta, c.theta) << c.rotary;
  }
}

TEST(HfConfigTest, AbsentKeysTakeTheFamilysDefaults) {
  auto llama = SpecOf(With(R"("rope_scaling":null,"head_dim":null)"));
  ASSERT_TRUE(llama.ok()) << llama.status();
  EXPECT_EQ(llama->num_kv_heads, 8);
  EXPECT_EQ(llama->head_dim, 8);
  EXPECT_FALSE(llama->tied_head);
  EXPECT_EQ(llama->rope.theta, 10000.0);
  EXPECT_EQ(llama->rope.scaling, RopeScaling::kNone);
  EXPECT_FLOAT_EQ(llama->norm_eps, 1e-6f);
  EXPECT_EQ(llama->activation, kernels::ActivationKind::kSilu);

  auto gpt2 = SpecOf(R"({"model_type":"gpt2","vocab_size":103,"n_positions":320,"n_embd":32,"n_layer":3,"n_head":4,
      "n_inner":null,"scale_attn_by_inverse_layer_idx":true})");
  ASSERT_TRUE(gpt2.ok()) << gpt2.status();
  EXPECT_TRUE(gpt2->tied_head);
  EXPECT_EQ(gpt2->ffn_size, 128);
  EXPECT_EQ(gpt2->max_position, 320);
  EXPECT_FLOAT_EQ(gpt2->attention_scale, 1 / std::sqrt(8.0f));
  EXPECT_TRUE(gpt2->attention_scale_by_inverse_layer);
  EXPECT_EQ(gpt2->activation, kernels::ActivationKind::kGeluTanh);
}

TEST(HfConfigTest, EndOfSequenceIdsOfBothFilesAreMerged) {
  auto one = ParseHfConfig("c", With(R"("eos_token_id":2,"bos_token_id":1)"), R"({"eos_token_id":[7,2,9]})");
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_THAT(one->eos_token_ids, ElementsAre(2, 7, 9));
  EXPECT_EQ(one->bos_token_id, 1);
  EXPECT_EQ(one->generation_config_json, R"({"eos_token_id":[7,2,9]})");
  auto none = ParseHfConfig("c", With(R"("eos_token_id":null)"), "");
  ASSERT_TRUE(none.ok());
  EXPECT_THAT(none->eos_token_ids, ElementsAre());
  EXPECT_EQ(none->bos_token_id, -1);
}

TEST(HfConfigTest, BadConfigsGetOneMessageThatNamesKeyAndValue) {
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  struct {
    std::string config;
    absl::StatusCode code;
    std::vector<std::string> message;
  } const cases[] = {
      {"", absl::StatusCode::kInvalidArgument, {"not valid JSON"}},
      {"[1]", absl::StatusCode::kInvalidArgument, {"not a JSON object"}},
      {With("\"x\":" + deep), absl::StatusCode::kInvalidArgument, {"nested deeper than 16"}},
      {With(R"("vocab_size":7)"), absl::StatusCode::kInvalidArgument, {"'vocab_size' occurs twice"}},
      {With(R"("vocab_size":"7")", "vocab_size"),
       absl::StatusCode::kInvalidArgument,
       {"'vocab_size'", "\"7\\\"", "an integer"}},
      {With(R"("vocab_size":7.5)", "vocab_size"), absl::StatusCode::kInvalidArgument, {"'vocab_size' is 7.5"}},
      {With(R"("hidden_size":0)", "hidden_size"),
       absl::StatusCode::kInvalidArgument,
       {"'hidden_size' is 0", "[1, 131072]"}},
      {With(R"("hidden_size":-64)", "hidden_size"), absl::StatusCode::kInvalidArgument, {"'hidden_size' is -64"}},
      {With(R"("hidden_size":9999999999)", "hidden_size"), absl::StatusCode::kInvalidArgument, {"9999999999"}},
      {With(R"("hidden_size":18446744073709551615)", "hidden_size"),
       absl::StatusCode::kInvalidArgument,
       {"'hidden_size' is 18446744073709551615"}},
      {With("", "hidden_size"), absl::StatusCode::kInvalidArgument, {"'hidden_size' is missing"}},
      {With("", "vocab_size"), absl::StatusCode::kInvalidArgument, {"'vocab_size' is missing"}},
      {With("", "num_hidden_layers"), absl::StatusCode::kInvalidArgument, {"'num_hidden_layers' is missing"}},
      {With("", "num_attention_heads"), absl::StatusCode::kInvalidArgument, {"'num_attention_heads' is missing"}},
      {With("", "intermediate_size"), absl::StatusCode::kInvalidArgument, {"'intermediate_size' is missing"}},
      {With("", "max_position_embeddings"),
       absl::StatusCode::kInvalidArgument,
       {"'max_position_embeddings' is missing"}},
      {With(R"("num_attention_heads":7)", "num_attention_heads"),
       absl::StatusCode::kInvalidArgument,
       {"hidden_size 64", "num_attention_heads 7"}},
      {With(R"("num_key_value_heads":3)"),
       absl::StatusCode::kInvalidArgument,
       {"num_attention_heads 8", "num_key_value_heads 3"}},
      {With(R"("head_dim":7)"), absl::StatusCode::kInvalidArgument, {"rotary dimension 7", "even"}},
      {With(R"("rms_norm_eps":"small")"), absl::StatusCode::kInvalidArgument, {"'rms_norm_eps'", "a number"}},
      {With(R"("rms_norm_eps":-1e-5)"), absl::StatusCode::kInvalidArgument, {"'rms_norm_eps' is -1e-05"}},
      {With(R"("tie_word_embeddings":1)"), absl::StatusCode::kInvalidArgument, {"'tie_word_embeddings' is 1"}},
      {With(R"("eos_token_id":-1)"), absl::StatusCode::kInvalidArgument, {"'eos_token_id' is -1"}},
      {With(R"("eos_token_id":[1,"x"])"), absl::StatusCode::kInvalidArgument, {"'eos_token_id'", "token id"}},
      {With(R"("rope_theta":0)"), absl::StatusCode::kInvalidArgument, {"'rope_theta' is 0"}},
      {With(R"("rope_scaling":"llama3")"), absl::StatusCode::kInvalidArgument, {"'rope_scaling'", "an object"}},
      {With(R"("rope_scaling":{"type":"linear","factor":"2"})"),
       absl::StatusCode::kInvalidArgument,
       {"'rope_scaling.factor'", "a number"}},
      {With(R"("rope_scaling":{"type":"linear"})"), absl::StatusCode::kInvalidArgument, {"'factor' is missing"}},
      {With(R"("rope_scaling":{"rope_type":"llama3","factor":8})"),
       absl::StatusCode::kInvalidArgument,
       {"low_freq_factor", "missing"}},
      {With(R"("rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4})"),
       absl::StatusCode::kInvalidArgument,
       {"high_freq_factor 4", "low_freq_factor 4"}},
      {With(R"("rope_parameters":{"rope_type":"longest","factor":8})"),
       absl::StatusCode::kUnimplemented,
       {"rope_type 'longest'"}},
      {With(R"("rope_parameters":{"rope_type":"longrope","factor":8})"),
       absl::StatusCode::kInvalidArgument,
       {"'short_factor' has 0 factors for 4 rotary pairs"}},
      {With(R"("hidden_act":"mish")"), absl::StatusCode::kUnimplemented, {"activation 'mish'"}},
      {With(R"("quantization_config":4)"), absl::StatusCode::kInvalidArgument, {"'quantization_config'", "an object"}},
      {With(R"("add_cross_attention":true)"), absl::StatusCode::kUnimplemented, {"'add_cross_attention'"}},
      {With("", "architectures"), absl::StatusCode::kInvalidArgument, {"neither 'architectures' nor 'model_type'"}},
      {With(R"("architectures":["FooForCausalLM"])", "architectures"),
       absl::StatusCode::kUnimplemented,
       {"'FooForCausalLM'"}},
      {With(R"("architectures":"FooForCausalLM")", "architectures"),
       absl::StatusCode::kInvalidArgument,
       {"'architectures'"}},
      {With(R"("model_type":"foo")", "architectures"), absl::StatusCode::kUnimplemented, {"model_type 'foo'"}},
  };
  for (const auto& bad : cases) {
    auto spec = SpecOf(bad.config);
    const std::string message(spec.status().message());
    EXPECT_EQ(spec.status().code(), bad.code) << bad.config << ": " << spec.status();
    EXPECT_THAT(message, HasSubstr("config.json: "));
    EXPECT_LT(message.size(), 500u);
    for (const std::string& part : bad.message) EXPECT_THAT(message, HasSubstr(part));
  }
}

// Mutations of a good config: a message or a spec whose numbers fit together, never a crash.
TEST(HfConfigTest, MutatedConfigsNeverCrash) {
  const std::string good = With(R"("rope_scaling":{"type":"llama3","factor":8.0,"low_freq_factor":1.0,
      "high_freq_factor":4.0},"head_dim":16,"num_key_value_heads":2,"eos_token_id":[1,2],"rms_norm_eps":1e-5)");
  static constexpr const char* kPieces[] = {"0", "-1", "99999999999", "1e308", "null", "true", "\"",   "{",  "}",
                                            "[", "]",  ",",           ":",     "0.5",  "\\",   "\xff", "[]", "{}"};
  std::mt19937_64 random(7);
  int num_accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string config = good;
    for (int edit = random() % 3; edit >= 0; --edit) {
      const size_t at = random() % config.size();
      const std::string piece = kPieces[random() % std::size(kPieces)];
      const size_t length = random() % 2 == 0 ? 0 : std::min<size_t>(1 + random() % 3, config.size() - at);
      config.replace(at, length, piece);
    }
    auto spec = SpecOf(config);
    if (!spec.ok()) {
      EXPECT_FALSE(spec.status().message().empty());
      continue;
    }
    ++num_accepted;
    EXPECT_EQ(spec->num_heads % spec->num_kv_heads, 0);
    EXPECT_TRUE(spec->rope.dims > 0 && spec->rope.dims % 2 == 0 && spec->rope.dims <= spec->head_dim);
    EXPECT_TRUE(spec->hidden_size > 0 && spec->ffn_size > 0 && spec->num_layers > 0 && spec->vocab_size > 0);
  }
  EXPECT_GT(num_accepted, 100) << "the mutations are too wild to test anything past the parser";
}

TEST(HfConfigTest, GenerationConfigIsNamedInItsOwnErrors) {
  auto config = ParseHfConfig("config.json", With(""), R"({"eos_token_id":"x"})");
  EXPECT_TRUE(absl::IsInvalidArgument(config.status()));
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("generation_config.json: 'eos_token_id'"));
}

}  // namespace
}  // namespace quire::worker
