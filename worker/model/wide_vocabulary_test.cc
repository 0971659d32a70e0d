// Baichuan2-13B, which only its vocabulary of 125,696 tokens tells from the first generation's 13B, against a reference in
// plain torch (tools/goldens/make_goldens.py, make_baichuan2_13b).
//
// tests/goldens/baichuan2_13b holds the first rows of the tables. Here they are repeated up to the whole vocabulary, those
// of the head at other lengths: as a row counts by its direction, the logits repeat too. A head that is taken as it is
// gives other numbers from the second copy on, and in the first.
#include <glog/logging.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "worker/model/golden_cases.h"
#include "worker/model/model_fixture.h"
#include "worker/model/test_model_files.h"

namespace quire::worker {
namespace {

using nlohmann::json;

constexpr char kName[] = "baichuan2_13b";
constexpr size_t kChunk = 20;

// Replaces a table [rows, cols] of F32 by one of `num_rows` rows: copy i of a row is `length(i)` times as long.
void RepeatRows(ModelFiles* files, const std::string& name, int64_t num_rows, float (*length)(int64_t)) {
  const json entry = files->header.at(name);
  ASSERT_EQ(entry.at("dtype"), "F32");
  const int64_t rows = entry.at("shape")[0], cols = entry.at("shape")[1], begin = entry.at("data_offsets")[0];
  std::vector<float> stored(rows * cols), all(num_rows * cols);
  std::memcpy(stored.data(), files->data.data() + begin, stored.size() * sizeof(float));
  for (int64_t row = 0; row < num_rows; ++row) {
    for (int64_t col = 0; col < cols; ++col) {
      all[row * cols + col] = stored[row % rows * cols + col] * length(row / rows);
    }
  }
  files->header[name + ".rotary_emb.inv_freq"] = entry;  // of no model, and ignored
  const size_t at = files->data.size();
  files->header[name] = {
      {"dtype", "F32"}, {"shape", {num_rows, cols}}, {"data_offsets", {at, at + all.size() * sizeof(float)}}};
  files->data.append(reinterpret_cast<const char*>(all.data()), all.size() * sizeof(float));
}

class WideVocabularyTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ModelFiles files(kName);
    const int64_t vocab_size = files.config.at("vocab_size");
    ASSERT_EQ(vocab_size, 125696);
    RepeatRows(&files, "model.embed_tokens.weight", vocab_size, [](int64_t) { return 1.0f; });
    RepeatRows(&files, "lm_head.weight", vocab_size, [](int64_t copy) { return 0.4f + static_cast<float>(copy % 7); });
    dir_ = WriteDir("wide_vocabulary", files);
  }

  static FixtureOptions Options(int world_size) {
    FixtureOptions options;
    options.model_dir = dir_;
    options.world_size = world_size;
    options.max_logit_rows = kChunk;
    return options;
  }

  // The largest difference of any logit of any copy to the reference's.
  float Difference(const LogitRows& rows, int length) const {
    const std::vector<float>& expected = golden_.at(absl::StrCat("logits_", length));
    const size_t num_stored = expected.size() / rows.size();
    float worst = 0;
    for (size_t row = 0; row < rows.size(); ++row) {
      CHECK_EQ(rows[row].size(), 125696u);
      for (size_t id = 0; id < rows[row].size(); ++id) {
        worst = std::max(worst, std::abs(rows[row][id] - expected[row * num_stored + id % num_stored]));
      }
    }
    return worst;
  }

  // Greedy tokens as their first copies: copies differ by roundings, and continue alike.
  std::vector<int32_t> Greedy(ModelFixture* fixture, int length) const {
    const auto num_stored = static_cast<int32_t>(golden_.at("logits_1").size());
    std::vector<int32_t> ids = fixture->Greedy(1, Prompt(golden_, length), kGreedyTokens);
    for (int32_t& id : ids) id %= num_stored;
    fixture->Restart(1);
    return ids;
  }

  static std::string dir_;
  const Golden golden_ = ReadGolden(GoldenDir(kName) + "/reference.safetensors");
};

std::string WideVocabularyTest::dir_;

TEST_F(WideVocabularyTest, LogitsAndGreedyTokensEqualTheReference) {
  auto fixture = MustLoad(Options(1));
  for (const int length : kGoldenLengths) {
    for (const size_t chunk : {kChunk, size_t{7}, size_t{1}}) {
      if (chunk == 1 && length == 200) continue;  // for time's sake
      EXPECT_LT(Difference(Prefill(fixture.get(), 0, Prompt(golden_, length), chunk), length), kGoldenTolerance)
          << length << " tokens in chunks of " << chunk;
    }
  }
  for (const int length : kGreedyLengths) {
    EXPECT_EQ(Greedy(fixture.get(), length), ToIds(golden_.at(absl::StrCat("greedy_", length))));
  }
}

TEST_F(WideVocabularyTest, RanksAgreeOnEveryBit) {
  const LogitRows alone = Prefill(MustLoad(Options(1)).get(), 0, Prompt(golden_, 24), kChunk);
  for (const int world_size : {2, 4}) {
    auto group = MustLoad(Options(world_size));
    EXPECT_EQ(Prefill(group.get(), 0, Prompt(golden_, 24), kChunk), alone) << world_size << " ranks";
    EXPECT_EQ(Greedy(group.get(), 7), ToIds(golden_.at("greedy_7"))) << world_size << " ranks";
  }
}

TEST_F(WideVocabularyTest, LoadsInBfloat16) {
  FixtureOptions options = Options(1);
  options.dtype = "bfloat16";
  LogitRows rows = Prefill(MustLoad(options).get(), 0, Prompt(golden_, 24), kChunk);
  for (auto& row : rows) row.resize(golden_.at("logits_1").size());
  EXPECT_GT(MinCosine(rows, golden_.at("logits_24")), kGoldenCosine);
}

// The same file as a model of the first generation: its head is taken as it is.
TEST_F(WideVocabularyTest, OneTokenLessIsTheFirstGeneration) {
  ModelFiles files(kName);
  files.config["vocab_size"] = 125695;
  for (const char* table : {"model.embed_tokens.weight", "lm_head.weight"}) {
    RepeatRows(&files, table, 125695, [](int64_t copy) { return 1.0f + static_cast<float>(copy > 0); });
  }
  FixtureOptions options = Options(1);
  options.model_dir = WriteDir("first_generation", files);
  const LogitRows rows = Prefill(MustLoad(options).get(), 0, Prompt(golden_, 7), kChunk);
  const size_t num_stored = golden_.at("logits_1").size();
  EXPECT_GT(std::abs(rows[6][num_stored] - rows[6][0]), 0.01f) << "a copy twice as long counts twice";
}

}  // namespace
}  // namespace quire::worker
