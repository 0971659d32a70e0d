// Families in which layers that see a window of the context and layers that see all of it take turns.
#include "worker/model/family_rule_builders.h"

namespace quire::worker {
namespace {

// What the second and third Gemma share: norms on both sides of every block.
FamilyRow GemmaSandwichRow(std::vector<const char*> architectures, std::vector<const char*> model_types) {
  FamilyRow row;
  row.architectures = std::move(architectures);
  row.model_types = std::move(model_types);
  row.norm_adds_one = true;
  row.default_activation = "gelu_pytorch_tanh";
  row.default_tied_head = true;
  row.embedding_scale_is_root = true;
  row.default_head_dim = 256;
  row.window = WindowUse::kAlways;
  row.default_window = 4096;
  row.windows_by_layer = true;
  row.attention_scale_root_key = "query_pre_attn_scalar";
  row.default_attention_scale_root = 256;
  row.attention_softcap_key = "attn_logit_softcapping";
  row.logits_softcap_key = "final_logit_softcapping";
  row.fixed_flags = {{"use_bidirectional_attention", false}};
  AddTables("{P}embed_tokens", "{P}norm", Bias::kNone, "lm_head", &row.tensors);
  AddNorm("{P}layers.{N}.input_layernorm", Bias::kNone, Role::kNorm1, &row.tensors);
  AddNorm("{P}layers.{N}.post_attention_layernorm", Bias::kNone, Role::kAttentionOutNorm, &row.tensors);
  AddNorm("{P}layers.{N}.pre_feedforward_layernorm", Bias::kNone, Role::kNorm2, &row.tensors);
  AddNorm("{P}layers.{N}.post_feedforward_layernorm", Bias::kNone, Role::kFfnOutNorm, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kMaybe, Bias::kMaybe, &row.tensors);
  NameAttentionFlag("attention_bias", &row.tensors);
  AddGatedMlp(Bias::kNone, &row.tensors);
  return row;
}

FamilyRow Gemma2Row() {
  FamilyRow row = GemmaSandwichRow({"Gemma2ForCausalLM"}, {"gemma2"});
  row.full_layer_interval = 2;
  row.default_attention_softcap = 50.0;
  row.default_logits_softcap = 30.0;
  return row;
}

// Also the decoder of the models that see pictures: their other towers are not loaded, and their configs leave out what
// the class has as a default.
FamilyRow Gemma3Row() {
  FamilyRow row = GemmaSandwichRow({"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"}, {"gemma3_text", "gemma3"});
  row.prefixes = {"model.", "language_model.model.", "model.language_model."};
  row.ignored_prefixes = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                          "model.multi_modal_projector."};
  row.default_vocab_size = 262208;
  row.default_num_heads = 8;
  row.default_num_kv_heads = 4;
  row.default_max_position = 131072;
  row.full_layer_interval = 6;
  row.full_layer_interval_key = "sliding_window_pattern";
  row.default_rope_theta = 1e6;
  row.default_window_rope_theta = 1e4;
  AddNorm("{P}layers.{N}.self_attn.q_norm", Bias::kNone, Role::kQueryNorm, &row.tensors);
  AddNorm("{P}layers.{N}.self_attn.k_norm", Bias::kNone, Role::kKeyNorm, &row.tensors);
  return row;
}

FamilyRow Cohere2Row() {
  FamilyRow row;
  row.architectures = {"Cohere2ForCausalLM"};
  row.model_types = {"cohere2"};
  row.norm = kernels::NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.rope_in_neighbours = true;
  row.rope_where_windows = true;
  row.default_tied_head = true;
  row.default_parallel = true;
  row.logits_scale_key = "logit_scale";
  row.default_logits_scale = 0.0625;
  row.window = WindowUse::kAlways;
  row.default_window = 4096;
  row.windows_by_layer = true;
  row.full_layer_interval = 4;
  row.full_layer_interval_key = "sliding_window_pattern";
  AddTables("{P}embed_tokens", "{P}norm", Bias::kNone, "lm_head", &row.tensors);
  AddNorm("{P}layers.{N}.input_layernorm", Bias::kNone, Role::kNorm1, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kMaybe, Bias::kMaybe, &row.tensors);
  NameAttentionFlag("attention_bias", &row.tensors);
  AddGatedMlp(Bias::kNone, &row.tensors);
  return row;
}

}  // namespace

std::vector<FamilyRow> WindowRows() { return {Gemma2Row(), Gemma3Row(), Cohere2Row()}; }

}  // namespace quire::worker
