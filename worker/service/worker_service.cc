// The stream's reactor (gRPC's threads) and the choice of the live session.
#include "worker/service/worker_service.h"

#include <glog/logging.h>

#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/protocol.h"

namespace quire::worker {
namespace {

constexpr uint32_t kMaxWorldSize = 1024;
// Replies that may wait for a coordinator that does not read.
constexpr size_t kMaxUnsent = 8192;

grpc::Status ToGrpc(const absl::Status& s) {
  return grpc::Status(static_cast<grpc::StatusCode>(s.code()), std::string(s.message()));
}

}  // namespace

// One stream. Lives until gRPC says OnDone and the session has dropped it.
class SessionReactor final : public grpc::ServerBidiReactor<v1::CoordinatorMessage, v1::RankMessage>, public Outbox {
 public:
  static SessionReactor* Start(WorkerService* service, grpc::CallbackServerContext* context) {
    auto reactor = std::make_shared<SessionReactor>(service, context);
    reactor->self_ = reactor;
    reactor->session_ = std::make_shared<Session>(&service->context_, reactor);
    reactor->StartRead(&reactor->incoming_);
    return reactor.get();
  }

  SessionReactor(WorkerService* service, grpc::CallbackServerContext* context) : service_(service), context_(context) {}

  void Send(v1::RankMessage message) override {
    {
      absl::MutexLock lock(&mu_);
      if (closing_) return;
      if (unsent_.size() >= kMaxUnsent) {
        Overflow();
      } else {
        unsent_.push_back(std::move(message));
      }
    }
    Advance();
  }

  void Close(absl::Status status) override {
    {
      absl::MutexLock lock(&mu_);
      if (closing_) return;
      closing_ = true;
      status_ = std::move(status);
    }
    Advance();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return session_->Abort(absl::CancelledError("the coordinator has ended the stream"));
    if (joined_) {
      session_->Receive(&incoming_);
    } else if (absl::Status s = Join(); !s.ok()) {
      return Refuse(s);
    }
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&mu_);
      writing_ = false;
      if (!ok) unsent_.clear();
    }
    if (!ok) session_->Abort(absl::CancelledError("the stream is broken"));
    Advance();
  }

  void OnCancel() override { session_->Abort(absl::CancelledError("the stream was cancelled")); }

  void OnDone() override {
    session_->Abort(absl::CancelledError("the stream has ended"));
    session_.reset();
    const std::shared_ptr<SessionReactor> last = std::move(self_);
  }

 private:
  absl::Status Join() {
    if (!incoming_.has_join()) return absl::FailedPreconditionError("the first message must be Join");
    joined_ = true;
    return service_->Admit(incoming_.join(), session_);
  }

  void Refuse(const absl::Status& why) {
    LOG(WARNING) << "a coordinator is refused: " << why;
    v1::RankMessage message;
    message.mutable_failed()->set_code(static_cast<uint32_t>(why.code()));
    message.mutable_failed()->set_message(std::string(why.message()));
    Send(std::move(message));
    session_->Abort(absl::OkStatus());
  }

  void Overflow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    closing_ = true;
    unsent_.clear();
    status_ =
        absl::ResourceExhaustedError(absl::StrCat("the coordinator does not read: ", kMaxUnsent, " replies wait"));
    context_->TryCancel();  // the write in progress would never end
  }

  // Starts the next write, or the end of the stream once everything is written. gRPC is called without the lock: it
  // may call back at once.
  void Advance() {
    bool finish = false;
    {
      absl::MutexLock lock(&mu_);
      if (writing_ || finished_) return;
      if (!unsent_.empty()) {
        writing_ = true;
        outgoing_ = std::move(unsent_.front());
        unsent_.pop_front();
      } else if (closing_) {
        finished_ = finish = true;
      } else {
        return;
      }
    }
    finish ? Finish(ToGrpc(status_)) : StartWrite(&outgoing_);
  }

  WorkerService* const service_;
  grpc::CallbackServerContext* const context_;
  std::shared_ptr<SessionReactor> self_;
  std::shared_ptr<Session> session_;
  v1::CoordinatorMessage incoming_;  // belongs to the read in progress
  v1::RankMessage outgoing_;         // belongs to the write in progress
  bool joined_ = false;

  absl::Mutex mu_;
  std::deque<v1::RankMessage> unsent_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_;  // fixed once closing_ is set
};

grpc::ServerBidiReactor<v1::CoordinatorMessage, v1::RankMessage>* WorkerService::Session(
    grpc::CallbackServerContext* context) {
  return SessionReactor::Start(this, context);
}

absl::Status WorkerService::Admit(const v1::Join& join, const std::shared_ptr<worker::Session>& session) {
  if (join.protocol_version() != proto::kProtocolVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the coordinator speaks protocol version ",
                                                      join.protocol_version(), ", this worker ",
                                                      proto::kProtocolVersion));
  }
  if (join.world_size() < 1 || join.world_size() > kMaxWorldSize || join.rank() >= join.world_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", join.rank(), " of world_size ", join.world_size(), " (1 to ", kMaxWorldSize, ")"));
  }
  std::shared_ptr<worker::Session> before;
  {
    absl::MutexLock lock(&mu_);
    if (shut_down_) return absl::UnavailableError("this worker is shutting down");
    if (join.epoch() <= epoch_) {
      return absl::FailedPreconditionError(
          absl::StrCat("epoch ", join.epoch(), " is not newer than epoch ", epoch_, ", which this worker has joined"));
    }
    epoch_ = join.epoch();
    before = std::exchange(current_, session);
  }
  LOG(INFO) << "joined epoch " << join.epoch() << " as rank " << join.rank() << " of " << join.world_size();
  if (before != nullptr) before->Abort(absl::AbortedError(absl::StrCat("fenced by epoch ", join.epoch())));
  session->Begin(join, std::move(before));
  return absl::OkStatus();
}

void WorkerService::Shutdown() {
  std::shared_ptr<worker::Session> last;
  {
    absl::MutexLock lock(&mu_);
    shut_down_ = true;
    last = std::move(current_);
  }
  if (last == nullptr) return;
  last->Abort(absl::UnavailableError("this worker is shutting down"));
  while (!last->WaitEnded(absl::Seconds(10))) LOG(WARNING) << "waiting for the step in progress to end";
}

}  // namespace quire::worker
