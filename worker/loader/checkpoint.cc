#include "worker/loader/checkpoint.h"

#include <glog/logging.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/loader/bounded_json.h"
#include "worker/loader/parallel_shares.h"
#include "worker/loader/torch_file.h"

namespace quire::worker {
namespace {

constexpr int64_t kIndexBytesMax = 64 << 20;
constexpr int kFilesMax = 4096;

// A weight_map as tensor -> file name, each name checked to stay inside the directory.
absl::StatusOr<std::map<std::string, std::string>> ReadWeightMap(const std::string& index_path,
                                                                 const std::string& suffix) {
  auto text = ReadSmallFile(index_path, kIndexBytesMax);
  if (!text.ok()) return text.status();
  nlohmann::json index;
  if (absl::Status s = ParseBoundedJson(index_path, *text, &index); !s.ok()) return s;
  const auto found = index.find("weight_map");
  if (found == index.end() || !found->is_object() || found->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(index_path, ": 'weight_map' is not an object with entries"));
  }
  std::map<std::string, std::string> weight_map;
  for (const auto& [tensor, file] : found->items()) {
    const std::string who = absl::StrCat(index_path, ": tensor '", Printable(tensor), "'");
    if (!file.is_string()) return absl::InvalidArgumentError(absl::StrCat(who, ": its file is not a string"));
    const std::string& name = file.get_ref<const std::string&>();
    const bool stays_inside = name.find_first_of("/\\") == std::string::npos && !absl::StrContains(name, '\0');
    if (!stays_inside || absl::StartsWith(name, ".") || !absl::EndsWith(name, suffix)) {
      return absl::InvalidArgumentError(
          absl::StrCat(who, ": '", Printable(name), "' is not the plain name of a ", suffix, " file"));
    }
    weight_map.emplace(tensor, name);
  }
  return weight_map;
}

absl::StatusOr<std::vector<CheckpointTensor>> ReadSafetensors(const std::string& path, const MappedFile& file,
                                                              absl::string_view bytes) {
  auto header = ParseSafetensorsHeader(path, bytes);
  if (!header.ok()) return header.status();
  std::vector<CheckpointTensor> tensors;
  for (SafetensorsEntry& entry : header->entries) {
    const uint8_t* data = file.data() + header->data_begin + entry.begin;
    tensors.push_back({std::move(entry), &file, data, {}, nullptr, {}});
  }
  return tensors;
}

bool IsRowMajor(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  int64_t expected = 1;
  for (int axis = static_cast<int>(shape.size()) - 1; axis >= 0; --axis) {
    if (shape[axis] != 1 && strides[axis] != expected) return false;
    expected *= shape[axis];
  }
  return true;
}

absl::StatusOr<std::vector<CheckpointTensor>> ReadTorch(const std::string& path, const MappedFile& file,
                                                        absl::string_view bytes) {
  auto stored = ReadTorchFile(path, bytes);
  if (!stored.ok()) return stored.status();
  std::vector<CheckpointTensor> tensors;
  for (TorchTensor& tensor : *stored) {
    if (IsRowMajor(tensor.entry.shape, tensor.strides)) tensor.strides.clear();
    const uint8_t* data = file.data() + tensor.entry.begin;
    tensors.push_back({std::move(tensor.entry), &file, data, std::move(tensor.strides), nullptr, {}});
  }
  return tensors;
}

}  // namespace

