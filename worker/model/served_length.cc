#include "worker/model/served_length.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "worker/model/long_rope.h"

namespace quire::worker {
namespace {

constexpr int64_t kLongest = 1 << 24;  // as a config may name it

// How many times the base, before the power, for contexts of `length` tokens.
double GrowthOf(const RopeSpec& rope, int64_t length) {
  const double ratio = static_cast<double>(length) / static_cast<double>(rope.trained_length);
  switch (rope.growth) {
    case BaseGrowth::kNone:
      return 1.0;
    case BaseGrowth::kSmooth:
      return std::max(1.0, rope.factor * ratio - (rope.factor - 1.0));
    case BaseGrowth::kDoubling:
      return std::max(1.0, std::exp2(std::ceil(std::log2(ratio) + 1.0)) - 1.0);
  }
  LOG(FATAL) << "growth " << static_cast<int>(rope.growth);
}

absl::Status GrowBase(const HfConfig& config, int64_t longest_served, RopeSpec* rope) {
  if (rope->growth == BaseGrowth::kNone || longest_served <= rope->trained_length) return absl::OkStatus();
  if (rope->dims <= 2) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": contexts of ", longest_served, " tokens, over ",
                                                   rope->trained_length, ", need more than ", rope->dims,
                                                   " rotary dimensions"));
  }
  const double dims = static_cast<double>(rope->dims);
  rope->theta *= std::pow(GrowthOf(*rope, longest_served), dims / (dims - 2.0));
  LOG(WARNING) << config.file << ": contexts of " << longest_served << " tokens are served, trained were "
               << rope->trained_length << ": the rope's base is " << rope->theta << " for all requests";
  return absl::OkStatus();
}

// Of families that name the trained length beside the longest one.
absl::Status ReadTrainedLength(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  const double longest = static_cast<double>(spec->max_position);
  const auto trained =
      static_cast<int64_t>(std::min(std::max(NumberOr(config, family.trained_length_key, longest), 2.0), longest));
  spec->rope.trained_length = trained;
  if (FlagOr(config, family.base_growth_key, true)) spec->rope.growth = BaseGrowth::kDoubling;
  if (!FlagOr(config, family.query_growth_key, true)) return absl::OkStatus();
  spec->queries_grow_beyond = trained;
  if (spec->rope.dims == spec->head_dim) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(config.file, ": '", family.query_growth_key, "' with ", spec->rope.dims,
                                               " rotary dimensions of ", spec->head_dim, " is not supported"));
}

}  // namespace

absl::Status SetServedLength(const FamilyRow& family, const HfConfig& config, int64_t max_model_len, ModelSpec* spec) {
  if (spec->position == PositionKind::kLearned) return absl::OkStatus();  // the table says how many there are
  int64_t longest = spec->max_position, trained = longest;
  if (family.trained_length_key != nullptr) {
    if (absl::Status s = ReadTrainedLength(family, config, spec); !s.ok()) return s;
    if (spec->rope.growth != BaseGrowth::kNone || spec->queries_grow_beyond > 0) trained = spec->rope.trained_length;
  } else if (spec->rope.growth == BaseGrowth::kSmooth) {
    longest = kLongest;
    spec->rope.trained_length = trained;
  }
  spec->max_position = max_model_len > 0 ? std::min(max_model_len, longest) : trained;
  if (spec->queries_grow_beyond >= spec->max_position) spec->queries_grow_beyond = 0;
  ChooseLongRope(spec->max_position, &spec->rope);
  return GrowBase(config, spec->max_position, &spec->rope);
}

}  // namespace quire::worker
