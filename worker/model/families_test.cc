// Every family's checkpoint, damaged tensor by tensor, and every config value that is not built: refused by name.
#include "worker/model/families.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "worker/model/golden_cases.h"
#include "worker/model/model_fixture.h"
#include "worker/model/test_model_files.h"

namespace quire::worker {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// Every checkpoint in one file.
std::vector<std::string> Models() {
  std::vector<std::string> models;
  for (const GoldenCase& one : GoldenCases()) {
    if (one.model == one.golden || absl::EndsWith(one.model, "_stacked")) models.push_back(one.model);
  }
  return models;
}

absl::Status StatusOf(const ModelFiles& files) {
  FixtureOptions options;
  options.model_dir = WriteDir("families", files);
  return ModelFixture::Load(options).status();
}

void ExpectRefused(const ModelFiles& files, const std::string& tensor) {
  const absl::Status status = StatusOf(files);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << tensor << ": " << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(tensor));
}

class FamiliesTest : public ::testing::TestWithParam<std::string> {};

TEST_P(FamiliesTest, EveryMissingExtraOrMisshapenTensorIsRefusedByName) {
  const ModelFiles whole(GetParam());
  ASSERT_TRUE(StatusOf(whole).ok()) << StatusOf(whole);
  for (const auto& [name, entry] : whole.header.items()) {
    if (name == "__metadata__" || absl::EndsWith(name, ".inv_freq")) continue;  // no parameters
    ModelFiles renamed = whole;
    renamed.header[name + "_else"] = entry;
    renamed.header.erase(name);
    ExpectRefused(renamed, name);
    ModelFiles misshapen = whole;
    json& shape = misshapen.header[name]["shape"];
    shape = shape.size() == 1 || shape[0] == shape[1] ? json{shape[0], 1, shape.back()} : json{shape[1], shape[0]};
    if (shape.size() == 3) shape = entry.at("shape").size() == 1 ? json{1, shape[0]} : json{1, shape[0], shape[2]};
    ExpectRefused(misshapen, name);
    ModelFiles extra = whole;
    extra.Add(name + "_2", {3});
    ExpectRefused(extra, name + "_2");
  }
}

// Flags of configs that say whether matrices have biases.
constexpr const char* kBiasFlags[] = {"attention_bias", "mlp_bias",    "bias",         "use_bias",       "use_qkv_bias",
                                      "qkv_bias",       "enable_bias", "add_qkv_bias", "add_bias_linear"};

bool IsBiasOfMatrix(const std::string& name) {
  return absl::EndsWith(name, ".bias") && !absl::StrContains(name, "norm") && !absl::StrContains(name, "ln_") &&
         !absl::StartsWith(name, "lm_head");
}

// Gives the biases of matrices names of tensors that are no parameters.
void HideBiases(ModelFiles* files) {
  const json header = files->header;
  const bool is_glm = files->config.at("model_type") == "chatglm";
  for (const auto& [name, entry] : header.items()) {
    if (!IsBiasOfMatrix(name)) continue;
    files->header[name + (is_glm ? ".rotary_pos_emb.inv_freq" : ".rotary_emb.inv_freq")] = entry;
    files->header.erase(name);
  }
}