// What the files of one format are called.
struct Checkpoint::Naming {
  const char* single_file;
  const char* index_file;
  const char* suffix;
  absl::StatusOr<std::vector<CheckpointTensor>> (*read)(const std::string& path, const MappedFile& file,
                                                        absl::string_view bytes);
};

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& model_dir) {
  static constexpr Naming kNamings[] = {
      {"model.safetensors", "model.safetensors.index.json", ".safetensors", ReadSafetensors},
      {"pytorch_model.bin", "pytorch_model.bin.index.json", ".bin", ReadTorch},
  };
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint());
  for (const Naming& naming : kNamings) {
    absl::Status status;
    if (access(absl::StrCat(model_dir, "/", naming.index_file).c_str(), F_OK) == 0) {
      status = checkpoint->OpenSharded(naming, model_dir);
    } else if (access(absl::StrCat(model_dir, "/", naming.single_file).c_str(), F_OK) == 0) {
      status = checkpoint->AddFile(naming, model_dir, naming.single_file, nullptr);
    } else {
      continue;
    }
    if (!status.ok()) return status;
    return checkpoint;
  }
  return absl::NotFoundError(absl::StrCat(model_dir, ": neither ", kNamings[0].single_file, " nor ",
                                          kNamings[1].single_file, " nor an index of either is there"));
}

absl::Status Checkpoint::OpenSharded(const Naming& naming, const std::string& model_dir) {
  const std::string index_path = absl::StrCat(model_dir, "/", naming.index_file);
  auto weight_map = ReadWeightMap(index_path, naming.suffix);
  if (!weight_map.ok()) return weight_map.status();
  std::set<std::string> file_names;
  for (const auto& [tensor, file] : *weight_map) file_names.insert(file);
  if (static_cast<int>(file_names.size()) > kFilesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(index_path, ": ", file_names.size(), " files, more than the limit of ", kFilesMax));
  }
  for (const std::string& name : file_names) {
    if (absl::Status s = AddFile(naming, model_dir, name, &*weight_map); !s.ok()) return s;
  }
  for (const auto& [tensor, file] : *weight_map) {
    if (tensors_.count(tensor) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(index_path, ": tensor '", Printable(tensor), "' is not in ", file,
                                                     ", where the weight_map puts it"));
    }
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::AddFile(const Naming& naming, const std::string& model_dir, const std::string& file_name,
                                 const std::map<std::string, std::string>* weight_map) {
  const std::string path = absl::StrCat(model_dir, "/", file_name);
  auto file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::string_view bytes(reinterpret_cast<const char*>((*file)->data()), (*file)->size());
  auto tensors = naming.read(path, **file, bytes);
  if (!tensors.ok()) return tensors.status();
  for (CheckpointTensor& tensor : *tensors) {
    const std::string name = tensor.entry.name;
    if (weight_map != nullptr) {
      const auto mapped = weight_map->find(name);
      if (mapped == weight_map->end() || mapped->second != file_name) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": tensor '", Printable(name), "' is here, but the weight_map ",
                         mapped == weight_map->end() ? std::string("does not name it")
                                                     : absl::StrCat("puts it in ", mapped->second)));
      }
    }
    CHECK(tensors_.emplace(name, std::move(tensor)).second) << name;  // one file a name: the map says which
  }
  files_.push_back(std::move(*file));
  return absl::OkStatus();
}

const CheckpointTensor* Checkpoint::Find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

void Checkpoint::AddComputed(const std::string& name, std::vector<int64_t> shape, std::vector<int64_t> strides,
                             std::unique_ptr<ComputedRows> rows, const std::vector<std::string>& parts) {
  CheckpointTensor tensor;
  tensor.entry.name = name;
  tensor.entry.type = FindStoredType("F32");
  tensor.entry.shape = std::move(shape);
  tensor.entry.end = rows->num_rows() * rows->num_cols() * static_cast<int64_t>(sizeof(float));
  tensor.strides = std::move(strides);
  tensor.computed = rows.get();
  for (const std::string& part : parts) {
    auto node = tensors_.extract(part);
    CHECK(!node.empty()) << part;
    tensor.parts.push_back(&node.mapped());  // a node's address outlives its move
    CHECK(parts_.insert(std::move(node)).inserted) << part;
  }
  tensor.file = tensor.parts.at(0)->file;
  rows_.push_back(std::move(rows));
  CHECK(tensors_.emplace(name, std::move(tensor)).second) << name;
}

void Checkpoint::Hide(const std::string& name) { CHECK_EQ(tensors_.erase(name), 1u) << name; }

