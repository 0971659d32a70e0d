#include "kernels/cpu/matmul_kernels.h"

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul_kernels.cc"
#include "hwy/foreach_target.h"
// clang-format off: foreach_target.h must come before highway.h
#include "hwy/cache_control.h"
#include "kernels/cpu/vector-inl.h"
// clang-format on

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace quire::kernels::cpu::HWY_NAMESPACE {
namespace {  // other files of kernels have functions of these names

// Panels of a register tile of `rows` rows: accumulators, one k step of weights and one broadcast must fit the
// registers (32 where 16 floats are one register, else 16).
constexpr int TilePanels(int rows) { return kParts == 1 ? 4 : kParts == 2 && rows <= 2 ? 2 : 1; }

// How far ahead of its loads a stream is prefetched, in bytes.
constexpr int64_t kPrefetchBytes = 4096;

template <int kRows, int kPanels>
struct Tile {
  FloatVec acc[kRows][kPanels][kParts];

  HWY_INLINE void Zero() {
#pragma GCC unroll 32
    for (int i = 0; i < kRows * kPanels * kParts; ++i) (&acc[0][0][0])[i] = hn::Zero(kFloat);
  }
};

// One step of k: acc += x[row][k] * w[panel].
template <int kRows, int kPanels, typename T>
HWY_INLINE void Step(Tile<kRows, kPanels>& tile, const float* const* HWY_RESTRICT x, int64_t k,
                     const T* const* HWY_RESTRICT w) {
  FloatVec weights[kPanels][kParts];
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 8
    for (int i = 0; i < kParts; ++i) weights[p][i] = LoadWide(w[p] + k * kPanel + i * kLanes);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const FloatVec broadcast = hn::Set(kFloat, x[r][k]);
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 8
      for (int i = 0; i < kParts; ++i) tile.acc[r][p][i] = hn::MulAdd(broadcast, weights[p][i], tile.acc[r][p][i]);
    }
  }
}

// Where a tile's results go: full panels straight into out; a panel that reaches past the last output in part.
template <int kRows, int kPanels>
HWY_INLINE void StoreTile(const Tile<kRows, kPanels>& tile, const MatMulJob& job, int64_t token, int64_t panel) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kPanels * kParts; ++i) {
      const int64_t column = panel * kPanel + i * kLanes;
      const int64_t left = job.rows - column;
      float* out = job.out + (token + r) * job.out_stride + column;
      FloatVec value = tile.acc[r][i / kParts][i % kParts];
      if (left >= kLanes) {
        if (job.bias != nullptr) value = hn::Add(value, hn::LoadU(kFloat, job.bias + column));
        hn::StoreU(value, kFloat, out);
      } else if (left > 0) {
        if (job.bias != nullptr) value = hn::Add(value, LoadWideN(job.bias + column, left));
        StoreN(value, out, left);
      }
    }
  }
}

// Few rows: the whole of k in registers, straight from the stored weights, several panels streamed at once.
template <typename T, int kRows, int kPanels>
HWY_NOINLINE void Direct(const MatMulJob& job, int64_t token, int64_t panel, int64_t next_panel) {
  const T* base = static_cast<const T*>(job.panels);
  const T* w[kPanels];
  const T* next[kPanels];
  const float* x[kRows];
  for (int p = 0; p < kPanels; ++p) {
    w[p] = base + (panel + p) * job.cols * kPanel;
    next[p] = base + (next_panel + p) * job.cols * kPanel;
  }
  for (int r = 0; r < kRows; ++r) x[r] = job.x + (token + r) * job.x_stride;
  constexpr int64_t kStepBytes = kPanel * static_cast<int64_t>(sizeof(T));
  constexpr int64_t kAhead = kPrefetchBytes / kStepBytes;
  constexpr int64_t kLineSteps = HWY_MAX(1, 64 / kStepBytes);  // k steps in a cache line
  Tile<kRows, kPanels> tile;
  tile.Zero();
  int64_t k = 0;
  for (; k + kLineSteps <= job.cols; k += kLineSteps) {
    // The last steps of a stream fetch the first lines of the streams that come next.
    const bool own = k + kAhead < job.cols;
    const int64_t ahead = own ? k + kAhead : k + kAhead - job.cols;
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) hwy::Prefetch((own ? w[p] : next[p]) + ahead * kPanel);
#pragma GCC unroll 8
    for (int s = 0; s < kLineSteps; ++s) Step(tile, x, k + s, w);
  }
  for (; k < job.cols; ++k) Step(tile, x, k, w);
  StoreTile(tile, job, token, panel);
}

