#include "worker/loader/checkpoint.h"

#include <glog/logging.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/loader/bounded_json.h"

namespace quire::worker {
namespace {

constexpr int64_t kIndexBytesMax = 64 << 20;
constexpr int kFilesMax = 4096;
constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

// A weight_map as tensor -> file name, each name checked to stay inside the directory.
absl::StatusOr<std::map<std::string, std::string>> ReadWeightMap(const std::string& index_path) {
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
    if (!stays_inside || absl::StartsWith(name, ".") || !absl::EndsWith(name, ".safetensors")) {
      return absl::InvalidArgumentError(
          absl::StrCat(who, ": '", Printable(name), "' is not the plain name of a .safetensors file"));
    }
    weight_map.emplace(tensor, name);
  }
  return weight_map;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& model_dir) {
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint());
  const std::string single = absl::StrCat(model_dir, "/", kSingleFile);
  const std::string index = absl::StrCat(model_dir, "/", kIndexFile);
  absl::Status status;
  if (access(index.c_str(), F_OK) == 0) {
    status = checkpoint->OpenSharded(model_dir, index);
  } else if (access(single.c_str(), F_OK) == 0) {
    status = checkpoint->AddFile(single, nullptr, kSingleFile);
  } else {
    status = absl::NotFoundError(absl::StrCat(model_dir, ": neither ", kSingleFile, " nor ", kIndexFile, " is there"));
  }
  if (!status.ok()) return status;
  return checkpoint;
}

absl::Status Checkpoint::OpenSharded(const std::string& model_dir, const std::string& index_path) {
  auto weight_map = ReadWeightMap(index_path);
  if (!weight_map.ok()) return weight_map.status();
  std::set<std::string> file_names;
  for (const auto& [tensor, file] : *weight_map) file_names.insert(file);
  if (static_cast<int>(file_names.size()) > kFilesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(index_path, ": ", file_names.size(), " files, more than the limit of ", kFilesMax));
  }
  for (const std::string& name : file_names) {
    if (absl::Status s = AddFile(absl::StrCat(model_dir, "/", name), &*weight_map, name); !s.ok()) return s;
  }
  for (const auto& [tensor, file] : *weight_map) {
    if (tensors_.count(tensor) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(index_path, ": tensor '", Printable(tensor), "' is not in ", file,
                                                     ", where the weight_map puts it"));
    }
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::AddFile(const std::string& path, const std::map<std::string, std::string>* weight_map,
                                 const std::string& file_name) {
  auto file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::string_view bytes(reinterpret_cast<const char*>((*file)->data()), (*file)->size());
  auto header = ParseSafetensorsHeader(path, bytes);
  if (!header.ok()) return header.status();
  for (SafetensorsEntry& entry : header->entries) {
    if (weight_map != nullptr) {
      const auto mapped = weight_map->find(entry.name);
      if (mapped == weight_map->end() || mapped->second != file_name) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": tensor '", Printable(entry.name), "' is here, but the weight_map ",
                         mapped == weight_map->end() ? std::string("does not name it")
                                                     : absl::StrCat("puts it in ", mapped->second)));
      }
    }
    CheckpointTensor tensor;
    tensor.file = file->get();
    tensor.data = (*file)->data() + header->data_begin + entry.begin;
    const std::string name = entry.name;
    tensor.entry = std::move(entry);
    CHECK(tensors_.emplace(name, std::move(tensor)).second) << name;  // one file a name: the map says which
  }
  files_.push_back(std::move(*file));
  return absl::OkStatus();
}

const CheckpointTensor* Checkpoint::Find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

kernels::TensorView Checkpoint::View(const CheckpointTensor& tensor) {
  const SafetensorsEntry& entry = tensor.entry;
  CHECK(entry.type->dtype.has_value()) << entry.name << " is " << entry.type->name;
  CHECK(!entry.shape.empty() && entry.shape.size() <= kernels::TensorView::kMaxRank) << DescribeEntry(entry);
  const uint8_t* data = tensor.data;
  if (reinterpret_cast<uintptr_t>(data) % (entry.type->bits / 8) != 0) {
    std::vector<uint8_t>& copy = aligned_copies_[entry.name];
    if (copy.empty()) copy.assign(data, data + tensor.size_bytes());
    data = copy.data();
  }
  kernels::TensorView view;
  // Kernels take one view type for inputs and outputs; nobody writes to a weight, and the mapping is read-only.
  view.data = const_cast<uint8_t*>(data);
  view.dtype = *entry.type->dtype;
  view.rank = entry.shape.size();
  int64_t stride = 1;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    view.shape[axis] = entry.shape[axis];
    view.stride[axis] = stride;
    stride *= entry.shape[axis];
  }
  return view;
}

void Checkpoint::Release(const CheckpointTensor& tensor) {
  aligned_copies_.erase(tensor.entry.name);
  tensor.file->DropPages(tensor.data, tensor.size_bytes());
}

}  // namespace quire::worker
