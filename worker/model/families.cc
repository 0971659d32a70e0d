#include "worker/model/families.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/loader/bounded_json.h"

namespace quire::worker {
namespace {

using kernels::ActivationKind;
using kernels::NormKind;

constexpr Layout kPlain = Layout::kConcat;
constexpr Layout kConv1d = Layout::kConcatTransposed;

// A weight and its optional bias, as most families have them.
void AddLinear(const char* weight, const char* bias, Role role, std::vector<TensorRule>* rules) {
  rules->push_back({weight, Need::kMust, Part::kWeight, kPlain, {role}});
  rules->push_back({bias, Need::kMaybe, Part::kBias, kPlain, {role}});
}

FamilyRow LlamaRow() {
  FamilyRow row;
  row.architectures = {"LlamaForCausalLM", "LLaMAForCausalLM", "AquilaForCausalLM", "AquilaModel", "XverseForCausalLM"};
  row.model_types = {"llama"};
  row.prefixes = {"model."};
  row.norm = NormKind::kRms;
  row.default_norm_eps = 1e-6;
  row.position = PositionKind::kRope;
  row.default_activation = "silu";
  row.gated = true;
  row.default_tied_head = false;
  row.default_ffn_multiple = 0;
  std::vector<TensorRule>& t = row.tensors;
  t = {
      {"{P}embed_tokens.weight", Need::kMust, Part::kWeight, kPlain, {Role::kEmbedding}},
      {"{P}norm.weight", Need::kMust, Part::kWeight, kPlain, {Role::kFinalNorm}},
      {"lm_head.weight", Need::kUnlessTied, Part::kWeight, kPlain, {Role::kHead}},
      {"{P}layers.{N}.input_layernorm.weight", Need::kMust, Part::kWeight, kPlain, {Role::kNorm1}},
      {"{P}layers.{N}.post_attention_layernorm.weight", Need::kMust, Part::kWeight, kPlain, {Role::kNorm2}},
  };
  AddLinear("{P}layers.{N}.self_attn.q_proj.weight", "{P}layers.{N}.self_attn.q_proj.bias", Role::kQuery, &t);
  AddLinear("{P}layers.{N}.self_attn.k_proj.weight", "{P}layers.{N}.self_attn.k_proj.bias", Role::kKey, &t);
  AddLinear("{P}layers.{N}.self_attn.v_proj.weight", "{P}layers.{N}.self_attn.v_proj.bias", Role::kValue, &t);
  AddLinear("{P}layers.{N}.self_attn.o_proj.weight", "{P}layers.{N}.self_attn.o_proj.bias", Role::kOutput, &t);
  AddLinear("{P}layers.{N}.mlp.gate_proj.weight", "{P}layers.{N}.mlp.gate_proj.bias", Role::kGate, &t);
  AddLinear("{P}layers.{N}.mlp.up_proj.weight", "{P}layers.{N}.mlp.up_proj.bias", Role::kUp, &t);
  AddLinear("{P}layers.{N}.mlp.down_proj.weight", "{P}layers.{N}.mlp.down_proj.bias", Role::kDown, &t);
  row.ignored_suffixes = {".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached"};
  return row;
}

FamilyRow Gpt2Row() {
  FamilyRow row;
  row.architectures = {"GPT2LMHeadModel"};
  row.model_types = {"gpt2"};
  row.prefixes = {"transformer.", ""};  // what the library saves, and the hub's first files
  row.norm = NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.position = PositionKind::kLearned;
  row.default_activation = "gelu_new";
  row.gated = false;
  row.default_tied_head = true;
  row.default_ffn_multiple = 4;
  const std::vector<Role> qkv = {Role::kQuery, Role::kKey, Role::kValue};
  row.tensors = {
      {"{P}wte.weight", Need::kMust, Part::kWeight, kPlain, {Role::kEmbedding}},
      {"{P}wpe.weight", Need::kMust, Part::kWeight, kPlain, {Role::kPositions}},
      {"{P}ln_f.weight", Need::kMust, Part::kWeight, kPlain, {Role::kFinalNorm}},
      {"{P}ln_f.bias", Need::kMust, Part::kBias, kPlain, {Role::kFinalNorm}},
      {"lm_head.weight", Need::kUnlessTied, Part::kWeight, kPlain, {Role::kHead}},
      {"{P}h.{N}.ln_1.weight", Need::kMust, Part::kWeight, kPlain, {Role::kNorm1}},
      {"{P}h.{N}.ln_1.bias", Need::kMust, Part::kBias, kPlain, {Role::kNorm1}},
      {"{P}h.{N}.attn.c_attn.weight", Need::kMust, Part::kWeight, kConv1d, qkv},
      {"{P}h.{N}.attn.c_attn.bias", Need::kMust, Part::kBias, kPlain, qkv},
      {"{P}h.{N}.attn.c_proj.weight", Need::kMust, Part::kWeight, kConv1d, {Role::kOutput}},
      {"{P}h.{N}.attn.c_proj.bias", Need::kMust, Part::kBias, kPlain, {Role::kOutput}},
      {"{P}h.{N}.ln_2.weight", Need::kMust, Part::kWeight, kPlain, {Role::kNorm2}},
      {"{P}h.{N}.ln_2.bias", Need::kMust, Part::kBias, kPlain, {Role::kNorm2}},
      {"{P}h.{N}.mlp.c_fc.weight", Need::kMust, Part::kWeight, kConv1d, {Role::kUp}},
      {"{P}h.{N}.mlp.c_fc.bias", Need::kMust, Part::kBias, kPlain, {Role::kUp}},
      {"{P}h.{N}.mlp.c_proj.weight", Need::kMust, Part::kWeight, kConv1d, {Role::kDown}},
      {"{P}h.{N}.mlp.c_proj.bias", Need::kMust, Part::kBias, kPlain, {Role::kDown}},
  };
  row.ignored_suffixes = {".attn.bias", ".attn.masked_bias"};  // causal masks
  return row;
}

const std::vector<FamilyRow>& Families() {
  static const auto* const rows = new std::vector<FamilyRow>{LlamaRow(), Gpt2Row()};
  return *rows;
}

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

// Copies a key that must be there.
absl::Status Require(const HfConfig& config, const char* key, std::optional<int64_t> value, int64_t* out) {
  if (!value.has_value()) return absl::InvalidArgumentError(absl::StrCat(config.file, ": '", key, "' is missing"));
  *out = *value;
  return absl::OkStatus();
}

absl::Status ReadSizes(const FamilyRow& family, const HfConfig& config, ModelSpec* spec) {
  if (absl::Status s = Require(config, "vocab_size", config.vocab_size, &spec->vocab_size); !s.ok()) return s;
  if (absl::Status s = Require(config, "hidden_size", config.hidden_size, &spec->hidden_size); !s.ok()) return s;
  if (absl::Status s = Require(config, "num_hidden_layers", config.num_layers, &spec->num_layers); !s.ok()) return s;
  if (absl::Status s = Require(config, "num_attention_heads", config.num_heads, &spec->num_heads); !s.ok()) return s;
  if (absl::Status s = Require(config, "max_position_embeddings", config.max_position, &spec->max_position); !s.ok()) {
    return s;
  }
  std::optional<int64_t> ffn_size = config.ffn_size;
  if (!ffn_size.has_value() && family.default_ffn_multiple > 0)
    ffn_size = family.default_ffn_multiple * spec->hidden_size;
  if (absl::Status s = Require(config, "intermediate_size", ffn_size, &spec->ffn_size); !s.ok()) return s;

  spec->num_kv_heads = config.num_kv_heads.value_or(spec->num_heads);
  if (spec->num_heads % spec->num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": num_attention_heads ", spec->num_heads,
                                                   " is not a multiple of num_key_value_heads ", spec->num_kv_heads));
  }
  if (!config.head_dim.has_value() && spec->hidden_size % spec->num_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": hidden_size ", spec->hidden_size,
                                                   " is not a multiple of num_attention_heads ", spec->num_heads));
  }
  spec->head_dim = config.head_dim.value_or(spec->hidden_size / spec->num_heads);
  return absl::OkStatus();
}

