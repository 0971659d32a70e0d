#include "worker/loader/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace quire::worker {
namespace {

using ::testing::HasSubstr;

// An empty directory of the test's own.
std::string MakeDir(const std::string& name) {
  const std::string dir = absl::StrCat(::testing::TempDir(), "/checkpoint_", name);
  EXPECT_EQ(std::system(absl::StrCat("rm -rf '", dir, "'").c_str()), 0);
  EXPECT_EQ(mkdir(dir.c_str(), 0755), 0);
  return dir;
}

void Write(const std::string& path, const std::string& content) { std::ofstream(path, std::ios::binary) << content; }

// A file of one F32 tensor per name, two elements each: 0.5, 1.5, ... The header is `padding` bytes too long.
std::string FileOf(const std::vector<std::string>& names, int padding = 0) {
  std::string json = "{", data;
  for (size_t i = 0; i < names.size(); ++i) {
    absl::StrAppend(&json, i == 0 ? "" : ",", "\"", names[i], "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[",
                    8 * i, ",", 8 * i + 8, "]}");
    for (int e = 0; e < 2; ++e) {
      const float value = 2 * i + e + 0.5f;
      data.append(reinterpret_cast<const char*>(&value), 4);
    }
  }
  json += "}";
  json.append((4 - json.size() % 4) % 4 + padding, ' ');
  const uint64_t size = json.size();
  return absl::StrCat(std::string(reinterpret_cast<const char*>(&size), 8), json, data);
}

TEST(CheckpointTest, ReadsASingleFile) {
  const std::string dir = MakeDir("single");
  Write(dir + "/model.safetensors", FileOf({"a", "b"}));
  auto checkpoint = Checkpoint::Open(dir);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->tensors().size(), 2u);
  EXPECT_EQ((*checkpoint)->Find("c"), nullptr);
  const CheckpointTensor* b = (*checkpoint)->Find("b");
  ASSERT_NE(b, nullptr);
  const kernels::TensorView view = (*checkpoint)->View(*b);
  EXPECT_EQ(view.data, b->data) << "aligned data are not copied";
  EXPECT_EQ(view.ToString(), "float32[2]");
  EXPECT_EQ(view.as<float>()[1], 3.5f);
  (*checkpoint)->Release(*b);
  EXPECT_EQ(view.as<float>()[1], 3.5f) << "released pages fault in again";
}

TEST(CheckpointTest, UnalignedDataAreReadThroughACopy) {
  const std::string dir = MakeDir("unaligned");
  Write(dir + "/model.safetensors", FileOf({"a", "b"}, /*padding=*/1));
  auto checkpoint = Checkpoint::Open(dir);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const CheckpointTensor* b = (*checkpoint)->Find("b");
  for (int round = 0; round < 2; ++round) {
    const kernels::TensorView view = (*checkpoint)->View(*b);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data) % 4, 0u);
    EXPECT_EQ(view.as<float>()[0], 2.5f);
    (*checkpoint)->Release(*b);
  }
}

TEST(CheckpointTest, ReadsWhatTheIndexNamesAndNothingElse) {
  const std::string dir = MakeDir("sharded");
  Write(dir + "/one.safetensors", FileOf({"a"}));
  Write(dir + "/two.safetensors", FileOf({"b", "c"}));
  Write(dir + "/consolidated.safetensors", "rubbish that nobody names");
  Write(dir + "/model.safetensors.index.json",
        R"({"metadata":{"total_size":24},
            "weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}})");
  auto checkpoint = Checkpoint::Open(dir);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->tensors().size(), 3u);
  EXPECT_EQ((*checkpoint)->View(*(*checkpoint)->Find("c")).as<float>()[0], 2.5f);
}

