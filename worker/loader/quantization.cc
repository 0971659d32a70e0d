#include "worker/loader/quantization.h"

#include <glog/logging.h>

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "worker/loader/bounded_json.h"
#include "worker/loader/mapped_file.h"
#include "worker/loader/quantization_config.h"
#include "worker/loader/quantized_module.h"
#include "worker/loader/quantized_rows.h"
#include "worker/loader/stored_floats.h"

namespace quire::worker {
namespace {

using Shape = QuantizedModule::Shape;
using Types = QuantizedModule::Types;

constexpr Types kWords = {"I32"};
constexpr Types kBytes = {"U8"};
constexpr Types kInt8 = {"I8"};
constexpr Types kFloat8 = {"F8_E4M3", "F8_E5M2"};
constexpr Types kScales = {"F32", "F16", "BF16"};
constexpr int64_t kAxisMax = QuantizedModule::kAxisMax;
constexpr int64_t kConfigBytesMax = 4 << 20;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

using Rows = std::unique_ptr<ComputedRows>;

// Each makes the float matrix of a module, or leaves a complaint with it.

Rows MakeGptq(const QuantConfig& config, QuantizedModule* module) {
  const Shape packed = module->ShapeOf(".qweight", 2);
  GroupedInts ints;
  ints.bits = config.bits;
  ints.out = packed[1];
  ints.in = packed[0] * 32 / config.bits;
  if (packed[0] * 32 % config.bits != 0) module->Invalid("its packed rows are no whole number of inputs");
  if (!module->status().ok()) return nullptr;
  ints.group_size = config.group_size > 0 ? config.group_size : ints.in;
  ints.num_groups = CeilDiv(ints.in, ints.group_size);
  ints.values = module->Need(".qweight", kWords, packed);
  ints.zeros = module->Need(".qzeros", kWords, {ints.num_groups, ints.out * ints.bits / 32});
  ints.scales = module->Need(".scales", kScales, {ints.num_groups, ints.out});
  ints.group_of = module->Groups(".g_idx", ints.in, ints.num_groups);
  if (ints.out * ints.bits % 32 != 0) module->Invalid("its zero points do not fill whole words");
  return GptqRows(std::move(ints), config.gptq_zero_offset);
}

Rows MakeAwq(const QuantConfig& config, QuantizedModule* module) {
  const Shape packed = module->ShapeOf(".qweight", 2);
  GroupedInts ints;
  ints.in = config.is_gemv ? packed[1] * 8 : packed[0];
  ints.out = config.is_gemv ? packed[0] : packed[1] * 8;
  if (!module->status().ok()) return nullptr;
  ints.group_size = config.group_size > 0 ? config.group_size : ints.in;
  ints.num_groups = CeilDiv(ints.in, ints.group_size);
  ints.values = module->Need(".qweight", kWords, packed);
  if (!config.is_gemv) {
    ints.zeros = module->Need(".qzeros", kWords, {ints.num_groups, ints.out / 8});
    ints.scales = module->Need(".scales", kScales, {ints.num_groups, ints.out});
    return AwqRows(std::move(ints));
  }
  const int64_t zero_words = module->ShapeOf(".qzeros", 2)[1];  // padded
  ints.zeros = module->Need(".qzeros", kWords, {ints.out, zero_words});
  ints.scales = module->Need(".scales", kScales, {ints.out, zero_words * 8});
  if (zero_words * 8 < ints.num_groups) {
    module->Invalid(absl::StrCat("zero points for ", zero_words * 8, " groups, there are ", ints.num_groups));
  }
  return AwqGemvRows(std::move(ints), zero_words);
}

Rows MakePacked(const QuantConfig& config, QuantizedModule* module) {
  GroupedInts ints;
  ints.bits = config.bits;
  const StoredArray shape = module->Need(".weight_shape", {"I64"}, {2});
  if (!module->status().ok()) return nullptr;
  ints.out = LoadStored<int64_t>(shape.data, 0);
  ints.in = LoadStored<int64_t>(shape.data, 1);
  if (ints.out < 1 || ints.out > kAxisMax || ints.in < 1 || ints.in > kAxisMax) {
    module->Invalid(absl::StrCat("weight_shape is [", ints.out, ",", ints.in, "]"));
    return nullptr;
  }
  if (ints.bits == 0) module->Invalid("it is packed, but no group of the config says how");
  ints.group_size = config.group_size > 0 ? config.group_size : ints.in;
  ints.num_groups = CeilDiv(ints.in, ints.group_size);
  ints.values = module->Need(".weight_packed", kWords, {ints.out, CeilDiv(ints.in * ints.bits, 32)});
  ints.scales = module->Need(".weight_scale", kScales, {ints.out, ints.num_groups});
  ints.zeros = module->Maybe(".weight_zero_point", kWords, {CeilDiv(ints.out * ints.bits, 32), ints.num_groups});
  ints.group_of = module->Groups(".weight_g_idx", ints.in, ints.num_groups);
  return OffsetPackedRows(std::move(ints));
}

// Which cells the scales of a matrix are for, by their shape.
void SetGrid(const QuantConfig& config, const Shape& scales, ScaledBytes* bytes, QuantizedModule* module) {
  const int64_t out = bytes->out, in = bytes->in;
  int64_t count = 1;
  for (const int64_t size : scales) count *= size;
  bytes->cell_rows = out;
  bytes->cell_cols = in;
  if (count == 1) return;
  const Shape blocks = {CeilDiv(out, std::max<int64_t>(config.block_rows, 1)),
                        CeilDiv(in, std::max<int64_t>(config.block_cols, 1))};
  if (config.block_rows > 0 && scales == blocks) {
    bytes->cell_rows = config.block_rows;
    bytes->cell_cols = config.block_cols;
    bytes->grid_cols = blocks[1];
    return;
  }
  bytes->cell_rows = 1;
  if (scales == Shape{out} || scales == Shape{out, 1}) return;
  if (config.group_size > 0 && scales == Shape{out, CeilDiv(in, config.group_size)}) {
    bytes->cell_cols = config.group_size;
    bytes->grid_cols = scales[1];
    return;
  }
  module->Invalid(absl::StrCat("scales [", absl::StrJoin(scales, ","), "] fit no way to scale a matrix [", out, ",", in,
                               "] that the config names"));
}

// Bytes with scales under this name.
Rows MakeScaled(const QuantConfig& config, Types value_types, const std::string& scale_suffix,
                QuantizedModule* module) {
  const Shape shape = module->ShapeOf(".weight", 2);
  ScaledBytes bytes;
  bytes.out = shape[0];
  bytes.in = shape[1];
  bytes.values = module->Need(".weight", value_types, shape);
  if (!module->status().ok()) return nullptr;
  const Shape scales = module->ShapeUpTo(scale_suffix, 2);
  SetGrid(config, scales, &bytes, module);
  bytes.scales = module->Need(scale_suffix, kScales, scales);
  bytes.zeros = module->Maybe(".weight_zero_point", kInt8, scales);
  module->Skip({".input_scale", ".input_zero_point", ".output_scale", ".input_scale_ub", ".activation_scale",
                ".activation_scale_ub", ".weight_shape"});
  if (!module->status().ok()) return nullptr;
  return ScaledByteRows(bytes);
}

// As the library widens: the product with the scale, then with its constant for 1 / 127.
Rows MakeBytesOf127(QuantizedModule* module) {
  const Shape shape = module->ShapeOf(".weight", 2);
  ScaledBytes bytes;
  bytes.out = shape[0];
  bytes.in = bytes.cell_cols = shape[1];
  bytes.factor = 7.874015718698502e-3f;
  bytes.values = module->Need(".weight", kInt8, shape);
  bytes.scales = module->Need(".SCB", {"F32"}, {shape[0]});
  const StoredArray format = module->Maybe(".weight_format", kBytes, {});
  if (!module->status().ok()) return nullptr;
  if (format.data != nullptr && format.data[0] != 0) {
    module->Fail(absl::UnimplementedError(absl::StrCat("module '", Printable(module->prefix()), "': weight_format ",
                                                       static_cast<int>(format.data[0]), " is not supported")));
  }
  return ScaledByteRows(bytes);
}

// What a quant_state of bitsandbytes says.
struct QuantState {
  Shape shape = {0, 0};
  int64_t block_size = 0;
  int64_t nested_block_size = 0;
  double nested_offset = 0.0;
};

bool ReadQuantState(const nlohmann::json& json, QuantState* out) {
  const auto number = [&](const char* key, int64_t absent) {
    const auto found = json.find(key);
    if (found == json.end()) return absent;
    return found->is_number_unsigned() && found->get<uint64_t>() <= static_cast<uint64_t>(kAxisMax)
               ? found->get<int64_t>()
               : int64_t{0};
  };
  out->block_size = number("blocksize", 0);
  out->nested_block_size = number("nested_blocksize", 256);
  const auto offset = json.find("nested_offset");
  if (offset != json.end() && offset->is_number()) out->nested_offset = offset->get<double>();
  const auto shape = json.find("shape");
  if (shape == json.end() || !shape->is_array() || shape->size() != 2) return false;
  for (int axis = 0; axis < 2; ++axis) {
    const auto& size = (*shape)[axis];
    if (!size.is_number_unsigned() || size.get<uint64_t>() < 1 || size.get<uint64_t>() > (1u << 24)) return false;
    out->shape[axis] = size.get<int64_t>();
  }
  return out->block_size > 0 && out->nested_block_size > 0;
}

Rows MakeNibbles(const std::string& state_suffix, QuantizedModule* module) {
  const Shape size = module->ShapeOf(state_suffix, 1);
  const StoredArray text = module->Need(state_suffix, kBytes, size);
  if (!module->status().ok()) return nullptr;
  nlohmann::json json;
  QuantState state;
  const absl::string_view bytes(reinterpret_cast<const char*>(text.data), size[0]);
  if (absl::Status s = ParseBoundedJson(module->prefix() + state_suffix, bytes, &json); !s.ok()) {
    module->Fail(s);
    return nullptr;
  }
  if (!ReadQuantState(json, &state)) {
    module->Invalid(absl::StrCat("its quant_state '", Printable(bytes), "' has no two sizes and block sizes"));
    return nullptr;
  }
  TableNibbles nibbles;
  nibbles.out = state.shape[0];
  nibbles.in = state.shape[1];
  nibbles.block_size = state.block_size;
  nibbles.nested_block_size = state.nested_block_size;
  nibbles.nested_offset = static_cast<float>(state.nested_offset);
  const int64_t elements = nibbles.out * nibbles.in, num_scales = CeilDiv(elements, nibbles.block_size);
  nibbles.values = module->Need(".weight", kBytes, {CeilDiv(elements, 2), 1});
  nibbles.table = module->Need(".weight.quant_map", {"F32"}, {16});
  const bool is_nested = module->Has(".weight.nested_absmax");
  nibbles.scales = module->Need(".weight.absmax", is_nested ? kBytes : Types{"F32"}, {num_scales});
  if (is_nested) {
    nibbles.nested_table = module->Need(".weight.nested_quant_map", {"F32"}, {256});
    nibbles.nested_scales =
        module->Need(".weight.nested_absmax", {"F32"}, {CeilDiv(num_scales, nibbles.nested_block_size)});
  }
  if (!module->status().ok()) return nullptr;
  return TableNibbleRows(nibbles);
}

// Walks the checkpoint.
class DenseMaker {
 public:
  DenseMaker(const DenseOptions& options, Checkpoint* checkpoint) : options_(options), checkpoint_(checkpoint) {}

