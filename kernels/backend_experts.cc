// The checks of B1 for the operations of expert_ops.h.
#include <glog/logging.h>

#include "kernels/backend.h"
#include "kernels/shape_checks.h"

namespace quire::kernels {
namespace {

void CheckI32(const char* what, const TensorView& t, int64_t size) {
  CheckRank(what, t, 1);
  CHECK(t.dtype == DType::kI32) << what << " " << t.ToString() << " must be int32";
  CHECK_GE(t.dim(0), size) << what << " " << t.ToString();
  CHECK(t.contiguous()) << what << " has stride " << t.stride[0];
}

void CheckPicks(const char* what, const TensorView& t, DType dtype, int64_t num_tokens, int64_t num_chosen) {
  CheckRows(what, t, dtype, 2);
  CheckDim(what, t, 0, num_tokens);
  CheckDim(what, t, 1, num_chosen);
}

void CheckRouting(const ExpertRouting& routing, int64_t num_tokens, int64_t num_experts) {
  const int64_t num_chosen = routing.ids.dim(1);
  CheckPicks("ids", routing.ids, DType::kI32, num_tokens, num_chosen);
  CheckPicks("weights", routing.weights, DType::kF32, num_tokens, num_chosen);
  CheckPicks("rows", routing.rows, DType::kI32, num_tokens, num_chosen);
  CheckI32("row_token", routing.row_token, num_tokens * num_chosen);
  CHECK(num_chosen >= 1 && num_chosen <= num_experts) << num_chosen << " of " << num_experts << " experts";
}

}  // namespace

void Backend::Route(const TensorView& logits, const RouteParams& params, const ExpertRouting& routing) {
  CheckRows("logits", logits, activation_dtype(), 2);
  CheckRouting(routing, logits.dim(0), logits.dim(1));
  CheckI32("row_start", routing.row_start, params.num_local + 1);
  CHECK(params.first_expert >= 0 && params.num_local >= 1 && params.first_expert + params.num_local <= logits.dim(1))
      << "experts from " << params.first_expert << ", " << params.num_local << " of them, of " << logits.ToString();
  if (logits.dim(0) > 0) DoRoute(logits, params, routing);
}

void Backend::ExpertMatMul(const TensorView& x, absl::Span<const Weight* const> experts, const TensorView& row_start,
                           const TensorView& row_token, const TensorView& out) {
  CheckRows("x", x, activation_dtype(), 2);
  CheckRows("out", out, activation_dtype(), 2);
  CHECK(!experts.empty());
  CheckI32("row_start", row_start, static_cast<int64_t>(experts.size()) + 1);
  for (const Weight* expert : experts) {
    CheckDim("x", x, 1, expert->cols());
    CheckDim("out", out, 1, expert->rows());
  }
  if (row_token.empty()) {
    CheckDim("out", out, 0, x.dim(0));
  } else {
    CheckI32("row_token", row_token, out.dim(0));
  }
  if (out.dim(0) > 0) DoExpertMatMul(x, experts, row_start, row_token, out);
}

void Backend::CombineExperts(const TensorView& rows, const ExpertRouting& routing, int64_t num_experts,
                             const TensorView& extra, int64_t extra_quarter, const TensorView& out) {
  CheckRows("rows", rows, activation_dtype(), 2);
  CheckRows("out", out, activation_dtype(), 2);
  CheckRouting(routing, out.dim(0), num_experts);
  CheckDim("rows", rows, 0, out.dim(0) * routing.ids.dim(1));
  CheckDim("rows", rows, 1, out.dim(1));
  if (!extra.empty()) {
    CheckRows("extra", extra, activation_dtype(), 2);
    CheckDim("extra", extra, 0, out.dim(0));
    CheckDim("extra", extra, 1, out.dim(1));
    CHECK(extra_quarter >= 0 && extra_quarter < kExpertQuarters) << extra_quarter;
  }
  if (out.num_elements() > 0) DoCombineExperts(rows, routing, num_experts, extra, extra_quarter, out);
}

void Backend::ScaleRows(const TensorView& x, const TensorView& gate) {
  CheckRows("x", x, activation_dtype(), 2);
  CheckRows("gate", gate, activation_dtype(), 2);
  CheckDim("gate", gate, 0, x.dim(0));
  CheckDim("gate", gate, 1, 1);
  if (x.num_elements() > 0) DoScaleRows(x, gate);
}

}  // namespace quire::kernels
