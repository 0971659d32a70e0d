#include "worker/model/families.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/loader/bounded_json.h"
#include "worker/model/attention_spec.h"
#include "worker/model/families_experts.h"
#include "worker/model/long_rope.h"
#include "worker/model/served_length.h"

namespace quire::worker {
namespace {

using kernels::ActivationKind;

constexpr double kThetaMin = 1e-3, kThetaMax = 1e12;

bool Contains(const std::vector<const char*>& names, const std::string& name) {
  for (const char* candidate : names) {
    if (name == candidate) return true;
  }
  return false;
}

absl::StatusOr<ActivationKind> FindActivation(const HfConfig& config, const std::string& name) {
  static constexpr struct {
    const char* name;
    ActivationKind kind;
  } kActivations[] = {
      {"silu", ActivationKind::kSilu},          {"swish", ActivationKind::kSilu},
      {"gelu", ActivationKind::kGeluErf},       {"gelu_new", ActivationKind::kGeluTanh},
      {"gelu_fast", ActivationKind::kGeluTanh}, {"gelu_pytorch_tanh", ActivationKind::kGeluTanh},
      {"relu", ActivationKind::kRelu},
  };
  for (const auto& activation : kActivations) {
    if (name == activation.name) return activation.kind;
  }
  return absl::UnimplementedError(absl::StrCat(config.file, ": activation '", Printable(name), "' is not supported"));
}

bool Holds(const Condition& condition, const HfConfig& config) {
  if (condition.kind == Condition::kNameHas) return absl::StrContains(config.name_or_path, condition.key);
  const auto flag = config.flags.find(condition.key);
  const auto number = config.numbers.find(condition.key);
  const bool is_flag = flag != config.flags.end(), is_there = is_flag || number != config.numbers.end();
  if (condition.kind != Condition::kEquals) return is_there == (condition.kind == Condition::kIsThere);
  const double value = is_flag ? flag->second : is_there ? number->second : condition.absent;
  return value == condition.value;
}

bool IsSelected(const FamilyRow& row, const HfConfig& config) {
  return std::all_of(row.conditions.begin(), row.conditions.end(),
                     [&](const Condition& condition) { return Holds(condition, config); });
}

absl::Status CheckFixedFlags(const FamilyRow& family, const HfConfig& config) {
  for (const FixedFlag& flag : family.fixed_flags) {
    if (FlagOr(config, flag.key, flag.value) == flag.value) continue;
    return absl::UnimplementedError(
        absl::StrCat(config.file, ": '", flag.key, "' ", flag.value ? "false" : "true", " is not supported"));
  }
  for (const FixedString& fixed : family.fixed_strings) {
    const auto found = config.strings.find(fixed.key);
    if (found == config.strings.end() || (fixed.value != nullptr && found->second == fixed.value)) continue;
    return absl::UnimplementedError(
        absl::StrCat(config.file, ": '", fixed.key, "' '", Printable(found->second), "' is not supported"));
  }
  return absl::OkStatus();
}

// Copies a key that must be there.
absl::Status Require(const HfConfig& config, const char* key, std::optional<int64_t> value, int64_t* out) {
  if (!value.has_value()) return absl::InvalidArgumentError(absl::StrCat(config.file, ": '", key, "' is missing"));
  *out = *value;
  return absl::OkStatus();
}

// What the config says of tensors that a file of the family may have or not.
void ReadPromises(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  for (const TensorRule& rule : family.tensors) {
    for (const char* flag : rule.flags) {
      const auto said = config.flags.find(flag);
      if (said != config.flags.end()) (said->second ? spec->promised : spec->denied).insert(flag);
    }
  }
}

// An integer under a key that only one family has.
absl::StatusOr<int64_t> IntegerOr(const HfConfig& config, const char* key, int64_t absent, int64_t max) {
  const double value = NumberOr(config, key, static_cast<double>(absent));
  if (value >= 1 && value <= static_cast<double>(max) && value == std::floor(value)) return static_cast<int64_t>(value);
  return absl::InvalidArgumentError(
      absl::StrCat(config.file, ": '", key, "' is ", value, ", must be an integer in [1, ", max, "]"));
}

absl::Status ReadHeads(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  spec->num_kv_heads =
      config.num_kv_heads.value_or(family.default_num_kv_heads > 0 ? family.default_num_kv_heads : spec->num_heads);
  if (family.kv_heads_key != nullptr) {
    const absl::StatusOr<int64_t> heads = IntegerOr(config, family.kv_heads_key, 1, spec->num_heads);
    if (!heads.ok()) return heads.status();
    spec->num_kv_heads = *heads;
  }
  if (family.kv_heads_by_multi_query) spec->num_kv_heads = FlagOr(config, "multi_query", true) ? 1 : spec->num_heads;
  if (spec->num_heads % spec->num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": num_attention_heads ", spec->num_heads,
                                                   " is not a multiple of num_key_value_heads ", spec->num_kv_heads));
  }
  if (!config.head_dim.has_value() && family.default_head_dim == 0 && spec->hidden_size % spec->num_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": hidden_size ", spec->hidden_size,
                                                   " is not a multiple of num_attention_heads ", spec->num_heads));
  }
  spec->head_dim = config.head_dim.value_or(family.default_head_dim > 0 ? family.default_head_dim
                                                                        : spec->hidden_size / spec->num_heads);
  return absl::OkStatus();
}

