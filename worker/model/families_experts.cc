#include "worker/model/families_experts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace quire::worker {
namespace {

constexpr int64_t kExpertsMax = 4096;
constexpr int64_t kExpertsOfAllLayersMax = 1 << 17;  // bounds what a config alone makes a load allocate
constexpr int64_t kFfnMin = 4;                       // every quarter of the columns has one
constexpr int64_t kFfnMax = 1 << 20;

// The first of the keys that is there.
absl::Status RequireCount(const HfConfig& config, std::initializer_list<const char*> keys, int64_t min, int64_t max,
                          int64_t* out) {
  for (const char* key : keys) {
    const auto found = config.numbers.find(key);
    if (found == config.numbers.end()) continue;
    const double value = found->second;
    if (!(value >= static_cast<double>(min) && value <= static_cast<double>(max)) ||
        value != static_cast<double>(static_cast<int64_t>(value))) {
      return absl::InvalidArgumentError(
          absl::StrCat(config.file, ": '", key, "' is ", value, ", must be an integer in [", min, ", ", max, "]"));
    }
    *out = static_cast<int64_t>(value);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(config.file, ": '", *keys.begin(), "' is missing"));
}

// A layer has experts unless it is listed, every so manieth from the step on.
absl::Status ChooseLayers(const HfConfig& config, ModelSpec* spec) {
  int64_t step = 1;
  if (config.numbers.count("decoder_sparse_step") != 0) {
    if (absl::Status s = RequireCount(config, {"decoder_sparse_step"}, 1, 1024, &step); !s.ok()) return s;
  }
  const auto listed = config.lists.find("mlp_only_layers");
  for (int64_t layer = 0; layer < spec->num_layers; ++layer) {
    const bool is_plain = listed != config.lists.end() &&
                          std::find(listed->second.begin(), listed->second.end(), layer) != listed->second.end();
    spec->experts.layers.push_back(!is_plain && (layer + 1) % step == 0);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadExperts(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  const ExpertKeys& keys = family.experts;
  if (keys.ffn_size == nullptr) return absl::OkStatus();
  ExpertsSpec& experts = spec->experts;
  for (absl::Status s :
       {RequireCount(config, {"num_experts", "num_local_experts", "n_routed_experts"}, 1, kExpertsMax, &experts.count),
        RequireCount(config, {"num_experts_per_tok"}, 1, kExpertsMax, &experts.chosen),
        RequireCount(config, {keys.ffn_size}, kFfnMin, kFfnMax, &experts.ffn_size)}) {
    if (!s.ok()) return s;
  }
  if (keys.shared_ffn_size != nullptr) {
    absl::Status s = RequireCount(config, {keys.shared_ffn_size}, kFfnMin, kFfnMax, &experts.shared_ffn_size);
    if (!s.ok()) return s;
  }
  if (experts.chosen > experts.count) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": 'num_experts_per_tok' is ", experts.chosen,
                                                   ", there are ", experts.count, " experts"));
  }
  if (experts.count * spec->num_layers > kExpertsOfAllLayersMax) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": ", experts.count, " experts in each of ",
                                                   spec->num_layers, " layers are more than ", kExpertsOfAllLayersMax));
  }
  experts.renormalize = true;
  if (keys.renormalize != nullptr) {
    const auto flag = config.flags.find(keys.renormalize);
    experts.renormalize = flag != config.flags.end() && flag->second;
  }
  return ChooseLayers(config, spec);
}

}  // namespace quire::worker
