// Times the operations of a decode step and of a prefill on a GPU beside what the device can do: a copy of memory and the
// largest product, measured first, in the same run.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>
#include <numeric>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_backend.h"

ABSL_FLAG(int, device, 0, "index of the GPU; -1 = the CPU, to see that the program runs");
ABSL_FLAG(bool, deterministic, false, "batch-invariant products by own kernels instead of cuBLASLt's");
ABSL_FLAG(int, divisor, 1, "every size but those of heads is divided by it, for --device=-1");
ABSL_FLAG(double, seconds, 0.3, "how long each case is measured");

namespace quire::bench {
namespace {

using kernels::Backend;
using kernels::Buffer;
using kernels::DType;
using kernels::TensorView;

// An 8B model's layer: hidden 4096, 32 query heads on 8, mlp 14336, vocabulary 128256.
constexpr int64_t kHidden = 4096, kHeads = 32, kKvHeads = 8, kHeadDim = 128, kFfn = 14336, kVocab = 128256;

int64_t Scaled(int64_t size) {
  const int64_t by = absl::GetFlag(FLAGS_divisor);
  return by == 1 ? size : std::max<int64_t>(16, size / by / 16 * 16);
}

class Bench {
 public:
  explicit Bench(Backend* backend) : backend_(backend) {}

  // Device memory for `rows` by `cols` f32, zero; lives as long as the bench.
  TensorView Rows(int64_t rows, int64_t cols) {
    buffers_.push_back(backend_->Allocate(rows * cols * 4).value());
    return kernels::MakeView(buffers_.back()->data(), DType::kF32, {rows, cols});
  }

  // Copies of a matrix that together are larger than any cache: calls take them in turn.
  std::vector<std::unique_ptr<kernels::Weight>> ColdWeights(int64_t rows, int64_t cols) {
    std::vector<uint16_t> values(rows * cols);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(0x3c00u + i % 512);  // small bf16
    const TensorView part = kernels::MakeView(values.data(), DType::kBF16, {rows, cols});
    std::vector<std::unique_ptr<kernels::Weight>> weights;
    for (int64_t bytes = 0; bytes < Scaled(int64_t{256} << 20); bytes += rows * cols * 2) {
      weights.push_back(backend_->Pack({part}, DType::kBF16).value());
    }
    return weights;
  }

  // Seconds of one call: the least of several rounds of many calls with one wait.
  double Time(const std::function<void(int)>& call) {
    call(0);
    Wait();
    double best = 1e9;
    int count = 1;
    const absl::Time end = absl::Now() + absl::Seconds(absl::GetFlag(FLAGS_seconds));
    do {
      const int64_t begin = absl::GetCurrentTimeNanos();
      for (int i = 0; i < count; ++i) call(i);
      Wait();
      const double seconds = static_cast<double>(absl::GetCurrentTimeNanos() - begin) * 1e-9;
      best = std::min(best, seconds / count);
      if (seconds < 0.02) count *= 2;
    } while (absl::Now() < end);
    return best;
  }

  // Prints a row: what memory must move and what must be computed at least, beside the device's own limits.
  void Report(const std::string& name, double bytes, double flops, double seconds) {
    const double by_memory = copy_rate_ > 0 ? bytes / copy_rate_ : 0, by_math = flop_rate_ > 0 ? flops / flop_rate_ : 0;
    std::printf("%-34s %10.1f us %9.1f GB/s %9.1f TFLOP/s", name.c_str(), seconds * 1e6, bytes / seconds * 1e-9,
                flops / seconds * 1e-12);
    if (copy_rate_ > 0) {
      std::printf("  %5.1f %% of %s", std::max(by_memory, by_math) / seconds * 100,
                  by_memory > by_math ? "copy" : "product");
    }
    std::printf("\n");
    std::fflush(stdout);
  }

  void set_limits(double copy_rate, double flop_rate) {
    copy_rate_ = copy_rate;
    flop_rate_ = flop_rate;
  }
  Backend* backend() { return backend_; }

 private:
  void Wait() {
    if (absl::Status s = backend_->Synchronize(); !s.ok()) {
      std::cerr << s << "\n";
      std::exit(1);
    }
  }

