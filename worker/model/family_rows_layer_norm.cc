// Families with LayerNorm: GPT-2 and what came after it, and rope families that kept this norm.
#include "worker/model/family_rule_builders.h"

namespace quire::worker {
namespace {

using kernels::NormKind;

FamilyRow CohereRow() {
  FamilyRow row;
  row.architectures = {"CohereForCausalLM"};
  row.model_types = {"cohere"};
  row.norm = NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.rope_in_neighbours = true;
  row.default_tied_head = true;
  row.default_parallel = true;
  row.logits_scale_key = "logit_scale";
  row.default_logits_scale = 0.0625;
  row.head_norm_key = "use_qk_norm";
  row.head_norm = HeadNorm::kOwn;
  AddTables("{P}embed_tokens", "{P}norm", Bias::kNone, "lm_head", &row.tensors);
  AddNorm("{P}layers.{N}.input_layernorm", Bias::kNone, Role::kNorm1, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kMaybe, Bias::kMaybe, &row.tensors);
  NameAttentionFlag("attention_bias", &row.tensors);
  AddHeadNorms("{P}layers.{N}.self_attn.q_norm", "{P}layers.{N}.self_attn.k_norm", Bias::kNone, Layout::kHeads,
               &row.tensors);
  AddGatedMlp(Bias::kNone, &row.tensors);
  return row;
}

FamilyRow StableLmRow() {
  FamilyRow row;
  row.architectures = {"StableLmForCausalLM", "StableLMEpochForCausalLM"};
  row.model_types = {"stablelm", "stablelm_epoch"};
  row.norm = NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.default_rotary_fraction = 0.25;
  row.parallel_key = "use_parallel_residual";
  row.head_norm_key = "qk_layernorm";
  row.head_norm = HeadNorm::kOwn;
  AddTables("{P}embed_tokens", "{P}norm", Bias::kMust, "lm_head", &row.tensors);
  AddNorm("{P}layers.{N}.input_layernorm", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}layers.{N}.post_attention_layernorm", Bias::kMust, Role::kNorm2, &row.tensors, Need::kUnlessParallel);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kMaybe, Bias::kNone, &row.tensors);
  NameAttentionFlag("use_qkv_bias", &row.tensors);
  AddHeadNorms("{P}layers.{N}.self_attn.q_layernorm.norms.{H}", "{P}layers.{N}.self_attn.k_layernorm.norms.{H}",
               Bias::kNone, Layout::kConcat, &row.tensors);
  AddGatedMlp(Bias::kNone, &row.tensors);
  return row;
}

FamilyRow Starcoder2Row() {
  FamilyRow row = LayerNormRow({"Starcoder2ForCausalLM"}, {"starcoder2"}, "gelu_pytorch_tanh");
  row.default_tied_head = true;
  row.window = WindowUse::kAlways;
  AddFrame(Bias::kMust, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kMaybe, Bias::kMaybe, &row.tensors);
  AddPlainMlp("{P}layers.{N}.mlp.c_fc", "{P}layers.{N}.mlp.c_proj", Bias::kMaybe, &row.tensors);
  NameAttentionFlag("use_bias", &row.tensors);
  NameMlpFlag("use_bias", &row.tensors);
  return row;
}

FamilyRow PhiRow() {
  FamilyRow row = LayerNormRow({"PhiForCausalLM"}, {"phi"}, "gelu_new");
  row.default_rotary_fraction = 0.5;
  row.default_parallel = true;
  AddTables("{P}embed_tokens", "{P}final_layernorm", Bias::kMust, "lm_head", &row.tensors);
  AddRule("lm_head.bias", Need::kMust, Part::kBias, Layout::kConcat, {Role::kHead}, &row.tensors);
  AddNorm("{P}layers.{N}.input_layernorm", Bias::kMust, Role::kNorm1, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "dense", Bias::kMust, Bias::kMust, &row.tensors);
  AddPlainMlp("{P}layers.{N}.mlp.fc1", "{P}layers.{N}.mlp.fc2", Bias::kMust, &row.tensors);
  row.head_norm_key = "qk_layernorm";
  AddHeadNorms("{P}layers.{N}.self_attn.q_layernorm", "{P}layers.{N}.self_attn.k_layernorm", Bias::kMust,
               Layout::kConcat, &row.tensors);
  return row;
}

FamilyRow GptJRow() {
  FamilyRow row = LayerNormRow({"GPTJForCausalLM"}, {"gptj"}, "gelu_new");
  row.prefixes = {"transformer."};
  row.rope_in_neighbours = true;
  row.default_ffn_multiple = 4;
  row.default_parallel = true;
  AddTables("{P}wte", "{P}ln_f", Bias::kMust, "lm_head", &row.tensors);
  AddRule("lm_head.bias", Need::kMust, Part::kBias, Layout::kConcat, {Role::kHead}, &row.tensors);
  AddNorm("{P}h.{N}.ln_1", Bias::kMust, Role::kNorm1, &row.tensors);
  AddAttention("{P}h.{N}.attn.", "out_proj", Bias::kNone, Bias::kNone, &row.tensors);
  AddPlainMlp("{P}h.{N}.mlp.fc_in", "{P}h.{N}.mlp.fc_out", Bias::kMust, &row.tensors);
  row.ignored_suffixes = {".attn.bias", ".attn.masked_bias"};  // causal masks
  return row;
}

FamilyRow GptNeoXRow() {
  FamilyRow row = LayerNormRow({"GPTNeoXForCausalLM"}, {"gpt_neox"}, "gelu");
  row.prefixes = {"gpt_neox."};
  row.default_rotary_fraction = 0.25;
  row.parallel_key = "use_parallel_residual";
  row.default_parallel = true;
  AddTables("{P}embed_in", "{P}final_layer_norm", Bias::kMust, "embed_out", &row.tensors);
  AddNorm("{P}layers.{N}.input_layernorm", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}layers.{N}.post_attention_layernorm", Bias::kMust, Role::kNorm2, &row.tensors);
  AddLinear("{P}layers.{N}.attention.query_key_value", Bias::kMaybe, Qkv(), &row.tensors, Layout::kGroups);
  AddLinear("{P}layers.{N}.attention.dense", Bias::kMaybe, {Role::kOutput}, &row.tensors);
  NameAttentionFlag("attention_bias", &row.tensors);
  AddPlainMlp("{P}layers.{N}.mlp.dense_h_to_4h", "{P}layers.{N}.mlp.dense_4h_to_h", Bias::kMust, &row.tensors);
  row.ignored_suffixes = {".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"};
  return row;
}

void AddFalconMatrices(Rules* rules) {
  AddTables("{P}word_embeddings", "{P}ln_f", Bias::kMust, "lm_head", rules);
  AddLinear("{P}h.{N}.self_attention.query_key_value", Bias::kMaybe, Qkv(), rules, Layout::kGroups);
  AddLinear("{P}h.{N}.self_attention.dense", Bias::kMaybe, {Role::kOutput}, rules);
  AddPlainMlp("{P}h.{N}.mlp.dense_h_to_4h", "{P}h.{N}.mlp.dense_4h_to_h", Bias::kMaybe, rules);
  NameAttentionFlag("bias", rules);
  NameMlpFlag("bias", rules);
}

// The older decoder: one norm per layer, or two one after the other; one key head or, with ALiBi, all.
FamilyRow FalconRow() {
  FamilyRow row = LayerNormRow({"FalconForCausalLM"}, {"falcon"}, "gelu");
  row.prefixes = {"transformer."};
  row.default_tied_head = true;
  row.default_ffn_multiple = 4;
  row.default_max_position = 2048;
  row.conditions = {{"new_decoder_architecture", Condition::kEquals, 0}};
  row.kv_heads_by_multi_query = true;
  row.parallel_key = "parallel_attn";
  row.default_parallel = true;
  row.alibi_key = "alibi";
  row.alibi_in_bf16 = true;
  AddFalconMatrices(&row.tensors);
  AddNorm("{P}h.{N}.input_layernorm", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}h.{N}.post_attention_layernorm", Bias::kMust, Role::kNorm2, &row.tensors, Need::kUnlessParallel);
  return row;
}

// The newer decoder: two norms side by side, a group of queries per key head.
FamilyRow NewFalconRow() {
  FamilyRow row = FalconRow();
  row.conditions = {{"new_decoder_architecture", Condition::kEquals, 1},
                    {"num_ln_in_parallel_attn", Condition::kEquals, 2, 2}};
  row.kv_heads_by_multi_query = false;
  row.parallel_key = nullptr;
  row.tensors.clear();
  AddFalconMatrices(&row.tensors);
  AddNorm("{P}h.{N}.ln_attn", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}h.{N}.ln_mlp", Bias::kMust, Role::kNorm2, &row.tensors);
  return row;
}

// The newer decoder with one norm for both, as in the 11B.
FamilyRow NewFalconOneNormRow() {
  FamilyRow row = NewFalconRow();
  row.conditions = {{"new_decoder_architecture", Condition::kEquals, 1},
                    {"num_ln_in_parallel_attn", Condition::kEquals, 1, 2}};
  row.tensors.clear();
  AddFalconMatrices(&row.tensors);
  AddNorm("{P}h.{N}.input_layernorm", Bias::kMust, Role::kNorm1, &row.tensors);
  return row;
}

// Falcon under the names that came with its files before the library had it.
FamilyRow RefinedWebRow(bool has_groups) {
  FamilyRow row = has_groups ? NewFalconRow() : FalconRow();
  row.architectures = {"RWForCausalLM"};
  row.model_types = {has_groups ? "RefinedWeb" : "RefinedWebModel"};
  row.conditions = {{"n_head_kv", has_groups ? Condition::kIsThere : Condition::kIsAbsent}};
  return row;
}

// Without a final norm: files of before it was built.
FamilyRow OptRowWithoutFinalNorm() {
  FamilyRow row = LayerNormRow({"OPTForCausalLM"}, {"opt"}, "relu");
  row.prefixes = {"model.decoder.", "decoder."};
  row.position = PositionKind::kLearned;
  row.skipped_positions = 2;
  row.default_tied_head = true;
  row.embed_size_key = "word_embed_proj_dim";
  row.conditions = {{"_remove_final_layer_norm", Condition::kEquals, 1}};
  row.norm_weights_key = "layer_norm_elementwise_affine";
  AddRule("{P}embed_tokens.weight", Need::kMust, Part::kWeight, Layout::kConcat, {Role::kEmbedding}, &row.tensors);
  AddRule("{P}embed_positions.weight", Need::kMust, Part::kWeight, Layout::kConcat, {Role::kPositions}, &row.tensors);
  AddRule("{P}project_in.weight", Need::kIfProjected, Part::kWeight, Layout::kConcat, {Role::kProjectIn}, &row.tensors);
  AddRule("{P}project_out.weight", Need::kIfProjected, Part::kWeight, Layout::kConcat, {Role::kProjectOut},
          &row.tensors);
  AddRule("lm_head.weight", Need::kUnlessTied, Part::kWeight, Layout::kConcat, {Role::kHead}, &row.tensors);
  AddNorm("{P}layers.{N}.self_attn_layer_norm", Bias::kMust, Role::kNorm1, &row.tensors, Need::kUnlessPlain);
  AddNorm("{P}layers.{N}.final_layer_norm", Bias::kMust, Role::kNorm2, &row.tensors, Need::kUnlessPlain);
  AddAttention("{P}layers.{N}.self_attn.", "out_proj", Bias::kMaybe, Bias::kMaybe, &row.tensors);
  AddPlainMlp("{P}layers.{N}.fc1", "{P}layers.{N}.fc2", Bias::kMaybe, &row.tensors);
  NameAttentionFlag("enable_bias", &row.tensors);
  NameMlpFlag("enable_bias", &row.tensors);
  return row;
}

FamilyRow OptRow() {
  FamilyRow row = OptRowWithoutFinalNorm();
  row.conditions = {};
  AddNorm("{P}final_layer_norm", Bias::kMust, Role::kFinalNorm, &row.tensors, Need::kUnlessPlain);
  return row;
}

// The 350M.
FamilyRow OptRowWithNormsBehind() {
  FamilyRow row = OptRowWithoutFinalNorm();
  row.conditions = {{"do_layer_norm_before", Condition::kEquals, 0, 1}};
  row.norms_follow = true;
  return row;
}

// The layout of matrices and of the fused projection is all that differs between the two that use these names.
FamilyRow GptNamesRow(Layout matrices, Layout fused) {
  FamilyRow row;
  row.prefixes = {"transformer.", ""};  // what the library saves, and the hub's first files
  row.norm = NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.position = PositionKind::kLearned;
  row.gated = false;
  row.default_tied_head = true;
  row.default_ffn_multiple = 4;
  AddTables("{P}wte", "{P}ln_f", Bias::kMust, "lm_head", &row.tensors);
  AddRule("{P}wpe.weight", Need::kMust, Part::kWeight, Layout::kConcat, {Role::kPositions}, &row.tensors);
  AddNorm("{P}h.{N}.ln_1", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}h.{N}.ln_2", Bias::kMust, Role::kNorm2, &row.tensors);
  AddLinear("{P}h.{N}.attn.c_attn", Bias::kMust, Qkv(), &row.tensors, fused);
  AddLinear("{P}h.{N}.attn.c_proj", Bias::kMust, {Role::kOutput}, &row.tensors, matrices);
  AddLinear("{P}h.{N}.mlp.c_fc", Bias::kMust, {Role::kUp}, &row.tensors, matrices);
  AddLinear("{P}h.{N}.mlp.c_proj", Bias::kMust, {Role::kDown}, &row.tensors, matrices);
  row.ignored_suffixes = {".attn.bias", ".attn.masked_bias"};  // causal masks
  return row;
}

FamilyRow Gpt2Row() {
  FamilyRow row = GptNamesRow(Layout::kConcatTransposed, Layout::kConcatTransposed);
  row.architectures = {"GPT2LMHeadModel"};
  row.model_types = {"gpt2"};
  row.default_activation = "gelu_new";
  return row;
}

FamilyRow GptBigCodeRow() {
  FamilyRow row = GptNamesRow(Layout::kConcat, Layout::kGroups);
  row.architectures = {"GPTBigCodeForCausalLM"};
  row.model_types = {"gpt_bigcode"};
  row.default_activation = "gelu_pytorch_tanh";
  row.kv_heads_by_multi_query = true;
  return row;
}

}  // namespace

std::vector<FamilyRow> LayerNormRows() {
  return {CohereRow(), StableLmRow(), Starcoder2Row(), PhiRow(), GptJRow(), GptNeoXRow(), FalconRow(), NewFalconRow(),
          RefinedWebRow(true), RefinedWebRow(false), NewFalconOneNormRow(),
          // The first whose conditions hold is taken.
          OptRowWithNormsBehind(), OptRowWithoutFinalNorm(), OptRow(), Gpt2Row(), GptBigCodeRow()};
}

}  // namespace quire::worker
