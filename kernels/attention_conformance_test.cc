// StoreKv, Attend and CopyBlocks of every backend against answers in double precision, through shuffled block tables.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "kernels/conformance.h"
#include "kernels/op_cases.h"

namespace quire::kernels {
namespace {

constexpr int64_t kLayer = 1;

// A batch over one cache: tables of shuffled blocks, keys and values of every sequence, stored through the backend.
struct World {
  World(Backend* backend, const AttendCase& c, DType dtype, uint32_t seed) : shape(c) {
    layout = {dtype, 0, /*num_layers=*/2, c.num_kv_heads, c.head_dim, c.block_size};
    for (const SequenceShape& s : c.sequences) {
      max_blocks = std::max<int64_t>(max_blocks, (s.context_len + c.block_size - 1) / c.block_size);
      query_start.push_back(query_start.back() + s.num_queries);
      context_len.push_back(s.context_len);
    }
    layout.num_blocks = max_blocks * static_cast<int64_t>(c.sequences.size()) + 2;
    tables.resize(layout.num_blocks);
    std::iota(tables.begin(), tables.end(), 0);
    std::shuffle(tables.begin(), tables.end(), std::mt19937(seed));
    tables.resize(max_blocks * c.sequences.size());
    memory = backend->Allocate(layout.num_blocks * layout.block_bytes()).value();
    // What an earlier owner left: a read past the context shows as NaN.
    std::memset(memory->data(), 0xff, memory->size_bytes());
    cache = {memory->data(), layout};
    for (size_t s = 0; s < c.sequences.size(); ++s) Store(backend, s, seed);
  }

  void Store(Backend* backend, size_t s, uint32_t seed) {
    const int64_t n = context_len[s];
    k.emplace_back(DType::kF32, std::vector<int64_t>{n, layout.num_kv_heads, layout.head_dim});
    v.emplace_back(DType::kF32, std::vector<int64_t>{n, layout.num_kv_heads, layout.head_dim}, 8);
    k.back().Randomize(seed + 10 * s + 1);
    v.back().Randomize(seed + 10 * s + 2);
    std::vector<int64_t> slots(n);
    for (int64_t j = 0; j < n; ++j) slots[j] = Slot(s, j);
    backend->StoreKv(k.back().view(), v.back().view(), slots, kLayer, cache);
  }

  int64_t Slot(size_t s, int64_t j) const {
    return tables[s * max_blocks + j / layout.block_size] * layout.block_size + j % layout.block_size;
  }
  AttendBatch Batch() const { return {query_start, context_len, tables, max_blocks}; }
  float Rounded(float value) const {
    return Dispatch(layout.dtype, [value](auto e) { return Widen(Narrow<decltype(e)>(value)); });
  }

