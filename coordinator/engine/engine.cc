// The engine thread: drain inbox -> core -> send -> emit. See engine.h.
//
// Threads: callers push under inbox_mu_; the engine thread alone touches core_ and sinks_; snapshot_ is under
// snapshot_mu_.
#include "coordinator/engine/engine.h"

#include <glog/logging.h>

#include <algorithm>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "coordinator/engine/core.h"
#include "coordinator/engine/make_core_options.h"
#include "coordinator/engine/stats_line.h"
#include "coordinator/engine/step_stats.h"

namespace quire::engine {

namespace {

// How long after its last step a busy engine still counts as making progress.
constexpr absl::Duration kReadyAge = absl::Seconds(2);
constexpr absl::Duration kBurstRetry = absl::Milliseconds(100);  // the inbox is taken over at every turn
constexpr absl::Duration kSnapshotAge = absl::Milliseconds(20);

}  // namespace

class Engine::Impl final : public cluster::WorkerGroup::Listener {
 public:
  Impl(const EngineOptions& options, cluster::WorkerGroup* group)
      : options_(options),
        group_(group),
        core_(MakeCoreOptions(options, [this] { Poke(); })),
        thread_([this] { Loop(); }) {}

  ~Impl() override { Stop(absl::ZeroDuration()); }

  absl::Status Submit(uint64_t id, request::Request request, std::unique_ptr<RequestSink> sink);
  void Adopt(MovedRequest request);
  void Cancel(uint64_t id) { Push(CancelEvent{id, ""}); }
  void Poke() { Push(TickEvent{}); }
  Loads GetLoads() const;
  std::vector<StepSample> GetTimeline() const;
  BlockMap GetBlockMap();
  const metrics::StepMetrics& step_metrics() const { return step_metrics_; }
  absl::Status GetReplica(ReplicaInfo* info, cluster::ReplicaDescription* description) const;
  absl::Status WaitUntilFormed(absl::Duration timeout);
  bool Ready() const;
  void Stop(absl::Duration grace);

  void OnFormed(const ReplicaInfo& info, const cluster::ReplicaDescription& description) override;
  void OnStepDone(StepResult result) override { Push(StepDoneEvent{std::move(result)}); }
  void OnDown(uint64_t epoch, absl::Status reason) override { Push(ReplicaDownEvent{epoch, std::move(reason)}); }

 private:
  struct Snapshot {
    Loads loads;
    bool formed = false;
    bool failed = false;
    bool idle = true;
    absl::Time busy_since = absl::InfinitePast();        // valid iff not idle
    absl::Time oldest_arrival = absl::InfiniteFuture();  // of those that wait
    StepTimeline timeline;
    absl::Status down_reason;
    absl::Time last_step = absl::InfinitePast();
    absl::Time step_deadline = absl::InfinitePast();  // of the oldest step in flight
    ReplicaInfo info;
    cluster::ReplicaDescription description;
  };

  void Push(Event event) {
    absl::MutexLock lock(&inbox_mu_);
    inbox_.push_back(std::move(event));
  }
  bool HasNews() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_mu_) {
    return !inbox_.empty() || !adopted_.empty() || stopping_;
  }
  void Loop();
  // Moves the inbox into events_; returns false when it is time to leave.
  bool TakeEvents();
  void NoteSteps(absl::Time now);
  void Execute(absl::Time now);
  void AdoptArrivals(absl::Time now);
  void TellSiblings();
  void HandOver(absl::Time now);
  void Deliver(EmitAction* emit);
  void FinishRequest(const EndAction& end);
  void Publish(absl::Time now);
  void LogStats(absl::Time now);

  const EngineOptions options_;
  cluster::WorkerGroup* const group_;

