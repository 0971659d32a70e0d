// B2: the bits of a row do not depend on the rows beside it, on the number of threads, nor (with fused multiply-add) on
// the vectors.
#include <algorithm>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "kernels/conformance.h"
#include "kernels/op_cases.h"

namespace quire::kernels {
namespace {

constexpr int64_t kRows = 512;
constexpr int64_t kCols = 200;
constexpr int64_t kOut = 101;  // a whole group of panels and a part of one, whose last panel is not full

// One row's bytes from each operation that works on rows, by operation.
using RowBits = std::map<std::string, std::vector<std::string>>;

// Runs rows [begin, begin + count) of fixed inputs and appends their bits.
void Run(Backend* b, int64_t begin, int64_t count, RowBits* bits) {
  static Guarded* const x = &(new Guarded(DType::kF32, {kRows, kCols}))->Randomize(1);
  static Guarded* const bias = &(new Guarded(DType::kF32, {1, kOut}))->Randomize(3);
  const TensorView rows = SliceRows(x->view(), begin, count);
  const auto keep = [&](const std::string& name, const Guarded& out) {
    for (int64_t t = 0; t < count; ++t) (*bits)[name].push_back(out.row_bytes(t));
  };
  for (DType dtype : kStoredTypes) {
    Guarded w(dtype, {kOut, kCols});
    w.Randomize(2);
    const auto weight = b->Pack({w.view()}, dtype).value();
    Guarded out(DType::kF32, {count, kOut});
    b->MatMul(rows, *weight, MakeView(bias->view().data, DType::kF32, {kOut}), out.view());
    keep(absl::StrCat("matmul ", DTypeName(dtype)), out);
  }
  for (NormKind kind : {NormKind::kLayer, NormKind::kRms}) {
    Guarded out(DType::kF32, {count, kCols});
    b->Norm(kind, rows, MakeView(x->view().data, DType::kF32, {kCols}), {}, 1e-5f, out.view());
    keep(absl::StrCat("norm ", static_cast<int>(kind)), out);
  }
  Guarded squares(DType::kF32, {count, 1});
  b->SumSquares(rows, squares.view());
  keep("squares", squares);
  Guarded part(DType::kF32, {count, kCols});
  b->NormPart(rows, squares.view(), 2 * kCols, MakeView(x->view().data, DType::kF32, {kCols}), 1e-5f, part.view());
  keep("norm of a part", part);
  for (ActivationKind kind : {ActivationKind::kGeluErf, ActivationKind::kGeluTanh, ActivationKind::kSilu}) {
    Guarded out(DType::kF32, {count, kCols / 2});
    b->Activate(kind, true, rows, out.view());
    keep(absl::StrCat("activation ", static_cast<int>(kind)), out);
  }
}

// The same for attention with all that may change its scores, over a window of two chunks.
std::vector<std::string> AttentionBits(Backend* b, const AttendVariant& variant) {
  constexpr int64_t kTokens = 700, kHeads = 4, kDim = 24, kBlock = 16;
  static Guarded* const q = &(new Guarded(DType::kF32, {kTokens, kHeads, kDim}))->Randomize(4);
  static Guarded* const k = &(new Guarded(DType::kF32, {kTokens, 2, kDim}))->Randomize(5);
  KvCacheLayout layout = {DType::kBF16, (kTokens + kBlock - 1) / kBlock, 1, 2, kDim, kBlock};
  const auto memory = b->Allocate(layout.num_blocks * layout.block_bytes()).value();
  std::vector<int64_t> slots(kTokens);
  std::iota(slots.begin(), slots.end(), 0);
  std::vector<int32_t> table(layout.num_blocks);
  std::iota(table.begin(), table.end(), 0);
  const KvCacheView cache = {memory->data(), layout};
  b->StoreKv(k->view(), k->view(), slots, 0, cache);
  const std::vector<int32_t> start = {0, kTokens}, context = {kTokens};
  const std::vector<float> slopes = {0.5f, 0.37f, 0.0078f, 0.25f};
  AttentionParams params = {0.2f, variant.window, variant.softcap, {}, variant.alibi_in_bf16};
  if (variant.alibi) params.alibi_slopes = slopes;
  Guarded out(DType::kF32, {kTokens, kHeads, kDim});
  b->Attend(q->view(), {start, context, table, layout.num_blocks}, params, 0, cache, out.view());
  std::vector<std::string> bits;
  for (int64_t t = 0; t < kTokens; ++t) bits.push_back(out.row_bytes(t));
  return bits;
}

RowBits RunInBatchesOf(Backend* b, int64_t batch) {
  RowBits bits;
  for (int64_t begin = 0; begin < kRows; begin += batch) Run(b, begin, std::min(batch, kRows - begin), &bits);
  return bits;
}

TEST(Determinism, BatchesAndThreads) {
  for (const std::string& isa : CpuIsas()) {
    RowBits expected;
    for (int num_threads : {1, 2, 3, 4}) {  // 3 and 4 share groups of panels
      const auto backend = CreateCpuBackend({num_threads, false, isa}).value();
      if (expected.empty()) expected = RunInBatchesOf(backend.get(), 1);
      for (int64_t batch : {2, 5, 16, 33, 512}) {
        const RowBits got = RunInBatchesOf(backend.get(), batch);
        for (const auto& [name, rows] : expected) {
          for (int64_t t = 0; t < kRows; ++t) {
            ASSERT_EQ(got.at(name)[t], rows[t])
                << isa << " threads " << num_threads << " batch " << batch << " " << name << " row " << t;
          }
        }
      }
    }
  }
}

using BatchDeterminism = ConformanceTest;

TEST_P(BatchDeterminism, CompanyChangesNoBit) {
  if (GetParam().rounds_inputs) GTEST_SKIP() << "its products may choose their order by the number of rows";
  const RowBits expected = RunInBatchesOf(backend_.get(), 1);
  for (int64_t batch : {5, 9, 512}) {
    const RowBits got = RunInBatchesOf(backend_.get(), batch);
    for (const auto& [name, rows] : expected) {
      for (int64_t t = 0; t < kRows; ++t) ASSERT_EQ(got.at(name)[t], rows[t]) << name << " " << batch << " row " << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, BatchDeterminism, testing::ValuesIn(BackendsUnderTest()), BackendLabel);

TEST(Determinism, SameBitsOnEveryFusedTargetAndInTheReference) {
  const std::vector<std::string> isas = CpuIsas();
  if (isas.size() < 3) GTEST_SKIP() << "needs two sets with fused multiply-add, this machine has " << isas.size() - 1;
  const RowBits wide = RunInBatchesOf(CreateCpuBackend({1, false, "avx512"}).value().get(), 64);
  const RowBits narrow = RunInBatchesOf(CreateCpuBackend({1, false, "avx2"}).value().get(), 64);
  for (const auto& [name, rows] : wide) EXPECT_TRUE(rows == narrow.at(name)) << name;
  for (const AttendVariant& variant : kAttendVariants) {
    const auto bits = [&](const char* isa, int num_threads) {
      return AttentionBits(CreateCpuBackend({num_threads, false, isa}).value().get(), variant);
    };
    EXPECT_TRUE(bits("avx512", 1) == bits("avx2", 3)) << variant.name;
  }
  CpuBackendOptions options;
  options.reference = true;
  const RowBits reference = RunInBatchesOf(CreateCpuBackend(options).value().get(), 64);
  for (const auto& [name, rows] : wide) {
    if (name.rfind("matmul", 0) != 0) continue;
    EXPECT_TRUE(rows == reference.at(name)) << name;
  }
}

}  // namespace
}  // namespace quire::kernels
