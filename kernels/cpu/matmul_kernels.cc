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

// Panels of a group of the layout, which one stream carries: what a register tile of any height spans where 16 floats
// are one register. Narrower vectors hold fewer panels, and a stream with gaps would be slower.
constexpr int kGroupPanels = kParts == 1 ? 4 : 1;

// Panels of a register tile of `rows` rows: accumulators, one k step of weights and one broadcast must fit the
// registers (32 where 16 floats are one register, else 16).
constexpr int TilePanels(int rows) { return kParts == 1 ? 4 : kParts == 2 && rows <= 2 ? 2 : 1; }
static_assert(kTilePanelsMax == 4 && (kGroupPanels == 1 || kGroupPanels == TilePanels(kTileRowsMax)));

// How far ahead of its loads a tile is prefetched, in bytes of all its streams together.
constexpr int64_t kPrefetchBytes = 8192;

// A weight's panels by the layout of matmul_kernels.h. Offsets are in elements.
struct Panels {
  explicit Panels(const MatMulJob& job) : cols(job.cols), count(NumPanels(job.rows)) {}

  // Elements from a k step of the panel to its next.
  HWY_INLINE int64_t Step(int64_t panel) const {
    return kGroupPanels == 1 ? kPanel : kPanel * GroupSize(panel, count, kGroupPanels);
  }
  // Elements from a panel to the next one of the same tile, at the same k.
  HWY_INLINE int64_t Stride() const { return kGroupPanels == 1 ? cols * kPanel : kPanel; }
  HWY_INLINE int64_t Offset(int64_t panel) const { return PanelOffset(panel, cols, kGroupPanels); }
  // The tile of at most `max_panels` that starts at begin: it ends with the range and does not leave a group that has
  // several panels.
  HWY_INLINE Range Tile(int64_t begin, int64_t end, int64_t max_panels) const {
    const int64_t group_end = kGroupPanels == 1 ? end : (begin / kGroupPanels + 1) * kGroupPanels;
    return {begin, std::min({end, group_end, begin + max_panels})};
  }

