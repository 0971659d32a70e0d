// What a decode step costs outside the forward pass: decode of the message, digest, table, arrays, draws, encode of
// the reply. bazel run //worker/runtime:runner_bench
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "proto/plan_digest.h"
#include "proto/worker.pb.h"
#include "worker/runtime/model_runner.h"

namespace quire::worker {
namespace {

constexpr int32_t kVocab = 64;  // the draw's own cost, by vocabulary, is the kernels' benchmark

// Computes nothing: its logits are what they are.
class NullModel final : public Model {
 public:
  NullModel() {
    facts_.vocab_size = kVocab;
    facts_.max_model_len = 1 << 20;
  }
  const ModelFacts& facts() const override { return facts_; }
  kernels::KvCacheLayout CacheLayout(int64_t block_size) const override {
    kernels::KvCacheLayout layout;
    layout.num_layers = layout.num_kv_heads = layout.head_dim = 1;
    layout.block_size = block_size;
    return layout;
  }
  absl::StatusOr<kernels::TensorView> Forward(const ForwardBatch& batch, const kernels::KvCacheView&) override {
    return RowLogits(batch.logit_rows);
  }
  absl::StatusOr<kernels::TensorView> RowLogits(absl::Span<const int32_t> rows) override {
    logits_.resize(rows.size() * kVocab);
    return kernels::MakeView(logits_.data(), kernels::DType::kF32, {static_cast<int64_t>(rows.size()), kVocab});
  }
  int64_t last_collective_us() const override { return 0; }

 private:
  ModelFacts facts_;
  std::vector<float> logits_;
};

// Sequences with `context` tokens each, greedy, ready to decode.
void BM_DecodeStep(benchmark::State& state) {
  const int num_seqs = static_cast<int>(state.range(0)), context = static_cast<int>(state.range(1));
  const int32_t block_size = 16, room = 1 << 16;
  const int32_t blocks_each = (context + room / num_seqs) / block_size + 1;
  auto backend = *kernels::CreateCpuBackend({});
  NullModel model;
  kernels::KvCacheLayout layout = model.CacheLayout(block_size);
  layout.num_blocks = blocks_each * num_seqs;
  auto cache = *KvCache::Create(layout, 0, backend.get());
  RunnerOptions options;
  options.table = {kVocab, 1 << 20, block_size, static_cast<int32_t>(layout.num_blocks), 0};
  options.batch = {num_seqs, 1 << 20};
  ModelRunner runner(options, backend.get(), &model, cache.get());
  v1::Step step;
  v1::Done done;
  for (int i = 0; i < num_seqs; ++i) {
    v1::NewSequence* s = step.add_new_sequences();
    s->set_seq(i);
    for (int t = 0; t < context; ++t) s->add_token_ids(t % kVocab);
    s->set_prompt_len(context);
    s->set_num_computed(context - 1);
    for (int b = 0; b < blocks_each; ++b) s->add_block_ids(i * blocks_each + b);
    s->set_top_p(1.0f);
    s->set_repetition_penalty(1.0f);
    s->set_num_logprobs(-1);
  }
  if (!runner.Run(step, &done).ok()) return state.SkipWithError("cannot set up");
  v1::CoordinatorMessage message;
  for (int i = 0; i < num_seqs; ++i) message.mutable_step()->add_decode(i);
  const std::string bytes = message.SerializeAsString();
  std::string reply;
  for (auto _ : state) {
    message.ParseFromString(bytes);
    benchmark::DoNotOptimize(proto::PlanDigest(message.step()));
    done.Clear();
    if (!runner.Run(message.step(), &done).ok()) return state.SkipWithError("the sequences are full");
    done.SerializeToString(&reply);
  }
  state.counters["message_bytes"] = static_cast<double>(bytes.size());
}
// Iterations stay within the room that each sequence has.
BENCHMARK(BM_DecodeStep)
    ->Args({1, 512})
    ->Args({64, 512})
    ->Args({256, 512})
    ->Iterations(200)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_DecodeStep)->Args({256, 4096})->Iterations(200)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace quire::worker
