// Windows, ropes that hang on them, ALiBi and soft caps: from a config to the spec.
#include "worker/model/attention_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "worker/model/alibi.h"
#include "worker/model/families.h"

namespace quire::worker {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A config of six layers with the given keys over it; null removes none: it is there as null.
json Config(const std::string& architecture, const json& change) {
  json config = {{"architectures", {architecture}}, {"vocab_size", 67},          {"hidden_size", 32},
                 {"num_hidden_layers", 6},          {"num_attention_heads", 4},  {"head_dim", 8},
                 {"intermediate_size", 56},         {"rms_norm_eps", 1e-6},      {"layer_norm_epsilon", 1e-5},
                 {"max_position_embeddings", 320},  {"use_sliding_window", true}};
  for (const auto& [key, value] : change.items()) config[key] = value;
  return config;
}

absl::StatusOr<ModelSpec> SpecOf(const json& config) {
  auto parsed = ParseHfConfig("config.json", config.dump(), "");
  if (!parsed.ok()) return parsed.status();
  auto family = FindFamily(*parsed);
  if (!family.ok()) return family.status();
  return MakeModelSpec(**family, *parsed);
}

ModelSpec MustMake(const std::string& architecture, const json& change) {
  auto spec = SpecOf(Config(architecture, change));
  EXPECT_TRUE(spec.ok()) << architecture << " " << change << ": " << spec.status();
  return spec.ok() ? *spec : ModelSpec();
}

using Windows = std::vector<int64_t>;

TEST(WindowsTest, LayersHaveThemByFamilyKeysAndLists) {
  const json types = {"full_attention", "sliding_attention", "full_attention",
                      "full_attention", "sliding_attention", "full_attention"};
  const struct {
    const char* architecture;
    json change;
    Windows windows;
    int64_t oldest;
  } cases[] = {
      {"MistralForCausalLM", {{"sliding_window", 48}}, Windows(6, 48), 48},
      {"MistralForCausalLM", {{"sliding_window", nullptr}}, {}, 0},
      {"MistralForCausalLM", {{"max_position_embeddings", 8192}}, Windows(6, 4096), 4096},  // the class's own
      {"MistralForCausalLM", {{"sliding_window", 320}}, {}, 0},                             // hides nothing
      {"MistralForCausalLM", {{"sliding_window", 48}, {"layer_types", types}}, Windows(6, 48), 48},
      {"LlamaForCausalLM", {{"sliding_window", 48}, {"layer_types", types}}, {}, 0},
      {"Phi3ForCausalLM", {{"sliding_window", 48}}, Windows(6, 48), 48},
      {"Phi3ForCausalLM", {{"max_position_embeddings", 8192}}, {}, 0},
      {"Qwen2ForCausalLM", {{"sliding_window", 48}, {"max_window_layers", 4}}, {0, 0, 0, 0, 48, 48}, 0},
      {"Qwen2ForCausalLM", {{"sliding_window", 48}, {"max_window_layers", 0}}, Windows(6, 48), 48},
      {"Qwen2ForCausalLM", {{"sliding_window", 48}}, Windows(6, 0), 0},
      {"Qwen2ForCausalLM", {{"sliding_window", 48}, {"layer_types", types}}, {0, 48, 0, 0, 48, 0}, 0},
      {"Qwen2ForCausalLM", {{"sliding_window", 48}, {"use_sliding_window", false}}, {}, 0},
      {"Qwen3ForCausalLM", {{"sliding_window", 48}, {"max_window_layers", 5}}, {0, 0, 0, 0, 0, 48}, 0},
      {"SmolLM3ForCausalLM", {{"sliding_window", 48}}, {0, 0, 0, 48, 0, 0}, 0},
      {"Gemma2ForCausalLM", {{"sliding_window", 48}}, {48, 0, 48, 0, 48, 0}, 0},
      {"Gemma3ForCausalLM", {{"sliding_window", 48}}, {48, 48, 48, 48, 48, 0}, 0},
      {"Gemma3ForCausalLM", {{"sliding_window", 48}, {"sliding_window_pattern", 2}}, {48, 0, 48, 0, 48, 0}, 0},
      {"Gemma3ForCausalLM", {{"sliding_window", 48}, {"sliding_window_pattern", 1}}, Windows(6, 0), 0},
      {"Cohere2ForCausalLM", {{"sliding_window", 48}}, {48, 48, 48, 0, 48, 48}, 0},
  };
  for (const auto& c : cases) {
    const ModelSpec spec = MustMake(c.architecture, c.change);
    EXPECT_EQ(spec.layer_window, c.windows) << c.architecture << " " << c.change;
    EXPECT_EQ(spec.OldestVisibleWindow(), c.oldest) << c.architecture << " " << c.change;
  }
}

TEST(WindowsTest, BadKeysAreRefusedByName) {
  const struct {
    const char* architecture;
    json change;
    const char* message;
  } cases[] = {
      {"MistralForCausalLM", {{"sliding_window", 0}}, "'sliding_window' is 0"},
      {"Qwen2ForCausalLM", {{"max_window_layers", -1}}, "'max_window_layers' is -1, must be an integer in [0, "},
      {"Qwen2ForCausalLM", {{"layer_types", {"full_attention"}}}, "'layer_types' has 1 entries for 6 layers"},
      {"Qwen2ForCausalLM", {{"layer_types", {"linear_attention"}}}, "a list of 'sliding_attention' and"},
      {"Gemma3ForCausalLM", {{"sliding_window_pattern", 0}}, "'sliding_window_pattern' is 0, must be an integer in [1"},
      {"Gemma3ForCausalLM", {{"sliding_window_pattern", 1.5}}, "'sliding_window_pattern' is 1.5"},
      {"Gemma2ForCausalLM", {{"attn_logit_softcapping", -50.0}}, "'attn_logit_softcapping' is -50, must be in ["},
      {"Gemma2ForCausalLM", {{"use_bidirectional_attention", true}}, "'use_bidirectional_attention' true is not"},
      {"Gemma3ForCausalLM",
       {{"rope_parameters", {{"sliding_attention", {{"rope_type", "linear"}, {"factor", 2.0}}}}}},
       "rope_type 'linear' of layers with a window is not supported"},
      {"MPTForCausalLM", {{"attn_config", {{"alibi", false}}}}, "'attn_config.alibi' false is not supported"},
      {"MPTForCausalLM",
       {{"attn_config", {{"qk_ln", true}, {"clip_qkv", 6}}}},
       "'attn_config.clip_qkv' 6 is not supported beside 'attn_config.qk_ln'"},
      {"MPTForCausalLM", {{"attn_config", {{"prefix_lm", true}}}}, "'attn_config.prefix_lm' true is not supported"},
      {"MPTForCausalLM",
       {{"attn_config", {{"attn_type", "grouped_query_attention"}}}},
       "'attn_config.attn_type' 'grouped_query_attention' is not supported"},
      {"MPTForCausalLM", {{"attn_config", {{"clip_qkv", -6}}}}, "'attn_config.clip_qkv' is -6"},
      {"MPTForCausalLM", {{"logit_scale", "inv_sqrt_d_model"}}, "'logit_scale' 'inv_sqrt_d_model' is not supported"},
      {"MPTForCausalLM", {{"no_bias", false}}, "'no_bias' false is not supported"},
      {"MPTForCausalLM", {{"intermediate_size", nullptr}, {"expansion_ratio", 1e9}}, "'expansion_ratio' is 1e+09"},
  };
  for (const auto& c : cases) {
    const auto spec = SpecOf(Config(c.architecture, c.change));
    ASSERT_FALSE(spec.ok()) << c.architecture << " " << c.change;
    EXPECT_THAT(std::string(spec.status().message()), HasSubstr(c.message));
  }
}

TEST(WindowsTest, RopeGoesWithTheKindOfTheLayer) {
  const ModelSpec gemma = MustMake("Gemma3ForCausalLM", {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}}});
  EXPECT_EQ(gemma.layer_has_window_rope, std::vector<bool>({true, true, true, true, true, false}));
  EXPECT_EQ(gemma.rope.theta, 1e6);
  EXPECT_EQ(gemma.rope.factor, 8.0);
  EXPECT_EQ(gemma.window_rope.theta, 1e4);
  EXPECT_EQ(gemma.window_rope.scaling, RopeScaling::kNone);
  EXPECT_EQ(MustMake("Gemma3ForCausalLM", {{"rope_local_base_freq", 5e3}}).window_rope.theta, 5e3);
  // Windows that hide nothing still decide which layers turn.
  EXPECT_EQ(MustMake("Cohere2ForCausalLM", {{"sliding_window", 4096}}).layer_has_rope,
            std::vector<bool>({true, true, true, false, true, true}));
}

