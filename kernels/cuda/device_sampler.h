// EditLogits, LogProbs and Sample of the CUDA backend: arrays there, kernels, results back. Thread rule: as Backend.
#ifndef QUIRE_KERNELS_CUDA_DEVICE_SAMPLER_H_
#define QUIRE_KERNELS_CUDA_DEVICE_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/cuda/cuda_context.h"
#include "kernels/cuda/sampling_steps.h"
#include "kernels/sampling_ops.h"
#include "kernels/tensor_view.h"

namespace quire::kernels::cuda {

class DeviceSampler final {
 public:
  // Requires: context outlives the sampler.
  explicit DeviceSampler(CudaContext* context)
      : context_(context), results_(context->allocator()), kept_(context->allocator()) {}

  void EditLogits(const TensorView& logits, absl::Span<const LogitEdits> edits, absl::Span<SampleResult> results);
  void LogProbs(const TensorView& logits, absl::Span<const SampleRow> rows, absl::Span<SampleResult> results);
  void Sample(const TensorView& logits, absl::Span<const SampleRow> rows, absl::Span<SampleResult> results);

 private:
  // Fetches the raw logits that the kernel kept.
  void KeepRaw(const float* raw, absl::Span<SampleResult> results);
  // Rows from `begin` of a call; num_top_ and results are the call's.
  bool LogProbsOf(const TensorView& logits, int64_t begin, int64_t max_top, absl::Span<SampleResult> results);

  CudaContext* const context_;
  Scratch results_;  // on their way to the host
  Scratch kept_;     // logits of allowed ids
  FlatEdits edits_;
  std::vector<float> raw_;
  std::vector<int32_t> num_top_;
  std::vector<DrawArgs> draws_;
};

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_DEVICE_SAMPLER_H_