absl::Status ReadRope(const HfConfig& config, ModelSpec* spec) {
  const HfRope& from = config.rope;
  RopeSpec& rope = spec->rope;
  rope.theta = from.theta.value_or(10000.0);
  rope.dims = static_cast<int64_t>(spec->head_dim * from.rotary_fraction.value_or(1.0));
  if (rope.dims < 2 || rope.dims % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": rotary dimension ", rope.dims, " of head_dim ",
                                                   spec->head_dim, " must be even and positive"));
  }
  if (from.type == "default") return absl::OkStatus();
  if (from.type != "linear" && from.type != "llama3") {
    return absl::UnimplementedError(
        absl::StrCat(config.file, ": rope_type '", Printable(from.type), "' is not supported"));
  }
  if (!from.factor.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": rope key 'factor' is missing"));
  }
  rope.factor = *from.factor;
  rope.scaling = from.type == "linear" ? RopeScaling::kLinear : RopeScaling::kLlama3;
  if (rope.scaling == RopeScaling::kLinear) return absl::OkStatus();
  if (!from.low_freq_factor.has_value() || !from.high_freq_factor.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(config.file, ": rope key 'low_freq_factor' or 'high_freq_factor' is missing"));
  }
  rope.low_freq_factor = *from.low_freq_factor;
  rope.high_freq_factor = *from.high_freq_factor;
  rope.original_max_position = from.original_max_position.value_or(spec->max_position);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    return absl::InvalidArgumentError(absl::StrCat(config.file, ": rope high_freq_factor ", rope.high_freq_factor,
                                                   " is not above low_freq_factor ", rope.low_freq_factor));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<const FamilyRow*> FindFamily(const HfConfig& config) {
  for (const std::string& architecture : config.architectures) {
    for (const FamilyRow& row : Families()) {
      if (Contains(row.architectures, architecture)) return &row;
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
    if (Contains(row.model_types, config.model_type)) return &row;
  }
  return absl::UnimplementedError(
      absl::StrCat(config.file, ": model_type '", Printable(config.model_type), "' is not supported"));
}

absl::StatusOr<ModelSpec> MakeModelSpec(const FamilyRow& family, const HfConfig& config) {
  ModelSpec spec;
  if (absl::Status s = ReadSizes(family, config, &spec); !s.ok()) return s;
  spec.norm = family.norm;
  spec.norm_eps = static_cast<float>(config.norm_eps.value_or(family.default_norm_eps));
  spec.position = family.position;
  if (spec.position == PositionKind::kRope) {
    if (absl::Status s = ReadRope(config, &spec); !s.ok()) return s;
  }
  auto activation = FindActivation(config, config.activation.value_or(family.default_activation));
  if (!activation.ok()) return activation.status();
  spec.activation = *activation;
  spec.gated = family.gated;
  spec.tied_head = config.tied_head.value_or(family.default_tied_head);
  if (config.scale_attention.value_or(true)) spec.attention_scale = 1.0f / std::sqrt(static_cast<float>(spec.head_dim));
  spec.attention_scale_by_inverse_layer = config.scale_attention_by_inverse_layer.value_or(false);
  return spec;
}

}  // namespace quire::worker
