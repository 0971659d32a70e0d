// Directories that lie: each is refused with one message that names the file or the tensor and both values.
#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/model/model_fixture.h"
#include "worker/model/test_model_files.h"

namespace quire::worker {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

absl::Status LoadStatus(const std::string& dir) {
  FixtureOptions options;
  options.model_dir = dir;
  return ModelFixture::Load(options).status();
}

struct BadCase {
  const char* name;
  const char* model;
  std::function<void(ModelFiles*)> change;
  absl::StatusCode code;
  std::vector<std::string> message;
};

std::vector<BadCase> BadCases() {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  const char* q = "model.layers.1.self_attn.q_proj.weight";
  return {
      {"truncated",
       "llama_tied",
       [](ModelFiles* f) { f->data.resize(f->data.size() - 1); },
       kInvalid,
       {"model.safetensors", "past the end", "222720", "222719"}},
      {"offset_past_end",
       "llama_tied",
       [q](ModelFiles* f) {
         f->header[q]["data_offsets"] = {999000, 1008216};
       },
       kInvalid,
       {"model.safetensors", q, "999000", "222720"}},
      {"overlap",
       "llama_tied",
       [q](ModelFiles* f) {
         f->header[q]["data_offsets"] = {0, 9216};
       },
       kInvalid,
       {"model.safetensors", "overlap", q}},
      {"wrong_shape",
       "llama_tied",
       [q](ModelFiles* f) {
         f->header[q]["shape"] = {24, 96};
       },
       kInvalid,
       {"model.safetensors", q, "F32[24,96]", "[48,48]"}},
      {"vocabulary",
       "llama_tied",
       [](ModelFiles* f) { f->config["vocab_size"] = 100; },
       kInvalid,
       {"model.embed_tokens.weight", "F32[99,48]", "[100,48]"}},
      {"unknown_tensor",
       "llama_tied",
       [](ModelFiles* f) { f->Add("model.layers.0.self_attn.q_norm.weight", {12}); },
       kInvalid,
       {"model.safetensors", "model.layers.0.self_attn.q_norm.weight", "F32[12]", "not part of"}},
      {"more_layers_than_config",
       "llama_tied",
       [](ModelFiles* f) { f->config["num_hidden_layers"] = 1; },
       kInvalid,
       {"model.layers.1.input_layernorm.weight", "1 layers"}},
      {"fewer_layers_than_config",
       "llama_tied",
       [](ModelFiles* f) { f->config["num_hidden_layers"] = 3; },
       kInvalid,
       {"model.layers.2.input_layernorm.weight", "missing"}},
      {"missing_tensor", "llama_tied", [q](ModelFiles* f) { f->Hide(q); }, kInvalid, {q, "missing"}},
      {"missing_head",
       "llama_tied",
       [](ModelFiles* f) { f->config["tie_word_embeddings"] = false; },
       kInvalid,
       {"lm_head.weight", "missing"}},
      {"bias_of_one_layer",
       "llama_tied",
       [](ModelFiles* f) { f->Add("model.layers.1.self_attn.q_proj.bias", {48}); },
       kInvalid,
       {"model.layers.0.self_attn.q_proj.bias", "missing", "layer 1 has it"}},
      {"bias_lost",
       "llama_gqa",
       [](ModelFiles* f) { f->Hide("model.layers.1.mlp.up_proj.bias"); },
       kInvalid,
       {"model.layers.1.mlp.up_proj.bias", "missing", "earlier layers have it"}},
      {"integers_as_weight",
       "llama_tied",
       [q](ModelFiles* f) { f->header[q]["dtype"] = "I32"; },
       absl::StatusCode::kUnimplemented,
       {"model.safetensors", q, "I32"}},
      {"linear_instead_of_conv",
       "gpt2",
       [](ModelFiles* f) {
         f->header["transformer.h.0.mlp.c_fc.weight"]["shape"] = {80, 32};
       },
       kInvalid,
       {"transformer.h.0.mlp.c_fc.weight", "F32[80,32]", "[32,80]"}},
      {"no_prefix_that_fits",
       "gpt2",
       [](ModelFiles* f) { f->Hide("transformer.wte.weight"); },
       kInvalid,
       {"transformer.wte.weight", "missing"}},
      {"bad_config",
       "gpt2",
       [](ModelFiles* f) { f->config["n_embd"] = 0; },
       kInvalid,
       {"config.json", "'n_embd' is 0"}},
      {"unknown_architecture",
       "gpt2",
       [](ModelFiles* f) { f->config["architectures"] = {"FooModel"}; },
       absl::StatusCode::kUnimplemented,
       {"config.json", "FooModel"}},
  };
}

TEST(LoadModelTest, BadDirectoriesGetOneMessage) {
  for (const BadCase& bad : BadCases()) {
    SCOPED_TRACE(bad.name);
    ModelFiles files(bad.model);
    bad.change(&files);
    const absl::Status status = LoadStatus(WriteDir(bad.name, files));
    EXPECT_EQ(status.code(), bad.code) << status;
    for (const std::string& part : bad.message) EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }
}

TEST(LoadModelTest, MissingFilesAreNamed) {
  const std::string dir = MakeDir("missing_files");
  EXPECT_TRUE(absl::IsNotFound(LoadStatus(dir)));
  EXPECT_THAT(std::string(LoadStatus(dir).message()), HasSubstr(dir + "/config.json"));
  WriteFile(dir + "/config.json", ModelFiles("gpt2").config.dump());
  EXPECT_TRUE(absl::IsNotFound(LoadStatus(dir)));
  EXPECT_THAT(std::string(LoadStatus(dir).message()), HasSubstr("model.safetensors"));
}

TEST(LoadModelTest, DegreesAndTypesThatDoNotFitAreRefused) {
  FixtureOptions options;
  options.model_dir = "tests/goldens/llama_tied";
  options.world_size = 3;
  auto degree = ModelFixture::Load(options);
  EXPECT_TRUE(absl::IsInvalidArgument(degree.status()));
  EXPECT_THAT(std::string(degree.status().message()), HasSubstr("degree 3 does not divide the 4 attention heads"));
  options.world_size = 1;
  options.dtype = "int8";
  EXPECT_THAT(std::string(ModelFixture::Load(options).status().message()), HasSubstr("dtype 'int8'"));
}

// A redundant head of a tied model is ignored: the config decides.
TEST(LoadModelTest, TiedModelsIgnoreAHeadOfTheirOwn) {
  ModelFiles files("llama_tied");
  files.Add("lm_head.weight", {99, 48});
  FixtureOptions options;
  options.model_dir = WriteDir("redundant_head", files);
  auto redundant = ModelFixture::Load(options);
  ASSERT_TRUE(redundant.ok()) << redundant.status();
  options.model_dir = "tests/goldens/llama_tied";
  auto plain = ModelFixture::Load(options);
  EXPECT_EQ((*redundant)->Step({{0, {1, 2, 3}}}), (*plain)->Step({{0, {1, 2, 3}}}));
}

// Multiplies columns [begin, end) of a stored F32 matrix or vector.
void ScaleColumns(ModelFiles* files, const std::string& name, int64_t begin, int64_t end, float factor) {
  const json& tensor = files->header.at(name);
  const int64_t columns = tensor.at("shape").back();
  const int64_t first = tensor.at("data_offsets")[0], last = tensor.at("data_offsets")[1];
  for (int64_t at = first; at < last; at += 4) {
    const int64_t column = (at - first) / 4 % columns;
    if (column < begin || column >= end) continue;
    float value;
    std::memcpy(&value, &files->data[at], 4);
    value *= factor;
    std::memcpy(&files->data[at], &value, 4);
  }
}

// Attention scales that a config asks for equal the same factor on the queries.
TEST(LoadModelTest, AttentionScalesOfTheConfigAreApplied) {
  ModelFiles plain("gpt2"), by_layer("gpt2"), unscaled("gpt2");
  by_layer.config["scale_attn_by_inverse_layer_idx"] = true;
  unscaled.config["scale_attn_weights"] = false;
  for (int layer = 0; layer < 3; ++layer) {
    for (const char* part : {"weight", "bias"}) {
      const std::string name = absl::StrCat("transformer.h.", layer, ".attn.c_attn.", part);
      ScaleColumns(&by_layer, name, 0, 32, layer + 1);
      ScaleColumns(&unscaled, name, 0, 32, 1 / std::sqrt(8.0f));
    }
  }
  FixtureOptions options;
  options.model_dir = WriteDir("scale_plain", plain);
  const LogitRows expected = (*ModelFixture::Load(options))->Step({{0, {1, 2, 3, 4, 5}}});
  for (const ModelFiles* files : {&by_layer, &unscaled}) {
    options.model_dir = WriteDir("scale_changed", *files);
    const LogitRows rows = (*ModelFixture::Load(options))->Step({{0, {1, 2, 3, 4, 5}}});
    for (size_t i = 0; i < rows.size(); ++i) {
      for (size_t j = 0; j < rows[i].size(); ++j) EXPECT_NEAR(rows[i][j], expected[i][j], 2e-5);
    }
  }
}

// A head of its own that holds the embedding's numbers is the tied head, bit for bit, on any degree.
TEST(LoadModelTest, AnUntiedHeadIsUsed) {
  ModelFiles files("gpt2");
  files.config["tie_word_embeddings"] = false;
  const json& offsets = files.header.at("transformer.wte.weight").at("data_offsets");
  const int64_t begin = offsets[0], end = offsets[1], at = files.data.size();
  files.Add("lm_head.weight", {103, 32});
  std::memcpy(&files.data[at], files.data.data() + begin, end - begin);
  const std::string dir = WriteDir("untied_head", files);
  for (const int world_size : {1, 4}) {
    FixtureOptions options;
    options.world_size = world_size;
    options.model_dir = dir;
    const LogitRows untied = (*ModelFixture::Load(options))->Step({{0, {1, 2, 3}}});
    options.model_dir = "tests/goldens/gpt2";
    EXPECT_EQ(untied, (*ModelFixture::Load(options))->Step({{0, {1, 2, 3}}}));
  }
}

// The format allows data at any byte; old writers made use of it.
TEST(LoadModelTest, UnalignedFilesGiveTheSameBits) {
  ModelFiles files("llama_tied");
  const std::string dir = MakeDir("unaligned");
  WriteFile(dir + "/config.json", files.config.dump());
  std::string text = files.header.dump();
  while ((8 + text.size()) % 4 != 1) text += " ";
  const uint64_t size = text.size();
  WriteFile(dir + "/model.safetensors",
            absl::StrCat(std::string(reinterpret_cast<const char*>(&size), 8), text, files.data));
  for (const int world_size : {1, 2}) {
    FixtureOptions options;
    options.world_size = world_size;
    options.model_dir = dir;
    auto unaligned = ModelFixture::Load(options);
    ASSERT_TRUE(unaligned.ok()) << unaligned.status();
    options.model_dir = "tests/goldens/llama_tied";
    auto plain = ModelFixture::Load(options);
    EXPECT_EQ((*unaligned)->Step({{0, {1, 2, 3}}}), (*plain)->Step({{0, {1, 2, 3}}}));
  }
}

// Half types of choice stay near the stored one; figures of the facts follow.
TEST(LoadModelTest, WeightsAreStoredInTheTypeAskedFor) {
  FixtureOptions options;
  options.model_dir = "tests/goldens/llama_gqa";
  auto wide = ModelFixture::Load(options);
  ASSERT_TRUE(wide.ok()) << wide.status();
  const ModelFacts& facts = (*wide)->facts();
  EXPECT_EQ(facts.dtype, "float32");
  EXPECT_EQ(facts.vocab_size, 101);
  EXPECT_EQ(facts.max_model_len, 512);
  EXPECT_EQ(facts.bos_token_id, 0);
  EXPECT_THAT(facts.eos_token_ids, ::testing::ElementsAre(1));
  // Per layer: query 128, key and value 32 each, output 128, three of 80; the head 101. All times 64.
  const double elements = 64.0 * (2 * (128 + 32 + 32 + 128 + 3 * 80) + 101);
  EXPECT_EQ(facts.flops_per_token, 2 * elements);
  EXPECT_GE(facts.weight_bytes, 4 * elements);
  const LogitRows expected = (*wide)->Step({{0, {5, 6, 7, 8}}});
  for (const char* dtype : {"float16", "bfloat16"}) {
    options.dtype = dtype;
    auto narrow = ModelFixture::Load(options);
    ASSERT_TRUE(narrow.ok()) << narrow.status();
    EXPECT_EQ((*narrow)->facts().dtype, dtype);
    EXPECT_LT((*narrow)->facts().weight_bytes, facts.weight_bytes);
    EXPECT_EQ((*narrow)->model(0).CacheLayout(16).block_bytes(), 2 * 2 * 2 * 16 * 16 * 2);  // layers, k|v, heads, ...
    const LogitRows rows = (*narrow)->Step({{0, {5, 6, 7, 8}}});
    EXPECT_NE(rows, expected);
    for (size_t i = 0; i < rows.size(); ++i) {
      for (size_t j = 0; j < rows[i].size(); ++j) EXPECT_NEAR(rows[i][j], expected[i][j], 0.1) << dtype;
    }
  }
}

}  // namespace
}  // namespace quire::worker
