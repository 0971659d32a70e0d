// The Exchange of one request on a Connection: takes calls from any thread to the connection's.
#ifndef QUIRE_COORDINATOR_HTTP_CONNECTION_EXCHANGE_H_
#define QUIRE_COORDINATOR_HTTP_CONNECTION_EXCHANGE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/http/connection.h"
#include "coordinator/http/exchange.h"

namespace quire::http {

class ConnectionExchange final : public Exchange {
 public:
  // `headers` are of the answer; `body_bytes` are given back to `shared` with the body.
  ConnectionExchange(std::shared_ptr<Connection> connection, Loop* loop, Shared* shared, uint64_t id,
                     std::unique_ptr<Request> request, Headers headers, int64_t body_bytes);
  ~ConnectionExchange() override;

  const Request& request() const override { return *request_; }
  void ForgetBody() override;
  void Post(std::function<void()> task) override;
  void Reply(int status, absl::string_view content_type, std::string body, Headers extra) override;
  void StartEvents(Headers extra) override;
  void WriteEvents(std::string events, std::function<void(bool)> written) override;
  void End() override;
  void OnGone(std::function<void()> on_gone) override;

  // The client is gone. On the connection's thread, at most once.
  void Gone();

 private:
  enum class Answer { kNone, kEvents, kDone };

  // Runs `call` on the connection's thread: now, if that is this one.
  template <typename Call>
  void OnLoop(Call call);
  Headers AllHeaders(Headers extra);
  void ForgetGone();

  const std::shared_ptr<Connection> connection_;
  Loop* const loop_;
  Shared* const shared_;
  const uint64_t id_;
  const std::unique_ptr<Request> request_;
  const Headers headers_;
  std::atomic<int64_t> body_bytes_;
  std::atomic<Answer> answer_{Answer::kNone};
  absl::Mutex mutex_;
  std::function<void()> on_gone_ ABSL_GUARDED_BY(mutex_);
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_CONNECTION_EXCHANGE_H_
