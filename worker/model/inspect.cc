#include "worker/model/inspect.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/half.h"
#include "worker/loader/bounded_json.h"
#include "worker/loader/mapped_file.h"
#include "worker/model/dense_options.h"
#include "worker/model/families.h"
#include "worker/model/hf_config.h"
#include "worker/model/shard.h"
#include "worker/model/tensor_binding.h"
#include "worker/model/weights.h"
#include "worker/model/zero_count.h"

namespace quire::worker {
namespace {

constexpr int64_t kConfigBytesMax = 4 << 20;
constexpr int kComplaintsMax = 64;  // of one config

// Takes the first key that is called `text`, or that has this text as its value, out of the object.
bool Erase(const std::string& text, nlohmann::json* object) {
  if (text != "architectures" && text != "model_type" && object->erase(text) > 0) return true;
  for (auto it = object->begin(); it != object->end(); ++it) {
    if (it->is_string() && it->get_ref<const std::string&>() == text && it.key() != "model_type") {
      object->erase(it);
      return true;
    }
  }
  return false;
}

// Takes out what a message complains of: it names a key ('sliding_window', 'rope_scaling.factor') or a value in quotes.
bool EraseNamed(const std::string& message, nlohmann::json* config) {
  for (size_t open = message.find('\''); open != std::string::npos;) {
    const size_t close = message.find('\'', open + 1);
    if (close == std::string::npos) return false;
    const std::string text = message.substr(open + 1, close - open - 1);
    if (Erase(text, config)) return true;
    const size_t dot = text.find('.');
    const std::string inner = dot == std::string::npos ? text : text.substr(dot + 1);
    for (nlohmann::json& value : *config) {
      if (value.is_object() && Erase(inner, &value)) return true;
    }
    open = message.find('\'', close + 1);
  }
  return false;
}

struct ReadModel {
  HfConfig config;
  const FamilyRow* family = nullptr;
  ModelSpec spec;
};

absl::Status ReadOnce(const std::string& path, const nlohmann::json& json, InspectReport* report, ReadModel* out) {
  auto config = ParseHfConfig(path, json.dump(-1, ' ', true), "");
  if (!config.ok()) return config.status();
  out->config = *config;
  report->architectures = config->architectures;
  report->model_type = config->model_type;
  auto family = FindFamily(*config);
  if (!family.ok()) return family.status();
  out->family = *family;
  auto spec = MakeModelSpec(**family, *config);
  if (!spec.ok()) return spec.status();
  out->spec = *spec;
  report->spec = *spec;
  return absl::OkStatus();
}

// A value that is complained of is taken out, so that the next complaint shows too.
void ReadConfig(const std::string& model_dir, InspectReport* report, ReadModel* out) {
  const std::string path = absl::StrCat(model_dir, "/config.json");
  auto text = ReadSmallFile(path, kConfigBytesMax);
  nlohmann::json json;
  absl::Status status = text.ok() ? ParseBoundedJson(path, *text, &json) : text.status();
  if (!status.ok()) return report->problems.push_back(std::string(status.message()));
  for (int i = 0; i < kComplaintsMax; ++i) {
    status = ReadOnce(path, json, report, out);
    if (status.ok()) break;
    report->problems.push_back(std::string(status.message()));
    if (!EraseNamed(report->problems.back(), &json)) break;
  }
  report->family_is_known = out->family != nullptr;
  if (absl::Status s = ReadHfConfig(model_dir).status(); !s.ok() && report->problems.empty()) {
    report->problems.push_back(std::string(s.message()));  // of generation_config.json
  }
}

void ListTensors(const InspectOptions& options, Checkpoint* checkpoint, InspectReport* report) {
  int64_t zeros = 0, elements = 0;
  for (const auto& [name, tensor] : checkpoint->tensors()) {
    InspectedTensor line;
    line.name = name;
    line.shape = DescribeEntry(tensor.entry);
    if (tensor.computed != nullptr) line.shape += ", computed";
    line.file_bytes = tensor.computed == nullptr ? tensor.size_bytes() : 0;
    for (const CheckpointTensor* part : tensor.parts) line.file_bytes += part->size_bytes();
    report->file_bytes += line.file_bytes;
    const size_t num_axes = tensor.entry.shape.size();
    const bool is_float = tensor.entry.type->dtype.has_value() && num_axes >= 1 && num_axes <= 4;
    if (options.count_zeros && is_float && tensor.size_bytes() > 0) {
      const kernels::TensorView view = checkpoint->View(tensor);
      const int64_t count = CountZeros(view);
      line.zero_share = static_cast<double>(count) / static_cast<double>(view.num_elements());
      zeros += count;
      elements += view.num_elements();
      checkpoint->Release(tensor);
    }
    report->tensors.push_back(std::move(line));
  }
  if (elements > 0) report->zero_share = static_cast<double>(zeros) / static_cast<double>(elements);
}

// What the rank holds of a role's tensors in one layer, in elements.
int64_t Elements(const Shard& shard, const ModelSpec& spec, Role role, Part part) {
  const int64_t rows = ShardRows(shard, spec, role).count;
  return part == Part::kBias ? rows : rows * ShardCols(shard, spec, role).count;
}

InspectedRank MeasureRank(const TensorBinding& binding, const ModelSpec& spec, const Shard& shard,
                          int64_t dtype_bytes) {
  InspectedRank rank;
  for (int i = 0; i < kNumRoles; ++i) {
    const Role role = static_cast<Role>(i);
    const bool is_expert = role >= kFirstExpertRole;
    const bool is_table = role == Role::kEmbedding || role == Role::kPositions;
    const bool is_vector = InfoOf(role).cols == Axis::kOne;
    const int64_t copies = is_expert ? shard.experts.count : 1;
    for (int64_t layer = 0; layer < spec.num_layers; ++layer) {  // roles of the whole model are at 0
      if (is_expert && !spec.HasExperts(layer)) continue;
      const int64_t expert = is_expert ? shard.experts.begin : 0;
      const CheckpointTensor* weight = binding.Get(role, Part::kWeight, layer, expert).source;
      if (role == Role::kHead && spec.tied_head && layer == 0)
        weight = binding.Get(Role::kEmbedding, Part::kWeight).source;
      if (weight != nullptr) {
        const int64_t elements = copies * Elements(shard, spec, role, Part::kWeight);
        if (is_table) {
          rank.mapped_bytes += weight->size_bytes();
        } else if (is_vector) {
          rank.vector_bytes += elements * static_cast<int64_t>(sizeof(float));
        } else {
          rank.matrix_bytes += elements * dtype_bytes;
        }
      }
      if (binding.Get(role, Part::kBias, layer, expert).source != nullptr) {
        rank.vector_bytes += copies * Elements(shard, spec, role, Part::kBias) * static_cast<int64_t>(sizeof(float));
      }
    }
  }
  rank.kv_token_bytes = 2 * spec.num_layers * shard.num_kv_heads * spec.head_dim * dtype_bytes;
  return rank;
}

void MeasureRanks(const InspectOptions& options, const ModelSpec& spec, const TensorBinding& binding,
                  InspectReport* report) {
  const kernels::DType dtype = CheckpointDType(binding);
  report->dtype = kernels::DTypeName(dtype);
  for (int rank = 0; rank < options.world_size; ++rank) {
    auto shard = MakeShard(spec, rank, options.world_size, options.expert_parallel);
    if (!shard.ok()) return report->problems.push_back(std::string(shard.status().message()));
    report->ranks.push_back(MeasureRank(binding, spec, *shard, kernels::DTypeBytes(dtype)));
  }
}

}  // namespace

InspectReport InspectModel(const InspectOptions& options) {
  InspectReport report;
  ReadModel model;
  ReadConfig(options.model_dir, &report, &model);
  const auto complain = [&](const absl::Status& status) { report.problems.push_back(std::string(status.message())); };
  auto checkpoint = Checkpoint::Open(options.model_dir);
  if (!checkpoint.ok()) {
    complain(checkpoint.status());
    return report;
  }
  const DenseOptions dense =
      MakeDenseOptions(options.model_dir, model.config, model.family == nullptr ? FamilyRow() : *model.family);
  auto made = MakeDense(dense, checkpoint->get());
  if (made.ok()) {
    report.quantization = made->method;
  } else {
    complain(made.status());
  }
  ListTensors(options, checkpoint->get(), &report);
  // Tensors that were not widened would each be a complaint of their own.
  if (!report.spec.has_value() || !made.ok()) return report;
  for (const absl::Status& status :
       TensorBinding::FindProblems(*model.family, model.spec, options.model_dir, **checkpoint)) {
    complain(status);
  }
  auto binding = TensorBinding::Bind(*model.family, model.spec, options.model_dir, **checkpoint);
  if (binding.ok()) MeasureRanks(options, model.spec, *binding, &report);
  return report;
}

}  // namespace quire::worker
