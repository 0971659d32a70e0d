#include "kernels/cpu/fast_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/expert_routing.h"
#include "kernels/cpu/fast_experts.h"
#include "kernels/cpu/fast_sampling.h"
#include "kernels/cpu/host_memory.h"
#include "kernels/cpu/logit_edits.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/paged_attention.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/weight_memory.h"

namespace quire::kernels::cpu {
namespace {

// Multiply-adds under which waking the other threads costs more than it gains.
constexpr int64_t kSerialMatMul = 1 << 15;

// The same for values touched once or twice.
constexpr int64_t kSerialElements = 1 << 14;

float* Row(const TensorView& t, int64_t row) { return t.as<float>() + row * t.stride[0]; }

class FastBackend final : public Backend {
 public:
  FastBackend(int num_threads, const Isa& isa)
      : name_(absl::StrCat("cpu/", isa.name)),
        pool_(num_threads),
        scratch_(num_threads),
        matmul_(MatMulFor(isa.target)),
        rows_(RowKernelsFor(isa.target)),
        attention_(AttendKernelsFor(isa.target), &pool_),
        samplers_(num_threads, RowSampler(SampleKernelsFor(isa.target))) {}

  std::string Name() const override { return name_; }
  DType activation_dtype() const override { return DType::kF32; }
  DeviceTraits traits() const override { return {}; }
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
  absl::StatusOr<std::unique_ptr<Buffer>> AllocateHostMemory(int64_t bytes) override { return AllocateHost(bytes); }
  absl::Status Synchronize() override { return absl::OkStatus(); }

 private:
  // At least `floats` floats of the thread's own, 64-byte aligned, contents undefined.
  float* Scratch(int thread, int64_t floats) {
    std::vector<float>& memory = scratch_[thread];
    if (static_cast<int64_t>(memory.size()) < floats + 16) memory.resize(floats + 16);
    return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) & ~uintptr_t{63});
  }

  absl::StatusOr<std::unique_ptr<Weight>> DoPack(absl::Span<const TensorView> parts, DType stored) override {
    return PackWeight(parts, stored, matmul_.group_panels, &weight_memory_, &pool_);
  }

  void DoMatMul(const TensorView& x, const Weight& weight, const TensorView& bias, const TensorView& out) override {
    const auto& w = static_cast<const PackedWeight&>(weight);
    const MatMulJob job = {x.as<float>(), x.stride[0], x.dim(0),         w.panels(),      w.dtype(),
                           w.rows(),      w.cols(),    bias.as<float>(), out.as<float>(), out.stride[0]};
    const int64_t num_panels = NumPanels(w.rows());
    const bool serial = job.num_tokens * job.rows * job.cols < kSerialMatMul;
    // Few panels and many tokens: the tokens are what there is to share out.
    const bool by_tokens = num_panels < 4 * pool_.num_threads() && job.num_tokens >= 4 * kTileRowsMax;
    const int64_t scratch_floats = MatMulScratchFloats(job.num_tokens, job.cols);
    if (by_tokens) {
      pool_.ParallelFor(job.num_tokens, serial, [&](Range tokens, int thread) {
        matmul_.run(job, tokens, {0, num_panels}, Scratch(thread, scratch_floats));
      });
      return;
    }
    // Pairs of panels, not groups: fair shares of a small weight, and a k step of a pair is whole cache lines.
    const int64_t unit = std::min<int64_t>(2, matmul_.group_panels);
    pool_.ParallelFor((num_panels + unit - 1) / unit, serial, [&](Range units, int thread) {
      const Range panels = {units.begin * unit, std::min(units.end * unit, num_panels)};
      matmul_.run(job, {0, job.num_tokens}, panels, Scratch(thread, scratch_floats));
    });
  }

  // Calls body(row) for each row, on all threads when there is enough to do.
  void ForRows(int64_t num_rows, int64_t width, absl::FunctionRef<void(int64_t row)> body) {
    pool_.ParallelFor(num_rows, num_rows * width < kSerialElements, [&](Range rows, int) {
      for (int64_t r = rows.begin; r < rows.end; ++r) body(r);
    });
  }

