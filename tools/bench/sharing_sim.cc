#include "tools/bench/sharing_sim.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/engine/core.h"
#include "tools/bench/serve_workload.h"

namespace quire::bench {
namespace {

constexpr int32_t kVocab = 32000;
constexpr int32_t kToken = 1;  // every draw
// Virtual time of a step: only the load that it makes of the arrivals matters.
constexpr absl::Duration kStepTime = absl::Milliseconds(15);
constexpr absl::Duration kTokenTime = absl::Microseconds(20);

// The most probable tokens of a made-up model, best first: the first has a share of the probability that is uniform in
// [0.4, 0.98), the next has the same share of the rest, and so on. The more certain the model, the longer beams stay
// apart and the less they share; with these bounds two beams share about what the paper reports for two.
TokenLogprobs MakeRow(int32_t size, std::mt19937_64* random) {
  const double share = 0.4 + 0.58 * static_cast<double>((*random)() >> 11) * 0x1p-53;
  TokenLogprobs row;
  double rest = 1;
  for (int32_t i = 0; i < size; ++i) {
    row.top.emplace_back(i, static_cast<float>(std::log(rest * share)));
    rest *= 1 - share;
  }
  return row;
}

class VirtualServer {
 public:
  // Called after every turn that planned something, with what it planned.
  using Observer = std::function<void(const std::vector<const StepPlan*>& plans, const engine::CoreStats& stats)>;

  VirtualServer(const SharingOptions& options, Observer observer)
      : core_(MakeCoreOptions(options)), observer_(std::move(observer)) {
    Turn({});
    ReplicaInfo info;
    info.epoch = core_.epoch();
    info.vocab_size = kVocab;
    info.max_model_len = 1 << 20;
    info.device_blocks = options.num_blocks;
    info.block_size = static_cast<int32_t>(options.block_size);
    Turn({engine::ReplicaFormedEvent{info}});
  }

  void Run(const std::vector<TraceRequest>& trace) {
    size_t next = 0, ended = 0;
    while (ended < trace.size()) {
      std::vector<engine::Event> events;
      const absl::Time arrival = next < trace.size() ? kStart + trace[next].arrival : absl::InfiniteFuture();
      const absl::Time done = in_flight_.empty() ? absl::InfiniteFuture() : in_flight_.front().done;
      CHECK(std::min(arrival, done) < absl::InfiniteFuture()) << "nothing to do with " << ended << " requests ended";
      now_ = std::max(now_, std::min(arrival, done));
      if (arrival <= done) {
        events.push_back(engine::SubmitEvent{next + 1, MakeRequest(trace[next], next)});
        ++next;
      } else {
        StepResult result = std::move(in_flight_.front().result);
        in_flight_.pop_front();
        events.push_back(engine::StepDoneEvent{std::move(result)});
      }
      ended += Turn(std::move(events));
    }
  }

  engine::CoreStats stats() const { return core_.stats(); }

 private:
  struct Flight {
    absl::Time done;
    StepResult result;
  };

  static engine::CoreOptions MakeCoreOptions(const SharingOptions& options) {
    engine::CoreOptions core;
    core.scheduler.max_num_seqs = options.max_num_seqs;
    core.scheduler.max_num_batched_tokens = options.max_num_batched_tokens;
    // What the requests of a trace have in common is not what is measured.
    core.scheduler.kv.enable_prefix_caching = false;
    core.max_queue_len = 1 << 20;
    return core;
  }

  static request::Request MakeRequest(const TraceRequest& from, size_t index) {
    request::Request request;
    request.request_id = absl::StrCat(index);
    request.prompt_ids.assign(static_cast<size_t>(from.prompt_len), kToken);
    request.params.max_tokens = from.output_len;
    request.params.n = from.n;
    request.params.beam_width = from.beam_width;
    request.params.ignore_eos = true;
    return request;
  }

