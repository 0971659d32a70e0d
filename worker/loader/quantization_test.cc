// Matrices of every quantised format (tests/goldens/checkpoints/quantized) against the floats that they stand for, and
// what is refused.
#include "worker/loader/quantization.h"

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/loader/quantization_config.h"

namespace quire::worker {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const char kRoot[] = "tests/goldens/checkpoints/";

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// A checkpoint's files in a directory of the test's own, after a change.
struct Files {
  json config, header;
  std::string data;

  explicit Files(const std::string& dir) {
    config = json::parse(ReadFile(dir + "/config.json"));
    const std::string file = ReadFile(dir + "/model.safetensors");
    uint64_t size;
    std::memcpy(&size, file.data(), 8);
    header = json::parse(file.substr(8, size));
    data = file.substr(8 + size);
  }

  std::string Write(const std::string& name) const {
    const std::string dir = absl::StrCat(::testing::TempDir(), "/quantization_", name);
    mkdir(dir.c_str(), 0755);
    for (const char* file : {"/quantize_config.json", "/quant_config.json"}) unlink((dir + file).c_str());
    const std::string text = header.dump();
    const uint64_t size = text.size();
    std::ofstream(dir + "/model.safetensors", std::ios::binary)
        << std::string(reinterpret_cast<const char*>(&size), 8) << text << data;
    return dir;
  }

  // Some tensor's bytes under a name that means nothing.
  void Hide(const std::string& name) {
    header["hidden"] = header[name];
    header.erase(name);
  }
};

std::vector<std::string> Cases() {
  std::vector<std::string> names;
  DIR* dir = opendir((std::string(kRoot) + "quantized").c_str());
  EXPECT_NE(dir, nullptr);
  while (const dirent* entry = dir == nullptr ? nullptr : readdir(dir)) {
    if (entry->d_name[0] != '.') names.push_back(std::string("quantized/") + entry->d_name);
  }
  if (dir != nullptr) closedir(dir);
  names.push_back("floats");
  return names;
}

absl::StatusOr<DenseReport> Open(const std::string& dir, const json& config, bool transposed,
                                 std::unique_ptr<Checkpoint>* checkpoint) {
  auto opened = Checkpoint::Open(dir);
  if (!opened.ok()) return opened.status();
  *checkpoint = std::move(*opened);
  DenseOptions options;
  options.model_dir = dir;
  options.transposed = transposed;
  if (config.contains("quantization_config")) options.config_json = config["quantization_config"].dump();
  return MakeDense(options, checkpoint->get());
}

// Bit for bit; any NaN equals any other.
void ExpectSame(const float* actual, const float* expected, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (std::isnan(actual[i]) && std::isnan(expected[i])) continue;
    ASSERT_EQ(std::memcmp(&actual[i], &expected[i], 4), 0)
        << "element " << i << ": " << actual[i] << ", not " << expected[i];
  }
}

TEST(QuantizationTest, EveryFormatGivesTheFloatsThatItsIntegersStandFor) {
  EXPECT_GE(Cases().size(), 26u);
  for (const std::string& name : Cases()) {
    SCOPED_TRACE(name);
    const std::string dir = kRoot + name;
    std::unique_ptr<Checkpoint> checkpoint;
    auto report = Open(dir, json::parse(ReadFile(dir + "/config.json")), false, &checkpoint);
    ASSERT_TRUE(report.ok()) << report.status();
    const std::string file = ReadFile(dir + "/dense.safetensors");
    auto dense = ParseSafetensorsHeader("dense", file);
    ASSERT_TRUE(dense.ok()) << dense.status();
    EXPECT_EQ(checkpoint->tensors().size(), dense->entries.size()) << "parts are still to be seen";
    EXPECT_EQ(report->num_tensors, name == "floats" ? 0 : static_cast<int64_t>(dense->entries.size()));
    EXPECT_EQ(report->method.empty(), name == "floats");
    for (const SafetensorsEntry& entry : dense->entries) {
      SCOPED_TRACE(entry.name);
      const CheckpointTensor* tensor = checkpoint->Find(entry.name);
      ASSERT_NE(tensor, nullptr);
      EXPECT_EQ(DescribeEntry(tensor->entry), DescribeEntry(entry));
      EXPECT_TRUE(tensor->computed->CheckValues().ok());
      std::vector<float> expected((entry.end - entry.begin) / 4);
      std::memcpy(expected.data(), file.data() + dense->data_begin + entry.begin, entry.end - entry.begin);
      for (int round = 0; round < 2; ++round) {
        ExpectSame(checkpoint->View(*tensor).as<float>(), expected.data(), expected.size());
        checkpoint->Release(*tensor);
      }
      // Any rows at a time.
      const int64_t cols = tensor->computed->num_cols();
      for (const int64_t step : {1, 3, 33}) {
        for (int64_t row = 0; row < tensor->computed->num_rows(); row += step) {
          const int64_t count = std::min(step, tensor->computed->num_rows() - row);
          std::vector<float> rows(count * cols);
          tensor->computed->Compute(row, count, rows.data());
          ExpectSame(rows.data(), &expected[row * cols], rows.size());
        }
      }
    }
  }
}

