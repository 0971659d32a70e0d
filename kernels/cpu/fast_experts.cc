#include "kernels/cpu/fast_experts.h"

#include <algorithm>

#include "kernels/cpu/packed_weight.h"

namespace quire::kernels::cpu {
namespace {

// Multiply-adds, and values touched once, under which waking the other threads costs more than it gains.
constexpr int64_t kSerialMatMul = 1 << 15;
constexpr int64_t kSerialElements = 1 << 14;

// Rows whose products take as long as reading the weight: what an expert costs beside its rows.
constexpr int64_t kReadRows = 6;

// Panels are shared out in pairs, as whole groups of the layout would be too coarse (FastBackend::DoMatMul).
constexpr int64_t kUnitPanels = 2;

}  // namespace

void ExpertMatMulOn(const TensorView& x, absl::Span<const Weight* const> experts, const TensorView& row_start,
                    const TensorView& row_token, const TensorView& out, const MatMulKernel& matmul, ThreadPool* pool,
                    ScratchOf scratch) {
  const int32_t* start = row_start.as<int32_t>();
  const int64_t num_panels = NumPanels(experts[0]->rows()), cols = experts[0]->cols();
  const int64_t unit = std::min(kUnitPanels, matmul.group_panels);
  const int64_t num_units = (num_panels + unit - 1) / unit;
  const int64_t num_experts = static_cast<int64_t>(experts.size());
  const auto cost_of = [&](int64_t e) {  // of one unit
    const int64_t num_rows = start[e + 1] - start[e];
    return num_rows == 0 ? 0 : num_rows + kReadRows;
  };
  int64_t total = 0, rows_max = 0;
  for (int64_t e = 0; e < num_experts; ++e) {
    total += cost_of(e) * num_units;
    rows_max = std::max<int64_t>(rows_max, start[e + 1] - start[e]);
  }
  const int64_t num_rows = start[num_experts];
  const bool serial = num_rows * experts[0]->rows() * cols < kSerialMatMul;
  pool->ParallelFor(total, serial, [&](Range share, int thread) {
    float* memory = scratch(thread, MatMulScratchFloats(rows_max, cols));
    int64_t before = 0;  // cost of the experts passed
    for (int64_t e = 0; e < num_experts && before < share.end; ++e) {
      const int64_t cost = cost_of(e);
      if (cost == 0) continue;
      // The units that begin inside the share.
      const auto units_before = [&](int64_t at) {
        return std::clamp<int64_t>((at - before + cost - 1) / cost, 0, num_units);
      };
      const Range units = {share.begin <= before ? 0 : units_before(share.begin),
                           share.end <= before ? 0 : units_before(share.end)};
      before += cost * num_units;
      if (units.size() <= 0) continue;
      const auto& w = static_cast<const PackedWeight&>(*experts[e]);
      const int32_t first = start[e];
      MatMulJob job = {x.as<float>(), x.stride[0], start[e + 1] - first,
                       w.panels(),    w.dtype(),   w.rows(),
                       w.cols(),      nullptr,     out.as<float>() + first * out.stride[0],
                       out.stride[0]};
      if (row_token.empty()) {
        job.x += first * x.stride[0];
      } else {
        job.x_rows = row_token.as<int32_t>() + first;
      }
      const Range panels = {units.begin * unit, std::min(units.end * unit, num_panels)};
      matmul.run(job, {0, job.num_tokens}, panels, memory);
    }
  });
}

void CombineExpertsOn(const TensorView& rows, const ExpertRouting& routing, int64_t num_experts,
                      const TensorView& extra, int64_t extra_quarter, const TensorView& out, const RowKernels& kernels,
                      ThreadPool* pool) {
  const int64_t num_tokens = out.dim(0), width = out.dim(1), num_chosen = routing.ids.dim(1);
  pool->ParallelFor(num_tokens, num_tokens * num_chosen * width < kSerialElements, [&](Range tokens, int) {
    std::vector<const float*> sources(num_chosen);
    std::vector<float> weights(num_chosen);
    for (int64_t t = tokens.begin; t < tokens.end; ++t) {
      const int32_t* ids = routing.ids.as<int32_t>() + t * routing.ids.stride[0];
      const int32_t* row_of = routing.rows.as<int32_t>() + t * routing.rows.stride[0];
      const float* weight_of = routing.weights.as<float>() + t * routing.weights.stride[0];
      CombineJob job;
      int64_t count = 0, pick = 0;
      for (int64_t quarter = 0; quarter < kExpertQuarters; ++quarter) {
        job.quarter_begin[quarter] = count;
        for (; pick < num_chosen && ids[pick] < QuarterBegin(num_experts, quarter + 1); ++pick) {
          if (row_of[pick] < 0) continue;
          sources[count] = rows.as<float>() + row_of[pick] * rows.stride[0];
          weights[count++] = weight_of[pick];
        }
      }
      job.quarter_begin[kExpertQuarters] = count;
      job.rows = sources.data();
      job.weights = weights.data();
      if (!extra.empty()) job.extra = extra.as<float>() + t * extra.stride[0];
      job.extra_quarter = extra_quarter;
      kernels.combine(job, width, out.as<float>() + t * out.stride[0]);
    }
  });
}

}  // namespace quire::kernels::cpu