  absl::Status Run(const QuantConfig& config);
  void WidenTheRest();
  const DenseReport& report() const { return report_; }

 private:
  std::vector<std::string> NamesWith(const std::string& suffix) const;
  // Makes `module.weight` of every module that has a tensor with this suffix.
  template <typename Make>
  absl::Status ForModules(const std::string& suffix, Make make);
  void Put(const QuantizedModule& module, Rows rows);

  const DenseOptions& options_;
  Checkpoint* const checkpoint_;
  DenseReport report_;
};

std::vector<std::string> DenseMaker::NamesWith(const std::string& suffix) const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : checkpoint_->tensors()) {
    if (absl::EndsWith(name, suffix)) names.push_back(name);
  }
  return names;
}

template <typename Make>
absl::Status DenseMaker::ForModules(const std::string& suffix, Make make) {
  for (const std::string& name : NamesWith(suffix)) {
    QuantizedModule module(*checkpoint_, std::string(absl::StripSuffix(name, suffix)), name);
    Rows rows = make(&module);
    const std::vector<std::string>& parts = module.parts();
    const std::string weight = module.prefix() + ".weight";
    if (checkpoint_->Find(weight) != nullptr && std::find(parts.begin(), parts.end(), weight) == parts.end()) {
      module.Invalid("it has a weight that is not quantised too");
    }
    if (!module.status().ok()) {
      return absl::Status(module.status().code(),
                          absl::StrCat(checkpoint_->Find(name)->file->path(), ": ", module.status().message()));
    }
    Put(module, std::move(rows));
  }
  return absl::OkStatus();
}