absl::Status ReadSizes(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  const auto or_default = [](std::optional<int64_t> value, int64_t absent) {
    return value.has_value() || absent == 0 ? value : absent;
  };
  const std::optional<int64_t> vocab_size = or_default(config.vocab_size, family.default_vocab_size);
  const std::optional<int64_t> num_heads = or_default(config.num_heads, family.default_num_heads);
  if (absl::Status s = Require(config, "vocab_size", vocab_size, &spec->vocab_size); !s.ok()) return s;
  if (absl::Status s = Require(config, "hidden_size", config.hidden_size, &spec->hidden_size); !s.ok()) return s;
  if (absl::Status s = Require(config, "num_hidden_layers", config.num_layers, &spec->num_layers); !s.ok()) return s;
  if (absl::Status s = Require(config, "num_attention_heads", num_heads, &spec->num_heads); !s.ok()) return s;
  const std::optional<int64_t> max_position = or_default(config.max_position, family.default_max_position);
  if (absl::Status s = Require(config, "max_position_embeddings", max_position, &spec->max_position); !s.ok()) return s;
  std::optional<int64_t> ffn_size = config.ffn_size;
  if (!ffn_size.has_value() && family.default_ffn_multiple > 0) {
    const double multiple = NumberOr(config, family.ffn_multiple_key, static_cast<double>(family.default_ffn_multiple));
    if (!(multiple >= 1.0 && multiple <= 64.0)) {
      return absl::InvalidArgumentError(
          absl::StrCat(config.file, ": '", family.ffn_multiple_key, "' is ", multiple, ", must be in [1, 64]"));
    }
    ffn_size = static_cast<int64_t>(multiple * static_cast<double>(spec->hidden_size));
  }
  if (absl::Status s = Require(config, "intermediate_size", ffn_size, &spec->ffn_size); !s.ok()) return s;
  if (spec->ffn_size % family.ffn_divisor != 0) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": intermediate_size ", spec->ffn_size,
                                                   " is not a multiple of ", family.ffn_divisor));
  }
  spec->ffn_size /= family.ffn_divisor;
  if (family.embed_size_key != nullptr) {
    const absl::StatusOr<int64_t> size = IntegerOr(config, family.embed_size_key, spec->hidden_size, 1 << 17);
    if (!size.ok()) return size.status();
    spec->embed_size = *size;
  }
  return ReadHeads(family, config, spec);
}

absl::Status ReadYarn(const HfConfig& config, RopeSpec* rope) {
  const HfRope& from = config.rope;
  rope->beta_fast = from.beta_fast.value_or(32.0);
  rope->beta_slow = from.beta_slow.value_or(1.0);
  rope->truncate = from.truncate.value_or(true);
  if (rope->beta_fast < rope->beta_slow) {
    return absl::InvalidArgumentError(
        absl::StrCat(config.file, ": rope beta_fast ", rope->beta_fast, " is below beta_slow ", rope->beta_slow));
  }
  const auto amplitude = [&](double weight) {
    return rope->factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(rope->factor) + 1.0;
  };
  if (from.attention_factor.has_value()) {
    rope->attention_factor = *from.attention_factor;
  } else if (from.mscale.value_or(0.0) != 0.0 && from.mscale_all_dim.value_or(0.0) != 0.0) {
    rope->attention_factor = amplitude(*from.mscale) / amplitude(*from.mscale_all_dim);
  } else {
    rope->attention_factor = amplitude(1.0);
  }
  return absl::OkStatus();
}