TEST(SoftCapTest, AbsentIsTheFamilysAndNullIsNone) {
  const ModelSpec absent = MustMake("Gemma2ForCausalLM", json::object());
  EXPECT_EQ(absent.attention_softcap, 50.0f);
  EXPECT_EQ(absent.logits_softcap, 30.0f);
  EXPECT_EQ(absent.attention_scale, 1.0f / 16);  // of the default query_pre_attn_scalar
  const ModelSpec null =
      MustMake("Gemma2ForCausalLM", {{"attn_logit_softcapping", nullptr}, {"final_logit_softcapping", nullptr}});
  EXPECT_EQ(null.attention_softcap, 0.0f);
  EXPECT_EQ(null.logits_softcap, 0.0f);
  EXPECT_EQ(MustMake("Gemma3ForCausalLM", json::object()).attention_softcap, 0.0f);
}

// Slopes of the ALiBi paper; those of BLOOM-176B's 112 heads begin again between the first ones.
TEST(AlibiTest, SlopesForAnyNumberOfHeads) {
  EXPECT_THAT(AlibiSlopes(8, 8.0),
              ElementsAre(1.0f / 2, 1.0f / 4, 1.0f / 8, 1.0f / 16, 1.0f / 32, 1.0f / 64, 1.0f / 128, 1.0f / 256));
  EXPECT_THAT(AlibiSlopes(1, 8.0), ElementsAre(1.0f / 256));
  EXPECT_THAT(AlibiSlopes(3, 8.0), ElementsAre(1.0f / 16, 1.0f / 256, 1.0f / 4));
  EXPECT_THAT(AlibiSlopes(2, 4.0), ElementsAre(1.0f / 4, 1.0f / 16));
  const std::vector<float> many = AlibiSlopes(112, 8.0);
  ASSERT_EQ(many.size(), 112u);
  EXPECT_FLOAT_EQ(many[0], 0.9170040432f);
  EXPECT_FLOAT_EQ(many[63], 1.0f / 256);
  EXPECT_FLOAT_EQ(many[64], 0.9576032807f);
  EXPECT_FLOAT_EQ(many[111], 0.0163167778f);
}

