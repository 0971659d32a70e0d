// Routing, hand-over, and the table of live requests. See replicas.h.
#include "coordinator/engine/replicas.h"

#include <glog/logging.h>

#include <algorithm>
#include <random>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "coordinator/engine/router.h"

namespace quire::engine {
namespace {

// Nobody knows how much a request will generate; most generate less than they may.
constexpr uint32_t kExpectedOutput = 512;  // tokens per sequence

int64_t LoadTokens(const request::Request& request) {
  return static_cast<int64_t>(request.prompt_ids.size()) +
         int64_t{request::NumPlaces(request.params)} * std::min(request.params.max_tokens, kExpectedOutput);
}

uint64_t RandomSecret() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace

class Replicas::Impl {
 public:
  Impl(const EngineOptions& options, const std::vector<cluster::WorkerGroup*>& groups);
  ~Impl() { Stop(absl::ZeroDuration()); }

  absl::StatusOr<uint64_t> Submit(request::Request request, std::unique_ptr<RequestSink> sink);
  void Cancel(uint64_t id);
  void Abort(const std::string& request_id);
  Loads GetLoads() const;
  std::vector<ReplicaReport> GetReports() const;
  std::vector<StepSample> GetTimeline(int replica) const {
    return engines_[static_cast<size_t>(replica)]->GetTimeline();
  }
  BlockMap GetBlockMap(int replica) { return engines_[static_cast<size_t>(replica)]->GetBlockMap(); }
  absl::Status GetReplica(ReplicaInfo* info, cluster::ReplicaDescription* description) const;
  absl::Status WaitUntilFormed(absl::Duration timeout);
  bool Ready() const;
  void Stop(absl::Duration grace);

 private:
  // Where an engine meets the others.
  class Port final : public Siblings {
   public:
    Port(Impl* owner, int replica) : owner_(owner), replica_(replica) {}
    void OnState(const ReplicaState& state) override { owner_->OnState(replica_, state); }
    int64_t RoomElsewhere(bool any) override { return owner_->RoomElsewhere(replica_, any); }
    void Move(MovedRequest* request, bool any) override { owner_->Move(replica_, request, any); }

   private:
    Impl* const owner_;
    const int replica_;
  };
  // Between an engine and the client's sink: the request is over here before the client learns it.
  class TableSink final : public RequestSink {
   public:
    TableSink(Impl* owner, uint64_t id, std::unique_ptr<RequestSink> sink)
        : owner_(owner), id_(id), sink_(std::move(sink)) {}
    void OnDelta(const ChoiceDelta& delta) override { sink_->OnDelta(delta); }
    void OnEnd(const absl::Status& status, const RequestTiming& timing) override {
      owner_->Forget(id_);
      sink_->OnEnd(status, timing);
    }

   private:
    Impl* const owner_;
    const uint64_t id_;
    const std::unique_ptr<RequestSink> sink_;
  };
  struct Live {
    int replica = 0;
    bool cancelled = false;
    int64_t load_tokens = 0;
    std::string label;
  };

  void OnState(int replica, const ReplicaState& state);
  int64_t RoomElsewhere(int replica, bool any);
  void Move(int from, MovedRequest* request, bool any);
  void Forget(uint64_t id);
  // The replicas that may take a request of `num_blocks`, `except` one (-1 = none): the formed ones, or those that may
  // form again as well.
  std::vector<RoutedReplica> Candidates(int except, int64_t num_blocks, bool any) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status WhyNobody() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  Router router_;  // MakeChain without the lock, the rest under mu_
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
  std::unordered_map<uint64_t, Live> live_ ABSL_GUARDED_BY(mu_);
  std::unordered_map<std::string, uint64_t> labels_ ABSL_GUARDED_BY(mu_);
  std::vector<ReplicaState> states_ ABSL_GUARDED_BY(mu_);
  std::vector<int64_t> load_tokens_ ABSL_GUARDED_BY(mu_);  // by replica