TEST(QuantizationTest, TransposedModelsGetTransposedMatrices) {
  const std::string dir = std::string(kRoot) + "quantized/gptq_4";
  std::unique_ptr<Checkpoint> plain, turned;
  const json config = json::parse(ReadFile(dir + "/config.json"));
  ASSERT_TRUE(Open(dir, config, false, &plain).ok());
  ASSERT_TRUE(Open(dir, config, true, &turned).ok());
  const kernels::TensorView a = plain->View(*plain->Find("act.weight"));
  const kernels::TensorView b = turned->View(*turned->Find("act.weight"));
  const kernels::TensorView c = turned->RowMajorView(*turned->Find("act.weight"));
  ASSERT_EQ(b.dim(0), a.dim(1));
  ASSERT_EQ(b.dim(1), a.dim(0));
  for (int64_t o = 0; o < a.dim(0); ++o) {
    for (int64_t i = 0; i < a.dim(1); ++i) {
      const float expected = a.as<float>()[o * a.stride[0] + i];
      ASSERT_EQ(b.as<float>()[i * b.stride[0] + o * b.stride[1]], expected);
      ASSERT_EQ(c.as<float>()[i * a.dim(0) + o], expected);
    }
  }
}

struct BadCase {
  const char* name;
  const char* model;
  std::function<void(Files*)> change;
  absl::StatusCode code;
  std::vector<std::string> message;
};

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnbuilt = absl::StatusCode::kUnimplemented;

std::function<void(Files*)> Set(const std::string& key, json value) {
  return [key, value](Files* f) { f->config["quantization_config"][key] = value; };
}
std::function<void(Files*)> SetWeights(const std::string& key, json value) {
  return
      [key, value](Files* f) { f->config["quantization_config"]["config_groups"]["group_0"]["weights"][key] = value; };
}
std::function<void(Files*)> Hide(const std::string& name) {
  return [name](Files* f) { f->Hide(name); };
}