  void DoEmbed(const TensorView& table, int64_t first_row, absl::Span<const int32_t> ids,
               const TensorView& out) override {
    const int64_t width = table.dim(1);
    ForRows(out.dim(0), width, [&](int64_t t) {
      const int64_t row = ids[t] - first_row;
      if (row < 0 || row >= table.dim(0)) {
        std::fill_n(Row(out, t), width, 0.0f);
      } else {
        rows_.widen(table.as<char>() + row * table.stride[0] * DTypeBytes(table.dtype), table.dtype, width,
                    Row(out, t));
      }
    });
  }

  void DoNorm(NormKind kind, const TensorView& x, const TensorView& weight, const TensorView& bias, float eps,
              const TensorView& out) override {
    ForRows(x.dim(0), x.dim(1), [&](int64_t t) {
      rows_.norm(kind, Row(x, t), weight.as<float>(), bias.as<float>(), eps, x.dim(1), Row(out, t));
    });
  }

  void DoSumSquares(const TensorView& x, const TensorView& out) override {
    ForRows(x.dim(0), x.dim(1), [&](int64_t t) { Row(out, t)[0] = rows_.sum_squares(Row(x, t), x.dim(1)); });
  }

  void DoNormPart(const TensorView& x, const TensorView& squares, int64_t count, const TensorView& weight, float eps,
                  const TensorView& out) override {
    ForRows(x.dim(0), x.dim(1), [&](int64_t t) {
      const float scale = 1.0f / std::sqrt(Row(squares, t)[0] / static_cast<float>(count) + eps);
      rows_.weigh(Row(x, t), scale, weight.as<float>(), x.dim(1), Row(out, t));
    });
  }

  void DoRope(const TensorView& x, const TensorView& cos_sin, absl::Span<const int32_t> positions) override {
    const int64_t half = cos_sin.dim(2);
    ForRows(x.dim(0), x.dim(1) * x.dim(2), [&](int64_t t) {
      const float* cosine = Row(cos_sin, positions[t]);
      rows_.rope(Row(x, t), cosine, cosine + half, x.dim(1), x.dim(2), half);
    });
  }

  void DoStoreKv(const TensorView& k, const TensorView& v, absl::Span<const int64_t> slot_mapping, int64_t layer,
                 const KvCacheView& cache) override {
    const bool serial = k.num_elements() < kSerialElements;
    pool_.ParallelFor(cache.layout.num_kv_heads, serial, [&](Range heads, int) {
      StoreKvHeads(k, v, slot_mapping, layer, cache, heads.begin, heads.end);
    });
  }

  void DoAttend(const TensorView& q, const AttendBatch& batch, const AttentionParams& params, int64_t layer,
                const KvCacheView& cache, const TensorView& out) override {
    attention_.Attend(q, batch, params, layer, cache, out);
  }

  void DoActivate(ActivationKind kind, bool gated, const TensorView& x, const TensorView& out) override {
    const int64_t width = out.dim(1);
    ForRows(x.dim(0), x.dim(1), [&](int64_t t) {
      rows_.activate(kind, Row(x, t), gated ? Row(x, t) + width : nullptr, width, Row(out, t));
    });
  }

  void DoAddResidual(const TensorView& x, const TensorView& y) override {
    ForRows(x.dim(0), x.dim(1), [&](int64_t t) { rows_.add(Row(x, t), Row(y, t), x.dim(1)); });
  }

  void DoScale(const TensorView& x, float factor) override {
    ForRows(x.dim(0), x.dim(1), [&](int64_t t) {
      float* row = Row(x, t);
      for (int64_t c = 0; c < x.dim(1); ++c) row[c] *= factor;
    });
  }

  void DoClamp(const TensorView& x, float limit) override {
    ForRows(x.dim(0), x.dim(1), [&](int64_t t) {
      float* row = Row(x, t);
      for (int64_t c = 0; c < x.dim(1); ++c) row[c] = std::clamp(row[c], -limit, limit);
    });
  }

  void DoSoftCap(const TensorView& x, float cap) override {
    ForRows(x.dim(0), x.dim(1), [&](int64_t t) { rows_.soft_cap(Row(x, t), cap, x.dim(1)); });
  }

