// Mixture of experts, as operations of Backend: which experts a token goes to, and in which order their answers are
// added. Plain data; any thread.
//
// Invariants:
//   E1  Which experts a token goes to depends on the token's own router logits only: softmax in f32 over all experts,
//       the largest probabilities, of equal ones the lower id.
//   E2  Sums over experts have one order, whatever the number of ranks and wherever the experts lie: the experts in
//       quarters by id, inside a quarter by ascending id, the quarters as ((0 + 1) + (2 + 3)) (docs/decisions/0020).
#ifndef QUIRE_KERNELS_EXPERT_OPS_H_
#define QUIRE_KERNELS_EXPERT_OPS_H_

#include <cstdint>

#include "kernels/tensor_view.h"

namespace quire::kernels {

inline constexpr int64_t kExpertQuarters = 4;

// First expert of a quarter; of quarter 4: the number of experts.
inline int64_t QuarterBegin(int64_t num_experts, int64_t quarter) { return num_experts * quarter / kExpertQuarters; }

struct RouteParams {
  int64_t first_expert = 0;  // experts [first, first + num_local) have their weights here
  int64_t num_local = 0;
  bool renormalize = false;  // a token's weights sum to 1
};

// Where a step's tokens go. Device memory of the caller's, written by Backend::Route. A row is one token at one expert;
// the rows of the experts that lie here are sorted by expert, then by token.
struct ExpertRouting {
  TensorView ids;        // [num_tokens, num_chosen] i32, ascending in a token
  TensorView weights;    // [num_tokens, num_chosen] f32
  TensorView rows;       // [num_tokens, num_chosen] i32: the pick's row; -1 where the expert lies elsewhere
  TensorView row_token;  // [num_tokens * num_chosen] i32; what lies behind the last row is undefined
  TensorView row_start;  // [num_local + 1] i32: first row of each expert; last: the number of rows
};

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_EXPERT_OPS_H_