  Backend* const backend_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  double copy_rate_ = 0, flop_rate_ = 0;  // per second; 0 = not measured yet
};

void MeasureLimits(Bench* bench) {
  // Two blocks of a cache of 1 GiB: the device's own copy, read and written.
  kernels::KvCacheLayout layout = {DType::kBF16, 2, 1, 1, kHeadDim, 512};
  layout.num_layers = Scaled(int64_t{1} << 30) / layout.layer_bytes() + 1;
  const auto memory = bench->backend()->Allocate(2 * layout.block_bytes()).value();
  const kernels::KvCacheView cache = {memory->data(), layout};
  const std::vector<std::pair<int32_t, int32_t>> copy = {{0, 1}};
  const double copied = bench->Time([&](int /*i*/) { bench->backend()->CopyBlocks(copy, cache); });
  const double bytes = 2.0 * static_cast<double>(layout.block_bytes());
  bench->Report("copy of 1 GiB, read and written", bytes, 0, copied);

  const int64_t n = Scaled(8192);
  const auto weights = bench->ColdWeights(n, n);
  const TensorView x = bench->Rows(n, n), out = bench->Rows(n, n);
  const double multiplied =
      bench->Time([&](int i) { bench->backend()->MatMul(x, *weights[i % weights.size()], {}, out); });
  const double flops = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  bench->Report(absl::StrCat("product of ", n, " cubed, bf16"), 0, flops, multiplied);
  bench->set_limits(bytes / copied, flops / multiplied);
}

void MatMuls(Bench* bench) {
  const struct {
    const char* name;
    int64_t rows, cols;
  } matrices[] = {{"qkv", (kHeads + 2 * kKvHeads) * kHeadDim, kHidden},
                  {"output", kHidden, kHidden},
                  {"gate, up", 2 * kFfn, kHidden},
                  {"down", kHidden, kFfn},
                  {"head", kVocab, kHidden}};
  for (const auto& m : matrices) {
    const int64_t rows = Scaled(m.rows), cols = Scaled(m.cols);
    const auto weights = bench->ColdWeights(rows, cols);
    for (const int64_t batch : {1, 8, 64, 256, 2048}) {
      if (rows == Scaled(kVocab) && batch > 256) continue;
      const TensorView x = bench->Rows(batch, cols), out = bench->Rows(batch, rows);
      const double s = bench->Time([&](int i) { bench->backend()->MatMul(x, *weights[i % weights.size()], {}, out); });
      bench->Report(absl::StrCat("matmul ", m.name, ", ", batch, " rows"),
                    static_cast<double>(rows * cols * 2 + batch * (rows + cols) * 4),
                    2.0 * static_cast<double>(rows * cols * batch), s);
    }
  }
}

// num_seqs sequences of `context` keys with `queries` queries each.
void Attention(Bench* bench, int64_t num_seqs, int64_t queries, int64_t context) {
  Backend* const backend = bench->backend();
  kernels::KvCacheLayout layout = {DType::kBF16, 0, 1, kKvHeads, kHeadDim, 16};
  const int64_t blocks = (context + 15) / 16;
  layout.num_blocks = num_seqs * blocks;
  const auto memory = backend->Allocate(layout.num_blocks * layout.block_bytes()).value();
  const kernels::KvCacheView cache = {memory->data(), layout};
  std::vector<int32_t> start(num_seqs + 1), lengths(num_seqs, static_cast<int32_t>(context));
  std::vector<int32_t> tables(layout.num_blocks);
  for (int64_t s = 0; s <= num_seqs; ++s) start[s] = static_cast<int32_t>(s * queries);
  for (size_t i = 0; i < tables.size(); ++i) tables[i] = static_cast<int32_t>(i * 7919 % tables.size());
  const int64_t rows = num_seqs * queries;
  TensorView q = bench->Rows(rows, kHeads * kHeadDim), out = bench->Rows(rows, kHeads * kHeadDim);
  for (TensorView* t : {&q, &out}) {
    t->rank = 3;
    t->shape = {rows, kHeads, kHeadDim};
    t->stride = {kHeads * kHeadDim, kHeadDim, 1};
  }
  kernels::AttentionParams params;
  params.scale = 0.088f;
  const double s = bench->Time([&](int /*i*/) {
    backend->Attend(q, {start, lengths, tables, blocks}, params, 0, cache, out);
  });
  const double seen =
      static_cast<double>(queries) * (static_cast<double>(context) - 0.5 * static_cast<double>(queries - 1));
  bench->Report(absl::StrCat("attention ", num_seqs, " x ", queries, " of ", context),
                static_cast<double>(num_seqs * context * 2 * kKvHeads * kHeadDim * 2 + rows * kHeads * kHeadDim * 8),
                4.0 * static_cast<double>(num_seqs) * seen * kHeads * kHeadDim, s);
}

void RowOps(Bench* bench) {
  Backend* const backend = bench->backend();
  const int64_t hidden = Scaled(kHidden), ffn = Scaled(kFfn), vocab = Scaled(kVocab);
  for (const int64_t rows : {1, 64, 2048}) {
    const TensorView x = bench->Rows(rows, hidden), out = bench->Rows(rows, hidden), weight = bench->Rows(1, hidden);
    const TensorView w = kernels::MakeView(weight.data, DType::kF32, {hidden});
    double s = bench->Time([&](int /*i*/) { backend->Norm(kernels::NormKind::kRms, x, w, {}, 1e-5f, out); });
    bench->Report(absl::StrCat("norm, ", rows, " rows"), static_cast<double>(rows * hidden * 8), 0, s);
    const TensorView up = bench->Rows(rows, 2 * ffn), activated = bench->Rows(rows, ffn);
    s = bench->Time([&](int /*i*/) { backend->Activate(kernels::ActivationKind::kSilu, true, up, activated); });
    bench->Report(absl::StrCat("activation and gate, ", rows, " rows"), static_cast<double>(rows * ffn * 12), 0, s);
  }
  for (const int64_t rows : {1, 64}) {
    const TensorView logits = bench->Rows(rows, vocab);
    for (const bool filtered : {false, true}) {
      std::vector<kernels::SampleRow> wishes(rows);
      for (auto& wish : wishes) {
        wish.top_k = filtered ? 50 : 0;
        wish.top_p = filtered ? 0.9f : 1.0f;
      }
      std::vector<kernels::SampleResult> results(rows);
      const double s = bench->Time([&](int /*i*/) { backend->Sample(logits, wishes, absl::MakeSpan(results)); });
      bench->Report(absl::StrCat("sample, ", rows, " rows", filtered ? ", top-k and top-p" : ""),
                    static_cast<double>(rows * vocab * 4), 0, s);
    }
  }
}

int Run() {
  absl::StatusOr<std::unique_ptr<Backend>> backend = absl::InternalError("");
  if (absl::GetFlag(FLAGS_device) < 0) {
    backend = kernels::CreateCpuBackend({});
  } else {
    kernels::CudaBackendOptions options;
    options.device = absl::GetFlag(FLAGS_device);
    options.exact = absl::GetFlag(FLAGS_deterministic);
    backend = kernels::CreateCudaBackend(options);
  }
  if (!backend.ok()) {
    std::cerr << backend.status().message() << "\n";
    return 2;
  }
  std::printf("%s, shapes of an 8B model, bf16 weights and cache\n", (*backend)->Name().c_str());
  Bench bench(backend->get());
  MeasureLimits(&bench);
  MatMuls(&bench);
  for (const int64_t context : {1024, 4096, 16384}) {
    Attention(&bench, 1, 1, Scaled(context));
    Attention(&bench, Scaled(64), 1, Scaled(context));
  }
  Attention(&bench, 1, Scaled(2048), Scaled(2048));
  Attention(&bench, 1, Scaled(8192), Scaled(8192));
  RowOps(&bench);
  return 0;
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Times a GPU's operations beside its own copy and product, at the shapes of an 8B model.\n\n"
      "  bazel run //tools/bench:gpu_ops\n"
      "  bazel run //tools/bench:gpu_ops -- --device=-1 --divisor=64   without a GPU, to see that it runs");
  absl::ParseCommandLine(argc, argv);
  return quire::bench::Run();
}