void DenseMaker::Put(const QuantizedModule& module, Rows rows) {
  const int64_t out = rows->num_rows(), in = rows->num_cols();
  for (const std::string& part : module.parts()) report_.stored_bytes += checkpoint_->Find(part)->size_bytes();
  report_.elements += out * in;
  ++report_.num_tensors;
  const std::string name = module.prefix() + ".weight";
  if (options_.transposed) {
    checkpoint_->AddComputed(name, {in, out}, {1, in}, std::move(rows), module.parts());
  } else {
    checkpoint_->AddComputed(name, {out, in}, {}, std::move(rows), module.parts());
  }
}

absl::Status DenseMaker::Run(const QuantConfig& config) {
  absl::Status status;
  switch (config.method) {
    case QuantMethod::kGptq:
      status = ForModules(".qweight", [&](QuantizedModule* module) { return MakeGptq(config, module); });
      break;
    case QuantMethod::kAwq:
      status = ForModules(".qweight", [&](QuantizedModule* module) { return MakeAwq(config, module); });
      break;
    case QuantMethod::kFp8:
    case QuantMethod::kCompressedTensors:
      status = ForModules(".weight_packed", [&](QuantizedModule* module) { return MakePacked(config, module); });
      for (const char* scale : {".weight_scale", ".weight_scale_inv"}) {
        if (!status.ok()) break;
        status = ForModules(scale, [&](QuantizedModule* module) {
          return MakeScaled(config, module->HasType(".weight", "I8") ? kInt8 : kFloat8, scale, module);
        });
      }
      break;
    case QuantMethod::kBitsAndBytes:
      status = ForModules(".SCB", [](QuantizedModule* module) { return MakeBytesOf127(module); });
      for (const char* state : {".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4"}) {
        if (!status.ok()) break;
        status = ForModules(state, [&](QuantizedModule* module) { return MakeNibbles(state, module); });
      }
      break;
  }
  if (!status.ok()) return status;
  if (report_.num_tensors > 0) report_.method = config.name;
  // Scales for a cache of 8 bits, which this cache is not.
  for (const char* suffix : {".k_scale", ".v_scale", ".q_scale", ".prob_output_scale", ".output_scale"}) {
    for (const std::string& name : NamesWith(suffix)) checkpoint_->Hide(name);
  }
  return absl::OkStatus();
}

