#include "worker/model/family_rows.h"

#include <utility>

namespace quire::worker {
namespace {

using kernels::NormKind;

constexpr Layout kPlain = Layout::kConcat;
constexpr Layout kConv1d = Layout::kConcatTransposed;

// The builders below add rules for one module of a layer or of the model; `name` is the module's name in the file.

void Add(std::string name, Need need, Part part, Layout layout, std::vector<Role> roles,
         std::vector<TensorRule>* rules) {
  rules->push_back({std::move(name), need, part, layout, std::move(roles)});
}

enum class Bias : uint8_t { kNone, kMaybe, kMust };

// Rules for a matrix of one or more roles and, if it has one, its bias.
void AddLinear(const std::string& name, Bias bias, std::vector<Role> roles, std::vector<TensorRule>* rules,
               Layout layout = kPlain) {
  Add(name + ".weight", Need::kMust, Part::kWeight, layout, roles, rules);
  if (bias == Bias::kNone) return;
  const Layout of_bias = layout == kConv1d ? kPlain : layout;
  Add(name + ".bias", bias == Bias::kMust ? Need::kMust : Need::kMaybe, Part::kBias, of_bias, roles, rules);
}

void AddNorm(const std::string& name, Bias bias, Role role, std::vector<TensorRule>* rules, Need need = Need::kMust) {
  Add(name + ".weight", need, Part::kWeight, kPlain, {role}, rules);
  if (bias == Bias::kMust) Add(name + ".bias", need, Part::kBias, kPlain, {role}, rules);
}

void AddTables(const std::string& embedding, const std::string& final_norm, Bias norm_bias, const std::string& head,
               std::vector<TensorRule>* rules) {
  Add(embedding + ".weight", Need::kMust, Part::kWeight, kPlain, {Role::kEmbedding}, rules);
  AddNorm(final_norm, norm_bias, Role::kFinalNorm, rules);
  Add(head + ".weight", Need::kUnlessTied, Part::kWeight, kPlain, {Role::kHead}, rules);
}

const std::vector<Role>& Qkv() {
  static const auto* const roles = new std::vector<Role>{Role::kQuery, Role::kKey, Role::kValue};
  return *roles;
}

// q_proj, k_proj, v_proj and the output under a prefix.
void AddAttention(const std::string& prefix, const std::string& output, Bias qkv_bias, Bias output_bias,
                  std::vector<TensorRule>* rules) {
  AddLinear(prefix + "q_proj", qkv_bias, {Role::kQuery}, rules);
  AddLinear(prefix + "k_proj", qkv_bias, {Role::kKey}, rules);
  AddLinear(prefix + "v_proj", qkv_bias, {Role::kValue}, rules);
  AddLinear(prefix + output, output_bias, {Role::kOutput}, rules);
}

void AddGatedMlp(Bias bias, std::vector<TensorRule>* rules) {
  AddLinear("{P}layers.{N}.mlp.gate_proj", bias, {Role::kGate}, rules);
  AddLinear("{P}layers.{N}.mlp.up_proj", bias, {Role::kUp}, rules);
  AddLinear("{P}layers.{N}.mlp.down_proj", bias, {Role::kDown}, rules);
}

void AddFusedMlp(std::vector<TensorRule>* rules) {
  AddLinear("{P}layers.{N}.mlp.gate_up_proj", Bias::kNone, {Role::kGate, Role::kUp}, rules);
  AddLinear("{P}layers.{N}.mlp.down_proj", Bias::kNone, {Role::kDown}, rules);
}

// Tables and the two norms of a layer, as most families name them.
void AddFrame(Bias norm_bias, std::vector<TensorRule>* rules) {
  AddTables("{P}embed_tokens", "{P}norm", norm_bias, "lm_head", rules);
  AddNorm("{P}layers.{N}.input_layernorm", norm_bias, Role::kNorm1, rules);
  AddNorm("{P}layers.{N}.post_attention_layernorm", norm_bias, Role::kNorm2, rules);
}

// Gated mlp, RMS norms, rope; biases as given.
FamilyRow PlainRow(std::vector<const char*> architectures, std::vector<const char*> model_types, Bias qkv_bias,
                   Bias output_bias, Bias mlp_bias) {
  FamilyRow row;
  row.architectures = std::move(architectures);
  row.model_types = std::move(model_types);
  AddFrame(Bias::kNone, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", qkv_bias, output_bias, &row.tensors);
  AddGatedMlp(mlp_bias, &row.tensors);
  return row;
}

FamilyRow LlamaRow() {
  return PlainRow({"LlamaForCausalLM", "LLaMAForCausalLM", "AquilaForCausalLM", "AquilaModel", "XverseForCausalLM"},
                  {"llama"}, Bias::kMaybe, Bias::kMaybe, Bias::kMaybe);
}

FamilyRow MistralRow() {
  FamilyRow row = PlainRow({"MistralForCausalLM"}, {"mistral"}, Bias::kNone, Bias::kNone, Bias::kNone);
  row.window = WindowUse::kAlways;
  row.default_window = 4096;
  return row;
}

FamilyRow Qwen2Row() {
  FamilyRow row = PlainRow({"Qwen2ForCausalLM"}, {"qwen2"}, Bias::kMust, Bias::kNone, Bias::kNone);
  row.window = WindowUse::kIfFlagged;
  row.default_window = 4096;
  return row;
}

FamilyRow Qwen3Row() {
  FamilyRow row = PlainRow({"Qwen3ForCausalLM"}, {"qwen3"}, Bias::kMaybe, Bias::kMaybe, Bias::kNone);
  row.default_head_dim = 128;
  row.window = WindowUse::kIfFlagged;
  row.default_window = 4096;
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

FamilyRow InternLm2Row() {
  FamilyRow row;
  row.architectures = {"InternLM2ForCausalLM"};
  row.model_types = {"internlm2"};
  AddTables("{P}tok_embeddings", "{P}norm", Bias::kNone, "output", &row.tensors);
  AddNorm("{P}layers.{N}.attention_norm", Bias::kNone, Role::kNorm1, &row.tensors);
  AddNorm("{P}layers.{N}.ffn_norm", Bias::kNone, Role::kNorm2, &row.tensors);
  AddLinear("{P}layers.{N}.attention.wqkv", Bias::kMaybe, Qkv(), &row.tensors, Layout::kGroups);
  AddLinear("{P}layers.{N}.attention.wo", Bias::kMaybe, {Role::kOutput}, &row.tensors);
  AddLinear("{P}layers.{N}.feed_forward.w1", Bias::kNone, {Role::kGate}, &row.tensors);
  AddLinear("{P}layers.{N}.feed_forward.w3", Bias::kNone, {Role::kUp}, &row.tensors);
  AddLinear("{P}layers.{N}.feed_forward.w2", Bias::kNone, {Role::kDown}, &row.tensors);
  return row;
}

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
  row.fixed_flags = {{"use_qk_norm", false}};
  AddTables("{P}embed_tokens", "{P}norm", Bias::kNone, "lm_head", &row.tensors);
  AddNorm("{P}layers.{N}.input_layernorm", Bias::kNone, Role::kNorm1, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kMaybe, Bias::kMaybe, &row.tensors);
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
  row.fixed_flags = {{"qk_layernorm", false}};
  AddTables("{P}embed_tokens", "{P}norm", Bias::kMust, "lm_head", &row.tensors);
  AddNorm("{P}layers.{N}.input_layernorm", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}layers.{N}.post_attention_layernorm", Bias::kMust, Role::kNorm2, &row.tensors, Need::kUnlessParallel);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kMaybe, Bias::kNone, &row.tensors);
  AddGatedMlp(Bias::kNone, &row.tensors);
  return row;
}

FamilyRow Starcoder2Row() {
  FamilyRow row;
  row.architectures = {"Starcoder2ForCausalLM"};
  row.model_types = {"starcoder2"};
  row.norm = NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.default_activation = "gelu_pytorch_tanh";
  row.gated = false;
  row.default_tied_head = true;
  row.window = WindowUse::kAlways;
  AddFrame(Bias::kMust, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "o_proj", Bias::kMaybe, Bias::kMaybe, &row.tensors);
  AddLinear("{P}layers.{N}.mlp.c_fc", Bias::kMaybe, {Role::kUp}, &row.tensors);
  AddLinear("{P}layers.{N}.mlp.c_proj", Bias::kMaybe, {Role::kDown}, &row.tensors);
  return row;
}

FamilyRow PhiRow() {
  FamilyRow row;
  row.architectures = {"PhiForCausalLM"};
  row.model_types = {"phi"};
  row.norm = NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.default_rotary_fraction = 0.5;
  row.default_activation = "gelu_new";
  row.gated = false;
  row.default_parallel = true;
  AddTables("{P}embed_tokens", "{P}final_layernorm", Bias::kMust, "lm_head", &row.tensors);
  Add("lm_head.bias", Need::kMust, Part::kBias, kPlain, {Role::kHead}, &row.tensors);
  AddNorm("{P}layers.{N}.input_layernorm", Bias::kMust, Role::kNorm1, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "dense", Bias::kMust, Bias::kMust, &row.tensors);
  AddLinear("{P}layers.{N}.mlp.fc1", Bias::kMust, {Role::kUp}, &row.tensors);
  AddLinear("{P}layers.{N}.mlp.fc2", Bias::kMust, {Role::kDown}, &row.tensors);
  row.fixed_flags = {{"qk_layernorm", false}};
  return row;
}

FamilyRow GptJRow() {
  FamilyRow row;
  row.architectures = {"GPTJForCausalLM"};
  row.model_types = {"gptj"};
  row.prefixes = {"transformer."};
  row.norm = NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.rope_in_neighbours = true;
  row.default_activation = "gelu_new";
  row.gated = false;
  row.default_ffn_multiple = 4;
  row.default_parallel = true;
  AddTables("{P}wte", "{P}ln_f", Bias::kMust, "lm_head", &row.tensors);
  Add("lm_head.bias", Need::kMust, Part::kBias, kPlain, {Role::kHead}, &row.tensors);
  AddNorm("{P}h.{N}.ln_1", Bias::kMust, Role::kNorm1, &row.tensors);
  AddAttention("{P}h.{N}.attn.", "out_proj", Bias::kNone, Bias::kNone, &row.tensors);
  AddLinear("{P}h.{N}.mlp.fc_in", Bias::kMust, {Role::kUp}, &row.tensors);
  AddLinear("{P}h.{N}.mlp.fc_out", Bias::kMust, {Role::kDown}, &row.tensors);
  row.ignored_suffixes = {".attn.bias", ".attn.masked_bias"};  // causal masks
  return row;
}

FamilyRow GptNeoXRow() {
  FamilyRow row;
  row.architectures = {"GPTNeoXForCausalLM"};
  row.model_types = {"gpt_neox"};
  row.prefixes = {"gpt_neox."};
  row.norm = NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.default_rotary_fraction = 0.25;
  row.default_activation = "gelu";
  row.gated = false;
  row.parallel_key = "use_parallel_residual";
  row.default_parallel = true;
  AddTables("{P}embed_in", "{P}final_layer_norm", Bias::kMust, "embed_out", &row.tensors);
  AddNorm("{P}layers.{N}.input_layernorm", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}layers.{N}.post_attention_layernorm", Bias::kMust, Role::kNorm2, &row.tensors);
  AddLinear("{P}layers.{N}.attention.query_key_value", Bias::kMaybe, Qkv(), &row.tensors, Layout::kGroups);
  AddLinear("{P}layers.{N}.attention.dense", Bias::kMaybe, {Role::kOutput}, &row.tensors);
  AddLinear("{P}layers.{N}.mlp.dense_h_to_4h", Bias::kMust, {Role::kUp}, &row.tensors);
  AddLinear("{P}layers.{N}.mlp.dense_4h_to_h", Bias::kMust, {Role::kDown}, &row.tensors);
  row.ignored_suffixes = {".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"};
  return row;
}

void AddFalconMatrices(std::vector<TensorRule>* rules) {
  AddTables("{P}word_embeddings", "{P}ln_f", Bias::kMust, "lm_head", rules);
  AddLinear("{P}h.{N}.self_attention.query_key_value", Bias::kMaybe, Qkv(), rules, Layout::kGroups);
  AddLinear("{P}h.{N}.self_attention.dense", Bias::kMaybe, {Role::kOutput}, rules);
  AddLinear("{P}h.{N}.mlp.dense_h_to_4h", Bias::kMaybe, {Role::kUp}, rules);
  AddLinear("{P}h.{N}.mlp.dense_4h_to_h", Bias::kMaybe, {Role::kDown}, rules);
}

// The older decoder: one norm and one key head per layer; without ALiBi.
FamilyRow FalconRow() {
  FamilyRow row;
  row.architectures = {"FalconForCausalLM"};
  row.model_types = {"falcon"};
  row.prefixes = {"transformer."};
  row.norm = NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.default_activation = "gelu";
  row.gated = false;
  row.default_tied_head = true;
  row.default_ffn_multiple = 4;
  row.default_max_position = 2048;
  row.selector_key = "new_decoder_architecture";
  row.kv_heads_by_multi_query = true;
  row.parallel_key = "parallel_attn";
  row.default_parallel = true;
  row.fixed_flags = {{"alibi", false}};
  AddFalconMatrices(&row.tensors);
  AddNorm("{P}h.{N}.input_layernorm", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}h.{N}.post_attention_layernorm", Bias::kMust, Role::kNorm2, &row.tensors, Need::kUnlessParallel);
  return row;
}

// The newer decoder: two norms side by side, a group of queries per key head.
FamilyRow NewFalconRow() {
  FamilyRow row = FalconRow();
  row.selector_value = true;
  row.kv_heads_by_multi_query = false;
  row.parallel_key = nullptr;
  row.tensors.clear();
  AddFalconMatrices(&row.tensors);
  AddNorm("{P}h.{N}.ln_attn", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}h.{N}.ln_mlp", Bias::kMust, Role::kNorm2, &row.tensors);
  return row;
}

FamilyRow OptRow() {
  FamilyRow row;
  row.architectures = {"OPTForCausalLM"};
  row.model_types = {"opt"};
  row.prefixes = {"model.decoder.", "decoder."};
  row.norm = NormKind::kLayer;
  row.default_norm_eps = 1e-5;
  row.position = PositionKind::kLearned;
  row.skipped_positions = 2;
  row.default_activation = "relu";
  row.gated = false;
  row.default_tied_head = true;
  row.fixed_flags = {
      {"do_layer_norm_before", true}, {"layer_norm_elementwise_affine", true}, {"_remove_final_layer_norm", false}};
  AddTables("{P}embed_tokens", "{P}final_layer_norm", Bias::kMust, "lm_head", &row.tensors);
  Add("{P}embed_positions.weight", Need::kMust, Part::kWeight, kPlain, {Role::kPositions}, &row.tensors);
  AddNorm("{P}layers.{N}.self_attn_layer_norm", Bias::kMust, Role::kNorm1, &row.tensors);
  AddNorm("{P}layers.{N}.final_layer_norm", Bias::kMust, Role::kNorm2, &row.tensors);
  AddAttention("{P}layers.{N}.self_attn.", "out_proj", Bias::kMaybe, Bias::kMaybe, &row.tensors);
  AddLinear("{P}layers.{N}.fc1", Bias::kMaybe, {Role::kUp}, &row.tensors);
  AddLinear("{P}layers.{N}.fc2", Bias::kMaybe, {Role::kDown}, &row.tensors);
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
  Add("{P}wpe.weight", Need::kMust, Part::kWeight, kPlain, {Role::kPositions}, &row.tensors);
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
  FamilyRow row = GptNamesRow(kConv1d, kConv1d);
  row.architectures = {"GPT2LMHeadModel"};
  row.model_types = {"gpt2"};
  row.default_activation = "gelu_new";
  return row;
}

FamilyRow GptBigCodeRow() {
  FamilyRow row = GptNamesRow(kPlain, Layout::kGroups);
  row.architectures = {"GPTBigCodeForCausalLM"};
  row.model_types = {"gpt_bigcode"};
  row.default_activation = "gelu_pytorch_tanh";
  row.kv_heads_by_multi_query = true;
  return row;
}

}  // namespace

const std::vector<FamilyRow>& Families() {
  static const auto* const rows = new std::vector<FamilyRow>{
      LlamaRow(),     Gpt2Row(),       MistralRow(), Qwen2Row(),     Qwen3Row(),   GemmaRow(),
      GraniteRow(),   SmolLm3Row(),    Phi3Row(),    GlmRow(),       Glm4Row(),    InternLm2Row(),
      CohereRow(),    StableLmRow(),   PhiRow(),     GptJRow(),      GptNeoXRow(), FalconRow(),
      NewFalconRow(), Starcoder2Row(), OptRow(),     GptBigCodeRow()};
  return *rows;
}

}  // namespace quire::worker
