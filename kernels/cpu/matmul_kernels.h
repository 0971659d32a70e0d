// out = x * W^T + bias over packed weights. Called by FastBackend on every thread with that thread's share.
//
// Layout of a packed weight [N, K]: panels of kPanel outputs, [ceil(N / 16)][K][16] in the stored type, zero padded.
// Invariants:
//   M1  An output element is one chain of fused multiply-adds in ascending k from 0, then + bias: its bits depend on
//   its own x row
//       and weight row only. The vector runs over outputs, never over k.
//   M2  A call reads each of its weights from memory once.
#ifndef QUIRE_KERNELS_CPU_MATMUL_KERNELS_H_
#define QUIRE_KERNELS_CPU_MATMUL_KERNELS_H_

#include <cstdint>

#include "kernels/cpu/thread_pool.h"
#include "kernels/tensor_view.h"

namespace quire::kernels::cpu {

inline constexpr int64_t kPanel = 16;
inline constexpr int64_t kBlockK = 128;       // k steps whose widened panels stay in the first-level cache
inline constexpr int64_t kTilePanelsMax = 4;  // panels that a register tile spans
inline constexpr int64_t kGroupRowsMax = 64;  // rows up to which x is packed whole
inline constexpr int64_t kTileRowsMax = 6;    // rows that a register tile spans

struct MatMulJob {
  const float* x = nullptr;  // [num_tokens, cols]
  int64_t x_stride = 0;
  int64_t num_tokens = 0;
  const void* panels = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  const float* bias = nullptr;  // null = none
  float* out = nullptr;         // [num_tokens, rows]
  int64_t out_stride = 0;
};

// Floats of scratch that a call with this many tokens needs, 64-byte aligned.
inline int64_t MatMulScratchFloats(int64_t num_tokens, int64_t cols) {
  const int64_t blocks = num_tokens <= kGroupRowsMax ? (cols + kBlockK - 1) / kBlockK : 1;
  return kBlockK * kTilePanelsMax * kPanel + num_tokens * (blocks * kBlockK + kTilePanelsMax * kPanel);
}

// Computes the outputs of panels [panels.begin, panels.end) for tokens [tokens.begin, tokens.end).
using MatMulFunction = void (*)(const MatMulJob& job, Range tokens, Range panels, float* scratch);

// The function for a Highway target. Requires: compiled in, and the machine has it.
MatMulFunction MatMulFor(int64_t target);

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_MATMUL_KERNELS_H_
