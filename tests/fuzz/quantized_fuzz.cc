// Quantised checkpoints: the input is a "quantization_config", the header of a model.safetensors, and its data.
#include <glog/logging.h>

#include <cmath>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tests/fuzz/fuzz_target.h"
#include "worker/loader/checkpoint.h"
#include "worker/loader/quantization.h"

namespace {

void CheckRefusal(const absl::Status& status) {
  CHECK(absl::IsInvalidArgument(status) || absl::IsUnimplemented(status)) << status;
  CHECK(!status.message().empty());
  CHECK_LT(status.message().size(), 8192u);
}

// Every matrix that is computed, whole and by its last row alone: the sanitizer's word that no index leads astray (Q1, Q2),
// and the same bits either way.
void ReadAll(const quire::worker::ComputedRows& rows) {
  if (rows.num_rows() == 0 || rows.num_cols() == 0) return;
  std::vector<float> all(rows.num_rows() * rows.num_cols()), last(rows.num_cols());
  rows.Compute(0, rows.num_rows(), all.data());
  rows.Compute(rows.num_rows() - 1, 1, last.data());
  CHECK_EQ(std::memcmp(&all[all.size() - last.size()], last.data(), last.size() * sizeof(float)), 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto files = quire::fuzz::SplitInput(data, size, 3);
  const uint64_t header_size = files[1].size();
  const std::string prefix(reinterpret_cast<const char*>(&header_size), sizeof(header_size));
  quire::fuzz::WriteScratch("model.safetensors", absl::StrCat(prefix, files[1], files[2]), /*keep_empty=*/true);
  const auto checkpoint = quire::worker::Checkpoint::Open(quire::fuzz::ScratchDirectory());
  if (!checkpoint.ok()) {
    CHECK(absl::IsInvalidArgument(checkpoint.status())) << checkpoint.status();
    return 0;
  }
  quire::worker::DenseOptions options;
  options.model_dir = quire::fuzz::ScratchDirectory();
  options.config_json = std::string(files[0]);
  options.transposed = size % 4 == 3;
  const auto report = quire::worker::MakeDense(options, checkpoint->get());
  if (!report.ok()) {
    CheckRefusal(report.status());
    return 0;
  }
  int64_t num_computed = 0;
  for (const auto& [name, tensor] : (*checkpoint)->tensors()) {
    if (tensor.computed == nullptr) continue;
    ++num_computed;
    CHECK((*checkpoint)->Find(name) == &tensor);
    CHECK(!tensor.parts.empty()) << name;
    if (const absl::Status status = tensor.computed->CheckValues(); !status.ok()) {
      CheckRefusal(status);
      continue;
    }
    ReadAll(*tensor.computed);
    const auto view = (*checkpoint)->View(tensor);
    CHECK_EQ(view.num_elements(), tensor.computed->num_rows() * tensor.computed->num_cols()) << name;
    (*checkpoint)->Release(tensor);
  }
  CHECK_LE(report->num_tensors, num_computed);
  if (num_computed > 0) quire::fuzz::NoteAccepted();
  return 0;
}
