// A file of torch.save: the input is the whole file.
#include <glog/logging.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tests/fuzz/fuzz_target.h"
#include "worker/loader/torch_file.h"

// B1 of torch_file.h, computed another way than there.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto tensors = quire::worker::ReadTorchFile("input", bytes);
  if (!tensors.ok()) {
    const absl::Status& status = tensors.status();
    CHECK(absl::IsInvalidArgument(status) || absl::IsUnimplemented(status)) << status;
    CHECK_LT(status.message().size(), 4096u);
    return 0;
  }
  quire::fuzz::NoteAccepted();
  for (const quire::worker::TorchTensor& tensor : *tensors) {
    CHECK_EQ(tensor.strides.size(), tensor.entry.shape.size()) << tensor.entry.name;
    __int128 last = tensor.entry.begin;
    bool empty = false;
    for (size_t axis = 0; axis < tensor.strides.size(); ++axis) {
      CHECK(tensor.entry.shape[axis] >= 0 && tensor.strides[axis] >= 0) << tensor.entry.name;
      empty = empty || tensor.entry.shape[axis] == 0;
      last +=
          static_cast<__int128>(tensor.entry.shape[axis] - 1) * tensor.strides[axis] * (tensor.entry.type->bits / 8);
    }
    CHECK_LE(tensor.entry.begin, static_cast<int64_t>(size)) << tensor.entry.name;
    if (empty) continue;
    CHECK(tensor.entry.begin >= 0 && last + tensor.entry.type->bits / 8 <= static_cast<__int128>(size))
        << tensor.entry.name;
  }
  return 0;
}