  mutable absl::Mutex inbox_mu_;
  std::vector<Event> inbox_ ABSL_GUARDED_BY(inbox_mu_);
  std::unordered_map<uint64_t, std::unique_ptr<RequestSink>> arrivals_ ABSL_GUARDED_BY(inbox_mu_);
  QueueSize arriving_ ABSL_GUARDED_BY(inbox_mu_);  // of arrivals_
  std::vector<MovedRequest> adopted_ ABSL_GUARDED_BY(inbox_mu_);
  bool refusing_ ABSL_GUARDED_BY(inbox_mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(inbox_mu_) = false;
  bool drained_ ABSL_GUARDED_BY(inbox_mu_) = true;  // no live request

  mutable absl::Mutex snapshot_mu_;
  Snapshot snapshot_ ABSL_GUARDED_BY(snapshot_mu_);

  // Engine thread only.
  Core core_;
  std::unordered_map<uint64_t, std::unique_ptr<RequestSink>> sinks_;
  std::vector<Event> events_;
  std::vector<MovedRequest> adopting_;  // out of adopted_, not in the core yet
  Actions actions_;
  ReplicaState told_;  // what the siblings know
  BlockMapView block_map_;
  metrics::StepMetrics step_metrics_;
  StepStats stats_{&step_metrics_};
  int num_formations_ = 0;
  absl::Time last_log_ = absl::InfinitePast();
  absl::Time last_publish_ = absl::InfinitePast();
  bool published_idle_ = true;
  bool snapshot_is_old_ = false;  // something happened since last_publish_
  absl::Time last_step_ = absl::InfinitePast();
  absl::Time step_deadline_ = absl::InfinitePast();
  std::vector<RankUsage> ranks_;
  bool had_failed_ = false;
  bool reports_throughput_ = false;  // throughput of the last snapshot was not zero

  absl::Mutex stop_mu_;  // one Stop at a time
  std::thread thread_;   // last: starts when all else is there
};

absl::Status Engine::Impl::Submit(uint64_t id, request::Request request, std::unique_ptr<RequestSink> sink) {
  {
    absl::MutexLock lock(&snapshot_mu_);
    if (snapshot_.failed)
      return absl::UnavailableError(absl::StrCat("the model failed to load: ", snapshot_.down_reason.message()));
    if (snapshot_.loads.epoch == 0) return absl::UnavailableError("the model is still loading");
  }
  absl::MutexLock lock(&inbox_mu_);
  if (refusing_) return absl::UnavailableError("the server is shutting down");
  const QueueSize incoming = {1, static_cast<int64_t>(request.prompt_ids.size()), RequestBytes(request)};
  const absl::Status room = CheckQueue({options_.max_queue_len, options_.max_queue_tokens, options_.max_queue_bytes},
                                       arriving_, incoming, kBurstRetry);
  if (!room.ok()) return room;
  arriving_.Add(incoming);
  arrivals_.emplace(id, std::move(sink));
  inbox_.push_back(SubmitEvent{id, std::move(request)});
  drained_ = false;
  return absl::OkStatus();
}

void Engine::Impl::Adopt(MovedRequest request) {
  absl::MutexLock lock(&inbox_mu_);
  CHECK(!stopping_) << "a request comes to a stopped engine";
  adopted_.push_back(std::move(request));
  drained_ = false;
}

Loads Engine::Impl::GetLoads() const {
  const absl::Time now = absl::Now();
  absl::MutexLock lock(&snapshot_mu_);
  Loads loads = snapshot_.loads;
  loads.stale_replies_total += group_->stale_replies();
  // These go on although nothing happens.
  const auto age = [now](absl::Time since) { return std::max(0.0, absl::ToDoubleSeconds(now - since)); };
  if (!snapshot_.idle) loads.last_step_age_seconds = age(std::max(snapshot_.last_step, snapshot_.busy_since));
  if (loads.num_waiting_reqs > 0) loads.oldest_waiting_seconds = age(snapshot_.oldest_arrival);
  return loads;
}

std::vector<StepSample> Engine::Impl::GetTimeline() const {
  absl::MutexLock lock(&snapshot_mu_);
  return snapshot_.timeline.Get();
}

BlockMap Engine::Impl::GetBlockMap() {
  bool stale = false;
  BlockMap map = block_map_.Look(absl::Now(), &stale);
  if (stale) Poke();  // an idle engine has no other reason to draw
  return map;
}

absl::Status Engine::Impl::GetReplica(ReplicaInfo* info, cluster::ReplicaDescription* description) const {
  absl::MutexLock lock(&snapshot_mu_);
  if (snapshot_.failed) return absl::FailedPreconditionError(snapshot_.down_reason.message());
  if (snapshot_.info.epoch == 0) return absl::UnavailableError("the model is still loading");
  if (info != nullptr) *info = snapshot_.info;
  if (description != nullptr) *description = snapshot_.description;
  return absl::OkStatus();
}

absl::Status Engine::Impl::WaitUntilFormed(absl::Duration timeout) {
  absl::MutexLock lock(&snapshot_mu_);
  const auto settled = [this]()
                           ABSL_SHARED_LOCKS_REQUIRED(snapshot_mu_) { return snapshot_.formed || snapshot_.failed; };
  snapshot_mu_.AwaitWithTimeout(absl::Condition(&settled), timeout);
  if (snapshot_.formed) return absl::OkStatus();
  if (snapshot_.failed) return snapshot_.down_reason;
  return absl::DeadlineExceededError(absl::StrCat("the replica did not form within ", absl::FormatDuration(timeout)));
}

bool Engine::Impl::Ready() const {
  {
    absl::MutexLock lock(&inbox_mu_);
    if (refusing_) return false;
  }
  absl::MutexLock lock(&snapshot_mu_);
  if (!snapshot_.formed) return false;
  const absl::Time now = absl::Now();
  return snapshot_.idle || now - snapshot_.last_step < kReadyAge || now < snapshot_.step_deadline;
}

void Engine::Impl::OnFormed(const ReplicaInfo& info, const cluster::ReplicaDescription& description) {
  {
    absl::MutexLock lock(&snapshot_mu_);
    snapshot_.info = info;
    snapshot_.description = description;
  }
  Push(ReplicaFormedEvent{info});
}

void Engine::Impl::Stop(absl::Duration grace) {
  absl::MutexLock stop_lock(&stop_mu_);
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(&inbox_mu_);
    refusing_ = true;
    inbox_mu_.AwaitWithTimeout(absl::Condition(&drained_), grace);
    if (!drained_) {
      inbox_.push_back(
          EndAllEvent{absl::UnavailableError("the server is shutting down; send the request again elsewhere")});
    }
    stopping_ = true;
  }
  thread_.join();
  group_->Stop();
}

