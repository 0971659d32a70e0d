#include "coordinator/http/answer_stream.h"

#include <glog/logging.h>

#include "absl/strings/str_cat.h"
#include "coordinator/openai/errors.h"

namespace quire::http {
namespace {

constexpr size_t kMessagesAtOnce = 256;  // in one write

}  // namespace

class AnswerStream::Sink final : public engine::RequestSink {
 public:
  Sink(std::shared_ptr<AnswerStream> stream, size_t part) : stream_(std::move(stream)), part_(part) {}
  void OnDelta(const engine::ChoiceDelta& delta) override { stream_->OnDelta(part_, delta); }
  void OnEnd(const absl::Status& status, const engine::RequestTiming& timing) override {
    stream_->OnEnd(part_, status, timing);
  }

 private:
  const std::shared_ptr<AnswerStream> stream_;
  const size_t part_;
};

void AnswerStream::Start(std::shared_ptr<Exchange> exchange, frontend::Api* api,
                         std::vector<frontend::Prepared> requests, bool stream, std::unique_ptr<AnswerFormat> format) {
  auto answer = std::make_shared<AnswerStream>(std::move(exchange), api, stream, std::move(format));
  {
    absl::MutexLock lock(&answer->mutex_);
    for (const frontend::Prepared& prepared : requests) answer->parts_.emplace_back(prepared.response);
  }
  answer->exchange_->OnGone([answer] { answer->OnGone(); });
  for (size_t part = 0; part < requests.size(); ++part) {
    const absl::StatusOr<uint64_t> id = api->Submit(std::move(requests[part]), std::make_unique<Sink>(answer, part));
    if (!id.ok()) {
      // What was submitted ends with it; what was not never began.
      for (size_t rest = part; rest < requests.size(); ++rest) {
        answer->OnEnd(rest, id.status(), engine::RequestTiming());
      }
      break;
    }
    bool cancelled = false;
    {
      absl::MutexLock lock(&answer->mutex_);
      answer->parts_[part].id = *id;
      cancelled = answer->cancelled_;
    }
    if (cancelled) api->Cancel(*id);
  }
}

AnswerStream::AnswerStream(std::shared_ptr<Exchange> exchange, frontend::Api* api, bool stream,
                           std::unique_ptr<AnswerFormat> format)
    : exchange_(std::move(exchange)), api_(api), stream_(stream), format_(std::move(format)) {}

void AnswerStream::OnDelta(size_t part, const engine::ChoiceDelta& delta) {
  {
    absl::MutexLock lock(&mutex_);
    parts_[part].builder.Add(delta);
    if (!stream_ || scheduled_ || !HasNews()) return;
    scheduled_ = true;
  }
  Schedule();
}

void AnswerStream::OnEnd(size_t part, const absl::Status& status, const engine::RequestTiming& timing) {
  {
    absl::MutexLock lock(&mutex_);
    CHECK(!parts_[part].ended) << "prompt " << part << " of a call ends twice";
    parts_[part].ended = true;
    ++num_ended_;
    if (status.ok()) {
      parts_[part].builder.End(timing);
    } else if (status_.ok()) {
      status_ = format_->InClientNames(part, status);
    }
    if (scheduled_) return;
    scheduled_ = true;
  }
  Schedule();
}

void AnswerStream::OnGone() {
  finished_ = true;
  CancelAll();
}

void AnswerStream::CancelAll() {
  std::vector<uint64_t> ids;
  {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    for (const Part& part : parts_) {
      if (part.id != 0 && !part.ended) ids.push_back(part.id);
    }
  }
  for (const uint64_t id : ids) api_->Cancel(id);
}

void AnswerStream::Schedule() {
  exchange_->Post([self = shared_from_this()] { self->Pump(); });
}

bool AnswerStream::HasNews() const {
  for (const Part& part : parts_) {
    if (part.builder.HasNext()) return true;
  }
  return false;
}

AnswerStream::News AnswerStream::TakeNews() {
  News news;
  for (size_t part = 0; part < parts_.size(); ++part) {
    while (news.size() < kMessagesAtOnce && parts_[part].builder.HasNext()) {
      news.emplace_back(part, v1::GenerateResponse());
      parts_[part].builder.Next(&news.back().second);
    }
  }
  return news;
}

void AnswerStream::Pump() {
  if (finished_ || writing_) return;
  std::string events;
  bool ended = false;
  while (events.empty() && !ended) {
    News news;
    absl::Status status;
    {
      absl::MutexLock lock(&mutex_);
      status = status_;
      if (stream_ || num_ended_ == parts_.size()) news = TakeNews();
      ended = num_ended_ == parts_.size() && !HasNews();
      // What was said before a failure still goes out.
      if (!status.ok()) ended = !stream_ || !HasNews();
      scheduled_ = !news.empty() || ended;
    }
    for (const auto& [part, response] : news) events += format_->Add(part, response);
    if (ended && !status.ok()) return Fail(status, std::move(events));
    if (news.empty() && !ended) return;
  }
  if (ended) events += format_->Finish();
  if (stream_) return Write(std::move(events), ended);
  finished_ = true;
  exchange_->Reply(200, "application/json", std::move(events));
}

void AnswerStream::Write(std::string events, bool last) {
  if (!started_) exchange_->StartEvents();
  started_ = true;
  writing_ = true;
  finished_ = last;
  exchange_->WriteEvents(std::move(events), [self = shared_from_this(), last](bool ok) {
    self->writing_ = false;
    if (!ok) {
      self->finished_ = true;
      self->CancelAll();
    } else if (last) {
      self->exchange_->End();
    } else {
      self->Pump();
    }
  });
}

void AnswerStream::Fail(const absl::Status& status, std::string events) {
  CancelAll();
  if (started_ || !events.empty()) return Write(absl::StrCat(events, openai::ErrorEvent(status)), /*last=*/true);
  finished_ = true;
  ReplyError(exchange_.get(), status);
}

void ReplyError(Exchange* exchange, const absl::Status& status) {
  Headers headers;
  if (const int64_t ms = openai::RetryAfterMs(status); ms >= 0) {
    headers.emplace_back("Retry-After", absl::StrCat(openai::RetryAfterSeconds(ms)));
    headers.emplace_back("retry-after-ms", absl::StrCat(ms));
  }
  exchange->Reply(openai::HttpStatus(status), "application/json", openai::ErrorBody(status), std::move(headers));
}

}  // namespace quire::http
