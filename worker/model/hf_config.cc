#include "worker/model/hf_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/loader/bounded_json.h"
#include "worker/loader/json_reader.h"
#include "worker/loader/mapped_file.h"

namespace quire::worker {
namespace {

using nlohmann::json;

constexpr int64_t kConfigBytesMax = 4 << 20;
constexpr int kArchitecturesMax = 16;
constexpr int kLayersMax = 1024;
constexpr int kEosIdsMax = 64;
constexpr int kFactorsMax = 1024;

void ReadArchitectures(JsonReader* reader, HfConfig* config) {
  std::string key;
  const json* value = reader->Find({"architectures"}, &key);
  if (value == nullptr) return;
  if (!value->is_array() || value->size() > kArchitecturesMax) {
    return reader->Wrong(key, *value, absl::StrCat("a list of at most ", kArchitecturesMax, " strings"));
  }
  for (const json& item : *value) {
    if (!item.is_string()) return reader->Wrong(key, *value, "a list of strings");
    config->architectures.push_back(item.get<std::string>());
  }
}

void ReadSizes(JsonReader* reader, HfConfig* config) {
  reader->Int({"padded_vocab_size", "vocab_size"}, 1, 1 << 22, &config->vocab_size);
  reader->Int({"hidden_size", "n_embd", "n_embed", "d_model"}, 1, 1 << 17, &config->hidden_size);
  reader->Int({"num_hidden_layers", "n_layer", "num_layers", "n_layers"}, 1, kLayersMax, &config->num_layers);
  reader->Int({"num_attention_heads", "n_head", "n_heads"}, 1, 4096, &config->num_heads);
  reader->Int({"num_key_value_heads", "num_kv_heads", "n_head_kv"}, 1, 4096, &config->num_kv_heads);
  reader->Int({"head_dim", "kv_channels"}, 1, 1024, &config->head_dim);
  reader->Int({"intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"}, 1, 1 << 20, &config->ffn_size);
  reader->Int({"max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "model_max_length"}, 1, 1 << 24,
              &config->max_position);
  reader->Double({"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", "norm_epsilon"}, 0.0,
                 1.0, &config->norm_eps);
  reader->String({"hidden_activation", "hidden_act", "activation_function", "activation"}, &config->activation);
  reader->Bool({"tie_word_embeddings"}, &config->tied_head);
  reader->Bool({"scale_attn_weights"}, &config->scale_attention);
  reader->Bool({"scale_attn_by_inverse_layer_idx"}, &config->scale_attention_by_inverse_layer);
}

void ReadWindow(JsonReader* reader, const json& root, HfConfig* config) {
  // Beside a flag that turns it off, libraries write 0 for none.
  const auto flag = root.find("use_sliding_window"), window = root.find("sliding_window");
  const bool is_off = flag != root.end() && *flag == false && window != root.end() && *window == 0;
  if (!is_off) reader->Int({"sliding_window"}, 1, 1 << 30, &config->window);
  config->window_is_named = root.contains("sliding_window");
  std::string key;
  const json* types = reader->Find({"layer_types"}, &key);
  if (types == nullptr) return;
  if (!types->is_array() || types->size() > kLayersMax) {
    return reader->Wrong(key, *types, absl::StrCat("a list of at most ", kLayersMax, " kinds"));
  }
  for (const json& type : *types) {
    if (type != "sliding_attention" && type != "full_attention") {
      return reader->Wrong(key, *types, "a list of 'sliding_attention' and 'full_attention'");
    }
    config->window_of_layers.push_back(type == "sliding_attention");
  }
}

void ReadRopeOfLayers(JsonReader* reader, HfConfig* config) {
  std::string key;
  const json* value = reader->Find({"no_rope_layers"}, &key);
  if (value == nullptr) return;
  if (!value->is_array() || value->size() > kLayersMax) {
    return reader->Wrong(key, *value, absl::StrCat("a list of at most ", kLayersMax, " flags"));
  }
  for (const json& item : *value) {
    if (item != 0 && item != 1) return reader->Wrong(key, *value, "a list of 0 and 1");
    config->rope_of_layers.push_back(item.get<int64_t>());
  }
}

// Families name the ones that they understand (family_rows.h).
void ReadValues(const json& object, const std::string& prefix, HfConfig* config) {
  for (const auto& [name, value] : object.items()) {
    const std::string key = prefix + name;
    if (value.is_boolean()) config->flags[key] = value.get<bool>();
    if (value.is_number()) config->numbers[key] = value.get<double>();
    const auto is_integer = [](const json& item) { return item.is_number_integer(); };
    if (value.is_array() && value.size() <= 1024 && std::all_of(value.begin(), value.end(), is_integer)) {
      config->lists[key] = value.get<std::vector<int64_t>>();
    }
    if (value.is_string()) config->strings[key] = value.get<std::string>();
    if (value.is_null()) config->nulls.insert(key);
  }
}

// Keys that change the result and that nothing here computes: silence would be a wrong answer.
void RefuseUnbuilt(JsonReader* reader) {
  std::optional<bool> flag;
  reader->Bool({"add_cross_attention"}, &flag);
  if (flag.value_or(false)) reader->Unimplemented("'add_cross_attention'");
}

// The keys that both versions spell alike.
void ReadRopeKeys(JsonReader* reader, HfRope* rope) {
  std::optional<std::string> type;
  reader->String({"rope_type", "type"}, &type);
  rope->type = type.value_or("default");
  reader->Double({"rope_theta"}, 1e-3, 1e12, &rope->theta);
  reader->Double({"factor"}, 1e-3, 1e6, &rope->factor);
  reader->Double({"low_freq_factor"}, 1e-6, 1e6, &rope->low_freq_factor);
  reader->Double({"high_freq_factor"}, 1e-6, 1e6, &rope->high_freq_factor);
  reader->Double({"partial_rotary_factor"}, 1e-6, 1.0, &rope->rotary_fraction);
  reader->Int({"original_max_position_embeddings"}, 1, 1 << 24, &rope->original_max_position);
  reader->Double({"beta_fast"}, 1e-6, 1e6, &rope->beta_fast);
  reader->Double({"beta_slow"}, 1e-6, 1e6, &rope->beta_slow);
  reader->Double({"attention_factor"}, 1e-6, 1e6, &rope->attention_factor);
  reader->Double({"mscale"}, 0.0, 1e6, &rope->mscale);
  reader->Double({"mscale_all_dim"}, 0.0, 1e6, &rope->mscale_all_dim);
  reader->Bool({"truncate"}, &rope->truncate);
  reader->Doubles({"short_factor"}, 1e-6, 1e6, kFactorsMax, &rope->short_factor);
  reader->Doubles({"long_factor"}, 1e-6, 1e6, kFactorsMax, &rope->long_factor);
  reader->Double({"short_mscale"}, 1e-6, 1e6, &rope->short_mscale);
  reader->Double({"long_mscale"}, 1e-6, 1e6, &rope->long_mscale);
  // Older spellings; "yarn" has no lists of its own.
  if (rope->type == "su" || (rope->type == "yarn" && !rope->long_factor.empty())) rope->type = "longrope";
}

absl::Status ReadRope(absl::string_view file, JsonReader* reader, HfConfig* config) {
  HfRope& rope = config->rope;
  HfRope window_rope;
  const json* v5 = reader->Object({"rope_parameters"});
  const json* v4 = v5 == nullptr ? reader->Object({"rope_scaling"}) : nullptr;
  if (v5 != nullptr || v4 != nullptr) {
    JsonReader nested(file, v5 != nullptr ? *v5 : *v4, v5 != nullptr ? "rope_parameters." : "rope_scaling.");
    const json* full = nested.Object({"full_attention"});  // one object for each kind of layer
    if (full == nullptr) ReadRopeKeys(&nested, &rope);
    for (const auto& [name, out] : {std::make_pair("full_attention", &rope), {"sliding_attention", &window_rope}}) {
      const json* of_kind = nested.Object({name});
      if (of_kind == nullptr) continue;
      JsonReader reader_of_kind(file, *of_kind, absl::StrCat("rope_parameters.", name, "."));
      ReadRopeKeys(&reader_of_kind, out);
      if (!reader_of_kind.status().ok()) return reader_of_kind.status();
      if (out == &window_rope) config->window_rope = window_rope;
    }
    if (!nested.status().ok()) return nested.status();
  }
  reader->Double({"rope_local_base_freq"}, 1e-3, 1e12, &window_rope.theta);
  if (window_rope.theta.has_value()) config->window_rope = window_rope;
  // InternLM's first version.
  if (const json* rotary = reader->Object({"rotary"}); rotary != nullptr) {
    JsonReader nested(file, *rotary, "rotary.");
    std::optional<std::string> type;
    nested.String({"type"}, &type);
    nested.Double({"base"}, 1e-3, 1e12, &rope.theta);
    nested.Double({"scaling_factor"}, 1e-3, 1e6, &rope.factor);
    if (!nested.status().ok()) return nested.status();
    rope.type = type.value_or("origin") == "origin" ? "default" : *type;
    if (!rope.factor.has_value()) rope.factor = 1.0;
  }
  std::optional<double> theta, fraction;
  reader->Double({"rope_theta", "rotary_emb_base"}, 1e-3, 1e12, &theta);
  reader->Double({"partial_rotary_factor", "rotary_pct"}, 1e-6, 1.0, &fraction);
  reader->Int({"rotary_dim"}, 1, 1024, &rope.rotary_dims);
  if (!rope.original_max_position.has_value()) {
    reader->Int({"original_max_position_embeddings"}, 1, 1 << 24, &rope.original_max_position);
  }
  if (!rope.theta.has_value()) rope.theta = theta;
  if (!rope.rotary_fraction.has_value()) rope.rotary_fraction = fraction;
  return reader->status();
}

// eos_token_id is one id, a list of ids or null; both files may have it and both count.
void ReadTokenIds(JsonReader* reader, HfConfig* config) {
  std::string key;
  if (const json* value = reader->Find({"eos_token_id"}, &key); value != nullptr) {
    const json list = value->is_array() ? *value : json::array({*value});
    if (list.size() > kEosIdsMax) return reader->Wrong(key, *value, absl::StrCat("at most ", kEosIdsMax, " ids"));
    for (const json& id : list) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
        return reader->Wrong(key, *value, "a token id or a list of token ids");
      }
      const int32_t eos = id.get<int32_t>();
      auto& ids = config->eos_token_ids;
      if (std::find(ids.begin(), ids.end(), eos) == ids.end()) ids.push_back(eos);
    }
  }
  std::optional<int64_t> bos;
  reader->Int({"bos_token_id"}, 0, INT32_MAX, &bos);
  if (bos.has_value() && config->bos_token_id < 0) config->bos_token_id = *bos;
}

absl::Status ReadDecoder(absl::string_view file, const json& object, bool is_nested, HfConfig* config) {
  JsonReader reader(file, object, is_nested ? "text_config." : "");
  if (is_nested) {
    RefuseUnbuilt(&reader);
    std::string key;
    if (reader.Find({"quantization_config"}, &key) != nullptr) reader.Unimplemented(absl::StrCat("'", key, "'"));
    ReadTokenIds(&reader, config);
  }
  ReadSizes(&reader, config);
  ReadWindow(&reader, object, config);
  ReadRopeOfLayers(&reader, config);
  ReadValues(object, "", config);
  if (const auto nested = object.find("attn_config"); nested != object.end() && nested->is_object()) {
    ReadValues(*nested, "attn_config.", config);
  }
  return ReadRope(file, &reader, config);
}

}  // namespace