absl::Status ReadLlama3(const HfConfig& config, RopeSpec* rope) {
  const HfRope& from = config.rope;
  if (!from.low_freq_factor.has_value() || !from.high_freq_factor.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(config.file, ": rope key 'low_freq_factor' or 'high_freq_factor' is missing"));
  }
  rope->low_freq_factor = *from.low_freq_factor;
  rope->high_freq_factor = *from.high_freq_factor;
  if (rope->high_freq_factor <= rope->low_freq_factor) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": rope high_freq_factor ", rope->high_freq_factor,
                                                   " is not above low_freq_factor ", rope->low_freq_factor));
  }
  return absl::OkStatus();
}

absl::Status ReadRopeScaling(const HfConfig& config, ModelSpec* spec) {
  const HfRope& from = config.rope;
  RopeSpec& rope = spec->rope;
  if (from.type == "default") return absl::OkStatus();
  if (from.type == "longrope") return ReadLongRope(config, from, spec->max_position, &rope);
  if (from.type != "linear" && from.type != "dynamic" && from.type != "llama3" && from.type != "yarn") {
    return absl::UnimplementedError(
        absl::StrCat(config.file, ": rope_type '", Printable(from.type), "' is not supported"));
  }
  if (!from.factor.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": rope key 'factor' is missing"));
  }
  rope.factor = *from.factor;
  if (from.type == "dynamic") {
    rope.growth = BaseGrowth::kSmooth;
    return absl::OkStatus();
  }
  rope.original_max_position = from.original_max_position.value_or(spec->max_position);
  if (from.type == "linear") {
    rope.scaling = RopeScaling::kLinear;
    return absl::OkStatus();
  }
  rope.scaling = from.type == "yarn" ? RopeScaling::kYarn : RopeScaling::kLlama3;
  return from.type == "yarn" ? ReadYarn(config, &rope) : ReadLlama3(config, &rope);
}

absl::Status ReadRope(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  const HfRope& from = config.rope;
  RopeSpec& rope = spec->rope;
  rope.stored_in_neighbours = family.rope_in_neighbours;
  rope.theta = from.theta.value_or(family.default_rope_theta) * NumberOr(config, family.rope_base_ratio_key, 1.0);
  if (!(rope.theta >= kThetaMin && rope.theta <= kThetaMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat(config.file, ": rope base ", rope.theta, " is not in [", kThetaMin, ", ", kThetaMax, "]"));
  }
  rope.dims = from.rotary_dims.value_or(
      static_cast<int64_t>(spec->head_dim * from.rotary_fraction.value_or(family.default_rotary_fraction)));
  if (rope.dims < 2 || rope.dims % 2 != 0 || rope.dims > spec->head_dim) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": rotary dimension ", rope.dims, " of head_dim ",
                                                   spec->head_dim, " must be even, positive and no larger"));
  }
  if (!config.rope_of_layers.empty() && config.rope_of_layers.size() != static_cast<size_t>(spec->num_layers)) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": 'no_rope_layers' has ", config.rope_of_layers.size(),
                                                   " entries for ", spec->num_layers, " layers"));
  }
  for (const int64_t has_rope : config.rope_of_layers) spec->layer_has_rope.push_back(has_rope != 0);
  if (config.rope_of_layers.empty() && family.rope_free_interval > 0) {
    for (int64_t layer = 1; layer <= spec->num_layers; ++layer) {
      spec->layer_has_rope.push_back(layer % family.rope_free_interval != 0);
    }
  }
  if (const double divisor = NumberOr(config, family.rope_position_divisor_key, 1.0); divisor != 1.0) {
    if (!(divisor >= 1e-3 && divisor <= 1e6)) {
      return absl::InvalidArgumentError(absl::StrCat(config.file, ": '", family.rope_position_divisor_key, "' is ",
                                                     divisor, ", must be in [1e-3, 1e6]"));
    }
    rope.scaling = RopeScaling::kLinear;
    rope.factor = divisor;
  }
  return ReadRopeScaling(config, spec);
}

