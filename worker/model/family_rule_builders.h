// Building blocks of family rows (family_rows.h): rules for one module of a layer or of the model, by its name in the
// file. Data; any thread.
#ifndef QUIRE_WORKER_MODEL_FAMILY_RULE_BUILDERS_H_
#define QUIRE_WORKER_MODEL_FAMILY_RULE_BUILDERS_H_

#include <string>
#include <vector>

#include "worker/model/family_rows.h"

namespace quire::worker {

using Rules = std::vector<TensorRule>;

enum class Bias : uint8_t { kNone, kMaybe, kMust };

void AddRule(std::string name, Need need, Part part, Layout layout, std::vector<Role> roles, Rules* rules);

// A matrix of one or more roles and, if it has one, its bias.
void AddLinear(const std::string& name, Bias bias, std::vector<Role> roles, Rules* rules,
               Layout layout = Layout::kConcat);

void AddNorm(const std::string& name, Bias bias, Role role, Rules* rules, Need need = Need::kMust);

// Norms of queries and keys, if the config has them.
void AddHeadNorms(const std::string& query, const std::string& key, Bias bias, Layout layout, Rules* rules);

// Embedding, final norm and head.
void AddTables(const std::string& embedding, const std::string& final_norm, Bias norm_bias, const std::string& head,
               Rules* rules);

// The tables and the two norms of a layer, as most families name them.
void AddFrame(Bias norm_bias, Rules* rules);

// Query, key, value: the roles of a fused projection.
std::vector<Role> Qkv();

// q_proj, k_proj, v_proj and the output under a prefix.
void AddAttention(const std::string& prefix, const std::string& output, Bias qkv_bias, Bias output_bias, Rules* rules);

// gate_proj, up_proj, down_proj; or gate_up_proj and down_proj.
void AddGatedMlp(Bias bias, Rules* rules);
void AddFusedMlp(Rules* rules);
// The two matrices of an mlp without a gate.
void AddPlainMlp(const std::string& up, const std::string& down, Bias bias, Rules* rules);

// The flags of the config that say whether the optional biases of these roles are there.
void NameBiasFlags(std::vector<const char*> flags, const std::vector<Role>& roles, Rules* rules);
// The same for attention's matrices, and for an mlp's.
void NameAttentionFlag(const char* flag, Rules* rules);
void NameMlpFlag(const char* flag, Rules* rules);

// LLaMA's graph and names: RMS norms, rope, separate projections, gated mlp; biases as given.
FamilyRow PlainRow(std::vector<const char*> architectures, std::vector<const char*> model_types, Bias qkv_bias,
                   Bias output_bias, Bias mlp_bias);

// LayerNorm and an mlp without a gate; no tensors yet.
FamilyRow LayerNormRow(std::vector<const char*> architectures, std::vector<const char*> model_types,
                       const char* activation);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_FAMILY_RULE_BUILDERS_H_