  void DoGatherRows(const TensorView& x, absl::Span<const int32_t> rows, const TensorView& out) override {
    ForRows(out.dim(0), x.dim(1), [&](int64_t i) { std::copy_n(Row(x, rows[i]), x.dim(1), Row(out, i)); });
  }

  void DoCopyBlocks(absl::Span<const std::pair<int32_t, int32_t>> copies, const KvCacheView& cache) override {
    const int64_t bytes = cache.layout.block_bytes();
    char* base = static_cast<char*>(cache.base);
    for (const auto& [from, to] : copies) std::memmove(base + to * bytes, base + from * bytes, bytes);
  }

  void DoSwap(bool out, absl::Span<const std::pair<int32_t, int32_t>> blocks, const KvCacheView& cache,
              const Buffer& host) override {
    SwapHostBlocks(out, blocks, cache, host);
  }

  void DoRoute(const TensorView& logits, const RouteParams& params, const ExpertRouting& routing) override {
    ForRows(logits.dim(0), logits.dim(1), [&](int64_t t) {
      ChooseExperts(Row(logits, t), logits.dim(1), routing.ids.dim(1), params.renormalize,
                    routing.ids.as<int32_t>() + t * routing.ids.stride[0], Row(routing.weights, t));
    });
    SortByExpert(params, routing);
  }

  void DoExpertMatMul(const TensorView& x, absl::Span<const Weight* const> experts, const TensorView& row_start,
                      const TensorView& row_token, const TensorView& out) override {
    ExpertMatMulOn(x, experts, row_start, row_token, out, matmul_, &pool_,
                   [&](int thread, int64_t floats) { return Scratch(thread, floats); });
  }

  void DoCombineExperts(const TensorView& rows, const ExpertRouting& routing, int64_t num_experts,
                        const TensorView& extra, int64_t extra_quarter, const TensorView& out) override {
    CombineExpertsOn(rows, routing, num_experts, extra, extra_quarter, out, rows_, &pool_);
  }

  void DoScaleRows(const TensorView& x, const TensorView& gate) override {
    ForRows(x.dim(0), x.dim(1), [&](int64_t t) {
      const float factor = 1.0f / (1.0f + std::exp(-Row(gate, t)[0]));
      float* row = Row(x, t);
      for (int64_t c = 0; c < x.dim(1); ++c) row[c] *= factor;
    });
  }

  void DoEditLogits(const TensorView& logits, absl::Span<const LogitEdits> edits,
                    absl::Span<SampleResult> results) override {
    for (size_t i = 0; i < edits.size(); ++i) {
      ApplyLogitEdits(edits[i], Row(logits, i), logits.dim(1), results.empty() ? nullptr : &results[i]);
    }
  }

  void DoLogProbs(const TensorView& logits, absl::Span<const SampleRow> rows,
                  absl::Span<SampleResult> results) override {
    pool_.ParallelFor(logits.dim(0), logits.num_elements() < kSerialElements, [&](Range range, int thread) {
      for (int64_t i = range.begin; i < range.end; ++i) {
        samplers_[thread].LogProbs(Row(logits, i), logits.dim(1), rows[i], &results[i]);
      }
    });
  }

  void DoSample(const TensorView& logits, absl::Span<const SampleRow> rows, absl::Span<SampleResult> results) override {
    pool_.ParallelFor(logits.dim(0), logits.num_elements() < kSerialElements, [&](Range range, int thread) {
      for (int64_t i = range.begin; i < range.end; ++i) {
        samplers_[thread].Sample(Row(logits, i), logits.dim(1), rows[i], &results[i]);
      }
    });
  }

  const std::string name_;
  ThreadPool pool_;
  std::vector<std::vector<float>> scratch_;  // per thread
  WeightMemory weight_memory_;
  const MatMulKernel matmul_;
  const RowKernels rows_;
  PagedAttention attention_;
  std::vector<RowSampler> samplers_;  // per thread
};

}  // namespace

std::unique_ptr<Backend> CreateFastBackend(int num_threads, const Isa& isa) {
  return std::make_unique<FastBackend>(num_threads, isa);
}

}  // namespace quire::kernels::cpu
