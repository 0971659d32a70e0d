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

}  // namespace

std::vector<FamilyRow> ExpertRows() { return {MixtralRow()}; }

}  // namespace quire::worker
