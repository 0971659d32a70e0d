// What one step costs to write and to read, and how many bytes it takes. Budget: under 6 bytes a sequence; all four
// together within 25 us at 256 sequences. Columns: bytes_per_seq of the message. Run: bazel run -c opt
// //coordinator/cluster:step_codec_bench
#include <benchmark/benchmark.h>

#include <string>

#include "coordinator/cluster/step_codec.h"
#include "proto/plan_digest.h"
#include "proto/worker.pb.h"

namespace quire::cluster {
namespace {

// A decode step in which every 16th sequence gets a block, as it is with blocks of 16 tokens.
StepPlan DecodePlan(int64_t num_sequences) {
  StepPlan plan;
  plan.epoch = 1'900'000'000'000;  // epochs count from the clock, in milliseconds
  plan.step = 1'000'000;
  plan.deadline_ms = 30'000;
  for (uint32_t seq = 0; seq < num_sequences; ++seq) {
    plan.decode.push_back(seq);
    if (seq % 16 == 0) plan.block_appends.push_back({seq, static_cast<int32_t>(20'000 + 37 * seq)});
  }
  return plan;
}

worker::v1::RankMessage Reply(int64_t num_sequences) {
  worker::v1::RankMessage message;
  worker::v1::Done* done = message.mutable_done();
  done->set_epoch(1);
  done->set_step(1'000'000);
  done->set_plan_digest(0x1234'5678'9abc'def0u);
  for (uint32_t i = 0; i < num_sequences; ++i) done->add_tokens((i * 7919u) % 128'256u);
  done->set_device_blocks_total(60'000);
  done->set_device_blocks_used(40'000);
  done->set_exec_us(12'000);
  return message;
}

void SetBytes(benchmark::State& state, size_t bytes) {
  state.counters["bytes"] = static_cast<double>(bytes);
  state.counters["bytes_per_seq"] = static_cast<double>(bytes) / static_cast<double>(state.range(0));
}

void BM_EncodeStep(benchmark::State& state) {
  const StepPlan plan = DecodePlan(state.range(0));
  StepEncoder encoder;
  size_t bytes = 0;
  for (auto _ : state) {
    const EncodedStep encoded = encoder.Encode(plan);
    bytes = encoded.bytes->size();
    benchmark::DoNotOptimize(encoded.bytes->data());
  }
  SetBytes(state, bytes);
}

// The rank's side: parse, and prove the digest.
void BM_DecodeStep(benchmark::State& state) {
  StepEncoder encoder;
  const EncodedStep encoded = encoder.Encode(DecodePlan(state.range(0)));
  worker::v1::CoordinatorMessage message;
  for (auto _ : state) {
    if (!message.ParseFromString(*encoded.bytes) || proto::PlanDigest(message.step()) != message.step().plan_digest()) {
      state.SkipWithError("the step did not survive");
    }
  }
  SetBytes(state, encoded.bytes->size());
}

void BM_EncodeDone(benchmark::State& state) {
  const worker::v1::RankMessage message = Reply(state.range(0));
  std::string bytes;
  for (auto _ : state) {
    message.SerializeToString(&bytes);
    benchmark::DoNotOptimize(bytes.data());
  }
  SetBytes(state, bytes.size());
}

void BM_DecodeDone(benchmark::State& state) {
  const std::string bytes = Reply(state.range(0)).SerializeAsString();
  worker::v1::RankMessage message;
  for (auto _ : state) {
    if (!message.ParseFromString(bytes)) state.SkipWithError("the reply did not survive");
    const RankReply reply = DecodeDone(message.done());
    benchmark::DoNotOptimize(reply.tokens.data());
  }
  SetBytes(state, bytes.size());
}

void Sizes(benchmark::internal::Benchmark* b) {
  for (const int n : {1, 4, 16, 64, 256, 1024}) b->Arg(n);
  b->ArgName("sequences")->Unit(benchmark::kMicrosecond);
}

BENCHMARK(BM_EncodeStep)->Apply(Sizes);
BENCHMARK(BM_DecodeStep)->Apply(Sizes);
BENCHMARK(BM_EncodeDone)->Apply(Sizes);
BENCHMARK(BM_DecodeDone)->Apply(Sizes);

}  // namespace
}  // namespace quire::cluster
