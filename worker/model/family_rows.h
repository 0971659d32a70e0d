// The model families, one row each: what their files are called and what an absent config key means. Data; any thread.
//
// A new family is one row of a family_rows_*.cc, plus a tiny checkpoint in tests/goldens.
// Source of the facts: transformers' modeling_*.py and configuration_*.py.
#ifndef QUIRE_WORKER_MODEL_FAMILY_ROWS_H_
#define QUIRE_WORKER_MODEL_FAMILY_ROWS_H_

#include <string>
#include <vector>

#include "worker/model/model_spec.h"
#include "worker/model/roles.h"

namespace quire::worker {

enum class Need : uint8_t {
  kMust,
  kMaybe,           // in all layers or in none, as the config says or, where it does not, as the file has it
  kUnlessTied,      // must where the head is its own matrix; ignored where it is the embedding
  kIfHeadNorm,      // must where queries and keys are normed; refused elsewhere
  kIfProjected,     // must where embeddings have another size than the hidden state; refused elsewhere
  kUnlessPlain,     // must where norms have weights; refused where they only norm
  kUnlessParallel,  // must unless the mlp shares the norm of attention (parallel residual); refused there
};

// How one tensor of a file holds its roles: binding turns each into rows of the stored tensor, and nothing after
// binding knows of them.
enum class Layout : uint8_t {
  kConcat,            // the roles' rows one below the other; one role: the tensor itself
  kConcatTransposed,  // the same with axes [in, out] ("Conv1D")
  kGroups,            // for each key head: its queries, itself, its value head
  kExperts,           // an axis of experts, and kConcat for each of them
  kHeads,             // an axis of heads, and one of a head's elements
  kOneHead,           // of a rule with "{H}"
};

enum class InLayers : uint8_t { kAll, kWithMlp, kWithExperts };  // of a model that mixes layers of both kinds

struct TensorRule {
  // "{P}" is the file's prefix, "{N}" the layer's index, "{E}" the expert's, "{H}" the head's of a tensor that holds one
  // head's part.
  std::string name;
  Need need;
  Part part;
  Layout layout;
  std::vector<Role> roles;
  InLayers layers = InLayers::kAll;
  // Of kMaybe: flags of the config of which one that is true promises the tensor; all false: it must not be there.
  std::vector<const char*> flags = {};
};

enum class WindowUse : uint8_t { kNever, kAlways, kIfFlagged };  // of "sliding_window"; by "use_sliding_window"

// A key of the config that must have this value where it is there: the other one is not built.
struct FixedFlag {
  const char* key;
  bool value;
};

// The same for a string; null: no string at all.
struct FixedString {
  const char* key;
  const char* value;
};

// Something that a config says or leaves out.
struct Condition {
  enum Kind : uint8_t { kIsThere, kIsAbsent, kEquals, kNameHas };
  const char* key;  // of a number, or of a flag, which counts as 0 or 1; of kNameHas: a part of "_name_or_path"
  Kind kind;
  double value = 0;   // of kEquals
  double absent = 0;  // what kEquals takes an absent key for
};

// Config keys of a mixture of experts. The number of experts has a few names and any is taken.
struct ExpertKeys {
  const char* ffn_size = nullptr;         // null: the family has no experts
  const char* shared_ffn_size = nullptr;  // null: no mlp that every token takes
  const char* renormalize = nullptr;      // absent key: false. Null: always
};

struct FamilyRow {
  std::vector<const char*> architectures;
  std::vector<const char*> model_types;  // used where a config names no architecture
  std::vector<Condition> conditions;     // on which configs of these names the row is for; empty: all
  // Prefixes that {P} may stand for; the first with which the embedding is found is the file's.
  std::vector<const char*> prefixes = {"model."};

  kernels::NormKind norm = kernels::NormKind::kRms;
  bool norm_adds_one = false;              // a stored weight w means 1 + w
  const char* norm_weights_key = nullptr;  // of a flag (absent: true) that norms have weights; null: they have
  double default_norm_eps = 1e-6;
  PositionKind position = PositionKind::kRope;
  int64_t skipped_positions = 0;  // leading rows of the learned positions that no token has
  bool rope_in_neighbours = false;
  double default_rotary_fraction = 1.0;
  const char* default_activation = "silu";
  const char* fixed_activation = nullptr;  // whatever the config says
  bool gated = true;
  bool default_tied_head = false;
  int64_t default_ffn_multiple = 0;      // of hidden_size, for an absent ffn size; 0: the config must name one
  int64_t default_head_dim = 0;          // 0: hidden_size / heads
  int64_t default_max_position = 0;      // 0: the config must name one
  int64_t ffn_divisor = 1;               // the config names so many times the width
  bool kv_heads_by_multi_query = false;  // one key head, or with "multi_query" false as many as query heads
  const char* kv_heads_key = nullptr;    // of their number, absent: 1; null: the usual keys

