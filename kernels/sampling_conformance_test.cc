// The sampler: its definition by hand-made rows and by frequencies, and every backend against the reference, token by
// token.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "kernels/conformance.h"
#include "kernels/sampling_math.h"

namespace quire::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNaN = std::nanf("");

using SamplingConformance = ExactConformanceTest;

int32_t SampleOne(Backend* backend, const std::vector<float>& given, const SampleRow& row) {
  SharedVector<float> logits(given.begin(), given.end());
  std::vector<SampleResult> results(1);
  const TensorView view = MakeView(logits.data(), DType::kF32, {1, static_cast<int64_t>(logits.size())});
  backend->Sample(view, {row}, absl::MakeSpan(results));
  return results[0].token;
}

SampleRow Greedy() {
  SampleRow row;
  row.temperature = 0.0f;
  return row;
}

TEST_P(SamplingConformance, GreedyTiesNaNAndInfinities) {
  Backend* b = backend_.get();
  EXPECT_EQ(SampleOne(b, {1, 3, 2, 3}, Greedy()), 1);
  EXPECT_EQ(SampleOne(b, {kNaN, 1, kNaN, 2}, Greedy()), 3);
  EXPECT_EQ(SampleOne(b, {kNaN, -kInfinity}, Greedy()), 0);
  EXPECT_EQ(SampleOne(b, std::vector<float>(40, -kInfinity), Greedy()), 0);
  EXPECT_EQ(SampleOne(b, {0, kInfinity, kInfinity}, Greedy()), 1);
  EXPECT_EQ(SampleOne(b, {0, kInfinity, kInfinity}, SampleRow{}), 1);
  EXPECT_EQ(SampleOne(b, {-5}, SampleRow{}), 0);
  std::vector<float> wide(1000, 0.0f);
  for (int64_t at : {0, 15, 16, 63, 64, 511, 998, 999}) {
    wide[at] = 2.0f;
    EXPECT_EQ(SampleOne(b, wide, Greedy()), at);
    wide[at] = 0.0f;
  }
}

// Two-token prefixes of a row whose probabilities are known: 0.5, 0.25, 0.125, 0.125.
TEST_P(SamplingConformance, FiltersKeepExactlyWhatTheyName) {
  const std::vector<float> logits = {std::log(0.125f), std::log(0.5f), std::log(0.125f), std::log(0.25f)};
  const auto seen = [&](SampleRow row) {
    std::set<int32_t> tokens;
    for (row.seed = 0; row.seed < 400; ++row.seed) tokens.insert(SampleOne(backend_.get(), logits, row));
    return tokens;
  };
  SampleRow row;
  EXPECT_EQ(seen(row), (std::set<int32_t>{0, 1, 2, 3}));
  row.top_k = 1;
  EXPECT_EQ(seen(row), (std::set<int32_t>{1}));
  row.top_k = 3;  // of the two equal ones, the lower id
  EXPECT_EQ(seen(row), (std::set<int32_t>{0, 1, 3}));
  row = {};
  row.top_p = 0.45f;
  EXPECT_EQ(seen(row), (std::set<int32_t>{1}));
  row.top_p = 0.6f;
  EXPECT_EQ(seen(row), (std::set<int32_t>{1, 3}));
  row.top_p = 0.8f;
  EXPECT_EQ(seen(row), (std::set<int32_t>{0, 1, 3}));
  row = {};
  row.min_p = 0.4f;  // 0.25 / 0.5 passes, 0.125 / 0.5 does not
  EXPECT_EQ(seen(row), (std::set<int32_t>{1, 3}));
  row.min_p = 1.0f;
  EXPECT_EQ(seen(row), (std::set<int32_t>{1}));
  row = {};
  row.top_k = 2;
  row.top_p = 0.6f;  // of what top-k left, 0.5 has two thirds
  EXPECT_EQ(seen(row), (std::set<int32_t>{1}));
}

