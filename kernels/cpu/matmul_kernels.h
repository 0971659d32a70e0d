// out = x * W^T + bias over packed weights. Called by FastBackend on every thread with that thread's share.
//
// Layout of a packed weight [N, K]: panels of kPanel outputs in the stored type, zero padded, in groups of G panels that
// lie interleaved: a group is [K][G * 16], one contiguous stream; the last group has the panels that are left, so there
// are ceil(N / 16) * 16 * K elements whatever G is. G is a constant of the target (MatMulKernel::group_panels).
// Invariants:
//   M1  An output element is one chain of fused multiply-adds in ascending k from 0, then + bias: its bits depend on
//   its own x row
//       and weight row only. The vector runs over outputs, never over k.
//   M2  A call reads each of its weights from memory once.
#ifndef QUIRE_KERNELS_CPU_MATMUL_KERNELS_H_
#define QUIRE_KERNELS_CPU_MATMUL_KERNELS_H_

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/thread_pool.h"
#include "kernels/tensor_view.h"

namespace quire::kernels::cpu {

inline constexpr int64_t kPanel = 16;
inline constexpr int64_t kBlockK = 128;       // k steps whose widened panels stay in the first-level cache
inline constexpr int64_t kTilePanelsMax = 4;  // panels that a register tile spans
inline constexpr int64_t kGroupRowsMax = 64;  // rows up to which x is packed whole
inline constexpr int64_t kTileRowsMax = 6;    // rows that a register tile spans

inline int64_t NumPanels(int64_t rows) { return (rows + kPanel - 1) / kPanel; }

// Panels of the group that has `panel`.
inline int64_t GroupSize(int64_t panel, int64_t num_panels, int64_t group_panels) {
  return std::min(group_panels, num_panels - panel / group_panels * group_panels);
}

// Where a panel's first element lies; its next k is GroupSize * kPanel further on.
inline int64_t PanelOffset(int64_t panel, int64_t cols, int64_t group_panels) {
  const int64_t in_group = panel % group_panels;
  return (panel - in_group) * cols * kPanel + in_group * kPanel;
}

struct MatMulJob {
  const float* x = nullptr;  // [num_tokens, cols], or x_rows picks them
  int64_t x_stride = 0;
  int64_t num_tokens = 0;
  const void* panels = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  const float* bias = nullptr;  // null = none
  float* out = nullptr;         // [num_tokens, rows]
  int64_t out_stride = 0;
  const int32_t* x_rows = nullptr;  // row of x that a token reads; null: its own

  const float* XRow(int64_t token) const { return x + (x_rows == nullptr ? token : x_rows[token]) * x_stride; }
};

// Floats of scratch that a call with this many tokens needs, 64-byte aligned.
inline int64_t MatMulScratchFloats(int64_t num_tokens, int64_t cols) {
  const int64_t blocks = num_tokens <= kGroupRowsMax ? (cols + kBlockK - 1) / kBlockK : 1;
  return kBlockK * kTilePanelsMax * kPanel + num_tokens * (blocks * kBlockK + kTilePanelsMax * kPanel);
}

// Computes the outputs of panels [panels.begin, panels.end) for tokens [tokens.begin, tokens.end).
using MatMulFunction = void (*)(const MatMulJob& job, Range tokens, Range panels, float* scratch);

struct MatMulKernel {
  MatMulFunction run = nullptr;
  int64_t group_panels = 1;  // of the layout it reads
};

// The kernel for a Highway target. Requires: compiled in, and the machine has it.
MatMulKernel MatMulFor(int64_t target);

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_MATMUL_KERNELS_H_