template <typename T, int kRows>
void DirectPanels(const MatMulJob& job, int64_t token, Range panels) {
  constexpr int kMax = TilePanels(kRows);
  const int64_t groups = (panels.size() + kMax - 1) / kMax;
  for (int64_t g = 0; g < groups; ++g) {
    const Range group = SplitRange(panels.size(), groups, g);
    const int64_t panel = panels.begin + group.begin;
    // Prefetching past the last panel of the share must stay inside the weight: start over at this group.
    const int64_t next = g + 1 < groups && panel + group.size() + kMax <= panels.end ? panel + group.size() : panel;
    switch (group.size()) {
      case 1:
        Direct<T, kRows, 1>(job, token, panel, next);
        break;
      case 2:
        Direct<T, kRows, HWY_MIN(2, kMax)>(job, token, panel, next);
        break;
      case 3:
        Direct<T, kRows, HWY_MIN(3, kMax)>(job, token, panel, next);
        break;
      default:
        Direct<T, kRows, HWY_MIN(4, kMax)>(job, token, panel, next);
    }
  }
}

template <typename T>
void DirectRows(const MatMulJob& job, Range tokens, Range panels) {
  switch (tokens.size()) {
    case 1:
      return DirectPanels<T, 1>(job, tokens.begin, panels);
    case 2:
      return DirectPanels<T, 2>(job, tokens.begin, panels);
    case 3:
      return DirectPanels<T, 3>(job, tokens.begin, panels);
    case 4:
      return DirectPanels<T, 4>(job, tokens.begin, panels);
    case 5:
      return DirectPanels<T, 5>(job, tokens.begin, panels);
    default:
      return DirectPanels<T, 6>(job, tokens.begin, panels);
  }
}

// A block of k for a group of panels, against all rows.
struct Block {
  const float* x = nullptr;  // packed [rows][kBlockK]
  const float* w = nullptr;  // widened [steps][panels * kPanel]
  int64_t steps = 0;
  int64_t num_rows = 0;
  float* out = nullptr;  // sums so far
  int64_t out_stride = 0;
  bool first = false;              // start from 0
  const float* bias = nullptr;     // added by the last block
  const char* prefetch = nullptr;  // the block's bytes that come next, kBlockK steps of each panel
  int64_t prefetch_stride = 0;     // bytes between panels
  int64_t prefetch_step = 0;       // bytes of a k step
};

template <int kRows, int kPanels, bool kPrefetch>
HWY_NOINLINE void BlockTile(const Block& b, int64_t row) {
  constexpr int kVectors = kPanels * kParts;
  Tile<kRows, kPanels> tile;
  float* out = b.out + row * b.out_stride;
  if (b.first) {
    tile.Zero();
  } else {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) {
        tile.acc[r][i / kParts][i % kParts] = hn::LoadU(kFloat, out + r * b.out_stride + i * kLanes);
      }
    }
  }
  // The next tile's sums: rows of `out` may lie a power of two apart, where no cache keeps them.
  for (int r = 0; !b.first && r < kRows && row + kRows + r < b.num_rows; ++r) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) hwy::Prefetch(out + (kRows + r) * b.out_stride + p * kPanel);
  }
  const float* HWY_RESTRICT x = b.x + row * kBlockK;
  const float* HWY_RESTRICT w = b.w;
  const int64_t steps = b.steps;
  for (int64_t k = 0; k < steps; ++k) {
    if (kPrefetch) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) hwy::Prefetch(b.prefetch + p * b.prefetch_stride + k * b.prefetch_step);
    }
    FloatVec weights[kVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) weights[i] = hn::Load(kFloat, w + k * kPanels * kPanel + i * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const FloatVec broadcast = hn::Set(kFloat, x[r * kBlockK + k]);
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) {
        tile.acc[r][i / kParts][i % kParts] = hn::MulAdd(broadcast, weights[i], tile.acc[r][i / kParts][i % kParts]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      FloatVec value = tile.acc[r][i / kParts][i % kParts];
      if (b.bias != nullptr) value = hn::Add(value, hn::LoadU(kFloat, b.bias + i * kLanes));
      hn::StoreU(value, kFloat, out + r * b.out_stride + i * kLanes);
    }
  }
}

template <int kRows, int kPanels>
void BlockTileMaybePrefetch(const Block& b, int64_t row) {
  if (row == 0 && b.prefetch != nullptr) return BlockTile<kRows, kPanels, true>(b, row);
  BlockTile<kRows, kPanels, false>(b, row);
}

