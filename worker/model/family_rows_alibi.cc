// Families whose positions are ALiBi's: a bias of the scores that grows with the distance. Falcon, which has both kinds,
// is with the LayerNorm rows.
#include "worker/model/family_rule_builders.h"

namespace quire::worker {
namespace {

FamilyRow BloomRow() {
  FamilyRow row = LayerNormRow({"BloomForCausalLM"}, {"bloom"}, "gelu_pytorch_tanh");
  row.prefixes = {"transformer.", ""};  // what the library saves, and the hub's files
  row.position = PositionKind::kAlibi;
  row.fixed_activation = "gelu_pytorch_tanh";
  row.default_tied_head = true;
  row.default_ffn_multiple = 4;
  row.default_max_position = 2048;  // configs name none; longer ones were not trained
  row.residual_from_norm_key = "apply_residual_connection_post_layernorm";
  AddTables("{P}word_embeddings", "{P}ln_f", Bias::kMust, "lm_head", &row.tensors);
  AddNorm("{P}word_embeddings_layernorm", Bias::kMust, Role::kEmbeddingNorm, &row.tensors);
  AddNorm("{P}h.{N}.input_layernorm", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}h.{N}.post_attention_layernorm", Bias::kMust, Role::kNorm2, &row.tensors);
  AddLinear("{P}h.{N}.self_attention.query_key_value", Bias::kMust, Qkv(), &row.tensors, Layout::kGroups);
  AddLinear("{P}h.{N}.self_attention.dense", Bias::kMust, {Role::kOutput}, &row.tensors);
  AddPlainMlp("{P}h.{N}.mlp.dense_h_to_4h", "{P}h.{N}.mlp.dense_4h_to_h", Bias::kMust, &row.tensors);
  return row;
}

// Its first code and the library's class spell the architecture differently; names and keys are the same.
FamilyRow MptRow() {
  FamilyRow row = LayerNormRow({"MPTForCausalLM", "MptForCausalLM"}, {"mpt"}, "gelu");
  row.prefixes = {"transformer."};
  row.position = PositionKind::kAlibi;
  row.alibi_bias_max_key = "attn_config.alibi_bias_max";
  row.fixed_activation = "gelu";
  row.default_tied_head = true;
  row.default_ffn_multiple = 4;
  row.ffn_multiple_key = "expansion_ratio";
  row.default_max_position = 2048;
  row.attention_scale_key = "attn_config.softmax_scale";
  row.qkv_limit_key = "attn_config.clip_qkv";
  row.head_norm_key = "attn_config.qk_ln";
  row.head_norm = HeadNorm::kWhole;
  row.logits_scale_key = "logit_scale";
  row.fixed_flags = {{"attn_config.alibi", true},
                     {"attn_config.prefix_lm", false},
                     {"attn_config.attn_uses_sequence_id", false},
                     {"no_bias", true}};
  row.fixed_strings = {{"attn_config.attn_type", "multihead_attention"},
                       {"norm_type", "low_precision_layernorm"},
                       {"logit_scale", nullptr}};
  AddTables("{P}wte", "{P}norm_f", Bias::kNone, "lm_head", &row.tensors);
  AddNorm("{P}blocks.{N}.norm_1", Bias::kNone, Role::kNorm1, &row.tensors);
  AddNorm("{P}blocks.{N}.norm_2", Bias::kNone, Role::kNorm2, &row.tensors);
  AddLinear("{P}blocks.{N}.attn.Wqkv", Bias::kNone, Qkv(), &row.tensors);
  AddLinear("{P}blocks.{N}.attn.out_proj", Bias::kNone, {Role::kOutput}, &row.tensors);
  AddHeadNorms("{P}blocks.{N}.attn.q_ln", "{P}blocks.{N}.attn.k_ln", Bias::kNone, Layout::kConcat, &row.tensors);
  AddPlainMlp("{P}blocks.{N}.ffn.up_proj", "{P}blocks.{N}.ffn.down_proj", Bias::kNone, &row.tensors);
  return row;
}

// The 13B models of both generations; the 7B ones have rope, and their configs name "max_position_embeddings". Only the
// second generation's head counts by the direction of its rows, and only its vocabulary tells them apart.
FamilyRow BaichuanAlibiRow(bool is_second) {
  constexpr double kSecondVocabulary = 125696;
  FamilyRow row;
  row.architectures = {"BaichuanForCausalLM"};
  row.model_types = {"baichuan"};
  row.conditions = {{"max_position_embeddings", Condition::kIsAbsent}};
  if (is_second) row.conditions.push_back({"vocab_size", Condition::kEquals, kSecondVocabulary});
  row.head_rows_have_length_one = is_second;
  row.position = PositionKind::kAlibi;
  AddFrame(Bias::kNone, &row.tensors);
  AddLinear("{P}layers.{N}.self_attn.W_pack", Bias::kNone, Qkv(), &row.tensors);
  AddLinear("{P}layers.{N}.self_attn.o_proj", Bias::kNone, {Role::kOutput}, &row.tensors);
  AddGatedMlp(Bias::kNone, &row.tensors);
  return row;
}

}  // namespace

std::vector<FamilyRow> AlibiRows() {
  return {BloomRow(), MptRow(), BaichuanAlibiRow(/*is_second=*/true), BaichuanAlibiRow(/*is_second=*/false)};
}

}  // namespace quire::worker