  AttendCase shape;
  KvCacheLayout layout;
  int64_t max_blocks = 1;
  std::vector<int32_t> query_start = {0};
  std::vector<int32_t> context_len;
  std::vector<int32_t> tables;
  std::unique_ptr<Buffer> memory;
  KvCacheView cache;
  std::vector<Guarded> k;
  std::vector<Guarded> v;
};

AttentionParams ParamsOf(const AttendVariant& variant, float scale, absl::Span<const float> slopes) {
  AttentionParams params;
  params.scale = scale;
  params.window = variant.window;
  params.softcap = variant.softcap;
  if (variant.alibi) params.alibi_slopes = slopes;
  params.alibi_in_bf16 = variant.alibi_in_bf16;
  return params;
}

float ToBf16(float value) { return Widen(Narrow<BFloat16>(value)); }

double ExactScore(double dot, const AttentionParams& params, int64_t head, int64_t position, int64_t key) {
  double score = dot * params.scale;
  if (params.softcap > 0.0f) score = params.softcap * std::tanh(score / params.softcap);
  if (params.alibi_slopes.empty()) return score;
  const float slope = params.alibi_slopes[head];
  if (!params.alibi_in_bf16) return score + double{slope} * static_cast<double>(key - position);
  const auto rounded = [&](int64_t n) { return ToBf16(ToBf16(slope) * ToBf16(static_cast<float>(n))); };
  return score + double{params.scale} * (double{rounded(key)} - rounded(position));
}

// The exact answer of one query of one head at `position` of sequence s.
std::vector<double> ExactAttention(const World& w, const Guarded& q, int64_t row, int64_t head, size_t s,
                                   int64_t position, const AttentionParams& params) {
  const int64_t dim = w.layout.head_dim;
  const int64_t kv = head / (w.shape.num_heads / w.layout.num_kv_heads);
  const int64_t first = params.window == 0 ? 0 : std::max<int64_t>(0, position - params.window + 1);
  std::vector<double> p(position + 1);
  double max = -1e300;
  for (int64_t j = first; j <= position; ++j) {
    double dot = 0.0;
    for (int64_t d = 0; d < dim; ++d) dot += q.at(row, head * dim + d) * double{w.Rounded(w.k[s].at(j, kv * dim + d))};
    max = std::max(max, p[j] = ExactScore(dot, params, head, position, j));
  }
  double sum = 0.0;
  std::vector<double> out(dim, 0.0);
  for (int64_t j = first; j <= position; ++j) {
    sum += (p[j] = std::exp(p[j] - max));
    for (int64_t d = 0; d < dim; ++d) out[d] += p[j] * w.Rounded(w.v[s].at(j, kv * dim + d));
  }
  for (double& value : out) value /= sum;
  return out;
}

using AttentionConformance = ExactConformanceTest;

// Slopes as models have them, some of them not of bfloat16.
std::vector<float> Slopes(int64_t num_heads) {
  std::vector<float> slopes(num_heads);
  for (int64_t h = 0; h < num_heads; ++h) slopes[h] = std::exp2(-0.7f * static_cast<float>(h + 1));
  return slopes;
}

void ExpectExact(const World& w, const Guarded& q, const Guarded& out, const AttentionParams& params,
                 const std::string& where) {
  for (size_t s = 0; s < w.shape.sequences.size(); ++s) {
    for (int32_t i = 0; i < w.shape.sequences[s].num_queries; ++i) {
      const int64_t row = w.query_start[s] + i;
      const int64_t position = w.context_len[s] - w.shape.sequences[s].num_queries + i;
      for (int64_t head = 0; head < w.shape.num_heads; ++head) {
        const std::vector<double> expected = ExactAttention(w, q, row, head, s, position, params);
        for (int64_t d = 0; d < w.layout.head_dim; ++d) {
          ExpectClose(expected[d], out.at(row, head * w.layout.head_dim + d), 3e-6,
                      absl::StrCat(where, " seq ", s, " query ", i, " head ", head, " d ", d));
        }
      }
    }
  }
}

TEST_P(AttentionConformance, Attend) {
  uint32_t seed = 0;
  for (const AttendVariant& variant : kAttendVariants) {
    for (DType dtype : kStoredTypes) {
      if (&variant != kAttendVariants && dtype != kStoredTypes[(&variant - kAttendVariants) % 3])
        continue;  // types in turn, to save time
      for (const AttendCase& c : AttendCases()) {
        World w(backend_.get(), c, dtype, ++seed);
        Guarded q(DType::kF32, {w.query_start.back(), c.num_heads, c.head_dim});
        Guarded out(DType::kF32, {w.query_start.back(), c.num_heads, c.head_dim}, 3);
        q.Randomize(seed);
        const std::vector<float> slopes = Slopes(c.num_heads);
        const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
        const AttentionParams params = ParamsOf(variant, scale, slopes);
        backend_->Attend(q.view(), w.Batch(), params, kLayer, w.cache, out.view());
        ExpectExact(w, q, out, params,
                    absl::StrCat(variant.name, " ", DTypeName(dtype), " heads ", c.num_heads, " dim ", c.head_dim));
        out.ExpectGuardsIntact();
      }
    }
  }
}

// The query's bits, chunk queries at a time, as rows [0, 600) of the result. With `freed` each call finds the blocks that
// its window has left gone: -1 in the table.
Guarded InChunks(Backend* backend, const World& w, const Guarded& q, const AttentionParams& params, int32_t chunk,
                 bool freed) {
  Guarded alone(DType::kF32, {601, 3, 32});
  std::vector<int32_t> table(w.tables.begin(), w.tables.begin() + w.max_blocks);
  for (int32_t begin = 0; begin < 600; begin += chunk) {
    const int32_t count = std::min(chunk, 600 - begin);
    for (int64_t b = 0; freed && b < FirstVisibleKey(params, begin) / w.layout.block_size; ++b) table[b] = -1;
    const std::vector<int32_t> start = {0, count};
    const std::vector<int32_t> context = {begin + count};
    backend->Attend(SliceRows(q.view(), begin, count), {start, context, table, w.max_blocks}, params, kLayer, w.cache,
                    SliceRows(alone.view(), begin, count));
  }
  return alone;
}

// B2: prefill at once, in chunks and token by token gives the same bits; so does a sequence alone and among others.
TEST_P(AttentionConformance, BitsDoNotDependOnChunkingOrNeighbours) {
  const AttendCase c = {3, 1, 32, 16, {{600, 600}, {1, 40}}};
  const std::vector<float> slopes = Slopes(3);
  for (const AttendVariant& variant : kAttendVariants) {
    const AttentionParams params = ParamsOf(variant, 0.125f, slopes);
    for (DType dtype : kStoredTypes) {
      if (&variant != kAttendVariants && dtype == DType::kF16) continue;  // to save time
      World w(backend_.get(), c, dtype, 5);
      Guarded q(DType::kF32, {601, 3, 32});
      Guarded together(DType::kF32, {601, 3, 32});
      q.Randomize(6);
      backend_->Attend(q.view(), w.Batch(), params, kLayer, w.cache, together.view());
      for (int32_t chunk : {1, 7, 64, 256, 600}) {
        const Guarded alone = InChunks(backend_.get(), w, q, params, chunk, /*freed=*/false);
        for (int64_t t = 0; t < 600; ++t) {
          ASSERT_EQ(alone.row_bytes(t), together.row_bytes(t))
              << variant.name << " " << DTypeName(dtype) << " chunk " << chunk << " row " << t;
        }
      }
    }
  }
}

// What a window has left behind may be gone: its entries of the table, and its blocks may be another sequence's.
TEST_P(AttentionConformance, BlocksBehindTheWindowAreNotRead) {
  const AttendCase c = {3, 1, 32, 16, {{600, 600}}};
  const std::vector<float> slopes = Slopes(3);
  for (const AttendVariant& variant : kAttendVariants) {
    if (variant.window == 0) continue;
    const AttentionParams params = ParamsOf(variant, 0.125f, slopes);
    World w(backend_.get(), c, DType::kF32, 7);
    Guarded q(DType::kF32, {601, 3, 32});
    q.Randomize(8);
    const Guarded whole = InChunks(backend_.get(), w, q, params, 600, /*freed=*/false);
    for (int32_t chunk : {1, 7, 64}) {
      const Guarded freed = InChunks(backend_.get(), w, q, params, chunk, /*freed=*/true);
      for (int64_t t = 0; t < 600; ++t) {
        ASSERT_EQ(freed.row_bytes(t), whole.row_bytes(t)) << variant.name << " chunk " << chunk << " row " << t;
      }
    }
    // The last query alone, all that it does not see overwritten with NaN.
    const int64_t first_block = FirstVisibleKey(params, 599) / c.block_size;
    for (int64_t b = 0; b < first_block; ++b) {
      std::memset(static_cast<char*>(w.memory->data()) + w.tables[b] * w.layout.block_bytes(), 0xff,
                  w.layout.block_bytes());
    }
    Guarded last(DType::kF32, {1, 3, 32});
    const std::vector<int32_t> start = {0, 1}, context = {600};
    backend_->Attend(SliceRows(q.view(), 599, 1), {start, context, w.tables, w.max_blocks}, params, kLayer, w.cache,
                     last.view());
    EXPECT_EQ(last.row_bytes(0), whole.row_bytes(599)) << variant.name;
  }
}

TEST_P(AttentionConformance, StoreSkipsAndLeavesOtherSlotsAlone) {
  const AttendCase c = {2, 2, 16, 16, {{1, 20}}};
  World w(backend_.get(), c, DType::kBF16, 9);
  const std::string before(static_cast<char*>(w.memory->data()), w.memory->size_bytes());
  Guarded k(DType::kF32, {3, 2, 16});
  k.Randomize(1);
  backend_->StoreKv(k.view(), k.view(), {-1, -1, -1}, kLayer, w.cache);
  EXPECT_TRUE(before == std::string(static_cast<char*>(w.memory->data()), w.memory->size_bytes()));
  backend_->StoreKv(SliceRows(k.view(), 0, 2), SliceRows(k.view(), 0, 2), {-1, w.Slot(0, 19)}, kLayer, w.cache);
  const std::string after(static_cast<char*>(w.memory->data()), w.memory->size_bytes());
  int64_t changed = 0;
  for (size_t i = 0; i < after.size(); i += 2) changed += after.compare(i, 2, before, i, 2) != 0;
  EXPECT_GT(changed, 0);
  EXPECT_LE(changed, 2 * 2 * 16);  // keys and values of one token in two heads
}

TEST_P(AttentionConformance, CopyBlocksInOrder) {
  World w(backend_.get(), {1, 1, 16, 16, {{1, 64}}}, DType::kF16, 3);
  const int64_t bytes = w.layout.block_bytes();
  char* base = static_cast<char*>(w.memory->data());
  for (int64_t b = 0; b < w.layout.num_blocks; ++b) std::memset(base + b * bytes, static_cast<int>(b), bytes);
  const std::vector<std::pair<int32_t, int32_t>> copies = {{0, 1}, {1, 2}, {3, 0}};
  backend_->CopyBlocks(copies, w.cache);
  const int expected[] = {3, 0, 0, 3, 4};
  for (int64_t b = 0; b < 5; ++b) {
    EXPECT_EQ(base[b * bytes], expected[b]);
    EXPECT_EQ(base[(b + 1) * bytes - 1], expected[b]);
  }
}

TEST_P(AttentionConformance, BlocksGoOutAndComeBackElsewhere) {
  World w(backend_.get(), {1, 1, 16, 16, {{1, 64}}}, DType::kF16, 3);
  const int64_t bytes = w.layout.block_bytes();
  char* base = static_cast<char*>(w.memory->data());
  const auto host = backend_->AllocateHostMemory(2 * bytes).value();
  EXPECT_EQ(static_cast<const char*>(host->data())[2 * bytes - 1], 0);
  for (int64_t b = 0; b < w.layout.num_blocks; ++b) std::memset(base + b * bytes, static_cast<int>(b) + 1, bytes);
  backend_->SwapOut({{1, 0}, {2, 1}}, w.cache, *host);
  backend_->CopyBlocks({{0, 1}, {3, 2}}, w.cache);  // the blocks are others' now
  backend_->SwapIn({{1, 0}, {0, 4}}, w.cache, *host);
  ASSERT_TRUE(backend_->Synchronize().ok());
  const int expected[] = {3, 1, 4, 4, 2};
  for (int64_t b = 0; b < 5; ++b) {
    EXPECT_EQ(base[b * bytes], expected[b]) << b;
    EXPECT_EQ(base[(b + 1) * bytes - 1], expected[b]) << b;
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, AttentionConformance, testing::ValuesIn(BackendsUnderTest()), BackendLabel);

}  // namespace
}  // namespace quire::kernels