void ReadScales(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  if (config.scale_attention.value_or(true))
    spec->attention_scale = 1.0f / std::sqrt(static_cast<float>(spec->head_dim));
  if (family.default_attention_scale > 0) spec->attention_scale = static_cast<float>(family.default_attention_scale);
  spec->attention_scale = static_cast<float>(NumberOr(config, family.attention_scale_key, spec->attention_scale));
  const double root = NumberOr(config, family.attention_scale_root_key, family.default_attention_scale_root);
  if (root > 0) spec->attention_scale = static_cast<float>(1.0 / std::sqrt(root));
  spec->attention_scale_by_inverse_layer = config.scale_attention_by_inverse_layer.value_or(false);
  spec->embedding_scale = static_cast<float>(NumberOr(config, family.embedding_scale_key, 1.0));
  spec->embedding_scale_is_root = family.embedding_scale_is_root;
  spec->residual_scale = static_cast<float>(NumberOr(config, family.residual_scale_key, 1.0));
  spec->logits_scale = static_cast<float>(NumberOr(config, family.logits_scale_key, family.default_logits_scale) /
                                          NumberOr(config, family.logits_divisor_key, 1.0));
}

}  // namespace

absl::StatusOr<const FamilyRow*> FindFamily(const HfConfig& config) {
  for (const std::string& architecture : config.architectures) {
    for (const FamilyRow& row : Families()) {
      if (Contains(row.architectures, architecture) && IsSelected(row, config)) return &row;
    }
  }
  if (!config.architectures.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        config.file, ": architecture '", Printable(absl::StrJoin(config.architectures, "', '")), "' is not supported"));
  }
  if (config.model_type.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": neither 'architectures' nor 'model_type' is there"));
  }
  for (const FamilyRow& row : Families()) {
    if (Contains(row.model_types, config.model_type) && IsSelected(row, config)) return &row;
  }
  return absl::UnimplementedError(
      absl::StrCat(config.file, ": model_type '", Printable(config.model_type), "' is not supported"));
}

absl::StatusOr<ModelSpec> MakeModelSpec(const FamilyRow& family, const HfConfig& config, int64_t max_model_len) {
  ModelSpec spec;
  if (absl::Status s = CheckFixedFlags(family, config); !s.ok()) return s;
  if (absl::Status s = ReadSizes(family, config, &spec); !s.ok()) return s;
  spec.norm = family.norm;
  spec.norms_are_plain = !FlagOr(config, family.norm_weights_key, true);
  spec.norm_eps = static_cast<float>(config.norm_eps.value_or(family.default_norm_eps));
  spec.position = PositionOf(family, config);
  if (spec.position == PositionKind::kRope) {
    if (absl::Status s = ReadRope(family, config, &spec); !s.ok()) return s;
  }
  if (absl::Status s = SetServedLength(family, config, max_model_len, &spec); !s.ok()) return s;
  if (absl::Status s = ReadAttention(family, config, &spec); !s.ok()) return s;
  std::string activation_name = config.activation.value_or(family.default_activation);
  if (family.fixed_activation != nullptr) activation_name = family.fixed_activation;
  auto activation = FindActivation(config, activation_name);
  if (!activation.ok()) return activation.status();
  spec.activation = *activation;
  spec.gated = family.gated;
  spec.tied_head = config.tied_head.value_or(family.default_tied_head);
  spec.norm_adds_one = family.norm_adds_one;
  spec.norms_follow = family.norms_follow;
  spec.head_norm = family.head_norm;
  spec.has_head_norm = family.head_norm_key == nullptr || FlagOr(config, family.head_norm_key, false);
  if (!spec.has_head_norm) spec.head_norm = HeadNorm::kShared;
  spec.queries_are_centered = spec.head_norm == HeadNorm::kWhole && family.norm == kernels::NormKind::kLayer;
  if (spec.queries_are_centered && spec.qkv_limit > 0.0f) {  // the limit comes before the mean
    return absl::UnimplementedError(absl::StrCat(config.file, ": '", family.qkv_limit_key, "' ", spec.qkv_limit,
                                                 " is not supported beside '", family.head_norm_key, "'"));
  }
  spec.head_rows_have_length_one = family.head_rows_have_length_one;
  spec.skipped_positions = family.skipped_positions;
  spec.parallel_residual = family.default_parallel;
  if (family.parallel_key != nullptr) {
    spec.parallel_residual = FlagOr(config, family.parallel_key, family.default_parallel);
  }
  if (family.residual_from_norm_key != nullptr) {
    spec.residual_from_norm = FlagOr(config, family.residual_from_norm_key, false);
  }
  ReadScales(family, config, &spec);
  ReadPromises(family, config, &spec);
  if (absl::Status s = ReadExperts(family, config, &spec); !s.ok()) return s;
  return spec;
}

}  // namespace quire::worker
