// The stream over gRPC's generic stub: see the header for what it promises.
#include "coordinator/cluster/rank_stream.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "proto/protocol.h"
#include "proto/worker.pb.h"

namespace quire::cluster {
namespace {

constexpr char kSessionMethod[] = "/quire.worker.v1.Worker/Session";
constexpr int kKeepaliveMs = 2000;
constexpr size_t kWhyBytesMax = 512;

// A slice that shares the bytes: every rank's stream reads the same memory.
grpc::ByteBuffer Share(std::shared_ptr<const std::string> bytes) {
  auto* owner = new std::shared_ptr<const std::string>(std::move(bytes));
  const grpc::Slice slice(
      const_cast<char*>((*owner)->data()), (*owner)->size(),
      [](void* user_data) { delete static_cast<std::shared_ptr<const std::string>*>(user_data); }, owner);
  return grpc::ByteBuffer(&slice, 1);
}

bool Parse(const grpc::ByteBuffer& buffer, worker::v1::RankMessage* message) {
  grpc::Slice slice;
  if (buffer.TrySingleSlice(&slice).ok()) return message->ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
  return buffer.DumpToSingleSlice(&slice).ok() &&
         message->ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
}

}  // namespace

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address,
                                           const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(proto::kMaxSessionMessageBytes);
  arguments.SetMaxSendMessageSize(proto::kMaxSessionMessageBytes);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Each epoch dials afresh: no back-off that an earlier epoch earned.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  const bool same_host = absl::StartsWith(address, "unix:");
  if (!same_host) {
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  }
  const bool clear = same_host || credentials == nullptr;
  return grpc::CreateCustomChannel(address, clear ? grpc::InsecureChannelCredentials() : credentials, arguments);
}

std::string WhyNoConnection(const std::shared_ptr<grpc::Channel>& channel) {
  // Only a call's end carries the reason. A method nobody has: if the channel connects after all, nothing happens.
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  const grpc::Slice no_bytes;
  const grpc::ByteBuffer nothing(&no_bytes, 1);
  grpc::ByteBuffer answer;
  grpc::Status status;
  absl::Notification ended;
  stub.UnaryCall(&context, "/quire.worker.v1.Worker/None", grpc::StubOptions(), &nothing, &answer,
                 [&](grpc::Status ended_with) {
                   status = std::move(ended_with);
                   ended.Notify();
                 });
  ended.WaitForNotification();
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ? status.error_message().substr(0, kWhyBytesMax) : "";
}

class RankStream::Reactor : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Reactor(const std::shared_ptr<grpc::Channel>& channel, Handlers handlers)
      : stub_(channel), handlers_(std::move(handlers)) {}

  void Start(std::shared_ptr<Reactor> self) {
    self_ = std::move(self);
    stub_.PrepareBidiStreamingCall(&context_, kSessionMethod, grpc::StubOptions(), this);
    // Keeps the call valid for Send from other threads until the read side has ended.
    AddHold();
    StartRead(&incoming_);
    StartCall();
  }

  void Send(std::shared_ptr<const std::string> bytes) {
    grpc::ByteBuffer buffer = Share(std::move(bytes));
    switch (Place(&buffer)) {
      case Placed::kWrite:
        StartWrite(&outgoing_);
        return RemoveHold();
      case Placed::kOverflow:
        return context_.TryCancel();
      case Placed::kQueued:
      case Placed::kDropped:
        return;
    }
  }

  void Cancel() { context_.TryCancel(); }

  bool WaitEnded(absl::Duration timeout) { return ended_->WaitForNotificationWithTimeout(timeout); }

  void OnReadDone(bool ok) override {
    if (ok) {
      message_.Clear();
      if (Parse(incoming_, &message_)) {
        handlers_.on_message(&message_);
        incoming_.Clear();
        return StartRead(&incoming_);
      }
      SetFault(absl::InternalError("the rank sent a message that does not parse"));
      context_.TryCancel();
    }
    {
      absl::MutexLock lock(&mu_);
      closed_ = true;
      queue_.clear();
    }
    RemoveHold();
  }

  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&mu_);
      if (!ok || closed_ || queue_.empty()) {
        writing_ = false;
        return;
      }
      outgoing_ = std::move(queue_.front());
      queue_.pop_front();
    }
    StartWrite(&outgoing_);
  }

  void OnDone(const grpc::Status& status) override {
    absl::Status reason = fault();
    if (reason.ok() && !status.ok()) {
      reason = absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
    }
    handlers_.on_end(std::move(reason));
    // Only then told: who waits drops the last reference, on a thread that may end gRPC's threads with the last
    // channel. Here that would be a thread joining itself.
    const std::shared_ptr<absl::Notification> ended = ended_;
    self_.reset();
    ended->Notify();
  }

 private:
  enum class Placed { kWrite, kQueued, kDropped, kOverflow };

  // Decides what becomes of a message; kWrite: it is in outgoing_ and the caller holds the call open until it has
  // started the write.
  Placed Place(grpc::ByteBuffer* buffer) {
    absl::MutexLock lock(&mu_);
    if (closed_ || !fault_.ok()) return Placed::kDropped;
    if (!writing_) {
      writing_ = true;
      outgoing_.Swap(buffer);
      // In time: while closed_ is false the hold of Start is still there.
      AddHold();
      return Placed::kWrite;
    }
    if (queue_.size() >= kMaxQueuedMessages) {
      fault_ = absl::ResourceExhaustedError(
          absl::StrCat("the rank does not read: ", kMaxQueuedMessages, " messages wait for it"));
      return Placed::kOverflow;
    }
    queue_.push_back(std::move(*buffer));
    return Placed::kQueued;
  }

  void SetFault(absl::Status fault) {
    absl::MutexLock lock(&mu_);
    if (fault_.ok()) fault_ = std::move(fault);
  }

  absl::Status fault() {
    absl::MutexLock lock(&mu_);
    return fault_;
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  const Handlers handlers_;
  std::shared_ptr<Reactor> self_;
  grpc::ByteBuffer incoming_;
  worker::v1::RankMessage message_;  // kept: its arrays keep their room
  grpc::ByteBuffer outgoing_;        // belongs to the write in progress
  const std::shared_ptr<absl::Notification> ended_ = std::make_shared<absl::Notification>();

  absl::Mutex mu_;
  std::deque<grpc::ByteBuffer> queue_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status fault_ ABSL_GUARDED_BY(mu_);
};

RankStream::RankStream(std::shared_ptr<Reactor> reactor) : reactor_(std::move(reactor)) {}
RankStream::~RankStream() { reactor_->Cancel(); }

std::shared_ptr<RankStream> RankStream::Open(const std::shared_ptr<grpc::Channel>& channel, Handlers handlers) {
  auto reactor = std::make_shared<Reactor>(channel, std::move(handlers));
  std::shared_ptr<RankStream> stream(new RankStream(reactor));
  reactor->Start(reactor);
  return stream;
}

void RankStream::Send(std::shared_ptr<const std::string> bytes) { reactor_->Send(std::move(bytes)); }
void RankStream::Cancel() { reactor_->Cancel(); }
bool RankStream::WaitEnded(absl::Duration timeout) { return reactor_->WaitEnded(timeout); }

}  // namespace quire::cluster
