// See policies_replay.h.
#include "tools/bench/policies_replay.h"

#include <glog/logging.h>

#include <algorithm>
#include <deque>
#include <queue>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/engine/core.h"

namespace quire::bench {
namespace {

using engine::Event;

// The ranks: how long each plan takes, by their own count of every sequence's tokens.
class FakeRanks {
 public:
  explicit FakeRanks(const Machine& machine) : machine_(machine) {}

  // Seconds of the whole step, and thereof for moving blocks.
  std::pair<double, double> Run(const StepPlan& plan) {
    for (uint32_t seq : plan.finished) CHECK_EQ(computed_.erase(seq), 1u);
    for (const NewSequence& fresh : plan.new_sequences) computed_[fresh.seq] = fresh.num_computed;
    double seconds = plan.decode.empty() && plan.prefill.empty() ? 0 : machine_.base;
    for (uint32_t seq : plan.decode) {
      seconds += machine_.decode + machine_.context * static_cast<double>(++computed_.at(seq));
    }
    for (const PrefillItem& item : plan.prefill) {
      int64_t& computed = computed_.at(item.seq);
      const double tokens = item.num_tokens;
      seconds += machine_.prefill * tokens + machine_.pair * tokens * (static_cast<double>(computed) + tokens / 2);
      computed += item.num_tokens;
    }
    const double moving = machine_.swapped_block * static_cast<double>(plan.swap_outs.size() + plan.swap_ins.size());
    return {seconds + moving, moving};
  }

 private:
  const Machine machine_;
  std::unordered_map<uint32_t, int64_t> computed_;
};

class Replayer {
 public:
  explicit Replayer(const ReplayOptions& options)
      : options_(options), ranks_(options.machine), core_(MakeCoreOptions(options)), sent_(options.clients.size()) {}

  ReplayResult Run();

 private:
  struct Flight {
    double done = 0;
    StepResult result;
  };
  struct Live {
    size_t client = 0;
    double arrival = 0;
    double last_token = -1;
  };

  static engine::CoreOptions MakeCoreOptions(const ReplayOptions& options) {
    engine::CoreOptions core;
    core.scheduler = options.scheduler;
    core.max_queue_len = 1 << 20;
    return core;
  }

  absl::Time At(double seconds) const { return absl::UnixEpoch() + absl::Seconds(seconds); }
  bool counts() const { return now_ >= options_.warmup; }
  void Form();
  void Turn(std::vector<Event> events);
  void Send(const StepPlan& plan);
  Event Arrive(size_t client);
  void Receive(const engine::EmitAction& emit);

