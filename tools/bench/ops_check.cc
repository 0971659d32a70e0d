#include "tools/bench/ops_check.h"

#include <glog/logging.h>

#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/bench/ops_experts.h"

namespace quire::bench {
namespace {

using kernels::Backend;
using kernels::DType;
using kernels::MakeView;

constexpr int64_t kTokens = 19;
constexpr int64_t kWidth = 96;  // = kHeads * kHeadDim
constexpr int64_t kHeads = 6;
constexpr int64_t kKvHeads = 2;
constexpr int64_t kHeadDim = 16;

std::vector<float> Normal(int64_t count, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = normal(rng);
  return values;
}

struct Op {
  const char* name;
  std::function<std::vector<float>(Backend*)> run;
};

std::vector<float> RunMatMul(Backend* b) {
  std::vector<float> x = Normal(kTokens * kWidth, 1), w = Normal(45 * kWidth, 2), out(kTokens * 45);
  auto weight = b->Pack({MakeView(w.data(), DType::kF32, {45, kWidth})}, DType::kBF16);
  CHECK(weight.ok()) << weight.status();
  b->MatMul(MakeView(x.data(), DType::kF32, {kTokens, kWidth}), **weight, {},
            MakeView(out.data(), DType::kF32, {kTokens, 45}));
  return out;
}

std::vector<float> RunAttend(Backend* b) {
  std::vector<float> q = Normal(kTokens * kWidth, 1), out(q.size());
  std::vector<float> k = Normal(kTokens * kKvHeads * kHeadDim, 2), v = Normal(kTokens * kKvHeads * kHeadDim, 3);
  const kernels::KvCacheLayout layout = {DType::kBF16, 2, 1, kKvHeads, kHeadDim, 16};
  auto memory = b->Allocate(layout.num_blocks * layout.block_bytes());
  CHECK(memory.ok()) << memory.status();
  const kernels::KvCacheView cache = {(*memory)->data(), layout};
  std::vector<int64_t> slots;
  for (int64_t i = 0; i < kTokens; ++i) slots.push_back(i);
  b->StoreKv(MakeView(k.data(), DType::kF32, {kTokens, kKvHeads, kHeadDim}),
             MakeView(v.data(), DType::kF32, {kTokens, kKvHeads, kHeadDim}), slots, 0, cache);
  const std::vector<int32_t> start = {0, kTokens}, lengths = {kTokens}, table = {0, 1};
  b->Attend(MakeView(q.data(), DType::kF32, {kTokens, kHeads, kHeadDim}), {start, lengths, table, 2}, {0.25f}, 0, cache,
            MakeView(out.data(), DType::kF32, {kTokens, kHeads, kHeadDim}));
  return out;
}

std::vector<float> RunNorm(Backend* b) {
  std::vector<float> x = Normal(kTokens * kWidth, 1), w = Normal(kWidth, 2), out(x.size());
  b->Norm(kernels::NormKind::kLayer, MakeView(x.data(), DType::kF32, {kTokens, kWidth}),
          MakeView(w.data(), DType::kF32, {kWidth}), {}, 1e-5f, MakeView(out.data(), DType::kF32, {kTokens, kWidth}));
  return out;
}

std::vector<float> RunSilu(Backend* b) {
  std::vector<float> x = Normal(kTokens * kWidth, 1), out(kTokens * kWidth / 2);
  b->Activate(kernels::ActivationKind::kSilu, true, MakeView(x.data(), DType::kF32, {kTokens, kWidth}),
              MakeView(out.data(), DType::kF32, {kTokens, kWidth / 2}));
  return out;
}

std::vector<float> RunRope(Backend* b) {
  std::vector<float> x = Normal(kTokens * kWidth, 1), table = Normal(2 * kHeadDim, 2);
  const std::vector<int32_t> positions(kTokens, 1);
  b->Rope(MakeView(x.data(), DType::kF32, {kTokens, kHeads, kHeadDim}),
          MakeView(table.data(), DType::kF32, {2, 2, kHeadDim / 2}), positions);
  return x;
}

std::vector<float> RunSample(Backend* b) {
  constexpr int64_t kVocab = 5003;
  std::vector<float> logits = Normal(kTokens * kVocab, 1);
  std::vector<kernels::SampleRow> rows(kTokens);
  for (int64_t i = 0; i < kTokens; ++i) {
    rows[i].seed = i;
    rows[i].num_logprobs = static_cast<int32_t>(i);
    if (i % 2 == 1) rows[i].top_p = 0.7f;
    if (i % 3 == 1) rows[i].top_k = 40;
    if (i % 5 == 1) rows[i].temperature = 0.0f;
  }
  std::vector<kernels::SampleResult> results(kTokens);
  const kernels::TensorView view = MakeView(logits.data(), DType::kF32, {kTokens, kVocab});
  b->LogProbs(view, rows, absl::MakeSpan(results));
  b->Sample(view, rows, absl::MakeSpan(results));
  std::vector<float> out;
  for (const kernels::SampleResult& r : results) {
    out.push_back(static_cast<float>(r.token));
    out.push_back(r.logprob);
  }
  return out;
}

}  // namespace

std::string CheckAgainstReference(Backend* backend) {
  kernels::CpuBackendOptions options;
  options.reference = true;
  const std::unique_ptr<Backend> reference = kernels::CreateCpuBackend(options).value();
  for (const Op& op : {Op{"MatMul", RunMatMul},
                       {"Attend", RunAttend},
                       {"Norm", RunNorm},
                       {"Activate", RunSilu},
                       {"Rope", RunRope},
                       {"Experts", RunExperts},
                       {"Sample", RunSample}}) {
    const std::vector<float> expected = op.run(reference.get());
    const std::vector<float> got = op.run(backend);
    for (size_t i = 0; i < expected.size(); ++i) {
      if (!(std::abs(expected[i] - got[i]) <= 1e-5f * (1.0f + std::abs(expected[i])))) {
        return absl::StrCat(op.name, " element ", i, ": ", got[i], " instead of ", expected[i]);
      }
    }
  }
  return "";
}

}  // namespace quire::bench
