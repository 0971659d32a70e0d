// How epochs come, run and end: see the header for what it promises.
#include "coordinator/cluster/grpc_worker_group.h"

#include <glog/logging.h>

#include <atomic>
#include <deque>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "coordinator/cluster/rank_mailbox.h"
#include "coordinator/cluster/rank_stream.h"
#include "coordinator/cluster/step_codec.h"
#include "coordinator/cluster/step_collector.h"
#include "proto/worker.pb.h"

namespace quire::cluster {
namespace {

// A dying child closes its sockets a moment before it can be reaped; its exit says more than "Socket closed".
constexpr absl::Duration kExitWait = absl::Milliseconds(100);
// A cancelled stream ends at once, unless gRPC's threads are starved.
constexpr absl::Duration kStreamEndWait = absl::Seconds(2);
constexpr absl::Duration kChildStopGrace = absl::Seconds(2);

}  // namespace

class GrpcWorkerGroup::Impl : public std::enable_shared_from_this<Impl> {
 public:
  explicit Impl(const GrpcWorkerGroupOptions& options)
      : options_(options),
        world_size_(options.workers.num_local > 0 ? options.workers.num_local
                                                  : static_cast<int>(options.workers.addresses.size())),
        collector_(world_size_) {
    CHECK_GT(world_size_, 0) << "a group without workers";
  }

  void Start() {
    thread_ = std::thread([this] { Loop(); });
  }

  void SetListener(Listener* listener) {
    absl::MutexLock lock(&mu_);
    CHECK(listener_ == nullptr) << "SetListener twice";
    listener_ = listener;
  }

  void Form(uint64_t epoch);
  void Send(const StepPlan& plan);
  void Stop();
  int world_size() const { return world_size_; }
  uint64_t stale_replies() const { return stale_replies_.load(std::memory_order_relaxed); }

 private:
  enum class State { kDown, kForming, kFormed };
  struct Deadline {
    uint64_t step;
    absl::Time time;
  };

  // The group's thread.
  void Loop();
  absl::Time NextDeadline();
  void Reform();
  absl::StatusOr<FormedReplica> TryForm(uint64_t epoch);
  void Fence(absl::Duration child_grace);
  absl::Status Blame(int rank, absl::Status status);
  void HandleNews(const RankNews& news);
  void CheckDeadline();

  // gRPC's threads.
  RankStream::Handlers MakeHandlers(uint64_t epoch, int rank);
  void HandleDone(uint64_t epoch, int rank, const worker::v1::Done& done);

