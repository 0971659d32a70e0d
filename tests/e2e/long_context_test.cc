// Contexts longer than the model was trained for, through real processes: the golden tokens of the base that such a
// context ends with, on one rank and two, again from the prefix cache; and what is refused without the flag.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

// A tensor of int32 of the golden file.
std::vector<uint32_t> GoldenIds(const std::string& model, const std::string& name) {
  std::ifstream file(absl::StrCat(model, "/golden.safetensors"), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  const auto header = nlohmann::json::parse(bytes.substr(8, header_size));
  const auto& range = header.at(name).at("data_offsets");
  std::vector<uint32_t> ids((range[1].get<size_t>() - range[0].get<size_t>()) / 4);
  std::memcpy(ids.data(), bytes.data() + 8 + header_size + range[0].get<size_t>(), 4 * ids.size());
  return ids;
}

quire::v1::GetModelInfoResponse ModelInfo(Cluster* cluster) {
  grpc::ClientContext context;
  quire::v1::GetModelInfoResponse info;
  EXPECT_TRUE(cluster->stub()->GetModelInfo(&context, quire::v1::GetModelInfoRequest(), &info).ok());
  return info;
}

class LongContextTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::vector<std::string> Flags(std::vector<std::string> more) const {
    more.insert(more.end(), {absl::StrCat("--model=", model_), "--skip_tokenizer_init"});
    return more;
  }
  const std::string model_ = absl::StrCat("tests/goldens/", GetParam());
};

TEST_P(LongContextTest, GoldenTokensBeyondTheTrainedLength) {
  for (const char* ranks : {"--workers=local:1", "--workers=local:2"}) {
    Cluster cluster(Flags({ranks, "--max_model_len=320", "--max_num_seqs=8", "--max_num_batched_tokens=48"}));
    EXPECT_EQ(ModelInfo(&cluster).max_context_length(), 320u);
    EXPECT_EQ(ModelInfo(&cluster).weight_sparsity(), 0.0);
    std::string first_of_long;
    for (int turn = 0; turn < 2; ++turn) {
      for (const int length : {7, 24}) {
        quire::v1::GenerateRequest request = IdsRequest(GoldenIds(model_, absl::StrCat("prompt_", length)), 64);
        request.mutable_sampling_params()->set_ignore_eos(true);
        const Output out = cluster.Generate(request);
        ASSERT_TRUE(out.ok()) << out.status.error_message();
        EXPECT_EQ(absl::StrJoin(out.choices.at(0).output_ids(), " "),
                  absl::StrJoin(GoldenIds(model_, absl::StrCat("greedy_", length)), " "))
            << ranks << ", turn " << turn;
      }
      quire::v1::GenerateRequest request = IdsRequest(GoldenIds(model_, "prompt_200"), 120);
      request.mutable_sampling_params()->set_ignore_eos(true);
      const Output out = cluster.Generate(request);
      ASSERT_TRUE(out.ok()) << out.status.error_message();
      EXPECT_EQ(out.choices.at(0).output_ids_size(), 120) << "to the end of the context";
      EXPECT_EQ(out.choices.at(0).cached_tokens() > 0, turn == 1);
      if (turn == 0) first_of_long = absl::StrJoin(out.choices.at(0).output_ids(), " ");
      EXPECT_EQ(absl::StrJoin(out.choices.at(0).output_ids(), " "), first_of_long) << "the cache changes no token";
    }
  }
}

TEST_P(LongContextTest, WithoutTheFlagContextsEndWithTheTraining) {
  Cluster cluster(Flags({}));
  EXPECT_EQ(ModelInfo(&cluster).max_context_length(), 64u);
  const Output out = cluster.Generate(IdsRequest(GoldenIds(model_, "prompt_200"), 1));
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << out.status.error_message();
  EXPECT_NE(out.status.error_message().find("max_model_len = 64"), std::string::npos) << out.status.error_message();
}

INSTANTIATE_TEST_SUITE_P(Models, LongContextTest, ::testing::Values("rope_dynamic_beyond", "qwen_beyond"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace quire::e2e