  int64_t cols;
  int64_t count;
};

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
HWY_INLINE void Step(Tile<kRows, kPanels>& tile, const float* const* HWY_RESTRICT x, int64_t k, const T* HWY_RESTRICT w,
                     int64_t stride) {
  FloatVec weights[kPanels][kParts];
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 8
    for (int i = 0; i < kParts; ++i) weights[p][i] = LoadWide(w + p * stride + i * kLanes);
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

// Few rows: the whole of k in registers, straight from the stored weights. `next` is where the stream goes on after the
// tile; kPrefetchBytes of it, or the whole of a shorter stream, must lie inside the weight.
template <typename T, int kRows, int kPanels>
HWY_NOINLINE void Direct(const MatMulJob& job, int64_t token, int64_t panel, const T* next) {
  const Panels panels(job);
  const T* w = static_cast<const T*>(job.panels) + panels.Offset(panel);
  const int64_t step = kPanels == kGroupPanels ? kPanels * kPanel : panels.Step(panel);
  const int64_t stride = panels.Stride();
  const float* x[kRows];
  for (int r = 0; r < kRows; ++r) x[r] = job.XRow(token + r);
  // Lines of a k step: of the interleaved panels together, or of each panel.
  constexpr int64_t kPanelBytes = kPanel * static_cast<int64_t>(sizeof(T));
  constexpr int64_t kLines = kGroupPanels == 1 ? kPanels : (kPanels * kPanelBytes + 63) / 64;
  constexpr int64_t kLineSteps = kGroupPanels == 1 ? HWY_MAX(1, 64 / kPanelBytes) : 2;  // k steps per prefetch
  const int64_t line_stride = kGroupPanels == 1 ? stride : 64 / static_cast<int64_t>(sizeof(T));
  constexpr int64_t kStreams = kGroupPanels == 1 ? kPanels : 1;
  const int64_t ahead = std::min(job.cols, kPrefetchBytes / (kStreams * step * static_cast<int64_t>(sizeof(T))));
  Tile<kRows, kPanels> tile;
  tile.Zero();
  int64_t k = 0;
  const T* fetch = w + ahead * step;
  for (const int64_t end : {job.cols - ahead, job.cols}) {
    for (; k + kLineSteps <= end; k += kLineSteps, w += kLineSteps * step, fetch += kLineSteps * step) {
#pragma GCC unroll 8
      for (int64_t s = 0; s < (kGroupPanels == 1 ? 1 : kLineSteps); ++s) {
#pragma GCC unroll 8
        for (int64_t l = 0; l < kLines; ++l) hwy::Prefetch(fetch + s * step + l * line_stride);
      }
#pragma GCC unroll 8
      for (int64_t s = 0; s < kLineSteps; ++s) Step(tile, x, k + s, w + s * step, stride);
    }
    fetch = next;  // the last steps fetch the first lines of what comes next
  }
  for (; k < job.cols; ++k, w += step) Step(tile, x, k, w, stride);
  StoreTile(tile, job, token, panel);
}

template <typename T, int kRows>
void DirectPanels(const MatMulJob& job, int64_t token, Range range) {
  constexpr int kMax = TilePanels(kRows);
  const Panels panels(job);
  const T* base = static_cast<const T*>(job.panels);
  for (Range tile = panels.Tile(range.begin, range.end, kMax); tile.size() > 0;) {
    const Range after = panels.Tile(tile.end, range.end, kMax);
    // The stream's last tile, and one before a narrower tile, fetch their own beginning: it lies inside the weight.
    const bool more = after.size() >= tile.size() && panels.Step(after.begin) == panels.Step(tile.begin);
    const T* next = base + panels.Offset(more ? after.begin : tile.begin);
    switch (tile.size()) {
      case 1:
        Direct<T, kRows, 1>(job, token, tile.begin, next);
        break;
      case 2:
        Direct<T, kRows, HWY_MIN(2, kMax)>(job, token, tile.begin, next);
        break;
      case 3:
        Direct<T, kRows, HWY_MIN(3, kMax)>(job, token, tile.begin, next);
        break;
      default:
        Direct<T, kRows, HWY_MIN(4, kMax)>(job, token, tile.begin, next);
    }
    tile = after;
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
  const char* prefetch = nullptr;  // the tile's bytes that come next
  int64_t prefetch_stride = 0;     // bytes between panels
  int64_t prefetch_step = 0;       // bytes of a k step
  int64_t prefetch_steps = 0;      // steps there are to fetch
  bool prefetch_far = false;       // into the second-level cache: the tile comes after many rows
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
  const char* prefetch = b.prefetch;
  for (int64_t k = 0; k < steps; ++k) {
    if (kPrefetch) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) {
        if (b.prefetch_far) {
          __builtin_prefetch(prefetch + p * b.prefetch_stride, 0, 2);
        } else {
          hwy::Prefetch(prefetch + p * b.prefetch_stride);
        }
      }
      prefetch = k + 1 < b.prefetch_steps ? prefetch + b.prefetch_step : prefetch;
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
HWY_INLINE void WidenBlock(const T* w, int64_t step, int64_t stride, int64_t steps, float* HWY_RESTRICT to) {
  for (int64_t k = 0; k < steps; ++k) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 8
      for (int i = 0; i < kParts; ++i) {
        hn::Store(LoadWide(w + k * step + p * stride + i * kLanes), kFloat,
                  to + (k * kPanels + p) * kPanel + i * kLanes);
      }
    }
  }
}

template <typename T, int kPanels>
void WidenAndBlock(const T* w, int64_t step, int64_t stride, float* widened, Block* b, int64_t num_rows) {
  WidenBlock<T, kPanels>(w, step, stride, b->steps, widened);
  b->w = widened;
  b->num_rows = num_rows;
  BlockRows<kPanels>(*b, num_rows);
}

// Widens the block of a tile of panels that starts at step k and multiplies all rows with it; `after` and `after_k` are
// the tile and the step that come next, if any. Requires: 1 <= tile.size() <= TilePanels(kTileRowsMax).
template <typename T>
void WidenAndMultiply(const MatMulJob& job, Range tile, int64_t k, Range after, int64_t after_k, float* widened,
                      Block* b, int64_t num_rows) {
  constexpr int kMax = TilePanels(kTileRowsMax);
  const Panels panels(job);
  const T* base = static_cast<const T*>(job.panels);
  const int64_t step = panels.Step(tile.begin);
  const int64_t stride = panels.Stride();
  const T* w = base + panels.Offset(tile.begin) + k * step;
  b->prefetch = nullptr;
  if (after.size() >= tile.size()) {
    const int64_t after_step = panels.Step(after.begin);
    b->prefetch = reinterpret_cast<const char*>(base + panels.Offset(after.begin) + after_k * after_step);
    b->prefetch_stride = stride * static_cast<int64_t>(sizeof(T));
    b->prefetch_step = after_step * static_cast<int64_t>(sizeof(T));
    b->prefetch_steps = std::min(kBlockK, job.cols - after_k);
  }
  switch (tile.size()) {
    case 1:
      return WidenAndBlock<T, 1>(w, step, stride, widened, b, num_rows);
    case 2:
      return WidenAndBlock<T, HWY_MIN(2, kMax)>(w, step, stride, widened, b, num_rows);
    case 3:
      return WidenAndBlock<T, HWY_MIN(3, kMax)>(w, step, stride, widened, b, num_rows);
    default:
      return WidenAndBlock<T, HWY_MIN(4, kMax)>(w, step, stride, widened, b, num_rows);
  }
}

HWY_INLINE void PackRows(const MatMulJob& job, Range tokens, int64_t k, int64_t steps, float* HWY_RESTRICT to) {
  for (int64_t t = tokens.begin; t < tokens.end; ++t, to += kBlockK) {
    std::copy_n(job.XRow(t) + k, steps, to);
  }
}

// Adds the bias and copies sums [tokens][columns of the tile] to out, without what lies past the last output.
HWY_INLINE void WriteTile(const MatMulJob& job, Range tokens, Range tile, const float* sums) {
  const int64_t column = tile.begin * kPanel;
  const int64_t count = std::min(tile.size() * kPanel, job.rows - column);
  for (int64_t t = tokens.begin; t < tokens.end; ++t, sums += tile.size() * kPanel) {
    float* out = job.out + t * job.out_stride + column;
    if (job.bias == nullptr) {
      std::copy_n(sums, count, out);
    } else {
      for (int64_t i = 0; i < count; ++i) out[i] = sums[i] + job.bias[column + i];
    }
  }
}

// Some rows (a batch of decodes): tile by tile, each read straight through; x is packed once and stays in the
// second-level cache, sums in the first.
template <typename T>
void GroupByGroup(const MatMulJob& job, Range tokens, Range range, float* scratch) {
  constexpr int64_t kMax = TilePanels(kTileRowsMax);
  const Panels panels(job);
  float* widened = scratch;
  float* sums = widened + kBlockK * kTilePanelsMax * kPanel;
  float* packed_x = sums + tokens.size() * kTilePanelsMax * kPanel;
  const int64_t block_floats = tokens.size() * kBlockK;
  for (int64_t k = 0; k < job.cols; k += kBlockK) {
    PackRows(job, tokens, k, std::min(kBlockK, job.cols - k), packed_x + k / kBlockK * block_floats);
  }
  for (Range tile = panels.Tile(range.begin, range.end, kMax); tile.size() > 0;) {
    const Range after = panels.Tile(tile.end, range.end, kMax);
    Block b;
    b.out = sums;
    b.out_stride = tile.size() * kPanel;
    for (int64_t k = 0; k < job.cols; k += kBlockK) {
      b.x = packed_x + k / kBlockK * block_floats;
      b.steps = std::min(kBlockK, job.cols - k);
      b.first = k == 0;
      // Next in time: the next k of this tile; after the last, the first k of the next tile.
      const bool last = k + b.steps == job.cols;
      WidenAndMultiply<T>(job, tile, k, last ? after : tile, last ? 0 : k + b.steps, widened, &b, tokens.size());
    }
    WriteTile(job, tokens, tile, sums);
    tile = after;
  }
}

// Many rows (a prefill): block by block of k, whose part of x stays in the second-level cache for all panels; sums wait
// in `out` between blocks, and in scratch for the panel that reaches past the last output.
template <typename T>
void BlockByBlock(const MatMulJob& job, Range tokens, Range range, float* scratch) {
  constexpr int64_t kMax = TilePanels(kTileRowsMax);
  const Panels panels(job);
  float* widened = scratch;
  float* edge_sums = widened + kBlockK * kTilePanelsMax * kPanel;
  float* packed_x = edge_sums + tokens.size() * kPanel;
  const int64_t full_panels = job.rows / kPanel;
  // A tile of full panels, or the edge panel alone.
  const auto tile_at = [&](int64_t begin) {
    return panels.Tile(begin, begin < full_panels ? std::min(range.end, full_panels) : range.end, kMax);
  };
  for (int64_t k = 0; k < job.cols; k += kBlockK) {
    Block b;
    b.x = packed_x;
    b.steps = std::min(kBlockK, job.cols - k);
    b.first = k == 0;
    b.prefetch_far = true;
    const bool last = k + b.steps == job.cols;
    PackRows(job, tokens, k, b.steps, packed_x);
    for (Range tile = tile_at(range.begin); tile.size() > 0;) {
      const bool at_edge = tile.begin == full_panels;
      b.out = at_edge ? edge_sums : job.out + tokens.begin * job.out_stride + tile.begin * kPanel;
      b.out_stride = at_edge ? kPanel : job.out_stride;
      b.bias = last && !at_edge && job.bias != nullptr ? job.bias + tile.begin * kPanel : nullptr;
      // Next in time: the next tile at this k; after the last tile, the first one at the next k.
      const Range after = tile_at(tile.end);
      if (after.size() > 0 || last) {
        WidenAndMultiply<T>(job, tile, k, after, k, widened, &b, tokens.size());
      } else {
        WidenAndMultiply<T>(job, tile, k, tile_at(range.begin), k + b.steps, widened, &b, tokens.size());
      }
      tile = after;
    }
  }
  if (range.end > full_panels) WriteTile(job, tokens, {full_panels, full_panels + 1}, edge_sums);
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

MatMulKernel Table() { return {MatMul, kGroupPanels}; }

}  // namespace
}  // namespace quire::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quire::kernels::cpu {

MatMulKernel MatMulFor(int64_t target) {
#if HWY_TARGETS & HWY_AVX3
  if (target == HWY_AVX3) return N_AVX3::Table();
#endif
#if HWY_TARGETS & HWY_AVX2
  if (target == HWY_AVX2) return N_AVX2::Table();
#endif
  return HWY_STATIC_DISPATCH(Table)();
}

}  // namespace quire::kernels::cpu
#endif  // HWY_ONCE
