#include "worker/model/golden_cases.h"

#include <glog/logging.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace quire::worker {

namespace fs = std::filesystem;

std::string GoldenDir(const std::string& name) { return absl::StrCat("tests/goldens/", name); }

std::vector<GoldenCase> GoldenCases() {
  std::vector<GoldenCase> cases = {{"llama_gqa_sharded", "llama_gqa"}, {"gpt2_hub", "gpt2"}};
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

}  // namespace quire::worker