bool Engine::Impl::TakeEvents() {
  absl::MutexLock lock(&inbox_mu_);
  // While there is throughput to report it has to decay, even if nothing happens.
  const absl::Time decay = reports_throughput_ ? absl::Now() + absl::Seconds(1) : absl::InfiniteFuture();
  const absl::Time publish = snapshot_is_old_ ? last_publish_ + kSnapshotAge : absl::InfiniteFuture();
  inbox_mu_.AwaitWithDeadline(absl::Condition(this, &Impl::HasNews), std::min({core_.NextTimer(), decay, publish}));
  events_.clear();
  events_.swap(inbox_);
  for (auto& [id, sink] : arrivals_) sinks_.emplace(id, std::move(sink));
  arrivals_.clear();
  arriving_ = {};
  adopting_.swap(adopted_);
  return !(stopping_ && events_.empty() && adopting_.empty());
}

void Engine::Impl::Loop() {
  group_->SetListener(this);
  // The first turn forms epoch 1.
  do {
    const absl::Time now = absl::Now();
    NoteSteps(now);
    AdoptArrivals(now);
    core_.Step(&events_, now, &actions_);
    Execute(now);
    actions_.clear();
    HandOver(now);
    Publish(now);
    TellSiblings();
  } while (TakeEvents());
  for (auto& [id, sink] : sinks_) sink->OnEnd(absl::UnavailableError("the server is shutting down"), {});
}

// Before the events of this turn: one of them may cancel what came.
void Engine::Impl::AdoptArrivals(absl::Time now) {
  for (MovedRequest& request : adopting_) {
    sinks_.emplace(request.moved.group->id, std::move(request.sink));
    core_.Adopt(std::move(request.moved), now, &actions_);
  }
  adopting_.clear();
}

void Engine::Impl::TellSiblings() {
  if (options_.siblings == nullptr) return;
  ReplicaState state;
  state.formed = core_.formed();
  state.failed = core_.failed();
  state.has_formed = core_.has_formed();
  state.epoch = core_.epoch();
  state.num_blocks = core_.replica().device_blocks;
  state.block_size = core_.replica().block_size;
  if (state == told_) return;
  told_ = state;
  options_.siblings->OnState(state);
}