  // Returns how many requests ended.
  size_t Turn(std::vector<engine::Event> events) {
    actions_.clear();
    core_.Step(&events, now_, &actions_);
    for (const StepPlan* plan : actions_.sends) {
      Flight flight;
      const absl::Time start = in_flight_.empty() ? now_ : in_flight_.back().done;
      flight.done = start + kStepTime + kTokenTime * plan->num_tokens();
      flight.result.epoch = plan->epoch;
      flight.result.step = plan->step;
      flight.result.tokens.assign(static_cast<size_t>(plan->num_samples()), kToken);
      for (const NewSequence& fresh : plan->new_sequences) row_size_ = fresh.sampling.num_logprobs;
      for (int64_t i = 0; row_size_ > 0 && i < plan->num_samples(); ++i) {
        flight.result.logprobs.push_back(MakeRow(row_size_, &random_));
      }
      flight.result.ranks.resize(1);
      in_flight_.push_back(std::move(flight));
    }
    if (!actions_.sends.empty()) observer_(actions_.sends, core_.stats());
    for (const engine::EndAction& end : actions_.ends) CHECK(end.status.ok()) << end.status;
    return actions_.ends.size();
  }

  static constexpr absl::Time kStart = absl::UnixEpoch();
  engine::Core core_;
  const Observer observer_;
  absl::Time now_ = kStart;
  engine::Actions actions_;
  std::deque<Flight> in_flight_;
  int32_t row_size_ = -1;  // the same for all sequences of a trace
  std::mt19937_64 random_{1};
};

// Blocks of `n` choices with `outputs` computed tokens each after one prompt, when all that is equal is shared.
int64_t IdealBlocks(const TraceRequest& request, int64_t outputs, int64_t block_size) {
  const auto blocks = [block_size](int64_t tokens) { return (tokens + block_size - 1) / block_size; };
  if (outputs == 0) return blocks(request.prompt_len);
  const int64_t shared = request.prompt_len / block_size;
  return shared + request.n * (blocks(request.prompt_len + outputs) - shared);
}

}  // namespace

SharingFigures RunTrace(const SharingOptions& options, const std::vector<TraceRequest>& trace) {
  SharingFigures figures;
  double slots = 0, tokens = 0, used = 0, tables = 0;
  int64_t outputs = 0;  // computed by each choice; of the only request
  const auto observe = [&](const std::vector<const StepPlan*>& plans, const engine::CoreStats& stats) {
    for (const StepPlan* plan : plans) {
      ++figures.steps;
      for (const PrefillItem& item : plan->prefill) figures.prefill_tokens += item.num_tokens;
      outputs += !plan->decode.empty();
    }
    slots += static_cast<double>(stats.blocks_used * options.block_size);
    tokens += static_cast<double>(stats.tokens_used);
    used += static_cast<double>(stats.blocks_used);
    tables += static_cast<double>(stats.table_blocks);
    if (trace.size() != 1 || stats.blocks_used == 0) return;
    const int64_t ideal = IdealBlocks(trace[0], outputs, options.block_size);
    figures.above_ideal =
        std::max(figures.above_ideal, static_cast<double>(stats.blocks_used) / static_cast<double>(ideal) - 1);
  };
  VirtualServer server(options, observe);
  server.Run(trace);
  const engine::CoreStats stats = server.stats();
  figures.forks = stats.planned.forks;
  figures.block_copies = stats.planned.block_copies;
  figures.preemptions = stats.num_preemptions;
  figures.waste = slots == 0 ? 0 : 1 - tokens / slots;
  figures.saved = tables == 0 ? 0 : 1 - used / tables;
  return figures;
}

std::vector<TraceRequest> MakeTrace(const TraceOptions& options) {
  WorkloadOptions workload;
  workload.seed = options.seed;
  workload.shape = options.shape;
  workload.vocab_size = kVocab;
  workload.max_model_len = 1 << 20;
  const std::vector<absl::Duration> arrivals = PoissonArrivals(options.seed, options.rate, options.count);
  std::vector<TraceRequest> trace;
  for (int64_t i = 0; i < options.count; ++i) {
    const RequestSpec spec = MakeRequestSpec(workload, i);
    trace.push_back({arrivals[static_cast<size_t>(i)], static_cast<int64_t>(spec.prompt_ids.size()), spec.output_len,
                     options.n, options.beam_width});
  }
  return trace;
}

}  // namespace quire::bench