std::vector<BadCase> BadCases() {
  return {
      {"method", "gptq_4", Set("quant_method", "aqlm"), kUnbuilt, {"config.json", "quant_method 'aqlm'"}},
      {"mxfp4", "gptq_4", Set("quant_method", "mxfp4"), kUnbuilt, {"'mxfp4'"}},
      {"bits", "gptq_4", Set("bits", 5), kUnbuilt, {"'bits' 5"}},
      {"bits_text", "gptq_4", Set("bits", "four"), kInvalid, {"'bits'", "four"}},
      {"group_size", "gptq_4", Set("group_size", 0), kInvalid, {"'group_size' is 0"}},
      {"marlin", "gptq_4", Set("checkpoint_format", "marlin"), kUnbuilt, {"'checkpoint_format' 'marlin'"}},
      {"marlin_flag", "gptq_4", Set("is_marlin_format", true), kUnbuilt, {"'is_marlin_format' true"}},
      {"pack_dtype", "gptq_4", Set("pack_dtype", "int8"), kUnbuilt, {"'pack_dtype' 'int8'"}},
      {"dynamic", "gptq_4", Set("dynamic", {{"+:.*up.*", {{"bits", 8}}}}), kUnbuilt, {"'dynamic' with '+:.*up.*'"}},
      {"awq_version", "awq", Set("version", "gemv_fast"), kUnbuilt, {"'version' 'gemv_fast'"}},
      {"awq_zero", "awq", Set("zero_point", false), kUnbuilt, {"'zero_point' false"}},
      {"awq_bits", "awq", Set("bits", 8), kUnbuilt, {"'bits' 8"}},
      {"sparse24", "packed_4", Set("format", "marlin-24"), kUnbuilt, {"'format' 'marlin-24'"}},
      {"nvfp4", "packed_4", Set("format", "nvfp4-pack-quantized"), kUnbuilt, {"nvfp4-pack-quantized"}},
      {"sparsity",
       "packed_4",
       Set("sparsity_config", {{"format", "sparse-24-bitmask"}}),
       kUnbuilt,
       {"'sparsity_config.format' 'sparse-24-bitmask'"}},
      {"frozen", "packed_4", Set("quantization_status", "frozen"), kUnbuilt, {"'quantization_status' 'frozen'"}},
      {"transform", "packed_4", Set("transform_config", {{"R1", 1}}), kUnbuilt, {"'transform_config'"}},
      {"float4", "packed_4", SetWeights("type", "float"), kUnbuilt, {"a float weight of 4 bits"}},
      {"strategy",
       "packed_4",
       SetWeights("strategy", "tensor_group"),
       kUnbuilt,
       {"'config_groups.group_0.weights.strategy' 'tensor_group'"}},
      {"two_ways",
       "packed_4",
       [](Files* f) {
         json& groups = f->config["quantization_config"]["config_groups"];
         groups["group_1"] = groups["group_0"];
         groups["group_1"]["weights"]["num_bits"] = 8;
       },
       kUnbuilt,
       {"more than one way to pack"}},
      {"e5m2", "fp8_block", Set("fmt", "e5m2"), kUnbuilt, {"'fmt' 'e5m2'"}},
      {"block", "fp8_block", Set("weight_block_size", {0, 16}), kInvalid, {"'weight_block_size' is [0,16]"}},
      {"other_block", "fp8_block", Set("weight_block_size", {32, 16}), kInvalid, {"'m'", "[3,4]", "[40,56]"}},
      {"storage", "nf4", Set("bnb_4bit_quant_storage", "bfloat16"), kUnbuilt, {"'bnb_4bit_quant_storage'"}},
      {"neither", "nf4", Set("load_in_4bit", false), kInvalid, {"'load_in_4bit' and 'load_in_8bit'"}},
      {"no_zeros", "gptq_4", Hide("act.qzeros"), kInvalid, {"'act.qzeros' is missing, although 'act.qweight'"}},
      {"no_scales", "awq", Hide("m.scales"), kInvalid, {"'m.scales' is missing"}},
      {"no_shape", "packed_4", Hide("sym.weight_shape"), kInvalid, {"'sym.weight_shape' is missing"}},
      {"no_table", "nf4", Hide("plain.weight.quant_map"), kInvalid, {"'plain.weight.quant_map' is missing"}},
      {"no_weight", "bnb8", Hide("m.weight"), kInvalid, {"'m.weight' is missing, although 'm.SCB'"}},
      {"zeros_shape",
       "gptq_4",
       [](Files* f) {
         f->header["act.qzeros"]["shape"] = {4, 2};
       },
       kInvalid,
       {"model.safetensors", "'act.qzeros' is I32[4,2], must be I32 [2,4]"}},
      {"wrong_bits", "gptq_4", Set("bits", 8), kInvalid, {"act.qzeros"}},
      {"integer_scales",
       "gptq_4",
       [](Files* f) { f->header["act.scales"]["dtype"] = "I16"; },
       kInvalid,
       {"'act.scales' is I16", "F32 or F16 or BF16"}},
      {"wrong_group_size", "awq", Set("group_size", 64), kInvalid, {"'m.qzeros'"}},
      {"group_out_of_range",
       "gptq_4",
       [](Files* f) {
         const int64_t begin = f->header["act.g_idx"]["data_offsets"][0];
         f->data[begin + 4 * 7] = 2;
       },
       kInvalid,
       {"'act.g_idx': group 2 of input 7 is not in [0, 2)"}},
      {"negative_group",
       "gptq_4",
       [](Files* f) { std::memset(&f->data[f->header["act.g_idx"]["data_offsets"][0].get<int64_t>()], 0xff, 4); },
       kInvalid,
       {"group -1 of input 0"}},
      {"lying_shape",
       "packed_4",
       [](Files* f) { f->data[f->header["sym.weight_shape"]["data_offsets"][0].get<int64_t>() + 6] = 1; },
       kInvalid,
       {"weight_shape is [281474976710675,64]"}},
      {"other_shape",
       "packed_4",
       [](Files* f) { f->data[f->header["sym.weight_shape"]["data_offsets"][0].get<int64_t>()] = 20; },
       kInvalid,
       {"'sym.weight_packed'", "[20,8]"}},
      {"weight_format",
       "bnb8",
       [](Files* f) { f->data[f->header["m.weight_format"]["data_offsets"][0].get<int64_t>()] = 1; },
       kUnbuilt,
       {"weight_format 1"}},
      {"quant_state",
       "fp4",
       [](Files* f) {
         const int64_t begin = f->header["m.weight.quant_state.bitsandbytes__fp4"]["data_offsets"][0];
         f->data[begin] = '!';
       },
       kInvalid,
       {"m.weight.quant_state.bitsandbytes__fp4", "not valid JSON"}},
      {"twice",
       "gptq_4",
       [](Files* f) {
         f->header["act.weight"] = {{"dtype", "F32"}, {"shape", {0}}, {"data_offsets", {0, 0}}};
       },
       kInvalid,
       {"'act'", "not quantised too"}},
      {"not_compressed",
       "int8",
       [](Files* f) { f->header["channel.weight"]["dtype"] = "U8"; },
       kInvalid,
       {"'channel.weight' is U8", "F8_E4M3"}},
  };
}

