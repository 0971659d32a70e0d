// Cost of the coordinator's own work in one decode step: commit the result of step n, plan step n + 1, for N running
// sequences. Budget (design section 12): 100 us at 256, 3 ms at 10,000. Prints microseconds a step; --json=FILE.
#include <benchmark/benchmark.h>
#include <glog/logging.h>

#include <memory>
#include <string>

#include "coordinator/engine/core.h"

namespace quire::engine {
namespace {

class ByteDecoder final : public request::OutputDecoder {
 public:
  std::unique_ptr<OutputDecoder> Clone() const override { return std::make_unique<ByteDecoder>(*this); }
  void Append(int32_t id, std::string* text) override { text->append("word "); }
  void Finish(std::string* text) override {}
};

class Driver {
 public:
  explicit Driver(int64_t num_seqs) : core_(MakeOptions(num_seqs)) {
    Turn({});
    ReplicaInfo info;
    info.epoch = 1;
    info.vocab_size = 1000;
    info.max_model_len = 1 << 20;
    info.device_blocks = num_seqs * 2600;
    info.block_size = 16;
    Turn({ReplicaFormedEvent{info}});
    std::vector<Event> submits;
    for (int64_t i = 0; i < num_seqs; ++i) {
      request::Request r;
      r.request_id = std::to_string(i);
      r.prompt_ids.assign(100 + i % 16, 7);
      r.params.max_tokens = 40000;
      r.params.ignore_eos = true;
      r.make_decoder = [] { return std::make_unique<ByteDecoder>(); };
      submits.push_back(SubmitEvent{static_cast<uint64_t>(i + 1), std::move(r)});
    }
    Turn(std::move(submits));
    while (core_.stats().num_waiting_reqs > 0 || !AllDecode()) Answer();
  }

  // Answers the oldest step: one commit and one plan.
  void Answer() {
    CHECK(!pending_.empty());
    StepResult result;
    result.epoch = 1;
    result.step = pending_.front().first;
    result.tokens.assign(pending_.front().second, 42);
    pending_.erase(pending_.begin());
    events_.clear();
    events_.push_back(StepDoneEvent{std::move(result)});
    Turn(std::move(events_));
  }

 private:
  static CoreOptions MakeOptions(int64_t num_seqs) {
    CoreOptions options;
    options.scheduler.max_num_seqs = num_seqs;
    options.scheduler.max_num_batched_tokens = num_seqs * 128;
    options.max_queue_len = num_seqs;
    return options;
  }

  bool AllDecode() const { return last_decodes_ == core_.stats().num_running_reqs; }

  void Turn(std::vector<Event> events) {
    actions_.clear();
    core_.Step(&events, absl::UnixEpoch(), &actions_);
    events_.swap(events);
    for (const StepPlan* plan : actions_.sends) {
      size_t samples = plan->decode.size();
      for (const PrefillItem& item : plan->prefill) samples += item.sample;
      last_decodes_ = static_cast<int64_t>(plan->decode.size());
      pending_.emplace_back(plan->step, samples);
    }
  }

  Core core_;
  Actions actions_;
  std::vector<Event> events_;
  std::vector<std::pair<uint64_t, size_t>> pending_;  // steps in flight and their samples
  int64_t last_decodes_ = -1;
};

void BM_DecodeStep(benchmark::State& state) {
  Driver driver(state.range(0));
  for (auto _ : state) driver.Answer();
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
// Fewer iterations than max_tokens, so that nobody finishes.
BENCHMARK(BM_DecodeStep)->Arg(1)->Arg(32)->Arg(256)->Iterations(30000)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_DecodeStep)->Arg(1024)->Arg(10000)->Iterations(1000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace quire::engine
