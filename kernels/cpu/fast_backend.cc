#include "kernels/cpu/fast_backend.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/host_memory.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/reference_backend.h"
#include "kernels/cpu/thread_pool.h"

namespace quire::kernels::cpu {
namespace {

// Multiply-adds under which waking the other threads costs more than it gains.
constexpr int64_t kSerialMatMul = 1 << 15;

class FastBackend final : public Backend {
 public:
  FastBackend(int num_threads, const Isa& isa)
      : name_(absl::StrCat("cpu/", isa.name)),
        pool_(num_threads),
        scratch_(num_threads),
        matmul_(MatMulFor(isa.target)),
        reference_(CreateReferenceBackend()) {}

  std::string Name() const override { return name_; }
  DType activation_dtype() const override { return DType::kF32; }
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t bytes) override { return AllocateHost(bytes); }
  absl::StatusOr<int64_t> FreeBytes() override { return FreeHostBytes(); }
  absl::Status CopyToDevice(void* dst, const void* src, int64_t bytes) override {
    std::memcpy(dst, src, bytes);
    return absl::OkStatus();
  }
  absl::Status CopyToHost(void* dst, const void* src, int64_t bytes) override {
    std::memcpy(dst, src, bytes);
    return absl::OkStatus();
  }
  absl::Status Synchronize() override { return absl::OkStatus(); }

 private:
  // At least `floats` floats of the thread's own, 64-byte aligned, contents undefined.
  float* Scratch(int thread, int64_t floats) {
    std::vector<float>& memory = scratch_[thread];
    if (static_cast<int64_t>(memory.size()) < floats + 16) memory.resize(floats + 16);
    return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) & ~uintptr_t{63});
  }

  absl::StatusOr<std::unique_ptr<Weight>> DoPack(absl::Span<const TensorView> parts, DType stored) override {
    return PackWeight(parts, stored, &pool_);
  }

  void DoMatMul(const TensorView& x, const Weight& weight, const TensorView& bias, const TensorView& out) override {
    const auto& w = static_cast<const PackedWeight&>(weight);
    const MatMulJob job = {x.as<float>(), x.stride[0], x.dim(0),         w.panels(),      w.dtype(),
                           w.rows(),      w.cols(),    bias.as<float>(), out.as<float>(), out.stride[0]};
    const int64_t num_panels = (w.rows() + kPanel - 1) / kPanel;
    const bool serial = job.num_tokens * job.rows * job.cols < kSerialMatMul;
    // Few panels and many tokens: the tokens are what there is to share out.
    const bool by_tokens = num_panels < 4 * pool_.num_threads() && job.num_tokens >= 4 * kTileRowsMax;
    const int64_t scratch_floats = MatMulScratchFloats(job.num_tokens);
    pool_.ParallelFor(by_tokens ? job.num_tokens : num_panels, serial, [&](Range range, int thread) {
      matmul_(job, by_tokens ? range : Range{0, job.num_tokens}, by_tokens ? Range{0, num_panels} : range,
              Scratch(thread, scratch_floats));
    });
  }

  void DoEmbed(const TensorView& table, int64_t first_row, absl::Span<const int32_t> ids,
               const TensorView& out) override {
    reference_->Embed(table, first_row, ids, out);
  }
  void DoNorm(NormKind kind, const TensorView& x, const TensorView& weight, const TensorView& bias, float eps,
              const TensorView& out) override {
    reference_->Norm(kind, x, weight, bias, eps, out);
  }
  void DoRope(const TensorView& x, const TensorView& cos_sin, absl::Span<const int32_t> positions) override {
    reference_->Rope(x, cos_sin, positions);
  }
  void DoStoreKv(const TensorView& k, const TensorView& v, absl::Span<const int64_t> slot_mapping, int64_t layer,
                 const KvCacheView& cache) override {
    reference_->StoreKv(k, v, slot_mapping, layer, cache);
  }
  void DoAttend(const TensorView& q, const AttendBatch& batch, const AttentionParams& params, int64_t layer,
                const KvCacheView& cache, const TensorView& out) override {
    reference_->Attend(q, batch, params, layer, cache, out);
  }
  void DoActivate(ActivationKind kind, bool gated, const TensorView& x, const TensorView& out) override {
    reference_->Activate(kind, gated, x, out);
  }
  void DoAddResidual(const TensorView& x, const TensorView& y) override { reference_->AddResidual(x, y); }
  void DoGatherRows(const TensorView& x, absl::Span<const int32_t> rows, const TensorView& out) override {
    reference_->GatherRows(x, rows, out);
  }
  void DoCopyBlocks(absl::Span<const std::pair<int32_t, int32_t>> copies, const KvCacheView& cache) override {
    reference_->CopyBlocks(copies, cache);
  }
  void DoEditLogits(const TensorView& logits, absl::Span<const LogitEdits> edits,
                    absl::Span<SampleResult> results) override {
    reference_->EditLogits(logits, edits, results);
  }
  void DoLogProbs(const TensorView& logits, absl::Span<const SampleRow> rows,
                  absl::Span<SampleResult> results) override {
    reference_->LogProbs(logits, rows, results);
  }
  void DoSample(const TensorView& logits, absl::Span<const SampleRow> rows, absl::Span<SampleResult> results) override {
    reference_->Sample(logits, rows, results);
  }

  const std::string name_;
  ThreadPool pool_;
  std::vector<std::vector<float>> scratch_;  // per thread
  const MatMulFunction matmul_;
  const std::unique_ptr<Backend> reference_;
};

}  // namespace

std::unique_ptr<Backend> CreateFastBackend(int num_threads, const Isa& isa) {
  return std::make_unique<FastBackend>(num_threads, isa);
}

}  // namespace quire::kernels::cpu