void DenseMaker::WidenTheRest() {
  std::vector<const CheckpointTensor*> narrow;
  for (const auto& [name, tensor] : checkpoint_->tensors()) {
    const StoredType& type = *tensor.entry.type;
    if (!type.dtype.has_value() && IsStoredFloat(type)) narrow.push_back(&tensor);
  }
  for (const CheckpointTensor* tensor : narrow) {
    const StoredType& type = *tensor->entry.type;
    Rows rows = WidenedFloats(type, tensor->data, tensor->size_bytes() / (type.bits / 8));
    const std::string name = tensor->entry.name;  // the tensor moves
    const Shape shape = tensor->entry.shape, strides = tensor->strides;
    checkpoint_->AddComputed(name, shape, strides, std::move(rows), {name});
  }
}

// How the model is quantised, by its config or by a file of its own; "" if it is not.
absl::StatusOr<std::string> FindConfig(const DenseOptions& options, std::string* file) {
  *file = absl::StrCat(options.model_dir, "/config.json: quantization_config");
  if (!options.config_json.empty()) return options.config_json;
  for (const char* name : {"quantize_config.json", "quant_config.json"}) {
    *file = absl::StrCat(options.model_dir, "/", name);
    auto text = ReadSmallFile(*file, kConfigBytesMax);
    if (text.ok() || !absl::IsNotFound(text.status())) return text;
  }
  return std::string();
}

}  // namespace

absl::StatusOr<DenseReport> MakeDense(const DenseOptions& options, Checkpoint* checkpoint) {
  std::string file;
  auto text = FindConfig(options, &file);
  if (!text.ok()) return text.status();
  DenseMaker maker(options, checkpoint);
  if (!text->empty()) {
    auto config = ParseQuantConfig(file, *text);
    if (!config.ok()) return config.status();
    if (absl::Status s = maker.Run(*config); !s.ok()) return s;
  }
  maker.WidenTheRest();
  return maker.report();
}

}  // namespace quire::worker