bool FlagOr(const HfConfig& config, const char* key, bool absent) {
  if (key == nullptr) return absent;
  const auto found = config.flags.find(key);
  return found == config.flags.end() ? absent : found->second;
}

double NumberOr(const HfConfig& config, const char* key, double absent) {
  if (key == nullptr) return absent;
  const auto found = config.numbers.find(key);
  return found == config.numbers.end() ? absent : found->second;
}

absl::StatusOr<HfConfig> ParseHfConfig(absl::string_view file, absl::string_view config_json,
                                       absl::string_view generation_config_json) {
  HfConfig config;
  config.file = std::string(file);
  json root;
  if (absl::Status s = ParseBoundedJson(file, config_json, &root); !s.ok()) return s;
  JsonReader reader(file, root);
  ReadArchitectures(&reader, &config);
  std::optional<std::string> model_type, name_or_path;
  reader.String({"model_type"}, &model_type);
  reader.String({"_name_or_path"}, &name_or_path);
  config.model_type = model_type.value_or("");
  config.name_or_path = name_or_path.value_or("");
  RefuseUnbuilt(&reader);
  const json* quantization = reader.Object({"quantization_config"});
  if (quantization == nullptr) quantization = reader.Object({"compression_config"});
  if (quantization != nullptr) config.quantization_json = quantization->dump(-1, ' ', true);
  ReadTokenIds(&reader, &config);
  const json* text = reader.Object({"text_config"});
  if (!reader.status().ok()) return reader.status();
  if (absl::Status s = ReadDecoder(file, text == nullptr ? root : *text, text != nullptr, &config); !s.ok()) return s;

  if (!generation_config_json.empty()) {
    const absl::string_view generation_file = "generation_config.json";
    json generation;
    if (absl::Status s = ParseBoundedJson(generation_file, generation_config_json, &generation); !s.ok()) return s;
    JsonReader generation_reader(generation_file, generation);
    ReadTokenIds(&generation_reader, &config);
    if (!generation_reader.status().ok()) return generation_reader.status();
    config.generation_config_json = std::string(generation_config_json);
  }
  return config;
}

absl::StatusOr<HfConfig> ReadHfConfig(const std::string& model_dir) {
  const std::string path = absl::StrCat(model_dir, "/config.json");
  auto config = ReadSmallFile(path, kConfigBytesMax);
  if (!config.ok()) return config.status();
  auto generation = ReadSmallFile(absl::StrCat(model_dir, "/generation_config.json"), kConfigBytesMax);
  if (!generation.ok() && !absl::IsNotFound(generation.status())) return generation.status();
  return ParseHfConfig(path, *config, generation.ok() ? *generation : std::string());
}

}  // namespace quire::worker