template <int kPanels>
void BlockRows(const Block& b, int64_t num_rows) {
  const int64_t tiles = (num_rows + kTileRowsMax - 1) / kTileRowsMax;
  for (int64_t t = 0; t < tiles; ++t) {
    const Range rows = SplitRange(num_rows, tiles, t);
    switch (rows.size()) {
      case 1:
        BlockTileMaybePrefetch<1, kPanels>(b, rows.begin);
        break;
      case 2:
        BlockTileMaybePrefetch<2, kPanels>(b, rows.begin);
        break;
      case 3:
        BlockTileMaybePrefetch<3, kPanels>(b, rows.begin);
        break;
      case 4:
        BlockTileMaybePrefetch<4, kPanels>(b, rows.begin);
        break;
      case 5:
        BlockTileMaybePrefetch<5, kPanels>(b, rows.begin);
        break;
      default:
        BlockTileMaybePrefetch<6, kPanels>(b, rows.begin);
    }
  }
}

template <typename T, int kPanels>
HWY_INLINE void WidenBlock(const T* panel, int64_t panel_stride, int64_t steps, float* HWY_RESTRICT to) {
  for (int64_t k = 0; k < steps; ++k) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 8
      for (int i = 0; i < kParts; ++i) {
        hn::Store(LoadWide(panel + p * panel_stride + k * kPanel + i * kLanes), kFloat,
                  to + (k * kPanels + p) * kPanel + i * kLanes);
      }
    }
  }
}

template <typename T, int kPanels>
void WidenAndBlock(const T* w, int64_t panel_stride, float* widened, Block* b, int64_t num_rows) {
  WidenBlock<T, kPanels>(w, panel_stride, b->steps, widened);
  b->w = widened;
  b->num_rows = num_rows;
  BlockRows<kPanels>(*b, num_rows);
}

// Widens one block of a group of panels and multiplies all rows with it. Requires: 1 <= num_panels <=
// TilePanels(kTileRowsMax).
template <typename T>
void WidenAndMultiply(const T* w, int64_t num_panels, int64_t panel_stride, float* widened, Block* b,
                      int64_t num_rows) {
  constexpr int kMax = TilePanels(kTileRowsMax);
  switch (num_panels) {
    case 1:
      return WidenAndBlock<T, 1>(w, panel_stride, widened, b, num_rows);
    case 2:
      return WidenAndBlock<T, HWY_MIN(2, kMax)>(w, panel_stride, widened, b, num_rows);
    case 3:
      return WidenAndBlock<T, HWY_MIN(3, kMax)>(w, panel_stride, widened, b, num_rows);
    default:
      return WidenAndBlock<T, HWY_MIN(4, kMax)>(w, panel_stride, widened, b, num_rows);
  }
}

HWY_INLINE void PackRows(const MatMulJob& job, Range tokens, int64_t k, int64_t steps, float* HWY_RESTRICT to) {
  for (int64_t t = tokens.begin; t < tokens.end; ++t, to += kBlockK) {
    std::copy_n(job.x + t * job.x_stride + k, steps, to);
  }
}

// Adds the bias and copies sums [tokens][columns of the group] to out, without what lies past the last output.
HWY_INLINE void WriteGroup(const MatMulJob& job, Range tokens, int64_t panel, int64_t num_panels, const float* sums) {
  const int64_t column = panel * kPanel;
  const int64_t count = std::min(num_panels * kPanel, job.rows - column);
  for (int64_t t = tokens.begin; t < tokens.end; ++t, sums += num_panels * kPanel) {
    float* out = job.out + t * job.out_stride + column;
    if (job.bias == nullptr) {
      std::copy_n(sums, count, out);
    } else {
      for (int64_t i = 0; i < count; ++i) out[i] = sums[i] + job.bias[column + i];
    }
  }
}

// Some rows (a batch of decodes): group by group of panels, each read straight through; x is packed once and stays in
// the second-level cache, sums in the first.
template <typename T>
void GroupByGroup(const MatMulJob& job, Range tokens, Range panels, float* scratch) {
  constexpr int64_t kMax = TilePanels(kTileRowsMax);
  float* widened = scratch;
  float* sums = widened + kBlockK * kTilePanelsMax * kPanel;
  float* packed_x = sums + tokens.size() * kTilePanelsMax * kPanel;
  const int64_t block_floats = tokens.size() * kBlockK;
  for (int64_t k = 0; k < job.cols; k += kBlockK) {
    PackRows(job, tokens, k, std::min(kBlockK, job.cols - k), packed_x + k / kBlockK * block_floats);
  }
  const int64_t panel_stride = job.cols * kPanel;
  const T* base = static_cast<const T*>(job.panels);
  const int64_t groups = (panels.size() + kMax - 1) / kMax;
  for (int64_t g = 0; g < groups; ++g) {
    const Range group = SplitRange(panels.size(), groups, g);
    const int64_t panel = panels.begin + group.begin;
    const bool more = panel + 2 * group.size() <= panels.end;
    Block b;
    b.out = sums;
    b.out_stride = group.size() * kPanel;
    b.prefetch_stride = panel_stride * static_cast<int64_t>(sizeof(T));
    b.prefetch_step = kPanel * static_cast<int64_t>(sizeof(T));
    for (int64_t k = 0; k < job.cols; k += kBlockK) {
      const T* w = base + panel * panel_stride + k * kPanel;
      b.x = packed_x + k / kBlockK * block_floats;
      b.steps = std::min(kBlockK, job.cols - k);
      b.first = k == 0;
      // Next in time: the next k of these panels; after the last, the first k of the next group.
      const T* next = k + b.steps < job.cols ? w + b.steps * kPanel
                      : more                 ? base + (panel + group.size()) * panel_stride
                                             : nullptr;
      b.prefetch = reinterpret_cast<const char*>(next);
      WidenAndMultiply(w, group.size(), panel_stride, widened, &b, tokens.size());
    }
    WriteGroup(job, tokens, panel, group.size(), sums);
  }
}