  void Down(uint64_t epoch, absl::Status reason);
  void DownLocked(uint64_t epoch, absl::Status reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string Name(int rank) const;

  const GrpcWorkerGroupOptions options_;
  const int world_size_;
  RankMailbox mailbox_;
  std::atomic<uint64_t> stale_replies_{0};

  absl::Mutex mu_;
  Listener* listener_ ABSL_GUARDED_BY(mu_) = nullptr;
  State state_ ABSL_GUARDED_BY(mu_) = State::kDown;
  uint64_t epoch_ ABSL_GUARDED_BY(mu_) = 0;  // the one that Form named last
  bool reform_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  StepCollector collector_ ABSL_GUARDED_BY(mu_);
  std::deque<Deadline> deadlines_ ABSL_GUARDED_BY(mu_);                           // of the steps in flight
  std::vector<std::shared_ptr<RankStream>> formed_streams_ ABSL_GUARDED_BY(mu_);  // empty unless formed

  StepEncoder encoder_;  // engine thread

  // The group's thread only.
  std::vector<std::shared_ptr<RankStream>> streams_;
  std::unique_ptr<LocalWorkers> local_;

  absl::Mutex stop_mu_;  // one Stop at a time
  std::thread thread_;
};

std::string GrpcWorkerGroup::Impl::Name(int rank) const {
  if (options_.workers.num_local > 0) return absl::StrCat("rank ", rank);
  return absl::StrCat("rank ", rank, " (", options_.workers.addresses[rank], ")");
}

void GrpcWorkerGroup::Impl::Form(uint64_t epoch) {
  absl::MutexLock lock(&mu_);
  CHECK(listener_ != nullptr) << "Form before SetListener";
  CHECK_GT(epoch, epoch_) << "epochs ascend";
  epoch_ = epoch;
  state_ = State::kForming;
  reform_ = true;
  deadlines_.clear();
  formed_streams_.clear();
  mailbox_.Interrupt();
}

void GrpcWorkerGroup::Impl::Send(const StepPlan& plan) {
  {
    // Spares the encoding; the check that counts is below.
    absl::MutexLock lock(&mu_);
    if (state_ != State::kFormed || plan.epoch != epoch_) return;
  }
  const EncodedStep encoded = encoder_.Encode(plan);
  const absl::Time deadline = absl::Now() + absl::Milliseconds(plan.deadline_ms);
  std::vector<std::shared_ptr<RankStream>> streams;
  {
    absl::MutexLock lock(&mu_);
    if (state_ != State::kFormed || plan.epoch != epoch_) return;
    collector_.Expect(encoded.expected);
    deadlines_.push_back({plan.step, deadline});
    streams = formed_streams_;
  }
  for (const auto& stream : streams) stream->Send(encoded.bytes);
  mailbox_.WakeBy(deadline);
}

void GrpcWorkerGroup::Impl::Stop() {
  absl::MutexLock stop_lock(&stop_mu_);
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    state_ = State::kDown;
    formed_streams_.clear();
    mailbox_.Interrupt();
  }
  if (thread_.joinable()) thread_.join();
}

void GrpcWorkerGroup::Impl::Loop() {
  while (true) {
    const RankNews news = mailbox_.Next(NextDeadline());
    if (news.kind == RankNews::Kind::kInterrupted) {
      {
        absl::MutexLock lock(&mu_);
        if (stopping_) break;
      }
      Reform();
    } else if (news.kind == RankNews::Kind::kTimeout) {
      CheckDeadline();
    } else {
      HandleNews(news);
    }
  }
  Fence(kChildStopGrace);
}

absl::Time GrpcWorkerGroup::Impl::NextDeadline() {
  absl::MutexLock lock(&mu_);
  return deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.front().time;
}

void GrpcWorkerGroup::Impl::CheckDeadline() {
  absl::MutexLock lock(&mu_);
  if (state_ != State::kFormed || deadlines_.empty() || absl::Now() < deadlines_.front().time) return;
  const std::vector<int> late = collector_.LateRanks();
  DownLocked(epoch_,
             absl::DeadlineExceededError(absl::StrCat(
                 absl::StrJoin(late, ", ", [this](std::string* out, int rank) { out->append(Name(rank)); }),
                 " did not answer step ", deadlines_.front().step, " of epoch ", epoch_, " within its deadline")));
}

// Ends the old epoch's streams and children (W2).
void GrpcWorkerGroup::Impl::Fence(absl::Duration child_grace) {
  for (const auto& stream : streams_) stream->Cancel();
  for (const auto& stream : streams_) {
    if (!stream->WaitEnded(kStreamEndWait))
      LOG(ERROR) << "a stream of an old epoch does not end; its replies are dropped";
  }
  streams_.clear();
  if (local_ != nullptr) local_->Stop(child_grace);
  local_.reset();
}

void GrpcWorkerGroup::Impl::Reform() {
  Fence(absl::ZeroDuration());
  uint64_t epoch = 0;
  {
    absl::MutexLock lock(&mu_);
    epoch = epoch_;
    const bool wanted = reform_ && !stopping_;
    reform_ = false;
    // Opened under the lock: an interruption by a later Form must not be lost. A stop keeps its own.
    if (!stopping_) mailbox_.Open(epoch);
    if (!wanted) return;
  }
  LOG(INFO) << options_.log_prefix << "forming epoch " << epoch << " of " << world_size_ << " rank(s)";
  absl::StatusOr<FormedReplica> formed = TryForm(epoch);
  absl::MutexLock lock(&mu_);
  if (epoch_ != epoch || stopping_ || state_ != State::kForming) return;  // nobody waits for this epoch any more
  if (!formed.ok()) return DownLocked(epoch, formed.status());
  LOG(INFO) << options_.log_prefix << "formed epoch " << epoch << ": " << formed->description.model_type << ", "
            << formed->description.dtype << ", " << formed->description.collective << ", " << formed->info.device_blocks
            << " blocks of " << formed->info.block_size << " tokens, loaded in " << formed->description.load_seconds
            << " s";
  state_ = State::kFormed;
  collector_.Reset(epoch);
  formed_streams_ = streams_;
  listener_->OnFormed(formed->info, formed->description);
}

absl::StatusOr<FormedReplica> GrpcWorkerGroup::Impl::TryForm(uint64_t epoch) {
  std::vector<std::string> addresses = options_.workers.addresses;
  if (options_.workers.num_local > 0) {
    LocalWorkerOptions local = options_.local;
    local.num_workers = options_.workers.num_local;
    local.log_prefix = options_.log_prefix;
    const auto on_exit = [this, epoch](const LocalWorkers::Exit& exit) {
      RankNews news;
      news.kind = RankNews::Kind::kEnded;
      news.epoch = epoch;
      news.rank = exit.rank;
      news.status = exit.how;
      mailbox_.Post(std::move(news));
    };
    absl::StatusOr<std::unique_ptr<LocalWorkers>> started = LocalWorkers::Start(local, on_exit);
    if (!started.ok()) return started.status();
    local_ = *std::move(started);
    addresses = local_->addresses();
  }
  Formation formation(options_.formation, epoch, std::move(addresses), &mailbox_,
                      [this, epoch](int rank) { return MakeHandlers(epoch, rank); });
  absl::StatusOr<FormedReplica> formed = formation.Run();
  streams_ = formation.TakeStreams();
  if (formed.ok() && local_ != nullptr) local_->RemoveSockets();
  if (absl::IsUnavailable(formed.status())) return Blame(-1, formed.status());
  return formed;
}

// What ended a rank: how its process ended, if a child did, else `status`.
absl::Status GrpcWorkerGroup::Impl::Blame(int rank, absl::Status status) {
  if (local_ != nullptr) {
    const std::optional<LocalWorkers::Exit> exit = local_->FirstExit(kExitWait);
    if (exit) return absl::UnavailableError(absl::StrCat(Name(exit->rank), ": ", exit->how.message()));
  }
  if (rank < 0) return status;
  if (status.ok()) return absl::UnavailableError(absl::StrCat(Name(rank), " closed its stream"));
  return absl::Status(status.code(), absl::StrCat(Name(rank), ": ", status.message()));
}

void GrpcWorkerGroup::Impl::HandleNews(const RankNews& news) {
  {
    absl::MutexLock lock(&mu_);
    if (state_ != State::kFormed || news.epoch != epoch_) return;
  }
  if (news.kind == RankNews::Kind::kEnded) return Down(news.epoch, Blame(news.rank, news.status));
  if (news.message->has_failed()) {
    return Down(news.epoch, Blame(news.rank, absl::InternalError(news.message->failed().message())));
  }
  LOG(WARNING) << options_.log_prefix << Name(news.rank) << " sent message "
               << static_cast<int>(news.message->message_case()) << " to a formed replica; dropped";
}

RankStream::Handlers GrpcWorkerGroup::Impl::MakeHandlers(uint64_t epoch, int rank) {
  // Shared ownership: a stream that outlives Stop finds the group stopped, not gone.
  auto self = shared_from_this();
  RankStream::Handlers handlers;
  handlers.on_message = [self, epoch, rank](worker::v1::RankMessage* message) {
    if (message->has_done()) return self->HandleDone(epoch, rank, message->done());
    RankNews news;
    news.kind = RankNews::Kind::kMessage;
    news.epoch = epoch;
    news.rank = rank;
    news.message = std::make_shared<worker::v1::RankMessage>(std::move(*message));
    if (!self->mailbox_.Post(std::move(news))) {
      self->Down(epoch,
                 absl::ResourceExhaustedError(absl::StrCat(self->Name(rank), " sends more than anyone can read")));
    }
  };
  handlers.on_end = [self, epoch, rank](absl::Status status) {
    RankNews news;
    news.kind = RankNews::Kind::kEnded;
    news.epoch = epoch;
    news.rank = rank;
    news.status = std::move(status);
    if (!self->mailbox_.Post(news)) self->Down(epoch, absl::UnavailableError(absl::StrCat(self->Name(rank), " ended")));
  };
  return handlers;
}

void GrpcWorkerGroup::Impl::HandleDone(uint64_t epoch, int rank, const worker::v1::Done& done) {
  RankReply reply = DecodeDone(done);
  absl::MutexLock lock(&mu_);
  if (state_ != State::kFormed || epoch != epoch_) {
    stale_replies_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const uint64_t dropped_before = collector_.dropped();
  absl::StatusOr<std::optional<StepResult>> result = collector_.Add(rank, std::move(reply));
  stale_replies_.fetch_add(collector_.dropped() - dropped_before, std::memory_order_relaxed);
  if (!result.ok()) return DownLocked(epoch, result.status());
  if (!result->has_value()) return;
  CHECK_EQ(deadlines_.front().step, (*result)->step);
  deadlines_.pop_front();
  listener_->OnStepDone(*std::move(*result));
}

void GrpcWorkerGroup::Impl::Down(uint64_t epoch, absl::Status reason) {
  absl::MutexLock lock(&mu_);
  DownLocked(epoch, std::move(reason));
}

// Ends the epoch once; the group's thread then cancels what is left of it.
void GrpcWorkerGroup::Impl::DownLocked(uint64_t epoch, absl::Status reason) {
  if (state_ == State::kDown || epoch != epoch_ || stopping_) return;
  state_ = State::kDown;
  deadlines_.clear();
  formed_streams_.clear();
  listener_->OnDown(epoch, std::move(reason));
  mailbox_.Interrupt();
}

GrpcWorkerGroup::GrpcWorkerGroup(const GrpcWorkerGroupOptions& options) : impl_(std::make_shared<Impl>(options)) {
  impl_->Start();
}
GrpcWorkerGroup::~GrpcWorkerGroup() { Stop(); }
void GrpcWorkerGroup::SetListener(Listener* listener) { impl_->SetListener(listener); }
void GrpcWorkerGroup::Form(uint64_t epoch) { impl_->Form(epoch); }
void GrpcWorkerGroup::Send(const StepPlan& plan) { impl_->Send(plan); }
void GrpcWorkerGroup::Stop() { impl_->Stop(); }
int GrpcWorkerGroup::world_size() const { return impl_->world_size(); }
uint64_t GrpcWorkerGroup::stale_replies() const { return impl_->stale_replies(); }

}  // namespace quire::cluster