// Requests of a lost replica go to another one. Those under suspicion wait for its return, so that they end no other
// replica, unless it does not return.
void Engine::Impl::HandOver(absl::Time now) {
  if (options_.siblings == nullptr || core_.formed() || !core_.has_requests()) return;
  const bool any = core_.failed();
  const int64_t room = options_.siblings->RoomElsewhere(any);
  std::vector<MovedGroup> given;
  if (room > 0) given = core_.GiveUp(room, /*suspects=*/any);
  size_t num_moved = 0;
  for (MovedGroup& moved : given) {
    const auto sink = sinks_.find(moved.group->id);
    CHECK(sink != sinks_.end()) << "request " << moved.group->id << " has no sink";
    MovedRequest request{std::move(moved), std::move(sink->second)};
    sinks_.erase(sink);
    options_.siblings->Move(&request, any);
    if (request.sink == nullptr) {
      ++num_moved;
    } else {  // the other one was lost meanwhile
      adopting_.push_back(std::move(request));
    }
  }
  AdoptArrivals(now);
  if (num_moved > 0) LOG(INFO) << options_.log_prefix << num_moved << " request(s) go on elsewhere";
  if (any && core_.has_requests()) {
    events_.clear();
    events_.push_back(EndAllEvent{
        absl::UnavailableError(absl::StrCat("all replicas are lost, the last one: ", core_.down_reason().message()))});
    core_.Step(&events_, now, &actions_);
  }
  Execute(now);  // what ended just now
  actions_.clear();
}

// Keeps what the results say of time and usage before the core consumes them.
void Engine::Impl::NoteSteps(absl::Time now) {
  for (Event& event : events_) {
    if (auto* done = std::get_if<StepDoneEvent>(&event)) {
      if (done->result.epoch != core_.epoch()) continue;
      ranks_ = done->result.ranks;
      stats_.Done(done->result, now);
      last_step_ = now;
    } else if (const auto* formed = std::get_if<ReplicaFormedEvent>(&event)) {
      if (formed->info.epoch != core_.epoch()) continue;
      ++num_formations_;
      absl::MutexLock lock(&snapshot_mu_);
      const cluster::ReplicaDescription& d = snapshot_.description;
      stats_.SetCosts(static_cast<double>(d.weight_bytes), static_cast<double>(d.kv_bytes_per_token),
                      d.flops_per_token);
    }
  }
}

void Engine::Impl::Execute(absl::Time now) {
  if (actions_.form_epoch != 0) {
    if (!core_.down_reason().ok()) {
      LOG(WARNING) << options_.log_prefix << "replica down: " << core_.down_reason().message() << "; forming epoch "
                   << actions_.form_epoch;
    }
    stats_.Restart();
    for (RankUsage& rank : ranks_) rank.device_blocks_used = rank.host_blocks_used = 0;  // lost with the ranks
    group_->Form(actions_.form_epoch);
  }
  // Ranks first: they can work while tokens go out.
  for (const StepPlan* plan : actions_.sends) {
    group_->Send(*plan);
    stats_.Sent(*plan, now);
    step_deadline_ = now + absl::Milliseconds(plan->deadline_ms);
  }
  for (EmitAction& emit : actions_.emits) Deliver(&emit);
  for (const EndAction& end : actions_.ends) FinishRequest(end);
  if (!core_.failed()) had_failed_ = false;
  if (core_.failed() && !had_failed_) {
    had_failed_ = true;
    LOG(ERROR) << options_.log_prefix << "giving up on the replica: " << core_.down_reason();
  }
}

void Engine::Impl::Deliver(EmitAction* emit) {
  const auto it = sinks_.find(emit->id);
  CHECK(it != sinks_.end()) << "request " << emit->id << " has no sink";
  stats_.Tokens(static_cast<int64_t>(emit->delta.tokens.size()));
  it->second->OnDelta(emit->delta);
}

void Engine::Impl::FinishRequest(const EndAction& end) {
  const auto it = sinks_.find(end.id);
  CHECK(it != sinks_.end()) << "request " << end.id << " has no sink";
  it->second->OnEnd(end.status, end.timing);
  sinks_.erase(it);
}

