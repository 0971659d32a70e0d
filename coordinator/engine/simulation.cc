// The simulated cluster. See simulation.h.
#include "coordinator/engine/simulation.h"

#include <glog/logging.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "coordinator/engine/core.h"
#include "coordinator/engine/testing/sim_client.h"
#include "coordinator/engine/testing/sim_cluster.h"
#include "coordinator/engine/testing/sim_loop.h"
#include "coordinator/engine/testing/sim_requests.h"

namespace quire::engine {

void SimTotals::Add(const SimTotals& o) {
  seeds += o.seeds, steps += o.steps, tokens += o.tokens, requests += o.requests, finished += o.finished;
  cancelled += o.cancelled, expired += o.expired, refused += o.refused, failed += o.failed;
  preemptions += o.preemptions, swaps += o.swaps, forks += o.forks, copies += o.copies, cache_hits += o.cache_hits;
  drafted += o.drafted, accepted += o.accepted;
  epochs += o.epochs, replies_dropped += o.replies_dropped, results_dropped += o.results_dropped, time += o.time;
}

namespace {

constexpr int64_t kMaxTurns = 200000;  // of one seed

class Simulation {
 public:
  Simulation(uint64_t seed, const SimSettings& settings)
      : loop_(seed, settings.trace),
        model_(DrawModel(&loop_)),
        options_(DrawOptions(&loop_)),
        core_(WithWake(options_)) {
    cluster_ = std::make_unique<SimCluster>(DrawCluster(), &loop_, [this](Event event) { Deliver(std::move(event)); });
  }

  SimTotals Run();

 private:
  CoreOptions WithWake(CoreOptions options) {
    options.wake = [this] { Deliver(TickEvent{}); };
    return options;
  }
  SimClusterOptions DrawCluster();
  void ScheduleArrivals();
  void Arrive(absl::Time at);
  void Deliver(Event event);
  void Turn();
  void CheckFairness(const std::map<std::string, double>& before) const;
  std::map<std::string, double> TenantsBefore() const;
  void Describe(const Event& event) const;
  void End(const EndAction& end);
  void CheckDeadlines() const;
  SimTotals CheckAtEnd();

