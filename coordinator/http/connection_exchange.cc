#include "coordinator/http/connection_exchange.h"

#include <glog/logging.h>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "coordinator/openai/errors.h"

namespace quire::http {

ConnectionExchange::ConnectionExchange(std::shared_ptr<Connection> connection, Loop* loop, Shared* shared, uint64_t id,
                                       std::unique_ptr<Request> request, Headers headers, int64_t body_bytes)
    : connection_(std::move(connection)),
      loop_(loop),
      shared_(shared),
      id_(id),
      request_(std::move(request)),
      headers_(std::move(headers)),
      body_bytes_(body_bytes) {}

ConnectionExchange::~ConnectionExchange() {
  shared_->body_bytes -= body_bytes_.exchange(0);
  const Answer answer = answer_.load();
  if (answer == Answer::kDone) return;
  // Nobody is left who could answer.
  boost::asio::post(loop_->context, [connection = connection_, id = id_, headers = headers_, answer] {
    if (answer == Answer::kNone) {
      connection->Reply(id, 500, "application/json", openai::ErrorBody(500, "The server lost track of the request."),
                        headers);
    } else {
      connection->Abandon(id);
    }
  });
}

template <typename Call>
void ConnectionExchange::OnLoop(Call call) {
  boost::asio::dispatch(loop_->context, std::move(call));
}

void ConnectionExchange::ForgetBody() {
  std::string().swap(request_->body);
  shared_->body_bytes -= body_bytes_.exchange(0);
}

void ConnectionExchange::Post(std::function<void()> task) { boost::asio::post(loop_->context, std::move(task)); }

void ConnectionExchange::Reply(int status, absl::string_view content_type, std::string body, Headers extra) {
  CHECK(answer_.exchange(Answer::kDone) == Answer::kNone) << request_->path << " has two answers";
  ForgetGone();
  OnLoop([connection = connection_, id = id_, status, type = std::string(content_type), body = std::move(body),
          headers = AllHeaders(std::move(extra))]() mutable {
    connection->Reply(id, status, type, std::move(body), headers);
  });
}

void ConnectionExchange::StartEvents(Headers extra) {
  CHECK(answer_.exchange(Answer::kEvents) == Answer::kNone) << request_->path << " has two answers";
  OnLoop([connection = connection_, id = id_, headers = AllHeaders(std::move(extra))] {
    connection->StartEvents(id, headers);
  });
}

void ConnectionExchange::WriteEvents(std::string events, std::function<void(bool)> written) {
  CHECK(answer_.load() == Answer::kEvents) << request_->path << ": events without a start, or after the end";
  OnLoop([connection = connection_, id = id_, events = std::move(events), written = std::move(written)]() mutable {
    connection->WriteEvents(id, std::move(events), std::move(written));
  });
}

void ConnectionExchange::End() {
  CHECK(answer_.exchange(Answer::kDone) == Answer::kEvents) << request_->path << ": an end without a start";
  ForgetGone();
  OnLoop([connection = connection_, id = id_] { connection->EndEvents(id); });
}

void ConnectionExchange::OnGone(std::function<void()> on_gone) {
  {
    absl::MutexLock lock(&mutex_);
    CHECK(on_gone_ == nullptr) << request_->path << ": OnGone is set twice";
    if (ended_) return;
    if (!gone_) {
      on_gone_ = std::move(on_gone);
      return;
    }
  }
  Post(std::move(on_gone));
}

void ConnectionExchange::Gone() {
  std::function<void()> on_gone;
  {
    absl::MutexLock lock(&mutex_);
    gone_ = true;
    on_gone.swap(on_gone_);
  }
  if (on_gone != nullptr) on_gone();
}

Headers ConnectionExchange::AllHeaders(Headers extra) {
  extra.insert(extra.begin(), headers_.begin(), headers_.end());
  return extra;
}

// What OnGone was given may hold this exchange: it goes with the answer's end.
void ConnectionExchange::ForgetGone() {
  std::function<void()> dropped;
  absl::MutexLock lock(&mutex_);
  ended_ = true;
  dropped.swap(on_gone_);
}

}  // namespace quire::http
