// Families that the library lacks: their code comes with their files. Source of the facts: those modeling_*.py.
#include "worker/model/family_rule_builders.h"

namespace quire::worker {
namespace {

// The frame's names and a gated mlp; q, k and v in one matrix.
FamilyRow BaichuanRow() {
  FamilyRow row;
  row.architectures = {"BaiChuanForCausalLM"};
  AddFrame(Bias::kNone, &row.tensors);
  AddLinear("{P}layers.{N}.self_attn.W_pack", Bias::kNone, Qkv(), &row.tensors);
  AddLinear("{P}layers.{N}.self_attn.o_proj", Bias::kNone, {Role::kOutput}, &row.tensors);
  AddGatedMlp(Bias::kNone, &row.tensors);
  return row;
}

// The 7B of the second generation. The 13B models have the same architecture's name and ALiBi in place of rope; their
// config class knows no "max_position_embeddings" (family_rows_alibi.cc).
FamilyRow Baichuan2Row() {
  FamilyRow row = BaichuanRow();
  row.architectures = {"BaichuanForCausalLM"};
  row.model_types = {"baichuan"};
  row.conditions = {{"max_position_embeddings", Condition::kIsThere}};
  row.head_rows_have_length_one = true;
  return row;
}

FamilyRow AquilaRow() {
  return PlainRow({"AquilaForCausalLM", "AquilaModel"}, {"aquila"}, Bias::kNone, Bias::kNone, Bias::kNone);
}

// Yi before it took LLaMA's names.
FamilyRow YiRow() {
  FamilyRow row;
  row.architectures = {"YiForCausalLM"};
  row.model_types = {"Yi", "yi"};
  row.default_norm_eps = 1e-5;
  AddTables("{P}embed_tokens", "{P}norm", Bias::kNone, "lm_head", &row.tensors);
  AddNorm("{P}layers.{N}.ln1", Bias::kNone, Role::kNorm1, &row.tensors);
  AddNorm("{P}layers.{N}.ln2", Bias::kNone, Role::kNorm2, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kNone, Bias::kNone, &row.tensors);
  AddGatedMlp(Bias::kNone, &row.tensors);
  return row;
}

FamilyRow InternLmRow() {
  FamilyRow row = PlainRow({"InternLMForCausalLM"}, {"internlm"}, Bias::kMaybe, Bias::kMaybe, Bias::kNone);
  NameAttentionFlag("bias", &row.tensors);
  return row;
}

// A group of wqkv: a key head's queries, the key head, its value head (modeling_internlm2.py, "h gs d").
FamilyRow InternLm2Row() {
  FamilyRow row;
  row.architectures = {"InternLM2ForCausalLM"};
  row.model_types = {"internlm2"};
  AddTables("{P}tok_embeddings", "{P}norm", Bias::kNone, "output", &row.tensors);
  AddNorm("{P}layers.{N}.attention_norm", Bias::kNone, Role::kNorm1, &row.tensors);
  AddNorm("{P}layers.{N}.ffn_norm", Bias::kNone, Role::kNorm2, &row.tensors);
  AddLinear("{P}layers.{N}.attention.wqkv", Bias::kMaybe, Qkv(), &row.tensors, Layout::kGroups);
  AddLinear("{P}layers.{N}.attention.wo", Bias::kMaybe, {Role::kOutput}, &row.tensors);
  NameAttentionFlag("bias", &row.tensors);
  AddLinear("{P}layers.{N}.feed_forward.w1", Bias::kNone, {Role::kGate}, &row.tensors);
  AddLinear("{P}layers.{N}.feed_forward.w3", Bias::kNone, {Role::kUp}, &row.tensors);
  AddLinear("{P}layers.{N}.feed_forward.w2", Bias::kNone, {Role::kDown}, &row.tensors);
  return row;
}

FamilyRow QwenRow() {
  FamilyRow row;
  row.architectures = {"QWenLMHeadModel"};
  row.model_types = {"qwen"};
  row.prefixes = {"transformer."};
  row.ffn_divisor = 2;  // both halves of the gated mlp
  row.trained_length_key = "seq_length";
  row.base_growth_key = "use_dynamic_ntk";
  row.query_growth_key = "use_logn_attn";
  row.fixed_flags = {{"no_bias", true}};
  AddTables("{P}wte", "{P}ln_f", Bias::kNone, "lm_head", &row.tensors);
  AddNorm("{P}h.{N}.ln_1", Bias::kNone, Role::kNorm1, &row.tensors);
  AddNorm("{P}h.{N}.ln_2", Bias::kNone, Role::kNorm2, &row.tensors);
  AddLinear("{P}h.{N}.attn.c_attn", Bias::kMust, Qkv(), &row.tensors);
  AddLinear("{P}h.{N}.attn.c_proj", Bias::kNone, {Role::kOutput}, &row.tensors);
  AddLinear("{P}h.{N}.mlp.w2", Bias::kNone, {Role::kGate}, &row.tensors);  // not w1: that one is not activated
  AddLinear("{P}h.{N}.mlp.w1", Bias::kNone, {Role::kUp}, &row.tensors);
  AddLinear("{P}h.{N}.mlp.c_proj", Bias::kNone, {Role::kDown}, &row.tensors);
  row.ignored_suffixes = {".attn.masked_bias", ".rotary_emb.inv_freq"};
  return row;
}

// ChatGLM2, ChatGLM3 and GLM-4 as first released.
FamilyRow ChatGlmRow(bool has_groups) {
  FamilyRow row;
  row.architectures = {"ChatGLMModel", "ChatGLMForConditionalGeneration"};
  row.model_types = {"chatglm"};
  row.prefixes = {"transformer."};
  row.default_norm_eps = 1e-5;
  row.rope_in_neighbours = true;
  row.default_rotary_fraction = 0.5;
  row.fixed_activation = "silu";
  row.rope_base_ratio_key = "rope_ratio";
  row.conditions = {{"multi_query_attention", Condition::kEquals, has_groups ? 1.0 : 0.0}};
  if (has_groups) row.kv_heads_key = "multi_query_group_num";
  row.fixed_flags = {{"position_encoding_2d", false},  // of the first ChatGLM
                     {"apply_residual_connection_post_layernorm", false},
                     {"post_layer_norm", true},
                     {"rmsnorm", true},
                     {"original_rope", true}};
  AddTables("{P}embedding.word_embeddings", "{P}encoder.final_layernorm", Bias::kNone, "{P}output_layer", &row.tensors);
  AddNorm("{P}encoder.layers.{N}.input_layernorm", Bias::kNone, Role::kNorm1, &row.tensors);
  AddNorm("{P}encoder.layers.{N}.post_attention_layernorm", Bias::kNone, Role::kNorm2, &row.tensors);
  AddLinear("{P}encoder.layers.{N}.self_attention.query_key_value", Bias::kMaybe, Qkv(), &row.tensors,
            has_groups ? Layout::kConcat : Layout::kGroups);
  AddLinear("{P}encoder.layers.{N}.self_attention.dense", Bias::kMaybe, {Role::kOutput}, &row.tensors);
  AddLinear("{P}encoder.layers.{N}.mlp.dense_h_to_4h", Bias::kMaybe, {Role::kGate, Role::kUp}, &row.tensors);
  AddLinear("{P}encoder.layers.{N}.mlp.dense_4h_to_h", Bias::kMaybe, {Role::kDown}, &row.tensors);
  NameBiasFlags({"add_bias_linear", "add_qkv_bias"}, Qkv(), &row.tensors);
  NameBiasFlags({"add_bias_linear"}, {Role::kOutput, Role::kGate, Role::kDown}, &row.tensors);
  row.ignored_suffixes = {".rotary_pos_emb.inv_freq"};
  return row;
}

// ChatGLM2-6B-32k gives the same key another meaning, and nothing but its name tells.
FamilyRow ChatGlm2Row() {
  FamilyRow row = ChatGlmRow(true);
  row.conditions.push_back({"chatglm2", Condition::kNameHas});
  row.rope_position_divisor_key = row.rope_base_ratio_key;
  row.rope_base_ratio_key = nullptr;
  return row;
}

}  // namespace

std::vector<FamilyRow> RemoteCodeRows() {
  return {BaichuanRow(),  Baichuan2Row(), AquilaRow(),   YiRow(),          InternLmRow(),
          InternLm2Row(), QwenRow(),      ChatGlm2Row(), ChatGlmRow(true), ChatGlmRow(false)};
}

}  // namespace quire::worker