// A file without what its config promises is not loaded without it, nor one with what its config denies.
TEST_P(FamiliesTest, BiasesAreThereIffTheConfigSaysSo) {
  const ModelFiles whole(GetParam());
  for (const char* flag : kBiasFlags) {
    const auto said = whole.config.find(flag);
    if (said == whole.config.end()) continue;
    ModelFiles files = whole;
    files.config[flag] = !said->get<bool>();
    const absl::Status other = StatusOf(files);
    if (*said) {
      ExpectRefused(files, "bias");
      EXPECT_THAT(std::string(other.message()), HasSubstr("is not part of this architecture")) << flag;
      files.config[flag] = true;
      HideBiases(&files);
      const absl::Status missing = StatusOf(files);
      EXPECT_TRUE(absl::IsInvalidArgument(missing)) << flag << ": " << missing;
      EXPECT_THAT(std::string(missing.message()), HasSubstr("' promises")) << flag;
      files.config.erase(flag);
      const bool alone = whole.config["model_type"] != "chatglm" && whole.config["model_type"] != "gpt_neox";
      if (alone && !whole.config.value("mlp_bias", false)) EXPECT_TRUE(StatusOf(files).ok()) << flag << StatusOf(files);
    } else if (!other.ok()) {  // some classes write flags that they do not read
      EXPECT_THAT(std::string(other.message()), HasSubstr("' promises")) << flag;
      EXPECT_THAT(std::string(other.message()), HasSubstr(std::string(flag)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, FamiliesTest, ::testing::ValuesIn(Models()),
                         [](const auto& info) { return info.param; });

TEST(ConfigValuesTest, WhatIsNotBuiltIsRefusedByName) {
  const struct {
    const char* model;
    const char* key;
    json value;
    const char* message;
  } cases[] = {
      {"cohere", "use_qk_norm", true, "'model.layers.0.self_attn.q_norm.weight' is missing"},
      {"cohere_qk_norm", "use_qk_norm", false, "self_attn.k_norm.weight' F32[2,8] is not part of this architecture"},
      {"phi", "qk_layernorm", true, "'model.layers.0.self_attn.q_layernorm.weight' is missing"},
      {"stablelm", "qk_layernorm", true, "'model.layers.0.self_attn.q_layernorm.norms.0.weight' is missing"},
      {"stablelm_qk_norm", "qk_layernorm", false, "self_attn.k_layernorm.norms.0.weight' F32[8] is not part"},
      {"stablelm", "use_parallel_residual", true, "post_attention_layernorm.bias' F32[32] is not part"},
      {"falcon_new", "num_ln_in_parallel_attn", 1, "'transformer.h.0.input_layernorm.weight' is missing"},
      {"falcon_new", "num_ln_in_parallel_attn", 3, "architecture 'FalconForCausalLM' is not supported"},
      {"opt", "do_layer_norm_before", false, "'model.decoder.final_layer_norm.bias' F32[32] is not part"},
      {"opt_350m", "do_layer_norm_before", true, "'model.decoder.final_layer_norm.weight' is missing"},
      {"opt_350m", "word_embed_proj_dim", 32, "'model.decoder.embed_tokens.weight' is F32[67,16]"},
      {"opt_350m", "word_embed_proj_dim", 0, "'word_embed_proj_dim' is 0"},
      {"opt", "layer_norm_elementwise_affine", false, "'model.decoder.final_layer_norm.bias' F32[32] is not part"},
      {"opt_plain", "layer_norm_elementwise_affine", true, "'model.decoder.layers.0.self_attn_layer_norm.weight' is"},
      {"chatglm", "position_encoding_2d", true, "'position_encoding_2d' true is not supported"},
      {"chatglm", "rmsnorm", false, "'rmsnorm' false is not supported"},
      {"chatglm", "post_layer_norm", false, "'post_layer_norm' false is not supported"},
      {"chatglm", "multi_query_group_num", 1.5, "'multi_query_group_num' is 1.5, must be an integer in [1, 4]"},
      {"chatglm", "multi_query_group_num", 3, "num_attention_heads 4 is not a multiple of num_key_value_heads 3"},
      {"chatglm", "rope_ratio", 1e15, "rope base 1e+19 is not in"},
      {"chatglm", "rope_ratio", -1, "rope base -10000 is not in"},
      {"qwen", "no_bias", false, "'no_bias' false is not supported"},
      {"qwen", "intermediate_size", 113, "intermediate_size 113 is not a multiple of 2"},
      {"internlm", "rotary", {{"type", "spiral"}}, "rope_type 'spiral' is not supported"},
      {"internlm", "rotary", {{"base", "high"}}, "'rotary.base' is"},
      {"starcoder2", "hidden_act", "quick_gelu", "activation 'quick_gelu' is not supported"},
      {"phi3", "rope_parameters", {{"rope_type", "longrope"}}, "'short_factor' has 0 factors for 4 rotary pairs"},
      {"phi3",
       "rope_parameters",
       {{"rope_type", "longrope"}, {"short_factor", {1, 1, 1, 1}}, {"long_factor", {1, 1, 1}}},
       "'long_factor' has 3 factors for 4 rotary pairs"},
      {"phi3",
       "rope_parameters",
       {{"rope_type", "longrope"}, {"short_factor", {1, 1, 1, 0}}, {"long_factor", {1, 1, 1, 1}}},
       "'rope_parameters.short_factor'"},
      {"phi3", "rope_parameters", {{"rope_type", "longer"}}, "rope_type 'longer' is not supported"},
      {"smollm3", "no_rope_layers", {1, 0}, "'no_rope_layers' has 2 entries for 4 layers"},
      {"smollm3", "no_rope_layers", {1, 0, 2, 1}, "'no_rope_layers'"},
      {"mistral", "sliding_window", 0, "'sliding_window' is 0"},
  };
  for (const auto& c : cases) {
    ModelFiles files(c.model);
    files.config[c.key] = c.value;
    const absl::Status status = StatusOf(files);
    EXPECT_FALSE(status.ok()) << c.key;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

// Promised, and in no layer.
TEST(BiasTest, PromisesAreRefusedByName) {
  const struct {
    const char* model;
    const char* flag;
    const char* message;
  } cases[] = {
      {"llama_tied", "attention_bias",
       "'model.layers.0.self_attn.q_proj.bias' is missing, which the config's 'attention_bias'"},
      {"llama_tied", "mlp_bias",
       "'model.layers.0.mlp.gate_proj.bias' is missing, which the config's 'mlp_bias' promises"},
      {"internlm2", "bias", "'model.layers.0.attention.wqkv.bias' is missing, which the config's 'bias' promises"},
      {"chatglm", "add_bias_linear", "dense.bias' is missing, which the config's 'add_bias_linear' promises"},
      {"falcon", "bias", "query_key_value.bias' is missing, which the config's 'bias' promises"},
      {"stablelm_parallel", "use_qkv_bias", "q_proj.bias' is missing, which the config's 'use_qkv_bias' promises"},
  };
  for (const auto& c : cases) {
    ModelFiles files(c.model);
    files.config[c.flag] = true;
    EXPECT_THAT(std::string(StatusOf(files).message()), HasSubstr(c.message));
  }
}

// Qwen's first version grows its base and its queries once contexts are longer than its training's.
TEST(ServedLengthTest, ContextsEndWithTheTrainingUnlessLongerOnesAreAskedFor) {
  for (const auto& [ntk, logn] : {std::make_pair(true, true), {true, false}, {false, true}, {false, false}}) {
    ModelFiles files("qwen");
    files.config["use_dynamic_ntk"] = ntk;
    files.config["use_logn_attn"] = logn;
    FixtureOptions options;
    options.model_dir = WriteDir("length", files);
    auto fixture = ModelFixture::Load(options);
    ASSERT_TRUE(fixture.ok()) << fixture.status();
    EXPECT_EQ((*fixture)->facts().max_model_len, ntk || logn ? 320 : 640);
    for (const auto& [asked, served] : {std::make_pair(300, 300), {400, 400}, {1000, 640}}) {
      options.max_model_len = asked;
      auto longer = ModelFixture::Load(options);
      ASSERT_TRUE(longer.ok()) << longer.status();
      EXPECT_EQ((*longer)->facts().max_model_len, served);
    }
  }
}

// A rope of two dimensions has no base that could grow.
TEST(ServedLengthTest, WhatCannotGrowIsRefusedByName) {
  const struct {
    const char* model;
    const char* key;
    json value;
    const char* message;
  } cases[] = {
      {"rope_dynamic_beyond", "rope_parameters", {{"rope_type", "dynamic"}}, "rope key 'factor' is missing"},
      {"rope_dynamic_beyond",
       "rope_parameters",
       {{"rope_type", "dynamic"}, {"factor", 2.0}, {"partial_rotary_factor", 0.25}},
       "contexts of 320 tokens, over 64, need more than 2 rotary dimensions"},
      {"qwen_beyond", "rotary_pct", 0.5, "'use_logn_attn' with 4 rotary dimensions of 8 is not supported"},
  };
  for (const auto& c : cases) {
    ModelFiles files(c.model);
    files.config[c.key] = c.value;
    FixtureOptions options;
    options.model_dir = WriteDir("growth", files);
    options.max_model_len = 320;
    const absl::Status status = ModelFixture::Load(options).status();
    EXPECT_FALSE(status.ok()) << c.key;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

// Falcon's first files name the architecture and some keys in their own way; the tensors are the same.
TEST(RefinedWebTest, FirstFilesOfFalconLoad) {
  const struct {
    const char* model;
    const char* model_type;
    bool has_groups;
  } cases[] = {{"falcon_rw", "RefinedWebModel", false},
               {"falcon", "RefinedWebModel", false},
               {"falcon_new", "RefinedWeb", true}};
  for (const auto& c : cases) {
    ModelFiles files(c.model);
    json& config = files.config;
    config["architectures"] = {"RWForCausalLM"};
    config["model_type"] = c.model_type;
    config["n_head"] = config["num_attention_heads"];
    config["n_layer"] = config["num_hidden_layers"];
    if (c.has_groups) config["n_head_kv"] = config["num_kv_heads"];
    for (const char* key : {"num_attention_heads", "num_hidden_layers", "num_kv_heads", "new_decoder_architecture",
                            "num_ln_in_parallel_attn", "ffn_hidden_size", "rope_parameters", "activation"}) {
      config.erase(key);
    }
    EXPECT_TRUE(StatusOf(files).ok()) << c.model << ": " << StatusOf(files);
  }
}

// What the engine may free: only what no layer looks at again.
TEST(WindowTest, ContextsGoOnBehindAWindow) {
  const struct {
    const char* model;
    json change;
    int32_t attention_window;
  } cases[] = {
      {"mistral_window", json::object(), 13},
      {"mistral_window", {{"sliding_window", nullptr}}, 0},
      {"qwen2_window", json::object(), 0},
      {"qwen2_window", {{"layer_types", nullptr}, {"max_window_layers", 0}}, 8},
      {"llama_gqa", {{"sliding_window", 48}}, 0},
  };
  for (const auto& c : cases) {
    ModelFiles files(c.model);
    for (const auto& [key, value] : c.change.items()) files.config[key] = value;
    FixtureOptions options;
    options.model_dir = WriteDir("window", files);
    auto fixture = ModelFixture::Load(options);
    ASSERT_TRUE(fixture.ok()) << fixture.status();
    EXPECT_EQ((*fixture)->facts().attention_window, c.attention_window) << c.model << " " << c.change;
    EXPECT_EQ((*fixture)->facts().max_model_len, files.config["max_position_embeddings"]) << c.model;
  }
}

}  // namespace
}  // namespace quire::worker
