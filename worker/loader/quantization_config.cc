#include "worker/loader/quantization_config.h"

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/loader/bounded_json.h"
#include "worker/loader/json_reader.h"

namespace quire::worker {
namespace {

using nlohmann::json;
using Keys = JsonReader::Keys;
using Allowed = std::initializer_list<const char*>;

constexpr int64_t kGroupSizeMax = 1 << 20;

// With a default for what is absent.
class Reader : public JsonReader {
 public:
  using JsonReader::JsonReader;

  int64_t Int(Keys keys, int64_t min, int64_t max, int64_t absent) {
    std::optional<int64_t> value;
    JsonReader::Int(keys, min, max, &value);
    return value.value_or(absent);
  }

  bool Flag(Keys keys, bool absent) {
    std::optional<bool> value;
    Bool(keys, &value);
    return value.value_or(absent);
  }

  // In lower case.
  std::string Text(Keys keys, const char* absent) {
    std::optional<std::string> value;
    String(keys, &value);
    return absl::AsciiStrToLower(value.value_or(absent));
  }

  // A text that must be one of these.
  std::string OneOf(Keys keys, const char* absent, Allowed allowed) {
    const std::string text = Text(keys, absent);
    for (const char* name : allowed) {
      if (text == name) return text;
    }
    std::string key;
    const json* value = Find(keys, &key);
    if (value != nullptr) Unimplemented(absl::StrCat("'", key, "' '", Printable(text), "'"));
    return absent;
  }

