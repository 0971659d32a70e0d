// config.json and generation_config.json of a Hugging Face directory, read into one vocabulary of fields.
//
// Several names of one fact become one field here; what a family takes for an absent field stands in its row
// (families.h). Where a config has a "text_config", that is the decoder's, and the sizes are read there.
//
// Thread rule: pure but for ReadHfConfig; any thread.
#ifndef QUIRE_WORKER_MODEL_HF_CONFIG_H_
#define QUIRE_WORKER_MODEL_HF_CONFIG_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::worker {

// The rope keys: v5's rope_parameters, else v4's rope_theta and rope_scaling.
struct HfRope {
  std::string type = "default";
  std::optional<double> theta;
  std::optional<double> factor;
  std::optional<double> low_freq_factor;
  std::optional<double> high_freq_factor;
  std::optional<int64_t> original_max_position;
  std::optional<double> rotary_fraction;  // of head_dim
  std::optional<int64_t> rotary_dims;     // in place of the fraction
  std::optional<double> beta_fast;        // of yarn, as all that follow
  std::optional<double> beta_slow;
  std::optional<double> attention_factor;
  std::optional<double> mscale;
  std::optional<double> mscale_all_dim;
  std::optional<bool> truncate;
  std::vector<double> short_factor;  // of longrope, as all that follow
  std::vector<double> long_factor;
  std::optional<double> short_mscale;
  std::optional<double> long_mscale;
};

// Every number is within the limits of hf_config.cc; an absent or null key is an empty field.
struct HfConfig {
  std::vector<std::string> architectures;
  std::string model_type;
  std::string name_or_path;  // "_name_or_path"; "" if absent
  std::optional<int64_t> vocab_size;
  std::optional<int64_t> hidden_size;
  std::optional<int64_t> num_layers;
  std::optional<int64_t> num_heads;
  std::optional<int64_t> num_kv_heads;
  std::optional<int64_t> head_dim;
  std::optional<int64_t> ffn_size;
  std::optional<int64_t> max_position;
  std::optional<double> norm_eps;
  std::optional<std::string> activation;
  std::optional<bool> tied_head;
  std::optional<bool> scale_attention;  // false: scores are not divided by sqrt(head_dim)
  std::optional<bool> scale_attention_by_inverse_layer;
  HfRope rope;
  std::optional<HfRope> window_rope;    // of layers with a window, where the config has one for them
  std::optional<int64_t> window;        // of attention, in tokens
  bool window_is_named = false;         // the key is there, maybe null
  std::vector<bool> window_of_layers;   // "layer_types": true where a layer has the window
  std::vector<int64_t> rope_of_layers;  // "no_rope_layers": 1 where a layer has rope
  // Every value of the decoder's object by key, and of its "attn_config" by "attn_config.key".
  std::map<std::string, bool> flags;
  std::map<std::string, double> numbers;
  std::map<std::string, std::vector<int64_t>> lists;  // of at most 1024 integers
  std::map<std::string, std::string> strings;
  std::set<std::string> nulls;
  std::vector<int32_t> eos_token_ids;  // both files, without repeats
  int32_t bos_token_id = -1;
  std::string generation_config_json;  // "" if absent
  std::string quantization_json;       // "quantization_config"; "" if absent
  std::string file = "config.json";    // for messages
};

// A value of the decoder's object. The key may be null: the family has none.
bool FlagOr(const HfConfig& config, const char* key, bool absent);
double NumberOr(const HfConfig& config, const char* key, double absent);

// Errors: INVALID_ARGUMENT naming key and value; UNIMPLEMENTED a feature that changes the result and is not built,
// named.
absl::StatusOr<HfConfig> ParseHfConfig(absl::string_view file, absl::string_view config_json,
                                       absl::string_view generation_config_json);

// Reads both files; the second may be absent. Errors: NOT_FOUND; as ParseHfConfig.
absl::StatusOr<HfConfig> ReadHfConfig(const std::string& model_dir);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_HF_CONFIG_H_