  const ReplayOptions& options_;
  FakeRanks ranks_;
  engine::Core core_;
  double now_ = 0;
  double ranks_free_ = 0;
  std::deque<Flight> flights_;
  using Arrival = std::pair<double, size_t>;  // when, client
  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<Arrival>> arrivals_;
  std::vector<int64_t> sent_;  // requests by client
  std::unordered_map<uint64_t, Live> live_;
  uint64_t next_id_ = 1;
  int64_t tokens_ = 0;
  double block_seconds_ = 0;  // since warmup
  ReplayResult result_;
};

void Replayer::Form() {
  Turn({});
  ReplicaInfo info;
  info.epoch = core_.epoch();
  info.vocab_size = 1 << 20;
  info.max_model_len = 1 << 20;
  info.device_blocks = options_.device_blocks;
  info.host_blocks = options_.host_blocks;
  info.block_size = 16;
  Turn({engine::ReplicaFormedEvent{info}});
}

Event Replayer::Arrive(size_t client) {
  const Client& c = options_.clients[client];
  const Lengths lengths = c.next(sent_[client]);
  engine::SubmitEvent event;
  event.id = next_id_++;
  event.request.request_id = absl::StrCat(event.id);
  event.request.tenant = c.tenant;
  event.request.prompt_ids.resize(lengths.prompt);
  for (int64_t i = 0; i < lengths.prompt; ++i) {  // nobody shares a prefix with another
    event.request.prompt_ids[i] = static_cast<int32_t>((event.id * 7919 + static_cast<uint64_t>(i)) % 1000003);
  }
  event.request.params.max_tokens = static_cast<uint32_t>(lengths.output);
  event.request.params.ignore_eos = true;
  ++sent_[client];
  live_[event.id] = {client, now_, -1};
  return event;
}

void Replayer::Send(const StepPlan& plan) {
  const auto [seconds, moving] = ranks_.Run(plan);
  ranks_free_ = std::max(ranks_free_, now_) + seconds;
  Flight flight;
  flight.done = ranks_free_;
  flight.result.epoch = plan.epoch;
  flight.result.step = plan.step;
  flight.result.tokens.assign(plan.num_samples(), 42);
  flight.result.ranks.resize(1);
  flight.result.ranks[0].exec_us = static_cast<uint32_t>(seconds * 1e6);
  flight.result.ranks[0].swap_us = static_cast<uint32_t>(moving * 1e6);
  flights_.push_back(std::move(flight));
}

void Replayer::Receive(const engine::EmitAction& emit) {
  Live& live = live_.at(emit.id);
  if (counts()) {
    ++tokens_;
    ++result_.tenant_tokens[options_.clients[live.client].tenant];
    if (live.last_token >= 0) {
      result_.token_seconds.push_back(now_ - live.last_token);
    } else {
      const double waited = now_ - live.arrival;
      result_.first_token_seconds.push_back(waited);
      double& slowest = result_.slowest_first_token[static_cast<int64_t>(live.client)];
      slowest = std::max(slowest, waited);
    }
  }
  live.last_token = now_;
}

void Replayer::Turn(std::vector<Event> events) {
  engine::Actions actions;
  core_.Step(&events, At(now_), &actions);
  for (const StepPlan* plan : actions.sends) Send(*plan);
  for (const engine::EmitAction& emit : actions.emits) Receive(emit);
  for (const engine::EndAction& end : actions.ends) {
    CHECK(end.status.ok()) << end.status;
    const size_t client = live_.at(end.id).client;
    live_.erase(end.id);
    if (counts()) ++result_.requests_finished;
    const int64_t most = options_.clients[client].num_requests;
    if (most < 0 || sent_[client] < most) arrivals_.emplace(now_, client);
  }
}

ReplayResult Replayer::Run() {
  Form();
  for (size_t i = 0; i < options_.clients.size(); ++i) arrivals_.emplace(options_.clients[i].start, i);
  engine::CoreStats before;
  bool warm = false;
  while (!arrivals_.empty() || !flights_.empty()) {
    double next = arrivals_.empty() ? flights_.front().done : arrivals_.top().first;
    if (!flights_.empty()) next = std::min(next, flights_.front().done);
    if (next > options_.end) break;
    const engine::CoreStats stats = core_.stats();
    if (warm) block_seconds_ += static_cast<double>(stats.blocks_used) * (next - now_);
    now_ = next;
    if (!warm && counts()) {
      warm = true;
      before = stats;
    }
    std::vector<Event> events;
    while (!flights_.empty() && flights_.front().done <= now_) {
      events.push_back(engine::StepDoneEvent{std::move(flights_.front().result)});
      flights_.pop_front();
    }
    while (!arrivals_.empty() && arrivals_.top().first <= now_) {
      const size_t client = arrivals_.top().second;
      arrivals_.pop();
      events.push_back(Arrive(client));
    }
    Turn(std::move(events));
  }
  const engine::CoreStats stats = core_.stats();
  const double counted = std::max(1e-9, now_ - options_.warmup);
  result_.tokens_per_second = static_cast<double>(tokens_) / counted;
  result_.preemptions = stats.num_preemptions - before.num_preemptions;
  result_.swaps = stats.num_swaps - before.num_swaps;
  result_.most_preemptions = stats.most_preemptions;
  result_.blocks_used = block_seconds_ / counted / static_cast<double>(options_.device_blocks);
  std::sort(result_.first_token_seconds.begin(), result_.first_token_seconds.end());
  std::sort(result_.token_seconds.begin(), result_.token_seconds.end());
  return std::move(result_);
}

}  // namespace

ReplayResult Replay(const ReplayOptions& options) { return Replayer(options).Run(); }

double Percentile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return 0;
  const double at = p * static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<size_t>(at + 0.5)];
}

}  // namespace quire::bench
