// The states of a communicator: forming -> usable -> (broken | aborted). All NCCL calls are made with the lock held, so
// that an abort never meets another call; waiting is polling in short sleeps without it.
#include "worker/comm/nccl_communicator.h"

#include <glog/logging.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "worker/comm/presence.h"

namespace quire::worker {
namespace {

constexpr absl::Duration kPollInterval = absl::Microseconds(50);
constexpr absl::Duration kWatchIntervalMax = absl::Milliseconds(20);

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(const CommunicatorOptions& options, std::unique_ptr<NcclApi> api)
      : rank_(options.rank),
        world_size_(options.world_size),
        timeout_(options.timeout),
        stream_(options.stream),
        api_(std::move(api)) {}

  ~NcclCommunicator() override {
    stop_.Notify();
    if (watcher_.joinable()) watcher_.join();
    absl::MutexLock lock(&mu_);
    // No peer may be left to end in order with; the collectives of finished steps are done.
    Free();
  }

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  const char* Name() const override { return "nccl"; }

  absl::Status Form(const std::string& id) {
    NcclState state;
    {
      absl::MutexLock lock(&mu_);
      state = api_->Init(id, rank_, world_size_, &handle_);
    }
    if (absl::Status s = WaitUntilTaken(state, "forming the group"); !s.ok()) return s;
    watcher_ = std::thread([this] { Watch(); });
    return absl::OkStatus();
  }

  absl::Status AllReduceSum(float* data, int64_t count) override {
    return Queue("all-reduce", [&] { return api_->AllReduceSum(handle_, data, count, stream_); });
  }

  absl::Status AllGather(const float* in, float* out, int64_t count) override {
    return Queue("all-gather", [&] { return api_->AllGather(handle_, in, out, count, stream_); });
  }

  absl::Status Finished() override {
    absl::MutexLock lock(&mu_);
    if (broken_.ok() && handle_ != nullptr) NoteState(api_->State(handle_), "a collective");
    return broken_;
  }

  void Abort() override {
    absl::MutexLock lock(&mu_);
    Break(absl::CancelledError("collective aborted"));
  }

 private:
  // The first reason stays; the device's work ends with it.
  void Break(absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (broken_.ok()) broken_ = std::move(why);
    Free();
  }

  void Free() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (handle_ != nullptr) api_->Abort(std::exchange(handle_, nullptr));
  }

  // False while it is in progress.
  bool NoteState(NcclState state, const char* what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (state == NcclState::kInProgress) return false;
    if (state == NcclState::kDone || !broken_.ok()) return true;
    Break(absl::UnavailableError(absl::StrCat("nccl: rank ", rank_, ": ", what, ": ",
                                              state == NcclState::kRemoteError ? "a peer failed: " : "",
                                              api_->LastError(handle_))));
    return true;
  }

  template <typename Start>
  absl::Status Queue(const char* what, Start&& start) {
    NcclState state;
    {
      absl::MutexLock lock(&mu_);
      if (!broken_.ok()) return broken_;
      state = start();
      pending_since_ = absl::Now();
    }
    return WaitUntilTaken(state, what);
  }

  absl::Status WaitUntilTaken(NcclState state, const char* what) {
    const absl::Time deadline = absl::Now() + timeout_;
    while (true) {
      {
        absl::MutexLock lock(&mu_);
        if (!broken_.ok()) return broken_;
        if (NoteState(state, what)) return broken_;
        if (absl::Now() > deadline) {
          Break(absl::UnavailableError(
              absl::StrCat("nccl: rank ", rank_, ": ", what, " took more than ", absl::FormatDuration(timeout_))));
          return broken_;
        }
      }
      absl::SleepFor(kPollInterval);
      absl::MutexLock lock(&mu_);
      if (!broken_.ok()) return broken_;
      state = api_->State(handle_);
    }
  }

  // NC2 for collectives that are on the stream.
  void Watch() {
    const absl::Duration interval = std::min(kWatchIntervalMax, timeout_ / 4);
    while (!stop_.WaitForNotificationWithTimeout(interval)) {
      absl::MutexLock lock(&mu_);
      if (!broken_.ok()) return;
      if (pending_since_ == absl::InfiniteFuture()) continue;
      // What a peer's failure leaves in the library shows here long before the time is over.
      if (NoteState(api_->State(handle_), "a collective") && !broken_.ok()) return;
      if (api_->StreamIsIdle(stream_)) {
        pending_since_ = absl::InfiniteFuture();
      } else if (absl::Now() - pending_since_ > timeout_) {
        Break(absl::UnavailableError(absl::StrCat("nccl: rank ", rank_, ": a collective is not finished after ",
                                                  absl::FormatDuration(timeout_), ": a peer is gone or hangs")));
      }
    }
  }

  const int rank_;
  const int world_size_;
  const absl::Duration timeout_;
  void* const stream_;
  const std::unique_ptr<NcclApi> api_;
  absl::Mutex mu_;
  void* handle_ ABSL_GUARDED_BY(mu_) = nullptr;
  absl::Status broken_ ABSL_GUARDED_BY(mu_);
  // When the last collective was queued; infinite when the stream was idle since.
  absl::Time pending_since_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  absl::Notification stop_;
  std::thread watcher_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> FormNcclCommunicator(const CommunicatorOptions& options,
                                                                   RendezvousStore* store,
                                                                   std::unique_ptr<NcclApi> api) {
  std::string id;
  if (options.rank == 0) {
    absl::StatusOr<std::string> made = api->UniqueId();
    if (!made.ok()) return made.status();
    id = *std::move(made);
  }
  const PresenceOptions presence = {absl::StrCat(options.name, "/nccl"), options.rank, options.world_size,
                                    options.timeout};
  absl::StatusOr<std::vector<std::string>> values = ExchangePresence(presence, id, store);
  if (!values.ok()) return values.status();
  auto communicator = std::make_unique<NcclCommunicator>(options, std::move(api));
  if (absl::Status s = communicator->Form((*values)[0]); !s.ok()) return s;
  return communicator;
}

}  // namespace quire::worker