  // For keys that change values in a way that is not built: they must be absent, null, false or empty.
  void MustBeOff(Keys keys) {
    for (const char* name : keys) {
      std::string key;
      const json* value = Find({name}, &key);
      if (value == nullptr || *value == json(false) || (value->is_structured() && value->empty())) continue;
      Unimplemented(absl::StrCat("'", key, "' ", Shown(*value)));
    }
  }
};

void ReadGroupSize(Reader* reader, QuantConfig* config) {
  config->group_size = reader->Int({"group_size", "q_group_size"}, -1, kGroupSizeMax, 128);
  if (config->group_size == 0) {
    reader->Invalid("'group_size' is 0, must be -1 or positive");
  }
}

void ReadGptq(Reader* reader, QuantConfig* config) {
  config->method = QuantMethod::kGptq;
  config->bits = static_cast<int>(reader->Int({"bits", "w_bit"}, 1, 32, 4));
  if (config->bits != 2 && config->bits != 3 && config->bits != 4 && config->bits != 8) {
    reader->Unimplemented(absl::StrCat("'bits' ", config->bits));
  }
  ReadGroupSize(reader, config);
  const std::string format = reader->OneOf({"checkpoint_format", "format"}, "gptq", {"gptq", "gptq_v2"});
  config->gptq_zero_offset = format == "gptq_v2" ? 0 : 1;
  reader->OneOf({"pack_dtype"}, "int32", {"int32"});
  reader->MustBeOff({"is_marlin_format", "rotation", "adapter"});
  if (const json* dynamic = reader->Object({"dynamic"}); dynamic != nullptr) {
    // "-:" leaves modules as they are, which their tensors show; anything else changes how modules are packed.
    for (const auto& [pattern, value] : dynamic->items()) {
      if (!absl::StartsWith(pattern, "-:")) {
        reader->Unimplemented(absl::StrCat("'dynamic' with '", Printable(pattern), "'"));
      }
    }
  }
  config->name = absl::StrCat("gptq, ", config->bits, " bit");
}

void ReadAwq(Reader* reader, QuantConfig* config) {
  config->method = QuantMethod::kAwq;
  config->bits = static_cast<int>(reader->Int({"bits", "w_bit"}, 1, 32, 4));
  if (config->bits != 4) reader->Unimplemented(absl::StrCat("'bits' ", config->bits));
  ReadGroupSize(reader, config);
  config->is_gemv = reader->OneOf({"version"}, "gemm", {"gemm", "gemv"}) == "gemv";
  if (!reader->Flag({"zero_point"}, true)) reader->Unimplemented("'zero_point' false");
  config->name = absl::StrCat("awq, ", config->bits, " bit", config->is_gemv ? ", gemv" : "");
}

void ReadBlock(Reader* reader, Keys keys, QuantConfig* config) {
  std::string key;
  const json* block = reader->Find(keys, &key);
  if (block == nullptr) return;
  const bool is_pair =
      block->is_array() && block->size() == 2 && (*block)[0].is_number_unsigned() && (*block)[1].is_number_unsigned();
  if (!is_pair) return reader->Wrong(key, *block, "two numbers");
  const uint64_t rows = (*block)[0].get<uint64_t>(), cols = (*block)[1].get<uint64_t>();
  constexpr uint64_t kMax = kGroupSizeMax;
  if (rows < 1 || rows > kMax || cols < 1 || cols > kMax) return reader->Wrong(key, *block, "positive and moderate");
  config->block_rows = rows;
  config->block_cols = cols;
}

void ReadFp8(Reader* reader, QuantConfig* config) {
  config->method = QuantMethod::kFp8;
  reader->OneOf({"fmt"}, "e4m3", {"e4m3"});
  reader->OneOf({"activation_scheme"}, "dynamic", {"dynamic", "static"});
  ReadBlock(reader, {"weight_block_size"}, config);
  config->name = config->block_rows > 0 ? "fp8, a scale per block" : "fp8";
}

// One of compressed-tensors' groups of modules.
void ReadGroup(absl::string_view file, const std::string& name, const json& group, QuantConfig* config, Reader* outer) {
  if (!group.is_object()) return outer->Wrong("config_groups." + name, group, "an object");
  Reader reader(file, group, absl::StrCat("config_groups.", name, "."));
  reader.OneOf({"format"}, "dense", {"dense", "int-quantized", "float-quantized", "naive-quantized", "pack-quantized"});
  const json* weights = reader.Object({"weights"});
  if (!reader.status().ok()) return outer->Fail(reader.status());
  if (weights == nullptr) return;  // activations only
  Reader of_weights(file, *weights, absl::StrCat("config_groups.", name, ".weights."));
  const int64_t bits = of_weights.Int({"num_bits"}, 1, 8, 8);
  const std::string type = of_weights.OneOf({"type"}, "int", {"int", "float"});
  if (type == "float" && bits != 8) of_weights.Unimplemented(absl::StrCat("a float weight of ", bits, " bits"));
  const std::string strategy = of_weights.OneOf({"strategy"}, "tensor", {"tensor", "channel", "group", "block"});
  if (strategy == "block") ReadBlock(&of_weights, {"block_structure"}, config);
  const int64_t group_size = of_weights.Int({"group_size"}, -1, kGroupSizeMax, -1);
  if (!of_weights.status().ok()) return outer->Fail(of_weights.status());
  if (type == "float") return;
  if (config->bits != 0 && (config->bits != bits || config->group_size != group_size)) {
    return outer->Unimplemented("more than one way to pack integers in 'config_groups'");
  }
  config->bits = static_cast<int>(bits);
  config->group_size = group_size == 0 ? -1 : group_size;
}

void ReadCompressedTensors(absl::string_view file, Reader* reader, QuantConfig* config) {
  config->method = QuantMethod::kCompressedTensors;
  const std::string format = reader->OneOf(
      {"format"}, "dense",
      {"dense", "int-quantized", "float-quantized", "naive-quantized", "pack-quantized", "mixed-precision"});
  reader->OneOf({"quantization_status"}, "compressed", {"compressed"});
  reader->MustBeOff({"transform_config"});
  if (const json* sparsity = reader->Object({"sparsity_config"}); sparsity != nullptr) {
    Reader of_sparsity(file, *sparsity, "sparsity_config.");
    of_sparsity.OneOf({"format"}, "dense", {"dense"});
    if (!of_sparsity.status().ok()) return reader->Fail(of_sparsity.status());
  }
  if (const json* groups = reader->Object({"config_groups"}); groups != nullptr) {
    for (const auto& [name, group] : groups->items()) ReadGroup(file, Printable(name), group, config, reader);
  }
  config->name = absl::StrCat("compressed-tensors, ", format);
}

void ReadBitsAndBytes(Reader* reader, QuantConfig* config) {
  config->method = QuantMethod::kBitsAndBytes;
  const bool is_4bit = reader->Flag({"load_in_4bit", "_load_in_4bit"}, false);
  const bool is_8bit = reader->Flag({"load_in_8bit", "_load_in_8bit"}, false);
  reader->OneOf({"bnb_4bit_quant_type"}, "fp4", {"fp4", "nf4"});
  reader->OneOf({"bnb_4bit_quant_storage"}, "uint8", {"uint8"});
  reader->MustBeOff({"llm_int8_has_fp16_weight"});
  if (is_4bit == is_8bit) {
    reader->Invalid("exactly one of 'load_in_4bit' and 'load_in_8bit' must be true");
  }
  config->name = is_4bit ? "bitsandbytes, 4 bit" : "bitsandbytes, 8 bit";
}

}  // namespace

absl::StatusOr<QuantConfig> ParseQuantConfig(absl::string_view file, absl::string_view text) {
  json root;
  if (absl::Status s = ParseBoundedJson(file, text, &root); !s.ok()) return s;
  Reader reader(file, root);
  // Early files name no method: AutoAWQ's have their own keys.
  const char* const unnamed = root.contains("w_bit") ? "awq" : root.contains("bits") ? "gptq" : "";
  const std::string method = reader.Text({"quant_method"}, unnamed);
  QuantConfig config;
  if (method == "gptq") {
    ReadGptq(&reader, &config);
  } else if (method == "awq") {
    ReadAwq(&reader, &config);
  } else if (method == "fp8" || method == "fbgemm_fp8") {
    ReadFp8(&reader, &config);
  } else if (method == "compressed-tensors") {
    ReadCompressedTensors(file, &reader, &config);
  } else if (method == "bitsandbytes") {
    ReadBitsAndBytes(&reader, &config);
  } else {
    reader.Unimplemented(absl::StrCat("quant_method '", Printable(method), "'"));
  }
  if (!reader.status().ok()) return reader.status();
  return config;
}

}  // namespace quire::worker