TEST(CheckpointTest, BadIndexesGetOneMessage) {
  struct {
    const char* name;
    const char* index;
    absl::StatusCode code;
    std::vector<std::string> message;
  } const cases[] = {
      {"no_json", "{", absl::StatusCode::kInvalidArgument, {"index.json", "not valid JSON"}},
      {"no_map", "{}", absl::StatusCode::kInvalidArgument, {"index.json", "weight_map"}},
      {"empty_map", R"({"weight_map":{}})", absl::StatusCode::kInvalidArgument, {"weight_map"}},
      {"number", R"({"weight_map":{"a":3}})", absl::StatusCode::kInvalidArgument, {"'a'", "not a string"}},
      {"twice",
       R"({"weight_map":{"a":"one.safetensors","a":"two.safetensors"}})",
       absl::StatusCode::kInvalidArgument,
       {"'a' occurs twice"}},
      {"parent",
       R"({"weight_map":{"a":"../one.safetensors"}})",
       absl::StatusCode::kInvalidArgument,
       {"'a'", "'../one.safetensors'", "plain name"}},
      {"absolute", R"({"weight_map":{"a":"/etc/x.safetensors"}})", absl::StatusCode::kInvalidArgument, {"/etc/x"}},
      {"hidden", R"({"weight_map":{"a":".safetensors"}})", absl::StatusCode::kInvalidArgument, {"plain name"}},
      {"pickle", R"({"weight_map":{"a":"one.bin"}})", absl::StatusCode::kInvalidArgument, {"one.bin"}},
      {"no_file", R"({"weight_map":{"a":"three.safetensors"}})", absl::StatusCode::kNotFound, {"three.safetensors"}},
      {"not_there",
       R"({"weight_map":{"a":"one.safetensors","z":"one.safetensors"}})",
       absl::StatusCode::kInvalidArgument,
       {"'z'", "not in one.safetensors"}},
      {"not_named",
       R"({"weight_map":{"b":"two.safetensors"}})",
       absl::StatusCode::kInvalidArgument,
       {"two.safetensors", "'c'", "does not name it"}},
      {"elsewhere",
       R"({"weight_map":{"a":"two.safetensors","b":"two.safetensors","c":"one.safetensors"}})",
       absl::StatusCode::kInvalidArgument,
       {"one.safetensors", "'a'", "puts it in two.safetensors"}},
  };
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.name);
    const std::string dir = MakeDir(bad.name);
    Write(dir + "/one.safetensors", FileOf({"a"}));
    Write(dir + "/two.safetensors", FileOf({"b", "c"}));
    Write(dir + "/model.safetensors.index.json", bad.index);
    auto checkpoint = Checkpoint::Open(dir);
    EXPECT_EQ(checkpoint.status().code(), bad.code) << checkpoint.status();
    for (const std::string& part : bad.message)
      EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr(part));
  }
}

TEST(CheckpointTest, SafetensorsGoBeforeTorchFiles) {
  const std::string dir = MakeDir("both");
  Write(dir + "/pytorch_model.bin", "no archive");
  auto torch = Checkpoint::Open(dir);
  EXPECT_TRUE(absl::IsInvalidArgument(torch.status())) << torch.status();
  EXPECT_THAT(std::string(torch.status().message()), HasSubstr("pytorch_model.bin: no zip archive"));
  Write(dir + "/model.safetensors", FileOf({"a"}));
  EXPECT_TRUE(Checkpoint::Open(dir).ok());
}

TEST(CheckpointTest, DirectoriesWithoutWeightsAreNamed) {
  const std::string dir = MakeDir("nothing");
  EXPECT_TRUE(absl::IsNotFound(Checkpoint::Open(dir).status()));
  EXPECT_THAT(std::string(Checkpoint::Open(dir).status().message()), HasSubstr(dir));
  EXPECT_EQ(mkdir((dir + "/model.safetensors").c_str(), 0755), 0);
  auto directory = Checkpoint::Open(dir);
  EXPECT_TRUE(absl::IsInvalidArgument(directory.status()));
  EXPECT_THAT(std::string(directory.status().message()), HasSubstr("not a regular file"));
  const std::string pipe_dir = MakeDir("pipe");
  EXPECT_EQ(mkfifo((pipe_dir + "/model.safetensors").c_str(), 0644), 0);
  auto pipe = Checkpoint::Open(pipe_dir);
  EXPECT_THAT(std::string(pipe.status().message()), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace quire::worker