TEST_P(SamplingConformance, FrequenciesFollowTheDistribution) {
  const std::vector<double> p = {0.05, 0.4, 0.3, 0.2, 0.05};
  std::vector<float> logits;
  for (double value : p) logits.push_back(static_cast<float>(std::log(value) * 2.0 + 7.0));
  SampleRow row;
  row.temperature = 2.0f;
  row.seed = 99;
  std::vector<int> count(p.size(), 0);
  constexpr int kDraws = 20000;
  for (row.position = 0; row.position < kDraws; ++row.position) ++count[SampleOne(backend_.get(), logits, row)];
  for (size_t i = 0; i < p.size(); ++i) {
    EXPECT_NEAR(count[i], kDraws * p[i], 5 * std::sqrt(kDraws * p[i] * (1 - p[i]))) << "token " << i;
  }
}

// Rows of many kinds and lengths; the reference decides.
TEST_P(SamplingConformance, SameTokensAndLogProbsAsTheReference) {
  CpuBackendOptions options;
  options.reference = true;
  const auto reference = CreateCpuBackend(options).value();
  std::mt19937 rng(17);
  for (int64_t vocab : {1, 5, 63, 64, 65, 200, 1023, 3000}) {
    constexpr int64_t kRows = 96;
    Guarded logits(DType::kF32, {kRows, vocab});
    std::vector<SampleRow> rows(kRows);
    for (int64_t i = 0; i < kRows; ++i) {
      std::normal_distribution<float> normal(0.0f, i % 3 == 0 ? 0.3f : i % 3 == 1 ? 3.0f : 12.0f);
      for (int64_t v = 0; v < vocab; ++v) logits.set(i, v, i % 8 == 7 ? std::round(normal(rng)) : normal(rng));
      if (i % 11 == 10) logits.set(i, vocab / 2, i % 2 ? kNaN : -kInfinity);
      rows[i].seed = rng() * 4294967297ull;
      rows[i].position = rng() % 1000;
      rows[i].choice = rng() % 4;
      const float temperatures[] = {1.0f, 0.0f, 0.3f, 1.7f, 1e-6f};
      const float top_ps[] = {1.0f, 0.9f, 0.5f, 1.0f, 0.999f, 1e-6f};
      const int32_t top_ks[] = {0, 0, 1, 5, 50, 5000, 0};
      const float min_ps[] = {0.0f, 0.0f, 0.05f, 0.5f, 0.0f, 1.0f};
      rows[i].temperature = temperatures[rng() % 5];
      rows[i].top_p = top_ps[rng() % 6];
      rows[i].top_k = top_ks[rng() % 7];
      rows[i].min_p = min_ps[rng() % 6];
      rows[i].num_logprobs = static_cast<int32_t>(rng() % 12) - 1;
    }
    std::vector<SampleResult> expected(kRows), got(kRows);
    reference->LogProbs(logits.view(), rows, absl::MakeSpan(expected));
    reference->Sample(logits.view(), rows, absl::MakeSpan(expected));
    backend_->LogProbs(logits.view(), rows, absl::MakeSpan(got));
    backend_->Sample(logits.view(), rows, absl::MakeSpan(got));
    logits.ExpectGuardsIntact();
    for (int64_t i = 0; i < kRows; ++i) {
      const std::string where =
          absl::StrCat("vocab ", vocab, " row ", i, " temperature ", rows[i].temperature, " top_p ", rows[i].top_p,
                       " top_k ", rows[i].top_k, " min_p ", rows[i].min_p);
      ASSERT_EQ(got[i].token, expected[i].token) << where;
      if (rows[i].num_logprobs < 0) continue;
      ASSERT_EQ(got[i].top.size(), std::min<size_t>(rows[i].num_logprobs, vocab)) << where;
      for (size_t j = 0; j < got[i].top.size(); ++j) {
        ASSERT_EQ(got[i].top[j].first, expected[i].top[j].first) << where;
        const float difference = std::abs(got[i].top[j].second - expected[i].top[j].second);
        ASSERT_TRUE(got[i].top[j].second == expected[i].top[j].second || difference < 2e-5) << where << " top " << j;
      }
      ASSERT_TRUE(got[i].logprob == expected[i].logprob || std::abs(got[i].logprob - expected[i].logprob) < 2e-5)
          << where << ": " << got[i].logprob << " instead of " << expected[i].logprob;
    }
  }
}

