#include "worker/model/long_rope.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"

namespace quire::worker {

absl::Status ReadLongRope(const HfConfig& config, const HfRope& from, int64_t max_position, RopeSpec* rope) {
  rope->scaling = RopeScaling::kLong;
  rope->original_max_position = from.original_max_position.value_or(max_position);
  const struct {
    const char* key;
    const std::vector<double>& values;
    std::optional<double> amplitude;
    LongRopeFactors* out;
  } lists[] = {{"short_factor", from.short_factor, from.short_mscale, &rope->short_factors},
               {"long_factor", from.long_factor, from.long_mscale, &rope->long_factors}};
  const double original = static_cast<double>(rope->original_max_position);
  const double factor = from.factor.value_or(static_cast<double>(max_position) / original);
  double amplitude = 1.0;
  if (factor > 1.0 && original > 1.0) amplitude = std::sqrt(1.0 + std::log(factor) / std::log(original));
  for (const auto& list : lists) {
    if (static_cast<int64_t>(list.values.size()) != rope->dims / 2) {
      return absl::InvalidArgumentError(absl::StrCat(config.file, ": rope key '", list.key, "' has ",
                                                     list.values.size(), " factors for ", rope->dims / 2,
                                                     " rotary pairs"));
    }
    list.out->factors = list.values;
    list.out->amplitude = list.amplitude.value_or(from.attention_factor.value_or(amplitude));
  }
  return absl::OkStatus();
}

void ChooseLongRope(int64_t longest_served, RopeSpec* rope) {
  if (rope->scaling != RopeScaling::kLong) return;
  const bool is_long = longest_served > rope->original_max_position;
  const LongRopeFactors& taken = is_long ? rope->long_factors : rope->short_factors;
  rope->pair_factors = taken.factors;
  rope->attention_factor = taken.amplitude;
}

}  // namespace quire::worker
