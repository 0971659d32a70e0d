// The fake worker. See core_driver.h.
#include "coordinator/engine/testing/core_driver.h"

#include <glog/logging.h>
#include <time.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"

namespace quire::engine {
namespace {

class WordDecoder final : public request::OutputDecoder {
 public:
  std::unique_ptr<OutputDecoder> Clone() const override { return std::make_unique<WordDecoder>(); }
  void Append(int32_t id, std::string* text) override { text->append("word "); }
  void Finish(std::string* text) override {}
};

// Of this thread.
absl::Duration CpuTime() {
  timespec t;
  CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
  return absl::DurationFromTimespec(t);
}

}  // namespace

CoreOptions CoreDriver::MakeCoreOptions(const CoreDriverOptions& options) {
  CoreOptions core;
  core.scheduler.max_num_seqs = options.num_sequences + options.spare_sequences;
  core.scheduler.max_num_batched_tokens = core.scheduler.max_num_seqs * (options.prompt_len + 1);
  core.max_queue_len = core.scheduler.max_num_seqs;
  core.max_queue_tokens = core.max_queue_bytes = int64_t{1} << 40;
  core.scheduler.kv.secret = "secret of the benchmark";
  return core;
}

CoreDriver::CoreDriver(const CoreDriverOptions& options) : options_(options), core_(MakeCoreOptions(options)) {
  for (int32_t i = 0; i < 64; ++i) row_.top.emplace_back(i, -0.01f * static_cast<float>(i + 1));
  Turn();
  ReplicaInfo info;
  info.epoch = 1;
  info.vocab_size = 1000;
  info.max_model_len = 1 << 20;
  info.block_size = kBlockSize;
  info.device_blocks = options_.num_sequences * ((options_.prompt_len + options_.max_tokens) / kBlockSize + 2) +
                       options_.num_sequences / 2 + 64 + options_.spare_blocks;
  events_.push_back(ReplicaFormedEvent{info});
  Turn();
  const int64_t per_request = std::max(options_.n, std::max(options_.beam_width, 1u));
  for (int64_t i = 0; i < options_.num_sequences / per_request; ++i) {
    events_.push_back(SubmitEvent{next_id_++, MakeRequest(PromptOf(i))});
  }
  Turn();
  for (int64_t steps = 0; core_.stats().num_waiting_reqs > 0 || last_decodes_ < options_.num_sequences; ++steps) {
    CHECK_LT(steps, 200) << last_decodes_ << " of " << options_.num_sequences << " sequences decode";
    Answer();
  }
}

std::vector<int32_t> CoreDriver::PromptOf(int64_t request) const {
  std::vector<int32_t> prompt(static_cast<size_t>(options_.prompt_len + request % kBlockSize), 7);
  prompt[0] = static_cast<int32_t>(request);
  return prompt;
}

request::Request CoreDriver::MakeRequest(std::vector<int32_t> prompt) const {
  request::Request r;
  r.request_id = std::to_string(next_id_);
  r.prompt_ids = std::move(prompt);
  r.params.max_tokens = options_.max_tokens;
  r.params.ignore_eos = true;
  r.params.n = options_.n;
  r.params.best_of = options_.n;
  r.params.beam_width = options_.beam_width;
  if (options_.beam_width > 0) r.params.n = options_.beam_width;
  if (options_.stop_strings) r.params.stop = {"the end", "word word x"};
  r.make_decoder = [] { return std::make_unique<WordDecoder>(); };
  return r;
}

StepResult CoreDriver::MakeResult(const Flight& flight) const {
  StepResult result;
  result.epoch = 1;
  result.step = flight.step;
  result.tokens.assign(flight.samples, 42);
  if (options_.beam_width > 0) {
    TokenLogprobs row = row_;
    row.top.resize(2 * options_.beam_width);
    result.logprobs.assign(flight.samples, row);
  }
  return result;
}

TurnTime CoreDriver::Answer() {
  CHECK(!flights_.empty());
  events_.push_back(StepDoneEvent{MakeResult(flights_.front())});
  flights_.pop_front();
  return Turn();
}

TurnTime CoreDriver::AdmitAndCancel(std::vector<int32_t> prompt) {
  Answer();  // a place in flight is free for the plan that admits
  const uint64_t id = next_id_;
  events_.push_back(SubmitEvent{id, MakeRequest(std::move(prompt))});
  ++next_id_;
  events_.push_back(StepDoneEvent{MakeResult(flights_.front())});
  flights_.pop_front();
  const TurnTime time = Turn();
  events_.push_back(CancelEvent{id, ""});
  Turn();
  return time;
}

TurnTime CoreDriver::Turn() {
  actions_.clear();
  if (before_step) before_step();
  const absl::Time start = absl::Now();
  const absl::Duration cpu_start = CpuTime();
  core_.Step(&events_, absl::UnixEpoch(), &actions_);
  const TurnTime time = {absl::Now() - start, CpuTime() - cpu_start};
  if (after_step) after_step();
  events_.clear();
  for (const StepPlan* plan : actions_.sends) {
    last_decodes_ = static_cast<int64_t>(plan->decode.size());
    flights_.push_back({plan->step, static_cast<size_t>(plan->num_samples())});
  }
  return time;
}

}  // namespace quire::engine
