// One call's answer on its way from the engine to its client: the requests of a call (one for each prompt), their news,
// and the exchange that they leave by.
//
// Threads: the engine's threads bring news through sinks; all else runs on the exchange's thread (Exchange::Post), so
// that no engine waits for a text to be made.
// Invariants:
//   S1  At most one write is outstanding; what comes meanwhile waits in the ResponseBuilders, bounded by the output
//       itself, and leaves in the next write.
//   S2  Nothing is sent before the first news: a request that is refused is answered with its own HTTP status.
//   S3  The call ends once: with all of its requests, or with the first that fails, which ends the others.
//   S4  A client that is gone cancels its requests at once.
#ifndef QUIRE_COORDINATOR_HTTP_ANSWER_STREAM_H_
#define QUIRE_COORDINATOR_HTTP_ANSWER_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/engine/engine.h"
#include "coordinator/frontend/api.h"
#include "coordinator/http/exchange.h"
#include "proto/generate.pb.h"

namespace quire::http {

// Makes a client's text of messages.
class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;
  // The events that a message about a prompt makes; none if the call is not a stream.
  virtual std::string Add(size_t prompt, const v1::GenerateResponse& response) = 0;
  // The last events, or the whole body. Requires: all choices of all prompts are complete.
  virtual std::string Finish() = 0;
  // An error about a prompt's request in the words of its client. Any thread.
  virtual absl::Status InClientNames(size_t prompt, const absl::Status& status) const = 0;
};

class AnswerStream final : public std::enable_shared_from_this<AnswerStream> {
 public:
  // Submits the requests and answers `exchange`. Requires: at least one request; nothing was answered yet.
  static void Start(std::shared_ptr<Exchange> exchange, frontend::Api* api, std::vector<frontend::Prepared> requests,
                    bool stream, std::unique_ptr<AnswerFormat> format);

  // Start's.
  AnswerStream(std::shared_ptr<Exchange> exchange, frontend::Api* api, bool stream,
               std::unique_ptr<AnswerFormat> format);

 private:
  class Sink;
  struct Part {
    explicit Part(frontend::ResponseOptions options) : builder(std::move(options)) {}
    frontend::ResponseBuilder builder;
    uint64_t id = 0;  // of the engine; 0 = not submitted yet, or refused
    bool ended = false;
  };
  using News = std::vector<std::pair<size_t, v1::GenerateResponse>>;

  void OnDelta(size_t part, const engine::ChoiceDelta& delta);
  void OnEnd(size_t part, const absl::Status& status, const engine::RequestTiming& timing);
  void OnGone();
  void CancelAll();
  // Has Pump run on the exchange's thread, once.
  void Schedule();
  // Sends what there is, or ends the answer, if it is time to. Exchange's thread.
  void Pump();
  // At most kMessagesAtOnce of what is new.
  News TakeNews() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasNews() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Write(std::string events, bool last);
  void Fail(const absl::Status& status, std::string events);

  const std::shared_ptr<Exchange> exchange_;
  frontend::Api* const api_;
  const bool stream_;

  // The exchange's thread.
  const std::unique_ptr<AnswerFormat> format_;
  bool writing_ = false;
  bool started_ = false;   // the head of a stream is out
  bool finished_ = false;  // nothing more is said

  absl::Mutex mutex_;
  std::vector<Part> parts_ ABSL_GUARDED_BY(mutex_);
  size_t num_ended_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // of the first that failed
  bool scheduled_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

// Answers an error: its HTTP status and body, and when to come back if that can help.
void ReplyError(Exchange* exchange, const absl::Status& status);

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_ANSWER_STREAM_H_
