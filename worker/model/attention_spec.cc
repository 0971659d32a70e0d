#include "worker/model/attention_spec.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "worker/loader/bounded_json.h"

namespace quire::worker {
namespace {

constexpr double kTiny = 1e-6, kHuge = 1e9;

// A number that is positive where it is there. A null counts as 0: none.
absl::Status ReadPositive(const HfConfig& config, const char* key, double absent, double* out) {
  *out = key != nullptr && config.nulls.count(key) > 0 ? 0.0 : NumberOr(config, key, absent);
  if (*out == 0.0 || (*out >= kTiny && *out <= kHuge)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(config.file, ": '", key, "' is ", *out, ", must be in [", kTiny, ", ", kHuge, "]"));
}

absl::Status ReadPositive(const HfConfig& config, const char* key, double absent, float* out) {
  double value = 0;
  absl::Status status = ReadPositive(config, key, absent, &value);
  *out = static_cast<float>(value);
  return status;
}

// A count of layers, such as an interval of them.
absl::Status ReadLayers(const HfConfig& config, const char* key, int64_t min, int64_t absent, int64_t* out) {
  constexpr double kLayersMax = 1 << 20;
  const double value = NumberOr(config, key, static_cast<double>(absent));
  if (!(value >= static_cast<double>(min) && value <= kLayersMax && value == std::floor(value))) {
    return absl::InvalidArgumentError(
        absl::StrCat(config.file, ": '", key, "' is ", value, ", must be an integer in [", min, ", ", kLayersMax, "]"));
  }
  *out = static_cast<int64_t>(value);
  return absl::OkStatus();
}

// [num_layers], true where a layer has the window.
absl::Status FindWindowedLayers(const FamilyRow& family, const HfConfig& config, const ModelSpec& spec,
                                std::vector<bool>* windowed) {
  if (family.windows_by_layer && !config.window_of_layers.empty()) {
    if (config.window_of_layers.size() != static_cast<size_t>(spec.num_layers)) {
      return absl::InvalidArgumentError(absl::StrCat(config.file, ": 'layer_types' has ",
                                                     config.window_of_layers.size(), " entries for ", spec.num_layers,
                                                     " layers"));
    }
    *windowed = config.window_of_layers;
    return absl::OkStatus();
  }
  int64_t interval = 0, first = 0;
  if (family.full_layer_interval > 0) {
    absl::Status s =
        ReadLayers(config, family.full_layer_interval_key, /*min=*/1, family.full_layer_interval, &interval);
    if (!s.ok()) return s;
  }
  if (absl::Status s =
          ReadLayers(config, family.first_window_layer_key, /*min=*/0, family.default_first_window_layer, &first);
      !s.ok()) {
    return s;
  }
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const bool is_full = interval > 0 && (layer + 1) % interval == 0;
    const bool has_rope = spec.layer_has_rope.empty() || spec.layer_has_rope[layer];
    windowed->push_back(!is_full && layer >= first && !(family.windows_where_no_rope && has_rope));
  }
  return absl::OkStatus();
}

absl::Status ReadWindows(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  const bool is_used = family.window == WindowUse::kAlways ||
                       (family.window == WindowUse::kIfFlagged && FlagOr(config, "use_sliding_window", false));
  const int64_t window = config.window_is_named ? config.window.value_or(0) : family.default_window;
  std::vector<bool> windowed(spec->num_layers, false);
  if (is_used) {
    windowed.clear();
    if (absl::Status s = FindWindowedLayers(family, config, *spec, &windowed); !s.ok()) return s;
  }
  // The kind of a layer decides on its rope even where the window is wider than any context.
  if (family.rope_where_windows) spec->layer_has_rope = windowed;
  if (family.default_window_rope_theta > 0) spec->layer_has_window_rope = windowed;
  if (!is_used || window == 0 || window >= spec->max_position) return absl::OkStatus();
  for (const bool has_window : windowed) spec->layer_window.push_back(has_window ? window : 0);
  return absl::OkStatus();
}

absl::Status ReadWindowRope(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  if (spec->layer_has_window_rope.empty()) return absl::OkStatus();
  const HfRope rope = config.window_rope.value_or(HfRope());
  if (rope.type != "default") {
    return absl::UnimplementedError(
        absl::StrCat(config.file, ": rope_type '", Printable(rope.type), "' of layers with a window is not supported"));
  }
  spec->window_rope.dims = spec->rope.dims;
  spec->window_rope.stored_in_neighbours = spec->rope.stored_in_neighbours;
  spec->window_rope.theta = rope.theta.value_or(family.default_window_rope_theta);
  return absl::OkStatus();
}

}  // namespace

PositionKind PositionOf(const FamilyRow& family, const HfConfig& config) {
  const bool is_alibi = family.alibi_key != nullptr && FlagOr(config, family.alibi_key, false);
  return is_alibi ? PositionKind::kAlibi : family.position;
}

absl::Status ReadAttention(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  if (absl::Status s = ReadWindows(family, config, spec); !s.ok()) return s;
  if (absl::Status s = ReadWindowRope(family, config, spec); !s.ok()) return s;
  if (absl::Status s = ReadPositive(config, family.alibi_bias_max_key, 8.0, &spec->alibi_bias_max); !s.ok()) return s;
  spec->alibi_in_bf16 = family.alibi_in_bf16;
  for (const auto& [key, absent, out] :
       {std::make_tuple(family.attention_softcap_key, family.default_attention_softcap, &spec->attention_softcap),
        {family.logits_softcap_key, family.default_logits_softcap, &spec->logits_softcap},
        {family.qkv_limit_key, 0.0, &spec->qkv_limit}}) {
    if (absl::Status s = ReadPositive(config, key, absent, out); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace quire::worker
