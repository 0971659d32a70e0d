// An index and the shards that it names: the input is model.safetensors.index.json and two shards.
#include <glog/logging.h>

#include "absl/status/status.h"
#include "tests/fuzz/fuzz_target.h"
#include "worker/loader/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto files = quire::fuzz::SplitInput(data, size, 3);
  quire::fuzz::WriteScratch("model.safetensors.index.json", files[0], /*keep_empty=*/true);
  quire::fuzz::WriteScratch("a.safetensors", files[1], /*keep_empty=*/true);
  quire::fuzz::WriteScratch("b.safetensors", files[2], /*keep_empty=*/true);
  const auto checkpoint = quire::worker::Checkpoint::Open(quire::fuzz::ScratchDirectory());
  if (!checkpoint.ok()) {
    CHECK(absl::IsInvalidArgument(checkpoint.status()) || absl::IsNotFound(checkpoint.status())) << checkpoint.status();
    return 0;
  }
  quire::fuzz::NoteAccepted();
  uint32_t sum = 0;
  for (const auto& [name, tensor] : (*checkpoint)->tensors()) {
    CHECK((*checkpoint)->Find(name) == &tensor);
    // K1: the sanitizer's word that every byte is there.
    for (int64_t i = 0; i < tensor.size_bytes(); ++i) sum += tensor.data[i];
    (*checkpoint)->Release(tensor);
  }
  LOG_IF(INFO, sum == 0xFFFFFFFF) << "so that the reads are not left out";
  return 0;
}