TEST(AlibiTest, WhoHasIt) {
  EXPECT_EQ(MustMake("FalconForCausalLM", {{"alibi", true}}).position, PositionKind::kAlibi);
  EXPECT_TRUE(MustMake("FalconForCausalLM", {{"alibi", true}}).alibi_in_bf16);
  EXPECT_EQ(MustMake("FalconForCausalLM", json::object()).position, PositionKind::kRope);
  for (const char* spelling : {"MPTForCausalLM", "MptForCausalLM"}) {
    const ModelSpec mpt = MustMake(spelling, {{"attn_config", {{"alibi_bias_max", 16}, {"clip_qkv", nullptr}}}});
    EXPECT_EQ(mpt.position, PositionKind::kAlibi);
    EXPECT_EQ(mpt.alibi_bias_max, 16);
    EXPECT_EQ(mpt.qkv_limit, 0.0f);
    EXPECT_FALSE(mpt.queries_are_centered);
    EXPECT_TRUE(MustMake(spelling, {{"attn_config", {{"qk_ln", true}}}}).queries_are_centered);
  }
}

// One architecture's name, four models.
TEST(AlibiTest, BaichuanByItsKeys) {
  json large = Config("BaichuanForCausalLM", {{"model_max_length", 4096}});
  EXPECT_EQ(SpecOf(large)->position, PositionKind::kRope);
  large.erase("max_position_embeddings");
  EXPECT_EQ(SpecOf(large)->position, PositionKind::kAlibi);
  EXPECT_EQ(SpecOf(large)->max_position, 4096);
  EXPECT_FALSE(SpecOf(large)->head_rows_have_length_one);
  large["vocab_size"] = 125696;
  EXPECT_EQ(SpecOf(large)->position, PositionKind::kAlibi);
  EXPECT_TRUE(SpecOf(large)->head_rows_have_length_one);
}

// The decoder of a model that sees pictures: what its config leaves out is the class's.
TEST(TextConfigTest, SizesComeFromTheDecodersObject) {
  const json config = {{"architectures", {"Gemma3ForConditionalGeneration"}},
                       {"model_type", "gemma3"},
                       {"eos_token_id", {1, 106}},
                       {"vocab_size", 5},
                       {"text_config",
                        {{"hidden_size", 2560},
                         {"intermediate_size", 10240},
                         {"num_hidden_layers", 34},
                         {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
                         {"sliding_window", 1024}}}};
  const auto spec = SpecOf(config);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->vocab_size, 262208);
  EXPECT_EQ(spec->num_heads, 8);
  EXPECT_EQ(spec->num_kv_heads, 4);
  EXPECT_EQ(spec->head_dim, 256);
  EXPECT_EQ(spec->max_position, 131072);
  EXPECT_EQ(spec->rope.factor, 8.0);
  EXPECT_EQ(spec->WindowOf(4), 1024);
  EXPECT_EQ(spec->WindowOf(5), 0);
  const auto parsed = ParseHfConfig("config.json", config.dump(), "");
  EXPECT_THAT(parsed->eos_token_ids, ElementsAre(1, 106));
  json quantised = config;
  quantised["text_config"]["quantization_config"] = json::object();
  EXPECT_THAT(std::string(SpecOf(quantised).status().message()), HasSubstr("'text_config.quantization_config'"));
}

}  // namespace
}  // namespace quire::worker