  std::vector<std::unique_ptr<Port>> ports_;
  std::vector<std::unique_ptr<Engine>> engines_;  // fixed after construction
  std::vector<int> num_ranks_;                    // by replica
};

Replicas::Impl::Impl(const EngineOptions& options, const std::vector<cluster::WorkerGroup*>& groups)
    : router_(static_cast<int>(groups.size()), RandomSecret()), states_(groups.size()), load_tokens_(groups.size()) {
  // Engines that are quick with their news wait until all are there.
  absl::MutexLock lock(&mu_);
  for (size_t r = 0; r < groups.size(); ++r) {
    EngineOptions own = options;
    ports_.push_back(std::make_unique<Port>(this, static_cast<int>(r)));
    own.siblings = ports_.back().get();
    own.num_replicas = static_cast<int>(groups.size());
    if (groups.size() > 1) own.log_prefix = absl::StrCat("[replica ", r, "] ");
    num_ranks_.push_back(groups[r]->world_size());
    engines_.push_back(std::make_unique<Engine>(own, groups[r]));
  }
}

void Replicas::Impl::OnState(int replica, const ReplicaState& state) {
  absl::MutexLock lock(&mu_);
  states_[static_cast<size_t>(replica)] = state;
  if (!state.formed) {
    router_.Forget(replica);
    return;
  }
  for (size_t r = 0; r < engines_.size(); ++r) {
    if (static_cast<int>(r) != replica && !states_[r].formed) engines_[r]->Poke();
  }
}

std::vector<RoutedReplica> Replicas::Impl::Candidates(int except, int64_t num_blocks, bool any) const {
  std::vector<RoutedReplica> candidates(states_.size());
  for (size_t r = 0; r < states_.size(); ++r) {
    const ReplicaState& state = states_[r];
    const bool may = state.formed || (any && state.has_formed && !state.failed);
    candidates[r].candidate = may && static_cast<int>(r) != except && state.num_blocks >= num_blocks;
    candidates[r].load_tokens = load_tokens_[r];
    candidates[r].slots = state.num_blocks * state.block_size;
  }
  return candidates;
}

int64_t Replicas::Impl::RoomElsewhere(int replica, bool any) {
  absl::MutexLock lock(&mu_);
  if (stopping_) return 0;
  const std::vector<RoutedReplica> candidates = Candidates(replica, 0, any);
  int64_t most = 0;
  for (size_t r = 0; r < candidates.size(); ++r) {
    if (candidates[r].candidate) most = std::max(most, states_[r].num_blocks);
  }
  return most;
}

void Replicas::Impl::Move(int from, MovedRequest* request, bool any) {
  const uint64_t id = request->moved.group->id;
  const request::Request& what = request->moved.group->request;
  const Router::Chain chain = router_.MakeChain(what.tenant, what.prompt_ids);
  absl::MutexLock lock(&mu_);
  if (stopping_) return;
  const auto it = live_.find(id);
  CHECK(it != live_.end()) << "request " << id << " moves and is not live";
  Live& live = it->second;
  const int to = router_.Route(chain, live.load_tokens, Candidates(from, request->moved.num_blocks, any));
  if (to < 0) return;
  load_tokens_[static_cast<size_t>(from)] -= live.load_tokens;
  load_tokens_[static_cast<size_t>(to)] += live.load_tokens;
  live.replica = to;
  engines_[static_cast<size_t>(to)]->Adopt(std::move(*request));
  if (live.cancelled) engines_[static_cast<size_t>(to)]->Cancel(id);  // the first cancel missed it
}

absl::Status Replicas::Impl::WhyNobody() const {
  const absl::Status status = GetReplica(nullptr, nullptr);
  if (!absl::IsFailedPrecondition(status)) return absl::UnavailableError("the model is still loading");
  return absl::UnavailableError(absl::StrCat("the model failed to load: ", status.message()));
}

absl::StatusOr<uint64_t> Replicas::Impl::Submit(request::Request request, std::unique_ptr<RequestSink> sink) {
  const Router::Chain chain = router_.MakeChain(request.tenant, request.prompt_ids);
  Live live;
  live.load_tokens = LoadTokens(request);
  live.label = request.request_id;
  absl::MutexLock lock(&mu_);
  if (stopping_) return absl::UnavailableError("the server is shutting down");
  if (labels_.count(live.label) > 0) {
    return absl::AlreadyExistsError(absl::StrCat("request_id ", live.label, " is running already"));
  }
  live.replica = router_.Route(chain, live.load_tokens, Candidates(-1, 0, /*any=*/false));
  // Without a formed one the request waits for whichever comes back first.
  if (live.replica < 0) live.replica = router_.Route(chain, live.load_tokens, Candidates(-1, 0, /*any=*/true));
  if (live.replica < 0) return WhyNobody();
  const size_t replica = static_cast<size_t>(live.replica);
  const uint64_t id = next_id_++;
  const absl::Status status =
      engines_[replica]->Submit(id, std::move(request), std::make_unique<TableSink>(this, id, std::move(sink)));
  if (!status.ok()) return status;
  // Its end waits for mu_.
  load_tokens_[replica] += live.load_tokens;
  labels_.emplace(live.label, id);
  live_.emplace(id, std::move(live));
  return id;
}

void Replicas::Impl::Forget(uint64_t id) {
  absl::MutexLock lock(&mu_);
  const auto it = live_.find(id);
  CHECK(it != live_.end()) << "request " << id << " ends twice";
  load_tokens_[static_cast<size_t>(it->second.replica)] -= it->second.load_tokens;
  labels_.erase(it->second.label);
  live_.erase(it);
}

void Replicas::Impl::Cancel(uint64_t id) {
  absl::MutexLock lock(&mu_);
  const auto it = live_.find(id);
  if (it == live_.end()) return;
  it->second.cancelled = true;
  engines_[static_cast<size_t>(it->second.replica)]->Cancel(id);
}

void Replicas::Impl::Abort(const std::string& request_id) {
  uint64_t id = 0;
  {
    absl::MutexLock lock(&mu_);
    const auto it = labels_.find(request_id);
    if (it == labels_.end()) return;
    id = it->second;
  }
  Cancel(id);
}

Loads Replicas::Impl::GetLoads() const {
  Loads sum;
  for (const auto& engine : engines_) AddLoads(engine->GetLoads(), &sum);
  return sum;
}

std::vector<ReplicaReport> Replicas::Impl::GetReports() const {
  std::vector<ReplicaReport> reports(engines_.size());
  {
    absl::MutexLock lock(&mu_);
    for (size_t r = 0; r < reports.size(); ++r) reports[r].state = states_[r];
  }
  for (size_t r = 0; r < reports.size(); ++r) {
    reports[r].loads = engines_[r]->GetLoads();
    reports[r].num_ranks = num_ranks_[r];
    reports[r].step_metrics = &engines_[r]->step_metrics();
    cluster::ReplicaDescription description;
    if (engines_[r]->GetReplica(nullptr, &description).ok()) reports[r].backends = std::move(description.backends);
  }
  return reports;
}

absl::Status Replicas::Impl::GetReplica(ReplicaInfo* info, cluster::ReplicaDescription* description) const {
  absl::Status worst;
  for (const auto& engine : engines_) {
    const absl::Status status = engine->GetReplica(info, description);
    if (status.ok()) return status;
    // One that is still loading may succeed where others failed.
    if (worst.ok() || absl::IsUnavailable(status)) worst = status;
  }
  return worst;
}

absl::Status Replicas::Impl::WaitUntilFormed(absl::Duration timeout) {
  const auto settled = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return std::any_of(states_.begin(), states_.end(), [](const ReplicaState& s) { return s.formed; }) ||
           std::all_of(states_.begin(), states_.end(), [](const ReplicaState& s) { return s.failed; });
  };
  bool formed = false;
  {
    absl::MutexLock lock(&mu_);
    mu_.AwaitWithTimeout(absl::Condition(&settled), timeout);
    formed = std::any_of(states_.begin(), states_.end(), [](const ReplicaState& s) { return s.formed; });
  }
  return formed ? absl::OkStatus() : engines_[0]->WaitUntilFormed(absl::ZeroDuration());
}

bool Replicas::Impl::Ready() const {
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return false;
  }
  return std::any_of(engines_.begin(), engines_.end(), [](const auto& engine) { return engine->Ready(); });
}

