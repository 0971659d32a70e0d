// The checks of B1: every public operation states its shapes here, once for all backends, and then calls the private
// virtual.
#include "kernels/backend.h"

#include <glog/logging.h>

#include "kernels/shape_checks.h"

namespace quire::kernels {
namespace {

constexpr int64_t kBlockSizeMax = 512;

void CheckCache(const KvCacheView& cache, int64_t layer) {
  const KvCacheLayout& layout = cache.layout;
  CHECK(cache.base != nullptr);
  CHECK(layout.dtype != DType::kI32) << "cache type " << DTypeName(layout.dtype);
  CHECK_GT(layout.num_kv_heads, 0);
  CHECK_GT(layout.head_dim, 0);
  CHECK(layout.block_size > 0 && layout.block_size % 16 == 0 && layout.block_size <= kBlockSizeMax)
      << "block_size " << layout.block_size << " must be a multiple of 16, at most " << kBlockSizeMax;
  CHECK_GE(layer, 0);
  CHECK_LT(layer, layout.num_layers);
}

void CheckSampleArgs(const TensorView& logits, size_t num_rows, size_t num_results) {
  CheckRows("logits", logits, DType::kF32, 2);
  CHECK_EQ(logits.dim(0), static_cast<int64_t>(num_rows)) << logits.ToString();
  CHECK_EQ(num_rows, num_results);
  CHECK(num_rows == 0 || logits.dim(1) > 0) << logits.ToString();
  CHECK_LE(logits.dim(1), int64_t{1} << 31) << logits.ToString();
}

void CheckSampleRow(const SampleRow& row) {
  CHECK(row.temperature >= 0.0f) << "temperature " << row.temperature;
  CHECK(row.top_p > 0.0f && row.top_p <= 1.0f) << "top_p " << row.top_p;
  CHECK(row.min_p >= 0.0f && row.min_p <= 1.0f) << "min_p " << row.min_p;
  CHECK_GE(row.top_k, 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Weight>> Backend::Pack(absl::Span<const TensorView> parts, DType stored) {
  CHECK(!parts.empty());
  CHECK(stored != DType::kI32) << "a weight cannot be stored as int32";
  for (const TensorView& part : parts) {
    CheckRank("part", part, 2);
    CHECK(part.dtype != DType::kI32) << "part " << part.ToString();
    CHECK_EQ(part.dim(1), parts[0].dim(1)) << "part " << part.ToString() << " beside " << parts[0].ToString();
    CHECK_GT(part.dim(0), 0) << "part " << part.ToString();
    CHECK_GT(part.dim(1), 0) << "part " << part.ToString();
  }
  return DoPack(parts, stored);
}

void Backend::Embed(const TensorView& table, int64_t first_row, absl::Span<const int32_t> ids, const TensorView& out) {
  CHECK(table.dtype != DType::kI32) << "table " << table.ToString();
  CheckRows("table", table, table.dtype, 2);
  CheckRows("out", out, activation_dtype(), 2);
  CheckDim("out", out, 0, static_cast<int64_t>(ids.size()));
  CheckDim("out", out, 1, table.dim(1));
  CHECK_GE(first_row, 0);
  if (!ids.empty()) DoEmbed(table, first_row, ids, out);
}

void Backend::Norm(NormKind kind, const TensorView& x, const TensorView& weight, const TensorView& bias, float eps,
                   const TensorView& out) {
  CheckRows("x", x, activation_dtype(), 2);
  CheckRows("out", out, activation_dtype(), 2);
  CheckDim("out", out, 0, x.dim(0));
  CheckDim("out", out, 1, x.dim(1));
  CheckVector("weight", weight, x.dim(1), /*optional=*/false);
  CheckVector("bias", bias, x.dim(1), /*optional=*/true);
  CHECK(eps >= 0.0f) << eps;
  if (x.num_elements() > 0) DoNorm(kind, x, weight, bias, eps, out);
}

void Backend::SumSquares(const TensorView& x, const TensorView& out) {
  CheckRows("x", x, activation_dtype(), 2);
  CheckRows("out", out, DType::kF32, 2);
  CheckDim("out", out, 0, x.dim(0));
  CheckDim("out", out, 1, 1);
  if (x.dim(0) > 0) DoSumSquares(x, out);
}

void Backend::NormPart(const TensorView& x, const TensorView& squares, int64_t count, const TensorView& weight,
                       float eps, const TensorView& out) {
  CheckRows("x", x, activation_dtype(), 2);
  CheckRows("out", out, activation_dtype(), 2);
  CheckRows("squares", squares, DType::kF32, 2);
  CheckDim("out", out, 0, x.dim(0));
  CheckDim("out", out, 1, x.dim(1));
  CheckDim("squares", squares, 0, x.dim(0));
  CheckDim("squares", squares, 1, 1);
  CheckVector("weight", weight, x.dim(1), /*optional=*/false);
  CHECK_GE(count, x.dim(1)) << x.ToString();
  if (x.num_elements() > 0) DoNormPart(x, squares, count, weight, eps, out);
}

void Backend::MatMul(const TensorView& x, const Weight& weight, const TensorView& bias, const TensorView& out) {
  CheckRows("x", x, activation_dtype(), 2);
  CheckRows("out", out, activation_dtype(), 2);
  CheckDim("x", x, 1, weight.cols());
  CheckDim("out", out, 0, x.dim(0));
  CheckDim("out", out, 1, weight.rows());
  CheckVector("bias", bias, weight.rows(), /*optional=*/true);
  if (x.dim(0) > 0) DoMatMul(x, weight, bias, out);
}

void Backend::Rope(const TensorView& x, const TensorView& cos_sin, absl::Span<const int32_t> positions) {
  CheckRows("x", x, activation_dtype(), 3);
  CheckRows("cos_sin", cos_sin, DType::kF32, 3);
  CheckDim("cos_sin", cos_sin, 1, 2);
  CHECK_LE(2 * cos_sin.dim(2), x.dim(2)) << "cos_sin " << cos_sin.ToString() << " for x " << x.ToString();
  CHECK_EQ(static_cast<int64_t>(positions.size()), x.dim(0)) << x.ToString();
  for (int32_t position : positions) {
    CHECK_GE(position, 0);
    CHECK_LT(position, cos_sin.dim(0)) << "cos_sin " << cos_sin.ToString();
  }
  if (x.num_elements() > 0) DoRope(x, cos_sin, positions);
}

void Backend::StoreKv(const TensorView& k, const TensorView& v, absl::Span<const int64_t> slot_mapping, int64_t layer,
                      const KvCacheView& cache) {
  CheckCache(cache, layer);
  for (const TensorView* t : {&k, &v}) {
    CheckRows("k or v", *t, activation_dtype(), 3);
    CheckDim("k or v", *t, 0, static_cast<int64_t>(slot_mapping.size()));
    CheckDim("k or v", *t, 1, cache.layout.num_kv_heads);
    CheckDim("k or v", *t, 2, cache.layout.head_dim);
  }
  for (int64_t slot : slot_mapping) {
    CHECK_GE(slot, -1);
    CHECK_LT(slot, cache.layout.num_blocks * cache.layout.block_size);
  }
  if (!slot_mapping.empty()) DoStoreKv(k, v, slot_mapping, layer, cache);
}

void Backend::Attend(const TensorView& q, const AttendBatch& batch, const AttentionParams& params, int64_t layer,
                     const KvCacheView& cache, const TensorView& out) {
  CheckCache(cache, layer);
  for (const TensorView* t : {&q, &out}) {
    CheckRows("q or out", *t, activation_dtype(), 3);
    CheckDim("q or out", *t, 2, cache.layout.head_dim);
    CHECK_EQ(t->dim(1) % cache.layout.num_kv_heads, 0) << t->ToString() << ", kv heads " << cache.layout.num_kv_heads;
  }
  CheckDim("out", out, 0, q.dim(0));
  CheckDim("out", out, 1, q.dim(1));
  CHECK_GE(params.window, 0);
  CHECK(params.softcap >= 0.0f) << params.softcap;
  CHECK(params.alibi_slopes.empty() || static_cast<int64_t>(params.alibi_slopes.size()) == q.dim(1))
      << params.alibi_slopes.size() << " slopes for q " << q.ToString();
  const int64_t num_seqs = batch.num_seqs();
  CHECK_EQ(static_cast<int64_t>(batch.query_start.size()), num_seqs + 1);
  CHECK_EQ(batch.query_start.front(), 0);
  CHECK_EQ(batch.query_start.back(), q.dim(0)) << q.ToString();
  CHECK_EQ(static_cast<int64_t>(batch.block_tables.size()), num_seqs * batch.max_blocks);
  for (int64_t s = 0; s < num_seqs; ++s) {
    const int64_t num_queries = batch.query_start[s + 1] - batch.query_start[s];
    CHECK_GE(num_queries, 0) << "sequence " << s;
    CHECK_GE(batch.context_len[s], num_queries) << "sequence " << s;
    const int64_t num_blocks = (batch.context_len[s] + cache.layout.block_size - 1) / cache.layout.block_size;
    CHECK_LE(num_blocks, batch.max_blocks) << "sequence " << s << ", context " << batch.context_len[s];
    const int64_t first_key = FirstVisibleKey(params, batch.context_len[s] - num_queries);
    for (int64_t b = first_key / cache.layout.block_size; b < num_blocks; ++b) {
      const int32_t block = batch.block_tables[s * batch.max_blocks + b];
      CHECK(block >= 0 && block < cache.layout.num_blocks)
          << "sequence " << s << ": block " << block << " of " << cache.layout.num_blocks;
    }
  }
  if (q.num_elements() > 0) DoAttend(q, batch, params, layer, cache, out);
}

void Backend::Activate(ActivationKind kind, bool gated, const TensorView& x, const TensorView& out) {
  CheckRows("x", x, activation_dtype(), 2);
  CheckRows("out", out, activation_dtype(), 2);
  CheckDim("out", out, 0, x.dim(0));
  CheckDim("x", x, 1, out.dim(1) * (gated ? 2 : 1));
  if (x.num_elements() > 0) DoActivate(kind, gated, x, out);
}

void Backend::AddResidual(const TensorView& x, const TensorView& y) {
  CheckRows("x", x, activation_dtype(), 2);
  CheckRows("y", y, activation_dtype(), 2);
  CheckDim("y", y, 0, x.dim(0));
  CheckDim("y", y, 1, x.dim(1));
  if (x.num_elements() > 0) DoAddResidual(x, y);
}

void Backend::Scale(const TensorView& x, float factor) {
  CheckRows("x", x, activation_dtype(), 2);
  if (x.num_elements() > 0) DoScale(x, factor);
}

void Backend::Clamp(const TensorView& x, float limit) {
  CheckRows("x", x, activation_dtype(), 2);
  CHECK(limit > 0.0f) << limit;
  if (x.num_elements() > 0) DoClamp(x, limit);
}

void Backend::SoftCap(const TensorView& x, float cap) {
  CheckRows("x", x, activation_dtype(), 2);
  CHECK(cap > 0.0f) << cap;
  if (x.num_elements() > 0) DoSoftCap(x, cap);
}

void Backend::GatherRows(const TensorView& x, absl::Span<const int32_t> rows, const TensorView& out) {
  CheckRows("x", x, activation_dtype(), 2);
  CheckRows("out", out, activation_dtype(), 2);
  CheckDim("out", out, 0, static_cast<int64_t>(rows.size()));
  CheckDim("out", out, 1, x.dim(1));
  for (int32_t row : rows) {
    CHECK_GE(row, 0);
    CHECK_LT(row, x.dim(0)) << x.ToString();
  }
  if (out.num_elements() > 0) DoGatherRows(x, rows, out);
}

void Backend::CopyBlocks(absl::Span<const std::pair<int32_t, int32_t>> copies, const KvCacheView& cache) {
  CheckCache(cache, 0);
  for (const auto& [source, destination] : copies) {
    for (int32_t block : {source, destination}) {
      CHECK(block >= 0 && block < cache.layout.num_blocks) << "block " << block << " of " << cache.layout.num_blocks;
    }
  }
  if (!copies.empty()) DoCopyBlocks(copies, cache);
}

namespace {

void CheckSwap(absl::Span<const std::pair<int32_t, int32_t>> blocks, const KvCacheView& cache, const Buffer& host) {
  CheckCache(cache, 0);
  const int64_t host_blocks = host.size_bytes() / cache.layout.block_bytes();
  for (const auto& [block, host_block] : blocks) {
    CHECK(block >= 0 && block < cache.layout.num_blocks) << "block " << block << " of " << cache.layout.num_blocks;
    CHECK(host_block >= 0 && host_block < host_blocks) << "host block " << host_block << " of " << host_blocks;
  }
}

}  // namespace

void Backend::SwapOut(absl::Span<const std::pair<int32_t, int32_t>> moves, const KvCacheView& cache,
                      const Buffer& host) {
  CheckSwap(moves, cache, host);
  if (!moves.empty()) DoSwap(/*out=*/true, moves, cache, host);
}

void Backend::SwapIn(absl::Span<const std::pair<int32_t, int32_t>> moves, const KvCacheView& cache,
                     const Buffer& host) {
  std::vector<std::pair<int32_t, int32_t>> blocks;
  blocks.reserve(moves.size());
  for (const auto& [host_block, block] : moves) blocks.emplace_back(block, host_block);
  CheckSwap(blocks, cache, host);
  if (!blocks.empty()) DoSwap(/*out=*/false, blocks, cache, host);
}

void Backend::EditLogits(const TensorView& logits, absl::Span<const LogitEdits> edits,
                         absl::Span<SampleResult> results) {
  CheckSampleArgs(logits, edits.size(), results.empty() ? edits.size() : results.size());
  for (const LogitEdits& edit : edits) {
    CHECK_EQ(edit.seen.size(), edit.seen_counts.size());
    CHECK(edit.repetition_penalty > 0.0f) << edit.repetition_penalty;
    if (!edit.mask.empty()) CHECK_EQ(static_cast<int64_t>(edit.mask.size()), (logits.dim(1) + 31) / 32);
    for (const auto& [id, bias] : edit.bias) CHECK(id >= 0 && id < logits.dim(1)) << id << " of " << logits.ToString();
    for (int32_t id : edit.allowed) CHECK(id >= 0 && id < logits.dim(1)) << id << " of " << logits.ToString();
    for (int32_t id : edit.banned) CHECK(id >= 0 && id < logits.dim(1)) << id << " of " << logits.ToString();
    for (int32_t id : edit.seen) CHECK(id >= 0 && id < logits.dim(1)) << id << " of " << logits.ToString();
  }
  if (!edits.empty()) DoEditLogits(logits, edits, results);
}

void Backend::LogProbs(const TensorView& logits, absl::Span<const SampleRow> rows, absl::Span<SampleResult> results) {
  CheckSampleArgs(logits, rows.size(), results.size());
  if (!rows.empty()) DoLogProbs(logits, rows, results);
}

void Backend::Sample(const TensorView& logits, absl::Span<const SampleRow> rows, absl::Span<SampleResult> results) {
  CheckSampleArgs(logits, rows.size(), results.size());
  for (const SampleRow& row : rows) {
    CheckSampleRow(row);
    CHECK_LT(row.given, logits.dim(1)) << logits.ToString();
  }
  if (!rows.empty()) DoSample(logits, rows, results);
}

}  // namespace quire::kernels