  SimLoop loop_;
  const SimModel model_;
  const CoreOptions options_;
  Core core_;
  std::unique_ptr<SimCluster> cluster_;
  std::vector<Event> inbox_;
  bool awake_ = false;  // a turn is scheduled
  double wake_ms_ = 0;  // mean time of the engine thread to wake up
  std::map<uint64_t, std::unique_ptr<SimClient>> clients_;
  std::set<std::pair<absl::Time, uint64_t>> deadlines_;  // of live requests
  std::string last_label_;
  uint64_t next_id_ = 1;
  Actions actions_;
  SimTotals totals_;
};

SimClusterOptions Simulation::DrawCluster() {
  SimClusterOptions cluster;
  cluster.world_size = loop_.Chance(0.6) ? 1 : static_cast<int>(loop_.Uniform(2, 4));
  cluster.model = model_;
  cluster.limits = options_.scheduler;
  cluster.step_ms = static_cast<double>(loop_.Uniform(2, 40));
  cluster.network_ms = loop_.Chance(0.8) ? 0.3 : 20;
  cluster.rank_fault = loop_.Chance(0.5) ? 0.01 : 0;
  cluster.bad_reply = loop_.Chance(0.4) ? 0.03 : 0;
  cluster.formation_fault = loop_.Chance(0.5) ? 0.5 : 0.1;
  cluster.faults_left = static_cast<int>(loop_.Uniform(0, 8));
  cluster.never_forms = loop_.Chance(0.002);
  wake_ms_ = loop_.Chance(0.8) ? 0.05 : 10;
  return cluster;
}

// --- clients ---

void Simulation::Arrive(absl::Time at) {
  const uint64_t id = next_id_++;
  SimClientOptions client;
  client.id = id;
  client.vocab = model_.vocab;
  client.request = DrawRequest(&loop_, model_);
  client.request.request_id = loop_.Chance(0.02) && !last_label_.empty() ? last_label_ : absl::StrCat("r", id);
  client.request.params.seed = loop_.Word();
  if (client.request.deadline != absl::InfiniteFuture()) client.request.deadline += at - loop_.now();
  client.poison = loop_.Chance(0.003);
  // The best of several samples are answered at the end, not streamed.
  if (loop_.Chance(0.3) && client.request.params.best_of <= client.request.params.n) {
    client.read_ms = loop_.Chance(0.5) ? 2 : 400;
    client.leaves = loop_.Chance(0.2) ? 0.1 : 0;
  }
  last_label_ = client.request.request_id;
  cluster_->AddSequenceSeed(client.request.params.seed, TenantSalt(client.request.tenant), client.poison);
  if (loop_.Chance(0.2)) {
    const CancelEvent cancel{loop_.Chance(0.5) ? id : 0, last_label_};
    loop_.At(at + loop_.Delay(200), [this, cancel] { Deliver(cancel); });
  }
  request::Request request = client.request;
  clients_[id] = std::make_unique<SimClient>(std::move(client), &loop_, [this](uint64_t gone) {
    Deliver(CancelEvent{gone, ""});
  });
  loop_.At(at, [this, id, request = std::move(request)]() mutable {
    deadlines_.emplace(request.deadline, id);
    Deliver(SubmitEvent{id, std::move(request)});
  });
}

void Simulation::ScheduleArrivals() {
  const int64_t count = loop_.Chance(0.8) ? loop_.Uniform(1, 60) : loop_.Uniform(100, 500);
  const double gap_ms = loop_.Chance(0.5) ? 50 : 300;
  absl::Time at = loop_.now() + (loop_.Chance(0.9) ? absl::Seconds(4) : absl::ZeroDuration());
  for (int64_t i = 0; i < count; ++i) {
    if (loop_.Chance(0.6)) at += loop_.Delay(gap_ms);
    if (loop_.Chance(0.02)) at += absl::Seconds(20);  // an idle spell
    Arrive(at);
  }
  totals_.requests = count;
}

// --- the engine's shell ---

// The engine thread takes all that has come by the time it wakes up.
void Simulation::Deliver(Event event) {
  inbox_.push_back(std::move(event));
  if (awake_) return;
  awake_ = true;
  loop_.After(loop_.Delay(wake_ms_), [this] { Turn(); });
}

void Simulation::Describe(const Event& event) const {
  if (!loop_.traces()) return;
  if (const auto* submit = std::get_if<SubmitEvent>(&event)) {
    const request::SamplingParams& p = submit->request.params;
    loop_.Trace("client ", submit->id, ": submits ", submit->request.request_id, ", prompt ",
                submit->request.prompt_ids.size(), ", max_tokens ", p.max_tokens, ", min_tokens ", p.min_tokens, ", n ",
                p.n, ", beam_width ", p.beam_width, ", stop [", absl::StrJoin(p.stop, " "), "] ids [",
                absl::StrJoin(p.stop_token_ids, " "), "]");
  } else if (const auto* cancel = std::get_if<CancelEvent>(&event)) {
    loop_.Trace("client ", cancel->id, ": cancels ", cancel->request_id);
  } else if (const auto* done = std::get_if<StepDoneEvent>(&event)) {
    loop_.Trace("group: epoch ", done->result.epoch, " step ", done->result.step, " is answered");
  }
}

void Simulation::Turn() {
  awake_ = false;
  std::vector<Event> events;
  events.swap(inbox_);
  if (events.empty()) events.push_back(TickEvent{});
  for (const Event& event : events) Describe(event);
  const std::map<std::string, double> tenants = TenantsBefore();
  actions_.clear();
  core_.Step(&events, loop_.now(), &actions_);
  core_.CheckInvariants();
  for (const EmitAction& emit : actions_.emits) clients_.at(emit.id)->OnDelta(emit.delta);
  for (const EndAction& end : actions_.ends) End(end);
  CheckDeadlines();
  CheckFairness(tenants);
  if (actions_.form_epoch != 0) {
    loop_.Trace("core: forms epoch ", actions_.form_epoch);
    cluster_->Form(actions_.form_epoch);
  }
  for (const StepPlan* plan : actions_.sends) cluster_->Send(*plan);
}

void Simulation::End(const EndAction& end) {
  SimClient& client = *clients_.at(end.id);
  loop_.Trace("client ", end.id, ": ends, ", end.status.ok() ? "OK" : end.status.ToString());
  deadlines_.erase({client.request().deadline, end.id});
  client.OnEnd(end.status);
  const absl::Status& s = end.status;
  totals_.finished += s.ok();
  totals_.cancelled += absl::IsCancelled(s);
  totals_.expired += absl::IsDeadlineExceeded(s);
  totals_.failed += absl::IsInternal(s) || absl::IsUnavailable(s);
  totals_.refused += absl::IsResourceExhausted(s) || absl::IsAlreadyExists(s) || absl::IsInvalidArgument(s);
  if (absl::IsDeadlineExceeded(s)) CHECK_GE(loop_.now(), client.request().deadline) << "expired too early";
}

// --- checks ---

void Simulation::CheckDeadlines() const {
  if (deadlines_.empty() || deadlines_.begin()->first > loop_.now()) return;
  const uint64_t id = deadlines_.begin()->second;
  // What waits in the inbox has not reached the core.
  const bool arrived = std::none_of(inbox_.begin(), inbox_.end(), [id](const Event& event) {
    const auto* submit = std::get_if<SubmitEvent>(&event);
    return submit != nullptr && submit->id == id;
  });
  CHECK(!arrived) << clients_.at(id)->request().request_id << " outlives its deadline";
}

// Counters of the tenants that have live requests.
std::map<std::string, double> Simulation::TenantsBefore() const {
  std::map<std::string, double> out;
  if (core_.scheduler() == nullptr) return out;
  core_.ForEachLive([&](const request::SequenceGroup& group) {
    if (group.prepares) return;
    out[group.request.tenant] = core_.scheduler()->tenants().counter(group.request.tenant);
  });
  return out;
}

// V1 of the tenants' counters: while somebody is active, nobody comes back below the least of the active ones.
void Simulation::CheckFairness(const std::map<std::string, double>& before) const {
  const std::map<std::string, double> now = TenantsBefore();
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [tenant, counter] : before) {
    least = std::min(least, counter);
    if (now.count(tenant) > 0) {
      CHECK_GE(now.at(tenant), counter) << "the counter of tenant \"" << tenant << "\" falls";
    }
  }
  // Who left in this turn may have left before the others came.
  if (before.empty() || !actions_.ends.empty()) return;
  for (const auto& [tenant, counter] : now) {
    CHECK_GE(counter, least) << "tenant \"" << tenant << "\" came back below all others";
  }
}

SimTotals Simulation::CheckAtEnd() {
  for (const auto& [id, client] : clients_) client->CheckDone();
  const CoreStats stats = core_.stats();
  CHECK_EQ(stats.blocks_used, 0) << "blocks leak";
  CHECK_EQ(stats.host_blocks_used, 0) << "host blocks leak";
  CHECK_EQ(stats.num_running_reqs + stats.num_waiting_reqs, 0);
  CHECK_EQ(core_.num_in_flight(), 0);
  cluster_->CheckIdle();
  const SimClusterStats& cluster = cluster_->stats();
  totals_.seeds = 1;
  totals_.steps = cluster.steps;
  totals_.tokens = cluster.tokens;
  totals_.forks = cluster.forks;
  totals_.copies = cluster.copies;
  totals_.epochs = cluster.epochs;
  totals_.replies_dropped = cluster.dropped;
  totals_.results_dropped = stats.stale_results;
  totals_.preemptions = stats.num_preemptions;
  totals_.swaps = stats.num_swaps;
  totals_.drafted = stats.num_drafted;
  totals_.accepted = stats.num_accepted;
  totals_.cache_hits = stats.cache_hit_tokens;
  totals_.time = loop_.elapsed();
  return totals_;
}

SimTotals Simulation::Run() {
  ScheduleArrivals();
  Turn();  // forms the first epoch
  for (int64_t turns = 0;; ++turns) {
    CHECK_LT(turns, kMaxTurns) << "no progress";
    const absl::Time timer = core_.NextTimer(), step = cluster_->NextDeadline(), next = loop_.next();
    const absl::Time first = std::min({timer, step, next});
    if (first == absl::InfiniteFuture()) break;
    if (next == first) {
      loop_.RunNext();
      continue;
    }
    loop_.AdvanceTo(first);
    if (step == first) {
      cluster_->CheckDeadline();
    } else {
      Turn();
    }
  }
  return CheckAtEnd();
}

}  // namespace

SimTotals RunSimulation(uint64_t seed, const SimSettings& settings) { return Simulation(seed, settings).Run(); }

}  // namespace quire::engine
