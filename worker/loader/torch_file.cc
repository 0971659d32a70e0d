#include "worker/loader/torch_file.h"

#include <map>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/loader/bounded_json.h"
#include "worker/loader/pickled_tensors.h"
#include "worker/loader/zip_entries.h"

namespace quire::worker {
namespace {

using Members = std::map<std::string, absl::string_view>;

constexpr char kPickleName[] = "/data.pkl";

// Files before torch 1.6 are a row of pickles, the first of which is this number.
bool IsLegacy(absl::string_view bytes) {
  constexpr absl::string_view kMagicNumber("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 12);
  return bytes.size() >= 14 && bytes[0] == '\x80' && bytes.substr(2, 12) == kMagicNumber;
}

// The folder that holds all members: the one of the only data.pkl.
absl::StatusOr<std::string> FindFolder(absl::string_view file, const Members& members) {
  std::string folder;
  for (const auto& [name, data] : members) {
    if (!absl::EndsWith(name, kPickleName)) continue;
    if (!folder.empty()) return absl::InvalidArgumentError(absl::StrCat(file, ": the archive has two data.pkl"));
    folder = name.substr(0, name.size() - (sizeof(kPickleName) - 1));
  }
  if (folder.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": the zip archive has no data.pkl: torch.save did not write it"));
  }
  return folder;
}

absl::StatusOr<TorchTensor> Place(absl::string_view file, absl::string_view bytes, const std::string& folder,
                                  const Members& members, PickledTensor pickled) {
  const std::string who = absl::StrCat(file, ": tensor '", Printable(pickled.name), "'");
  const auto storage = members.find(absl::StrCat(folder, "/data/", pickled.storage_key));
  if (storage == members.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(who, ": its storage '", Printable(pickled.storage_key), "' is not in the archive"));
  }
  if (static_cast<int64_t>(storage->second.size()) != pickled.storage_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(who, ": its storage '", Printable(pickled.storage_key), "' has ",
                                                   storage->second.size(), " bytes, not ", pickled.storage_bytes));
  }
  const int64_t element_bytes = pickled.type->bits / 8;
  int64_t reach = 1;  // elements from the first one to the last one
  for (size_t axis = 0; axis < pickled.shape.size(); ++axis) {
    if (pickled.shape[axis] == 0) {
      reach = 0;
      break;
    }
    reach += (pickled.shape[axis] - 1) * pickled.strides[axis];
  }
  TorchTensor tensor;
  tensor.entry.name = std::move(pickled.name);
  tensor.entry.type = pickled.type;
  tensor.entry.shape = std::move(pickled.shape);
  tensor.entry.begin = storage->second.data() - bytes.data();
  if (reach > 0) tensor.entry.begin += pickled.offset * element_bytes;
  tensor.entry.end = tensor.entry.begin + reach * element_bytes;
  tensor.strides = std::move(pickled.strides);
  return tensor;
}

}  // namespace

absl::StatusOr<std::vector<TorchTensor>> ReadTorchFile(absl::string_view file, absl::string_view bytes) {
  if (IsLegacy(bytes)) {
    return absl::UnimplementedError(
        absl::StrCat(file,
                     ": written in the format before torch 1.6, which is not read; torch.save(torch.load(FILE, "
                     "map_location='cpu'), FILE) in a newer torch, or saving as safetensors, converts it"));
  }
  auto members = ReadZipEntries(file, bytes);
  if (!members.ok()) return members.status();
  auto folder = FindFolder(file, *members);
  if (!folder.ok()) return folder.status();
  const auto order = members->find(absl::StrCat(*folder, "/byteorder"));
  if (order != members->end() && order->second != "little") {
    return absl::UnimplementedError(absl::StrCat(file, ": byteorder '", Printable(order->second), "', not 'little'"));
  }
  const absl::string_view pickle = members->at(*folder + kPickleName);
  auto pickled = ReadPickledTensors(absl::StrCat(file, ", data.pkl"), pickle);
  if (!pickled.ok()) return pickled.status();
  std::vector<TorchTensor> tensors;
  for (PickledTensor& tensor : *pickled) {
    auto placed = Place(file, bytes, *folder, *members, std::move(tensor));
    if (!placed.ok()) return placed.status();
    tensors.push_back(std::move(*placed));
  }
  return tensors;
}

}  // namespace quire::worker
