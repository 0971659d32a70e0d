// Families whose mlp is a mixture of experts.
#include <utility>

#include "worker/model/family_rows.h"
#include "worker/model/family_rule_builders.h"

namespace quire::worker {
namespace {

void AddExpertRule(const std::string& name, Layout layout, std::vector<Role> roles, Rules* rules) {
  rules->push_back({name, Need::kMust, Part::kWeight, layout, std::move(roles), InLayers::kWithExperts});
}

// One matrix a tensor, `prefix` up to the expert's index.
Rules ExpertByExpert(const std::string& router, const std::string& prefix, const char* gate, const char* up,
                     const char* down) {
  Rules rules;
  AddExpertRule(router, Layout::kConcat, {Role::kRouter}, &rules);
  AddExpertRule(prefix + "{E}." + gate + ".weight", Layout::kConcat, {Role::kExpertGate}, &rules);
  AddExpertRule(prefix + "{E}." + up + ".weight", Layout::kConcat, {Role::kExpertUp}, &rules);
  AddExpertRule(prefix + "{E}." + down + ".weight", Layout::kConcat, {Role::kExpertDown}, &rules);
  return rules;
}

// All experts of a layer in two tensors, as the library holds them in memory.
Rules StackedExperts() {
  Rules rules;
  AddExpertRule("{P}layers.{N}.mlp.gate.weight", Layout::kConcat, {Role::kRouter}, &rules);
  AddExpertRule("{P}layers.{N}.mlp.experts.gate_up_proj", Layout::kExperts, {Role::kExpertGate, Role::kExpertUp},
                &rules);
  AddExpertRule("{P}layers.{N}.mlp.experts.down_proj", Layout::kExperts, {Role::kExpertDown}, &rules);
  return rules;
}

FamilyRow MixtralRow() {
  FamilyRow row;
  row.architectures = {"MixtralForCausalLM", "QuantMixtralForCausalLM"};
  row.model_types = {"mixtral"};
  row.default_norm_eps = 1e-5;
  row.window = WindowUse::kAlways;
  row.experts.ffn_size = "intermediate_size";
  row.expert_namings = {ExpertByExpert("{P}layers.{N}.block_sparse_moe.gate.weight",
                                       "{P}layers.{N}.block_sparse_moe.experts.", "w1", "w3", "w2"),
                        StackedExperts()};
  AddFrame(Bias::kNone, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kNone, Bias::kNone, &row.tensors);
  return row;
}

// The rules of layers that have a plain mlp, in models that have both kinds.
void AddMlpOfPlainLayers(Rules* rules) {
  const size_t begin = rules->size();
  AddGatedMlp(Bias::kNone, rules);
  for (size_t i = begin; i < rules->size(); ++i) (*rules)[i].layers = InLayers::kWithMlp;
}

// The newer naming: one attention, `mlp.` in front of either kind.
FamilyRow MixedRow(const char* architecture, const char* model_type, Bias qkv_bias, Bias output_bias) {
  FamilyRow row;
  row.architectures = {architecture};
  row.model_types = {model_type};
  row.window = WindowUse::kIfFlagged;
  row.default_window = 4096;
  row.experts.ffn_size = "moe_intermediate_size";
  row.experts.renormalize = "norm_topk_prob";
  row.expert_namings = {ExpertByExpert("{P}layers.{N}.mlp.gate.weight", "{P}layers.{N}.mlp.experts.", "gate_proj",
                                       "up_proj", "down_proj"),
                        StackedExperts()};
  AddFrame(Bias::kNone, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", qkv_bias, output_bias, &row.tensors);
  NameAttentionFlag("attention_bias", &row.tensors);
  AddMlpOfPlainLayers(&row.tensors);
  return row;
}

FamilyRow Qwen2MoeRow() {
  FamilyRow row = MixedRow("Qwen2MoeForCausalLM", "qwen2_moe", Bias::kMaybe, Bias::kNone);
  // Which layers would have it has changed with the library's versions, and no published model has any.
  row.fixed_flags = {{"use_sliding_window", false}};
  row.experts.shared_ffn_size = "shared_expert_intermediate_size";
  NameAttentionFlag("qkv_bias", &row.tensors);
  const std::string mlp = "{P}layers.{N}.mlp.";
  AddExpertRule(mlp + "shared_expert.gate_proj.weight", Layout::kConcat, {Role::kSharedGate}, &row.tensors);
  AddExpertRule(mlp + "shared_expert.up_proj.weight", Layout::kConcat, {Role::kSharedUp}, &row.tensors);
  AddExpertRule(mlp + "shared_expert.down_proj.weight", Layout::kConcat, {Role::kSharedDown}, &row.tensors);
  AddExpertRule(mlp + "shared_expert_gate.weight", Layout::kConcat, {Role::kSharedSwitch}, &row.tensors);
  return row;
}

FamilyRow Qwen3MoeRow() {
  FamilyRow row = MixedRow("Qwen3MoeForCausalLM", "qwen3_moe", Bias::kMaybe, Bias::kMaybe);
  row.default_head_dim = 128;
  AddNorm("{P}layers.{N}.self_attn.q_norm", Bias::kNone, Role::kQueryNorm, &row.tensors);
  AddNorm("{P}layers.{N}.self_attn.k_norm", Bias::kNone, Role::kKeyNorm, &row.tensors);
  return row;
}

}  // namespace

std::vector<FamilyRow> ExpertRows() { return {MixtralRow(), Qwen2MoeRow(), Qwen3MoeRow()}; }

}  // namespace quire::worker