// Many rows (a prefill): block by block of k, whose part of x stays in the second-level cache for all panels; sums wait
// in `out` between blocks, and in scratch for the panel that reaches past the last output.
template <typename T>
void BlockByBlock(const MatMulJob& job, Range tokens, Range panels, float* scratch) {
  constexpr int64_t kMax = TilePanels(kTileRowsMax);
  float* widened = scratch;
  float* edge_sums = widened + kBlockK * kTilePanelsMax * kPanel;
  float* packed_x = edge_sums + tokens.size() * kPanel;
  const int64_t full_panels = job.rows / kPanel;
  const int64_t inner = std::min(panels.end, full_panels) - panels.begin;
  const int64_t groups = (inner + kMax - 1) / kMax;
  const int64_t edge = panels.end > full_panels ? 1 : 0;
  const int64_t panel_stride = job.cols * kPanel;
  const T* base = static_cast<const T*>(job.panels);
  for (int64_t k = 0; k < job.cols; k += kBlockK) {
    Block b;
    b.x = packed_x;
    b.steps = std::min(kBlockK, job.cols - k);
    b.first = k == 0;
    b.prefetch_stride = panel_stride * static_cast<int64_t>(sizeof(T));
    b.prefetch_step = kPanel * static_cast<int64_t>(sizeof(T));
    const bool last = k + b.steps == job.cols;
    PackRows(job, tokens, k, b.steps, packed_x);
    for (int64_t g = 0; g < groups + edge; ++g) {
      const bool at_edge = g == groups;
      const Range group = at_edge ? Range{inner, inner + 1} : SplitRange(inner, groups, g);
      const int64_t panel = panels.begin + group.begin;
      const T* w = base + panel * panel_stride + k * kPanel;
      b.out = at_edge ? edge_sums : job.out + tokens.begin * job.out_stride + panel * kPanel;
      b.out_stride = at_edge ? kPanel : job.out_stride;
      b.bias = last && !at_edge && job.bias != nullptr ? job.bias + panel * kPanel : nullptr;
      // Next in time: the next group at this k; after the last group, the first one at the next k.
      const T* next = panel + 2 * group.size() <= panels.end ? w + group.size() * panel_stride
                      : last                                 ? nullptr
                             : base + panels.begin * panel_stride + (k + b.steps) * kPanel;
      b.prefetch = reinterpret_cast<const char*>(next);
      WidenAndMultiply(w, group.size(), panel_stride, widened, &b, tokens.size());
    }
  }
  if (edge != 0) WriteGroup(job, tokens, full_panels, 1, edge_sums);
}

template <typename T>
void MatMulOf(const MatMulJob& job, Range tokens, Range panels, float* scratch) {
  if (tokens.size() <= kTileRowsMax) return DirectRows<T>(job, tokens, panels);
  if (tokens.size() <= kGroupRowsMax) return GroupByGroup<T>(job, tokens, panels, scratch);
  BlockByBlock<T>(job, tokens, panels, scratch);
}

void MatMul(const MatMulJob& job, Range tokens, Range panels, float* scratch) {
  switch (job.dtype) {
    case DType::kF16:
      return MatMulOf<Float16>(job, tokens, panels, scratch);
    case DType::kBF16:
      return MatMulOf<BFloat16>(job, tokens, panels, scratch);
    default:
      return MatMulOf<float>(job, tokens, panels, scratch);
  }
}

}  // namespace
}  // namespace quire::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quire::kernels::cpu {

MatMulFunction MatMulFor(int64_t target) {
  switch (target) {
#if HWY_TARGETS & HWY_AVX3
    case HWY_AVX3:
      return N_AVX3::MatMul;
#endif
#if HWY_TARGETS & HWY_AVX2
    case HWY_AVX2:
      return N_AVX2::MatMul;
#endif
    default:
      return HWY_STATIC_DISPATCH(MatMul);
  }
}

}  // namespace quire::kernels::cpu
#endif  // HWY_ONCE