const uint8_t* Checkpoint::Data(const CheckpointTensor& tensor) {
  if (tensor.computed != nullptr) {
    std::unique_ptr<float[]>& values = computed_[tensor.entry.name];
    if (values == nullptr) {
      values.reset(new float[tensor.size_bytes() / sizeof(float)]);  // not zeroed first
      const ComputedRows& rows = *tensor.computed;
      // Widening takes longer than packing.
      ForShares(rows.num_rows(), rows.num_cols(), [&](int64_t begin, int64_t end) {
        rows.Compute(begin, end - begin, values.get() + begin * rows.num_cols());
      });
    }
    return reinterpret_cast<const uint8_t*>(values.get());
  }
  if (reinterpret_cast<uintptr_t>(tensor.data) % (tensor.entry.type->bits / 8) == 0) return tensor.data;
  std::vector<uint8_t>& copy = aligned_copies_[tensor.entry.name];
  if (copy.empty()) copy.assign(tensor.data, tensor.data + tensor.size_bytes());
  return copy.data();
}

kernels::TensorView Checkpoint::View(const CheckpointTensor& tensor) {
  const SafetensorsEntry& entry = tensor.entry;
  CHECK(entry.type->dtype.has_value()) << entry.name << " is " << entry.type->name;
  CHECK(!entry.shape.empty() && entry.shape.size() <= kernels::TensorView::kMaxRank) << DescribeEntry(entry);
  kernels::TensorView view;
  // Kernels take one view type for inputs and outputs; nobody writes to a weight, and the mapping is read-only.
  view.data = const_cast<uint8_t*>(Data(tensor));
  view.dtype = *entry.type->dtype;
  view.rank = entry.shape.size();
  int64_t stride = 1;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    view.shape[axis] = entry.shape[axis];
    view.stride[axis] = tensor.strides.empty() ? stride : tensor.strides[axis];
    stride *= entry.shape[axis];
  }
  return view;
}

kernels::TensorView Checkpoint::RowMajorView(const CheckpointTensor& tensor) {
  kernels::TensorView view = View(tensor);
  if (view.contiguous()) return view;
  std::vector<uint8_t>& copy = row_major_copies_[tensor.entry.name];
  if (copy.empty()) {
    const int64_t element_bytes = kernels::DTypeBytes(view.dtype), num_elements = view.num_elements();
    copy.resize(num_elements * element_bytes);
    for (int64_t i = 0; i < num_elements; ++i) {
      int64_t rest = i, from = 0;
      for (int axis = view.rank - 1; axis >= 0; --axis) {
        from += rest % view.shape[axis] * view.stride[axis];
        rest /= view.shape[axis];
      }
      std::memcpy(&copy[i * element_bytes], view.as<uint8_t>() + from * element_bytes, element_bytes);
    }
  }
  view.data = copy.data();
  int64_t stride = 1;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    view.stride[axis] = stride;
    stride *= view.shape[axis];
  }
  return view;
}

void Checkpoint::Prefetch(const CheckpointTensor& tensor, int64_t first_row, int64_t num_rows) const {
  for (const CheckpointTensor* part : tensor.parts) part->file->Prefetch(part->data, part->size_bytes());
  if (tensor.computed != nullptr || tensor.size_bytes() == 0) return;
  const int64_t row_bytes = tensor.size_bytes() / tensor.entry.shape.at(0);
  if (tensor.strides.empty()) {
    tensor.file->Prefetch(tensor.data + first_row * row_bytes, num_rows * row_bytes);
  } else {
    tensor.file->Prefetch(tensor.data, tensor.size_bytes());
  }
}

void Checkpoint::Release(const CheckpointTensor& tensor) {
  aligned_copies_.erase(tensor.entry.name);
  row_major_copies_.erase(tensor.entry.name);
  computed_.erase(tensor.entry.name);
  for (const CheckpointTensor* part : tensor.parts) part->file->DropPages(part->data, part->size_bytes());
  if (tensor.computed == nullptr) tensor.file->DropPages(tensor.data, tensor.size_bytes());
}

}  // namespace quire::worker
