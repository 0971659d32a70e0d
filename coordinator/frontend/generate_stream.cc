#include "coordinator/frontend/generate_stream.h"

#include <glog/logging.h>

#include <utility>

#include "coordinator/frontend/status_map.h"
#include "coordinator/metrics/metrics.h"
#include "proto/generate.grpc.pb.h"  // the serialisation traits

namespace quire::frontend {

using Reactor = grpc::ServerWriteReactor<grpc::ByteBuffer>;

// The engine's end of the stream.
class GenerateStream::Sink final : public engine::RequestSink {
 public:
  explicit Sink(std::shared_ptr<GenerateStream> stream) : stream_(std::move(stream)) {}
  void OnDelta(const engine::ChoiceDelta& delta) override { stream_->OnDelta(delta); }
  void OnEnd(const absl::Status& status, const engine::RequestTiming& timing) override {
    stream_->OnEnd(status, timing);
  }

 private:
  const std::shared_ptr<GenerateStream> stream_;
};

class GenerateStream::Refusal final : public Reactor {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

Reactor* GenerateStream::Start(grpc::CallbackServerContext* context, Api* api, Prepared prepared) {
  auto stream = std::make_shared<GenerateStream>(context, api, std::move(prepared.response));
  GenerateStream* reactor = stream.get();
  reactor->self_ = stream;
  const absl::StatusOr<uint64_t> id = api->Submit(std::move(prepared), std::make_unique<Sink>(stream));
  if (id.ok()) {
    absl::MutexLock lock(&reactor->mutex_);
    reactor->id_ = *id;
  } else {
    reactor->OnEnd(id.status(), engine::RequestTiming());
  }
  return reactor;
}

Reactor* GenerateStream::Refuse(grpc::CallbackServerContext* context, const absl::Status& status) {
  return new Refusal(ToGrpcStatus(status, context));
}

GenerateStream::GenerateStream(grpc::CallbackServerContext* context, Api* api, ResponseOptions options)
    : context_(context), api_(api), request_id_(options.request_id), builder_(std::move(options)) {}

void GenerateStream::OnDelta(const engine::ChoiceDelta& delta) {
  {
    absl::MutexLock lock(&mutex_);
    builder_.Add(delta);
  }
  Pump();
}

void GenerateStream::OnEnd(const absl::Status& status, const engine::RequestTiming& timing) {
  {
    absl::MutexLock lock(&mutex_);
    CHECK(!ended_) << "request " << request_id_;
    ended_ = true;
    status_ = status;
    if (status.ok()) builder_.End(timing);
  }
  Pump();
}

void GenerateStream::OnWriteDone(bool ok) {
  bool gone = false;
  uint64_t id = 0;
  {
    absl::MutexLock lock(&mutex_);
    id = id_;
    writing_ = false;
    if (!ok) broken_ = true;
    gone = !ok && !ended_;
  }
  if (gone) api_->Cancel(id);
  Pump();
}

// gRPC calls this only after Start returned, so never before the engine has the request.
void GenerateStream::OnCancel() {
  uint64_t id = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (ended_) return;
    id = id_;
  }
  api_->Cancel(id);
}

void GenerateStream::OnDone() {
  const std::shared_ptr<GenerateStream> keep = std::move(self_);  // may be the last owner: die after this line's end
}

void GenerateStream::Pump() {
  bool write = false;
  bool finish = false;
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    if (writing_ || finished_) return;
    write = !broken_ && builder_.Next(&message_);
    finish = ended_ && (broken_ || !builder_.HasNext());
    if (write) {
      bytes_.Clear();  // the writer insists on an empty one
      bool own_buffer = false;
      const grpc::Status done =
          grpc::SerializationTraits<v1::GenerateResponse>::Serialize(message_, &bytes_, &own_buffer);
      CHECK(done.ok()) << done.error_message();
      writing_ = true;
    }
    finished_ = finish;
    status = status_;
  }
  // Outside of the lock: only the thread that set writing_ or finished_ comes here, and gRPC may call back at once.
  if (finish) {
    if (api_->metrics() != nullptr) {
      api_->metrics()->CountGrpc("Generate", absl::StatusCodeToString(status.code()));
    }
    const grpc::Status last = ToGrpcStatus(status, context_);
    if (write) {
      StartWriteAndFinish(&bytes_, grpc::WriteOptions(), last);
    } else {
      Finish(last);
    }
  } else if (write) {
    StartWrite(&bytes_);
  }
}

}  // namespace quire::frontend
