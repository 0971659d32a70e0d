#include "worker/model/golden_cases.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace quire::worker {

namespace fs = std::filesystem;

std::string GoldenDir(const std::string& name) { return absl::StrCat("tests/goldens/", name); }

std::vector<GoldenCase> GoldenCases() {
  std::vector<GoldenCase> cases = {
      {"llama_gqa_sharded", "llama_gqa"}, {"gpt2_hub", "gpt2"}, {"gemma3_multimodal", "gemma3"}};
  for (const fs::directory_entry& entry : fs::directory_iterator("tests/goldens")) {
    const std::string name = entry.path().filename().string();
    // The same weights in fewer tensors.
    if (absl::EndsWith(name, "_stacked")) cases.push_back({name, std::string(absl::StripSuffix(name, "_stacked"))});
    if (!fs::exists(entry.path() / "golden.safetensors") || !fs::exists(entry.path() / "model.safetensors")) continue;
    if (!absl::EndsWith(name, "_bf16")) cases.push_back({name, name});
  }
  std::sort(cases.begin(), cases.end(), [](const auto& a, const auto& b) { return a.model < b.model; });
  CHECK_GT(cases.size(), 30u) << "the goldens are not where they should be";
  return cases;
}

FixtureOptions OptionsOf(const GoldenCase& one, const Golden& golden) {
  FixtureOptions options;
  options.model_dir = GoldenDir(one.model);
  const auto longest = golden.find("max_model_len");
  if (longest != golden.end()) options.max_model_len = ToIds(longest->second).at(0);
  return options;
}

std::unique_ptr<ModelFixture> MustLoad(const FixtureOptions& options) {
  auto fixture = ModelFixture::Load(options);
  CHECK(fixture.ok()) << fixture.status();
  return std::move(*fixture);
}

std::vector<int32_t> Prompt(const Golden& golden, int length) {
  return ToIds(golden.at(absl::StrCat("prompt_", length)));
}

LogitRows Prefill(ModelFixture* fixture, int sequence_id, const std::vector<int32_t>& prompt, size_t chunk) {
  fixture->Restart(sequence_id);
  LogitRows rows;
  for (size_t begin = 0; begin < prompt.size(); begin += chunk) {
    const size_t end = std::min(begin + chunk, prompt.size());
    const LogitRows part = fixture->Step({{sequence_id, {prompt.begin() + begin, prompt.begin() + end}}});
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

float MaxDifference(const LogitRows& rows, const std::vector<float>& expected) {
  float worst = 0;
  CHECK_EQ(rows.size() * rows[0].size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const float difference = std::abs(rows[i / rows[0].size()][i % rows[0].size()] - expected[i]);
    if (std::isnan(difference)) return INFINITY;
    worst = std::max(worst, difference);
  }
  return worst;
}

float MinCosine(const LogitRows& rows, const std::vector<float>& expected) {
  double least = 1;
  for (size_t row = 0; row < rows.size(); ++row) {
    double product = 0, ours = 0, theirs = 0;
    for (size_t i = 0; i < rows[row].size(); ++i) {
      const double a = rows[row][i], b = expected[row * rows[row].size() + i];
      product += a * b;
      ours += a * a;
      theirs += b * b;
    }
    const double cosine = product / std::sqrt(ours * theirs);
    least = std::isnan(cosine) ? -1 : std::min(least, cosine);
  }
  return static_cast<float>(least);
}

}  // namespace quire::worker
