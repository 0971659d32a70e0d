// Families of LLaMA's graph: RMS norms, rope, a gated mlp.
#include "worker/model/family_rule_builders.h"

namespace quire::worker {
namespace {

FamilyRow LlamaRow() {
  return PlainRow({"LlamaForCausalLM", "LLaMAForCausalLM", "XverseForCausalLM"}, {"llama"}, Bias::kMaybe, Bias::kMaybe,
                  Bias::kMaybe);
}

FamilyRow MistralRow() {
  FamilyRow row = PlainRow({"MistralForCausalLM"}, {"mistral"}, Bias::kNone, Bias::kNone, Bias::kNone);
  row.window = WindowUse::kAlways;
  row.default_window = 4096;
  return row;
}

// Where the config asks for windows, the first layers go without.
void AddLateWindows(FamilyRow* row) {
  row->window = WindowUse::kIfFlagged;
  row->default_window = 4096;
  row->windows_by_layer = true;
  row->first_window_layer_key = "max_window_layers";
  row->default_first_window_layer = 28;
}

FamilyRow Qwen2Row() {
  FamilyRow row = PlainRow({"Qwen2ForCausalLM"}, {"qwen2"}, Bias::kMust, Bias::kNone, Bias::kNone);
  AddLateWindows(&row);
  return row;
}

FamilyRow Qwen3Row() {
  FamilyRow row = PlainRow({"Qwen3ForCausalLM"}, {"qwen3"}, Bias::kMaybe, Bias::kMaybe, Bias::kNone);
  row.default_head_dim = 128;
  AddLateWindows(&row);
  AddNorm("{P}layers.{N}.self_attn.q_norm", Bias::kNone, Role::kQueryNorm, &row.tensors);
  AddNorm("{P}layers.{N}.self_attn.k_norm", Bias::kNone, Role::kKeyNorm, &row.tensors);
  return row;
}

FamilyRow GemmaRow() {
  FamilyRow row = PlainRow({"GemmaForCausalLM"}, {"gemma"}, Bias::kMaybe, Bias::kMaybe, Bias::kNone);
  row.norm_adds_one = true;
  row.default_head_dim = 256;
  row.fixed_activation = "gelu_pytorch_tanh";  // old files say "gelu" and mean this one
  row.default_tied_head = true;
  row.embedding_scale_is_root = true;
  return row;
}

FamilyRow GraniteRow() {
  FamilyRow row = PlainRow({"GraniteForCausalLM"}, {"granite"}, Bias::kMaybe, Bias::kMaybe, Bias::kMaybe);
  row.embedding_scale_key = "embedding_multiplier";
  row.attention_scale_key = "attention_multiplier";
  row.default_attention_scale = 1.0;
  row.residual_scale_key = "residual_multiplier";
  row.logits_divisor_key = "logits_scaling";
  return row;
}

FamilyRow SmolLm3Row() {
  FamilyRow row = PlainRow({"SmolLM3ForCausalLM"}, {"smollm3"}, Bias::kMaybe, Bias::kMaybe, Bias::kMaybe);
  row.default_tied_head = true;
  row.rope_free_interval = 4;
  row.window = WindowUse::kIfFlagged;
  row.windows_by_layer = true;
  row.windows_where_no_rope = true;
  return row;
}

// Nothing is normed on its way into a block, what comes out is.
FamilyRow Olmo2Row() {
  FamilyRow row;
  row.architectures = {"Olmo2ForCausalLM"};
  row.model_types = {"olmo2"};
  row.default_norm_eps = 1e-5;
  row.head_norm = HeadNorm::kWhole;
  AddTables("{P}embed_tokens", "{P}norm", Bias::kNone, "lm_head", &row.tensors);
  AddNorm("{P}layers.{N}.post_attention_layernorm", Bias::kNone, Role::kAttentionOutNorm, &row.tensors);
  AddNorm("{P}layers.{N}.post_feedforward_layernorm", Bias::kNone, Role::kFfnOutNorm, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kMaybe, Bias::kMaybe, &row.tensors);
  NameAttentionFlag("attention_bias", &row.tensors);
  AddHeadNorms("{P}layers.{N}.self_attn.q_norm", "{P}layers.{N}.self_attn.k_norm", Bias::kNone, Layout::kConcat,
               &row.tensors);
  AddGatedMlp(Bias::kNone, &row.tensors);
  return row;
}

FamilyRow Phi3Row() {
  FamilyRow row;
  row.architectures = {"Phi3ForCausalLM"};
  row.model_types = {"phi3"};
  row.default_norm_eps = 1e-5;
  row.window = WindowUse::kAlways;
  AddFrame(Bias::kNone, &row.tensors);
  AddLinear("{P}layers.{N}.self_attn.qkv_proj", Bias::kNone, Qkv(), &row.tensors);
  AddLinear("{P}layers.{N}.self_attn.o_proj", Bias::kNone, {Role::kOutput}, &row.tensors);
  AddFusedMlp(&row.tensors);
  return row;
}

FamilyRow GlmRow() {
  FamilyRow row;
  row.architectures = {"GlmForCausalLM"};
  row.model_types = {"glm"};
  row.default_norm_eps = 1.5625e-7;
  row.default_head_dim = 128;
  row.rope_in_neighbours = true;
  row.default_rotary_fraction = 0.5;
  AddFrame(Bias::kNone, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kMaybe, Bias::kNone, &row.tensors);
  NameAttentionFlag("attention_bias", &row.tensors);
  AddFusedMlp(&row.tensors);
  return row;
}

FamilyRow Glm4Row() {
  FamilyRow row = GlmRow();
  row.architectures = {"Glm4ForCausalLM"};
  row.model_types = {"glm4"};
  AddNorm("{P}layers.{N}.post_self_attn_layernorm", Bias::kNone, Role::kAttentionOutNorm, &row.tensors);
  AddNorm("{P}layers.{N}.post_mlp_layernorm", Bias::kNone, Role::kFfnOutNorm, &row.tensors);
  return row;
}

}  // namespace

std::vector<FamilyRow> LlamaLikeRows() {
  return {LlamaRow(),   MistralRow(), Qwen2Row(), Qwen3Row(), GemmaRow(), GraniteRow(),
          SmolLm3Row(), Olmo2Row(),   Phi3Row(),  GlmRow(),   Glm4Row()};
}

}  // namespace quire::worker