  // The mlp reads what attention reads: by this flag, or always as the default says where it is null.
  const char* parallel_key = nullptr;
  bool default_parallel = false;

  bool norms_follow = false;               // norm(x + f(x))
  const char* head_norm_key = nullptr;     // the flag that queries and keys are normed; null: where there are rules
  HeadNorm head_norm = HeadNorm::kShared;  // what their weights are
  const char* embed_size_key = nullptr;    // of an embedding's size; absent: the hidden size

  WindowUse window = WindowUse::kNever;
  int64_t default_window = 0;  // where the key is absent; 0: none
  // Which layers have the window: those that "layer_types" names, if there is one; else all but every so manieth (0:
  // all), but none before the first one.
  bool windows_by_layer = false;
  int64_t full_layer_interval = 0;
  const char* full_layer_interval_key = nullptr;
  const char* first_window_layer_key = nullptr;
  int64_t default_first_window_layer = 0;
  bool windows_where_no_rope = false;  // and no other layer
  bool rope_where_windows = false;     // and in no other layer
  int64_t rope_free_interval = 0;  // every so manieth layer has no rope, unless "no_rope_layers" names them; 0: none

  // Of the number of tokens that the model was trained for, where "max_position_embeddings" is more (null: it is not); and
  // of flags (absent: true) that longer contexts grow the rope's base, and their queries.
  const char* trained_length_key = nullptr;
  const char* base_growth_key = nullptr;
  const char* query_growth_key = nullptr;

  double default_rope_theta = 10000.0;
  double default_window_rope_theta = 0;  // of the rope that layers with a window have for themselves; 0: the same rope

  const char* alibi_key = nullptr;  // of a flag (absent: false) for ALiBi in place of `position`
  const char* alibi_bias_max_key = nullptr;
  bool alibi_in_bf16 = false;

  int64_t default_vocab_size = 0;  // 0: the config must name one, as the next
  int64_t default_num_heads = 0;
  int64_t default_num_kv_heads = 0;  // 0: the number of heads
  const char* ffn_multiple_key = nullptr;

  const char* attention_softcap_key = nullptr;  // a null there means none
  double default_attention_softcap = 0.0;
  const char* logits_softcap_key = nullptr;
  double default_logits_softcap = 0.0;
  const char* attention_scale_root_key = nullptr;  // scores are scaled by this to the power of -1/2
  double default_attention_scale_root = 0.0;
  const char* qkv_limit_key = nullptr;
  const char* residual_from_norm_key = nullptr;  // of a flag; absent: false

  bool head_rows_have_length_one = false;           // the head's rows count divided by their lengths
  const char* rope_position_divisor_key = nullptr;  // of what positions are divided by
  const char* rope_base_ratio_key = nullptr;        // of a factor of the rope's base

  // Config keys of factors; null: the family has none.
  const char* embedding_scale_key = nullptr;
  bool embedding_scale_is_root = false;  // sqrt(hidden_size), in the precision of the weights
  const char* attention_scale_key = nullptr;
  double default_attention_scale = 0.0;  // 0: 1 / sqrt(head_dim)
  const char* residual_scale_key = nullptr;
  const char* logits_scale_key = nullptr;
  double default_logits_scale = 1.0;
  const char* logits_divisor_key = nullptr;

  ExpertKeys experts;
  // Rules for layers with experts, by the ways that files name them; the one of which most is found is the file's.
  std::vector<std::vector<TensorRule>> expert_namings;

  std::vector<FixedFlag> fixed_flags;
  std::vector<FixedString> fixed_strings;
  std::vector<TensorRule> tensors;
  std::vector<const char*> ignored_suffixes = {".rotary_emb.inv_freq", ".rotary_emb.cos_cached",
                                               ".rotary_emb.sin_cached"};  // of tensors that are no parameters
  std::vector<const char*> ignored_prefixes;  // of tensors of other towers than the decoder
};

// By topic, each in its file; made of family_rule_builders.h.
std::vector<FamilyRow> LlamaLikeRows();   // family_rows_llama.cc
std::vector<FamilyRow> LayerNormRows();   // family_rows_layer_norm.cc
std::vector<FamilyRow> RemoteCodeRows();  // family_rows_remote.cc
std::vector<FamilyRow> ExpertRows();      // family_rows_experts.cc
std::vector<FamilyRow> AlibiRows();       // family_rows_alibi.cc
std::vector<FamilyRow> WindowRows();      // family_rows_windows.cc

// All of them, in no order that matters.
const std::vector<FamilyRow>& Families();

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_FAMILY_ROWS_H_