TEST(QuantizationTest, WhatIsNotBuiltOrDoesNotFitIsRefusedByName) {
  for (const BadCase& bad : BadCases()) {
    SCOPED_TRACE(bad.name);
    Files files(absl::StrCat(kRoot, "quantized/", bad.model));
    bad.change(&files);
    std::unique_ptr<Checkpoint> checkpoint;
    auto report = Open(files.Write(bad.name), files.config, false, &checkpoint);
    EXPECT_EQ(report.status().code(), bad.code) << report.status();
    for (const std::string& part : bad.message) EXPECT_THAT(std::string(report.status().message()), HasSubstr(part));
  }
}

TEST(QuantizationTest, ConfigsOfOlderToolsAreRead) {
  Files files(std::string(kRoot) + "quantized/awq");
  const std::string dir = files.Write("older");
  std::ofstream(dir + "/quant_config.json") << R"({"zero_point":true,"q_group_size":32,"w_bit":4,"version":"GEMM"})";
  std::unique_ptr<Checkpoint> checkpoint;
  auto report = Open(dir, json::object(), false, &checkpoint);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->method, "awq, 4 bit");
  std::ofstream(dir + "/quantize_config.json") << R"({"bits":4,"group_size":32,"desc_act":false})";
  report = Open(dir, json::object(), false, &checkpoint);
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("m.qzeros"));  // that file comes first: it is no gptq
}

// Mutations of good files: what is accepted can be viewed, every tensor of it.
TEST(QuantizationTest, MutatedFilesNeverReachOutside) {
  static constexpr const char* kPieces[] = {
      "0",    "1",         "3",      "64",      "-1",    "4294967296", "9223372036854775807",
      "I32",  "I8",        "U8",     "F8_E4M3", "F32",   "[]",         "null",
      "true", "\"group\"", "weight", "qweight", "scales"};
  std::mt19937_64 random(41);
  int num_accepted = 0;
  for (const std::string& name : Cases()) {
    const Files good(kRoot + name);
    for (int round = 0; round < 100; ++round) {
      Files files = good;
      std::string config = files.config.dump(), header = files.header.dump();
      for (int edit = 1 + random() % 3; edit > 0; --edit) {
        std::string& text = random() % 2 == 0 ? config : header;
        const size_t at = random() % text.size();
        const std::string piece = kPieces[random() % std::size(kPieces)];
        if (random() % 3 == 0) files.data[random() % files.data.size()] = static_cast<char>(random());
        if (random() % 2 == 0) text.replace(at, std::min(piece.size(), text.size() - at), piece);
      }
      files.config = json::parse(config, nullptr, false);
      files.header = json::parse(header, nullptr, false);
      if (!files.config.is_object() || !files.header.is_object()) continue;
      std::unique_ptr<Checkpoint> checkpoint;
      auto report = Open(files.Write("mutated"), files.config, random() % 2 == 0, &checkpoint);
      if (!report.ok()) {
        EXPECT_LT(report.status().message().size(), 1500u);
        continue;
      }
      ++num_accepted;
      for (const auto& [tensor_name, tensor] : checkpoint->tensors()) {
        const bool can_be_viewed = tensor.entry.type->dtype.has_value() && !tensor.entry.shape.empty() &&
                                   tensor.entry.shape.size() <= 4 && tensor.size_bytes() > 0;
        if (!can_be_viewed) continue;
        ASSERT_LE(tensor.size_bytes(), 1 << 20) << tensor_name;
        checkpoint->View(tensor);
        checkpoint->Release(tensor);
      }
    }
  }
  EXPECT_GT(num_accepted, 100) << "the mutations are too wild to test anything past the readers";
}

TEST(QuantizationTest, ADoubleThatNoFloatEqualsIsRefused) {
  Files files(std::string(kRoot) + "floats");
  const double third = 1.0 / 3;
  const int64_t begin = files.header["f64"]["data_offsets"][0];
  std::memcpy(&files.data[begin + 8 * 11], &third, 8);
  std::unique_ptr<Checkpoint> checkpoint;
  ASSERT_TRUE(Open(files.Write("double"), files.config, false, &checkpoint).ok());
  const absl::Status status = checkpoint->Find("f64")->computed->CheckValues();
  EXPECT_TRUE(absl::IsUnimplemented(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("0.33333333333333331"));
}

}  // namespace
}  // namespace quire::worker