TEST_P(SamplingConformance, EditsInOrderAndLogprobsOfTheRawRow) {
  Guarded logits(DType::kF32, {2, 6});
  const float raw[] = {1.0f, -2.0f, 3.0f, 0.5f, 4.0f, -1.0f};
  for (int64_t i = 0; i < 6; ++i) {
    logits.set(0, i, raw[i]);
    logits.set(1, i, raw[i]);
  }
  const std::vector<std::pair<int32_t, float>> bias = {{0, 9.0f}, {1, 1.0f}};
  const std::vector<int32_t> banned = {4}, seen = {0, 1, 2}, counts = {2, 1, 0};
  std::vector<LogitEdits> edits(2);
  edits[0].bias = bias;
  edits[0].banned = banned;
  edits[0].seen = seen;
  edits[0].seen_counts = counts;
  edits[0].repetition_penalty = 2.0f;
  edits[0].frequency_penalty = 0.5f;
  edits[0].presence_penalty = 0.25f;
  std::vector<SampleRow> rows(2, Greedy());
  rows[0].num_logprobs = 2;
  rows[1].num_logprobs = 0;
  std::vector<SampleResult> results(2);
  backend_->LogProbs(logits.view(), rows, absl::MakeSpan(results));
  backend_->EditLogits(logits.view(), edits, absl::MakeSpan(results));
  const float edited[] = {(1.0f + 9.0f) / 2.0f - 2 * 0.5f - 0.25f,
                          (-2.0f + 1.0f) * 2.0f - 0.5f - 0.25f,
                          3.0f / 2.0f,
                          0.5f,
                          -kInfinity,
                          -1.0f};
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(logits.at(0, i), edited[i]) << i;
    EXPECT_EQ(logits.at(1, i), raw[i]) << i;
  }
  backend_->Sample(logits.view(), rows, absl::MakeSpan(results));
  double sum = 0.0;
  for (float value : raw) sum += std::exp(double{value});
  EXPECT_EQ(results[0].token, 0);
  EXPECT_NEAR(results[0].logprob, raw[0] - std::log(sum), 1e-6);
  EXPECT_EQ(results[1].token, 4);
  EXPECT_NEAR(results[1].logprob, raw[4] - std::log(sum), 1e-6);
  ASSERT_EQ(results[0].top.size(), 2u);
  EXPECT_EQ(results[0].top[0].first, 4);
  EXPECT_EQ(results[0].top[1].first, 2);
  EXPECT_NEAR(results[0].top[1].second, raw[2] - std::log(sum), 1e-6);
  EXPECT_TRUE(results[1].top.empty());
}

// What 200 draws give of a row after edits, each with the log-prob that the raw row has for it.
std::set<int32_t> DrawnAfter(Backend* backend, const LogitEdits& edits, const SharedVector<float>& base) {
  SharedVector<float> logits = base;
  const auto most = static_cast<int32_t>(std::max_element(base.begin(), base.end()) - base.begin());
  const TensorView view = MakeView(logits.data(), DType::kF32, {1, static_cast<int64_t>(base.size())});
  std::set<int32_t> drawn;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::copy(base.begin(), base.end(), view.as<float>());
    SampleRow row;
    row.seed = seed;
    row.num_logprobs = 1;
    std::vector<SampleResult> results(1);
    backend->LogProbs(view, {row}, absl::MakeSpan(results));
    backend->EditLogits(view, {edits}, absl::MakeSpan(results));
    backend->Sample(view, {row}, absl::MakeSpan(results));
    const SampleResult& result = results[0];
    drawn.insert(result.token);
    EXPECT_EQ(result.top[0].first, most) << "raw";
    EXPECT_NEAR(result.logprob, result.top[0].second + base[result.token] - base[most], 1e-5);
  }
  return drawn;
}

// Only allowed ids are drawn; bans and bias come on top.
TEST_P(SamplingConformance, OnlyAllowedIdsAreDrawn) {
  SharedVector<float> base(300, 0.0f);
  base[7] = 5.0f;
  base[20] = 3.0f;
  const std::vector<int32_t> allowed = {20, 21, 299}, banned = {21};
  const std::vector<std::pair<int32_t, float>> bias = {{299, 2.0f}, {7, 50.0f}};
  LogitEdits edits;
  edits.allowed = allowed;
  edits.bias = bias;
  edits.banned = banned;
  EXPECT_EQ(DrawnAfter(backend_.get(), edits, base), (std::set<int32_t>{20, 299}));
}

