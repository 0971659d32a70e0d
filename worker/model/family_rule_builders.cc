#include "worker/model/family_rule_builders.h"

#include <algorithm>
#include <utility>

namespace quire::worker {

void AddRule(std::string name, Need need, Part part, Layout layout, std::vector<Role> roles, Rules* rules) {
  rules->push_back({std::move(name), need, part, layout, std::move(roles)});
}

void AddLinear(const std::string& name, Bias bias, std::vector<Role> roles, Rules* rules, Layout layout) {
  AddRule(name + ".weight", Need::kMust, Part::kWeight, layout, roles, rules);
  if (bias == Bias::kNone) return;
  const Layout of_bias = layout == Layout::kConcatTransposed ? Layout::kConcat : layout;
  AddRule(name + ".bias", bias == Bias::kMust ? Need::kMust : Need::kMaybe, Part::kBias, of_bias, roles, rules);
}

void AddNorm(const std::string& name, Bias bias, Role role, Rules* rules, Need need) {
  AddRule(name + ".weight", need, Part::kWeight, Layout::kConcat, {role}, rules);
  if (bias == Bias::kMust) AddRule(name + ".bias", need, Part::kBias, Layout::kConcat, {role}, rules);
}

void AddHeadNorms(const std::string& query, const std::string& key, Bias bias, Layout layout, Rules* rules) {
  for (const auto& [name, role] : {std::make_pair(query, Role::kQueryNorm), {key, Role::kKeyNorm}}) {
    AddRule(name + ".weight", Need::kIfHeadNorm, Part::kWeight, layout, {role}, rules);
    if (bias == Bias::kMust) AddRule(name + ".bias", Need::kIfHeadNorm, Part::kBias, layout, {role}, rules);
  }
}

void AddTables(const std::string& embedding, const std::string& final_norm, Bias norm_bias, const std::string& head,
               Rules* rules) {
  AddRule(embedding + ".weight", Need::kMust, Part::kWeight, Layout::kConcat, {Role::kEmbedding}, rules);
  AddNorm(final_norm, norm_bias, Role::kFinalNorm, rules);
  AddRule(head + ".weight", Need::kUnlessTied, Part::kWeight, Layout::kConcat, {Role::kHead}, rules);
}

void AddFrame(Bias norm_bias, Rules* rules) {
  AddTables("{P}embed_tokens", "{P}norm", norm_bias, "lm_head", rules);
  AddNorm("{P}layers.{N}.input_layernorm", norm_bias, Role::kNorm1, rules);
  AddNorm("{P}layers.{N}.post_attention_layernorm", norm_bias, Role::kNorm2, rules);
}

std::vector<Role> Qkv() { return {Role::kQuery, Role::kKey, Role::kValue}; }

void AddAttention(const std::string& prefix, const std::string& output, Bias qkv_bias, Bias output_bias, Rules* rules) {
  AddLinear(prefix + "q_proj", qkv_bias, {Role::kQuery}, rules);
  AddLinear(prefix + "k_proj", qkv_bias, {Role::kKey}, rules);
  AddLinear(prefix + "v_proj", qkv_bias, {Role::kValue}, rules);
  AddLinear(prefix + output, output_bias, {Role::kOutput}, rules);
}

void AddGatedMlp(Bias bias, Rules* rules) {
  AddLinear("{P}layers.{N}.mlp.gate_proj", bias, {Role::kGate}, rules);
  AddLinear("{P}layers.{N}.mlp.up_proj", bias, {Role::kUp}, rules);
  AddLinear("{P}layers.{N}.mlp.down_proj", bias, {Role::kDown}, rules);
}

void AddFusedMlp(Rules* rules) {
  AddLinear("{P}layers.{N}.mlp.gate_up_proj", Bias::kNone, {Role::kGate, Role::kUp}, rules);
  AddLinear("{P}layers.{N}.mlp.down_proj", Bias::kNone, {Role::kDown}, rules);
}

void AddPlainMlp(const std::string& up, const std::string& down, Bias bias, Rules* rules) {
  AddLinear(up, bias, {Role::kUp}, rules);
  AddLinear(down, bias, {Role::kDown}, rules);
}

void NameBiasFlags(std::vector<const char*> flags, const std::vector<Role>& roles, Rules* rules) {
  for (TensorRule& rule : *rules) {
    const bool is_theirs = std::find(roles.begin(), roles.end(), rule.roles.front()) != roles.end();
    if (rule.need == Need::kMaybe && is_theirs) rule.flags = flags;
  }
}

void NameAttentionFlag(const char* flag, Rules* rules) {
  NameBiasFlags({flag}, {Role::kQuery, Role::kKey, Role::kValue, Role::kOutput}, rules);
}

void NameMlpFlag(const char* flag, Rules* rules) {
  NameBiasFlags({flag}, {Role::kGate, Role::kUp, Role::kDown}, rules);
}

FamilyRow PlainRow(std::vector<const char*> architectures, std::vector<const char*> model_types, Bias qkv_bias,
                   Bias output_bias, Bias mlp_bias) {
  FamilyRow row;
  row.architectures = std::move(architectures);
  row.model_types = std::move(model_types);
  AddFrame(Bias::kNone, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", qkv_bias, output_bias, &row.tensors);
  AddGatedMlp(mlp_bias, &row.tensors);
  NameAttentionFlag("attention_bias", &row.tensors);
  NameMlpFlag("mlp_bias", &row.tensors);
  return row;
}

FamilyRow LayerNormRow(std::vector<const char*> architectures, std::vector<const char*> model_types,
                       const char* activation) {
  FamilyRow row;
  row.architectures = std::move(architectures);
  row.model_types = std::move(model_types);
  row.norm = kernels::NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.default_activation = activation;
  row.gated = false;
  return row;
}

}  // namespace quire::worker
