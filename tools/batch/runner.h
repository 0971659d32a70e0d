// Sends the lines of a batch that are not answered yet, many at once, and writes each one's end where it belongs.
//
// Threads: Run is called on one; it starts one for each connection. Stop and progress on any.
// Invariants:
//   B1  Every line of the input gets exactly one line in output or errors, however often the program is killed and
//       started again: a line is written when its last attempt is over, and what is written is not sent again.
//   B2  At most `concurrency` requests are out, and at most twice as many lines are in memory, whatever the size of the file.
//   B3  A server that stays away or full ends the run; it does not make errors of the lines that are left.
#ifndef QUIRE_TOOLS_BATCH_RUNNER_H_
#define QUIRE_TOOLS_BATCH_RUNNER_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "tools/batch/batch_line.h"
#include "tools/batch/http_client.h"
#include "tools/batch/id_set.h"
#include "tools/batch/journal.h"

namespace quire::batch {

struct RunOptions {
  std::string input;
  HttpServer server;
  int concurrency = 64;
  absl::Duration request_timeout = absl::Hours(1);
  absl::Duration retry_for = absl::Minutes(10);
};

struct Progress {
  int64_t total = 0;   // lines of the input
  int64_t before = 0;  // of them, answered by earlier runs
  int64_t done = 0;    // by this one, failed ones included
  int64_t failed = 0;  // by this one
  int64_t retries = 0;
  TokenUsage tokens;
};

// Reads the whole input once: every line has to be one, with a custom_id of its own. Adds the ids to `ids`.
// Errors: kInvalidArgument names the first lines that are wrong; nothing has been sent then.
absl::Status CheckInput(const std::string& path, IdSet* ids);

class Runner {
 public:
  // `done`: custom_ids that need not be sent. The journals outlive this.
  Runner(RunOptions options, int64_t total, IdSet done, Journal* output, Journal* errors);
  ~Runner();

  // Returns when all lines are answered, or with an error when the run cannot go on: kUnavailable, kInternal (writing
  // failed), kCancelled after Stop. What was answered by then is written and synced.
  absl::Status Run();

  // Ends Run soon: what is out is given up and stays unanswered.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  Progress progress() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Status ReadInput() ABSL_LOCKS_EXCLUDED(mutex_);
  void SendLines(HttpClient* client) ABSL_LOCKS_EXCLUDED(mutex_);
  bool TakeLine(BatchLine* line) ABSL_LOCKS_EXCLUDED(mutex_);
  // False if the run ended meanwhile: then there is no outcome.
  bool SendUntilAnswered(HttpClient* client, const BatchLine& line, Outcome* outcome) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Pause(absl::Duration wait) ABSL_LOCKS_EXCLUDED(mutex_);
  void Write(const BatchLine& line, const Outcome& outcome) ABSL_LOCKS_EXCLUDED(mutex_);
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  const RunOptions options_;
  const IdSet done_;
  Journal* const output_;
  Journal* const errors_;
  std::vector<std::unique_ptr<HttpClient>> clients_;
  mutable absl::Mutex mutex_;
  std::deque<BatchLine> lines_ ABSL_GUARDED_BY(mutex_);
  bool all_read_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;  // before all lines were answered
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  Progress progress_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quire::batch

#endif  // QUIRE_TOOLS_BATCH_RUNNER_H_