void Replicas::Impl::Stop(absl::Duration grace) {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;  // from here on nothing moves
  }
  const absl::Time end = absl::Now() + grace;
  for (const auto& engine : engines_) engine->Stop(std::max(absl::ZeroDuration(), end - absl::Now()));
}

Replicas::Replicas(const EngineOptions& options, const std::vector<cluster::WorkerGroup*>& groups)
    : impl_(std::make_unique<Impl>(options, groups)) {}
Replicas::~Replicas() = default;
absl::StatusOr<uint64_t> Replicas::Submit(request::Request request, std::unique_ptr<RequestSink> sink) {
  return impl_->Submit(std::move(request), std::move(sink));
}
void Replicas::Cancel(uint64_t id) { impl_->Cancel(id); }
void Replicas::Abort(const std::string& request_id) { impl_->Abort(request_id); }
Loads Replicas::GetLoads() const { return impl_->GetLoads(); }
std::vector<ReplicaReport> Replicas::GetReports() const { return impl_->GetReports(); }
std::vector<StepSample> Replicas::GetTimeline(int replica) const { return impl_->GetTimeline(replica); }
BlockMap Replicas::GetBlockMap(int replica) { return impl_->GetBlockMap(replica); }
absl::Status Replicas::GetReplica(ReplicaInfo* info, cluster::ReplicaDescription* description) const {
  return impl_->GetReplica(info, description);
}
absl::Status Replicas::WaitUntilFormed(absl::Duration timeout) { return impl_->WaitUntilFormed(timeout); }
bool Replicas::Ready() const { return impl_->Ready(); }
void Replicas::Stop(absl::Duration grace) { impl_->Stop(grace); }

}  // namespace quire::engine