void Engine::Impl::Publish(absl::Time now) {
  if (sinks_.empty()) {
    absl::MutexLock lock(&inbox_mu_);
    drained_ = arrivals_.empty();
  }
  // A snapshot per step would cost more than it tells, but idle spells have to begin and end in it at once: Ready()
  // reads them.
  const bool idle = core_.num_in_flight() == 0;
  snapshot_is_old_ = !idle && !published_idle_ && now - last_publish_ < kSnapshotAge;
  if (snapshot_is_old_) return;
  last_publish_ = now;
  published_idle_ = idle;
  if (core_.scheduler() != nullptr) block_map_.Refresh(now, core_.scheduler()->kv());
  const CoreStats core = core_.stats();
  Loads loads = MakeLoads(core, stats_);
  loads.epoch = core_.formed() ? core_.epoch() : 0;
  loads.gen_throughput = stats_.Throughput(now);
  reports_throughput_ = loads.gen_throughput > 0;
  loads.num_recoveries = std::max(0, num_formations_ - 1);
  loads.read_bytes_per_second = stats_.ReadBytesPerSecond(now);
  loads.flops_per_second = stats_.FlopsPerSecond(now);
  loads.ranks = ranks_;
  stats_.SetLiveTokens(core.tokens_used);
  {
    absl::MutexLock lock(&snapshot_mu_);
    loads.max_total_num_tokens = core.blocks_total * snapshot_.info.block_size;
    loads.fragmentation = core.fragmentation(snapshot_.info.block_size);
    if (loads.epoch == 0) loads.epoch = snapshot_.loads.epoch;  // re-forming: requests may queue
    snapshot_.loads = std::move(loads);
    snapshot_.formed = core_.formed();
    snapshot_.failed = core_.failed();
    snapshot_.down_reason = core_.down_reason();
    if (snapshot_.idle && !idle) snapshot_.busy_since = now;
    snapshot_.idle = idle;
    snapshot_.oldest_arrival = core.oldest_waiting;
    snapshot_.timeline = stats_.timeline();
    snapshot_.last_step = last_step_;
    snapshot_.step_deadline = step_deadline_;
  }
  LogStats(now);
}

void Engine::Impl::LogStats(absl::Time now) {
  if (core_.num_in_flight() == 0 || now - last_log_ < options_.stats_interval) return;
  last_log_ = now;
  StatsLineInput input;
  input.core = core_.stats();
  input.ranks = ranks_;
  input.tokens_per_second = stats_.Throughput(now);
  input.step_seconds_p50 = stats_.StepP50();
  {
    absl::MutexLock lock(&snapshot_mu_);
    input.block_size = snapshot_.info.block_size;
  }
  LOG(INFO) << options_.log_prefix << StatsLine(input);
}

Engine::Engine(const EngineOptions& options, cluster::WorkerGroup* group)
    : impl_(std::make_unique<Impl>(options, group)) {}
Engine::~Engine() = default;
absl::Status Engine::Submit(uint64_t id, request::Request request, std::unique_ptr<RequestSink> sink) {
  return impl_->Submit(id, std::move(request), std::move(sink));
}
void Engine::Adopt(MovedRequest request) { impl_->Adopt(std::move(request)); }
void Engine::Cancel(uint64_t id) { impl_->Cancel(id); }
void Engine::Poke() { impl_->Poke(); }
Loads Engine::GetLoads() const { return impl_->GetLoads(); }
std::vector<StepSample> Engine::GetTimeline() const { return impl_->GetTimeline(); }
BlockMap Engine::GetBlockMap() { return impl_->GetBlockMap(); }
const metrics::StepMetrics& Engine::step_metrics() const { return impl_->step_metrics(); }
absl::Status Engine::GetReplica(ReplicaInfo* info, cluster::ReplicaDescription* description) const {
  return impl_->GetReplica(info, description);
}
absl::Status Engine::WaitUntilFormed(absl::Duration timeout) { return impl_->WaitUntilFormed(timeout); }
bool Engine::Ready() const { return impl_->Ready(); }
void Engine::Stop(absl::Duration grace) { impl_->Stop(grace); }

}  // namespace quire::engine