// Only ids whose bits are set are drawn, on top of what the other edits forbid.
TEST_P(SamplingConformance, OnlyIdsOfTheMaskAreDrawn) {
  SharedVector<float> base(75, 0.0f);  // the last word is not full
  base[3] = 6.0f;
  base[40] = 2.0f;
  const std::vector<uint32_t> mask = {0, (1u << 8) | (1u << 9) | (1u << 31), 1u << 10};  // 40, 41, 63, 74
  const std::vector<int32_t> banned = {41};
  LogitEdits edits;
  edits.mask = mask;
  edits.banned = banned;
  EXPECT_EQ(DrawnAfter(backend_.get(), edits, base), (std::set<int32_t>{40, 63, 74}));
}

// A given token is not drawn, whatever the row's filters are; its log-prob is that of the raw row.
TEST_P(SamplingConformance, GivenTokensAreScoredNotDrawn) {
  SharedVector<float> logits = {std::log(0.125f), std::log(0.5f), std::log(0.125f), std::log(0.25f)};
  const TensorView view = MakeView(logits.data(), DType::kF32, {1, 4});
  for (int32_t given = 0; given < 4; ++given) {
    SampleRow row;
    row.top_k = 1;
    row.given = given;
    for (const int32_t num_logprobs : {0, 2}) {
      row.num_logprobs = num_logprobs;
      std::vector<SampleResult> results(1);
      backend_->LogProbs(view, {row}, absl::MakeSpan(results));
      backend_->Sample(view, {row}, absl::MakeSpan(results));
      EXPECT_EQ(results[0].token, given);
      EXPECT_NEAR(results[0].logprob, logits[given], 1e-6);
      ASSERT_EQ(results[0].top.size(), static_cast<size_t>(num_logprobs));
      if (num_logprobs > 0) {
        EXPECT_EQ(results[0].top[0].first, 1);
      }
    }
  }
}

TEST_P(SamplingConformance, LargeVocabulary) {
  CpuBackendOptions options;
  options.reference = true;
  const auto reference = CreateCpuBackend(options).value();
  Guarded logits(DType::kF32, {1, 50257});
  logits.Randomize(4, 2.5f);
  SampleRow row;
  for (row.seed = 0; row.seed < 12; ++row.seed) {
    row.top_p = row.seed % 3 == 1 ? 0.95f : 1.0f;
    row.top_k = row.seed % 3 == 2 ? 40 : 0;
    std::vector<SampleResult> expected(1), got(1);
    reference->Sample(logits.view(), {row}, absl::MakeSpan(expected));
    backend_->Sample(logits.view(), {row}, absl::MakeSpan(got));
    EXPECT_EQ(got[0].token, expected[0].token) << row.seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, SamplingConformance, testing::ValuesIn(BackendsUnderTest()), BackendLabel);

TEST(SamplingMath, NearTheTrueFunctions) {
  for (int i = 0; i <= 200000; ++i) {
    const float x = -87.0f * static_cast<float>(i) / 200000;
    ASSERT_NEAR(SamplingExp(x) / std::exp(double{x}), 1.0, 4e-7) << x;
  }
  EXPECT_EQ(SamplingExp(0.0f), 1.0f);
  EXPECT_EQ(SamplingExp(-88.0f), 0.0f);
  EXPECT_EQ(SamplingExp(-kInfinity), 0.0f);
  for (uint32_t bits = FloatBits(1e-8f); bits < FloatBits(100.0f); bits += 997) {
    const float x = FloatFromBits(bits);
    const double exact = std::log(double{x});
    ASSERT_NEAR(SamplingLog(x), exact, 2e-7 * std::max(1e-7, std::abs(exact)) + (std::abs(x - 1) < 0.5 ? 0 : 1e-7))
        << x;
  }
}

TEST(SamplingMath, NoiseStaysInItsBounds) {
  float least = kInfinity;
  float most = -kInfinity;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 512 * 37) {
    const float noise = GumbelNoise(static_cast<uint32_t>(bits));
    least = std::min(least, noise);
    most = std::max(most, noise);
  }
  most = std::max(most, GumbelNoise(0xffffffffu));
  EXPECT_EQ(least, GumbelNoise(0));
  EXPECT_GE(least, kMinGumbel);
  EXPECT_LE(most, kMaxGumbel);
  EXPECT_GT(most, kMaxGumbel - 0.001f);
}

}  // namespace
}  // namespace quire::kernels
