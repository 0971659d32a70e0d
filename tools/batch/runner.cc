#include "tools/batch/runner.h"

#include <optional>
#include <thread>
#include <utility>

#include "absl/random/random.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/batch/line_reader.h"
#include "tools/batch/retry_policy.h"

namespace quire::batch {
namespace {

constexpr size_t kComplaintsMax = 10;

// Calls `take` with every line. Errors: those of reading and of parsing, with the line's number; those of `take`.
template <typename Take>
absl::Status ForEachLine(const std::string& path, const Take& take) {
  absl::StatusOr<std::unique_ptr<LineReader>> reader = LineReader::Open(path);
  if (!reader.ok()) return reader.status();
  std::string text;
  while (true) {
    const absl::StatusOr<bool> found = (*reader)->Next(&text);
    if (!found.ok()) return found.status();
    if (!*found) return absl::OkStatus();
    const absl::Status status = take((*reader)->line_number(), ParseBatchLine(text));
    if (!status.ok()) return status;
  }
}

std::string At(const std::string& path, int64_t line_number, absl::string_view what) {
  return absl::StrCat(path, ":", line_number, ": ", what);
}

}  // namespace

absl::Status CheckInput(const std::string& path, IdSet* ids) {
  std::vector<std::string> complaints;
  const absl::Status read = ForEachLine(path, [&](int64_t number, const absl::StatusOr<BatchLine>& line) {
    if (!line.ok()) {
      complaints.push_back(At(path, number, line.status().message()));
    } else if (!ids->Insert(line->custom_id)) {
      complaints.push_back(At(path, number, absl::StrCat("custom_id '", line->custom_id, "' stands there twice")));
    }
    return complaints.size() < kComplaintsMax ? absl::OkStatus() : absl::InvalidArgumentError("and maybe more");
  });
  if (complaints.empty()) return read;
  if (!read.ok()) complaints.push_back(std::string(read.message()));
  return absl::InvalidArgumentError(absl::StrJoin(complaints, "\n"));
}

Runner::Runner(RunOptions options, int64_t total, IdSet done, Journal* output, Journal* errors)
    : options_(std::move(options)), done_(std::move(done)), output_(output), errors_(errors) {
  progress_.total = total;
  progress_.before = static_cast<int64_t>(done_.size());
}

Runner::~Runner() = default;

absl::Status Runner::Run() {
  {
    absl::MutexLock lock(&mutex_);  // Stop may come before the clients are there
    for (int i = 0; i < options_.concurrency; ++i) {
      absl::StatusOr<std::unique_ptr<HttpClient>> client = HttpClient::Create(options_.server);
      if (!client.ok()) return client.status();
      clients_.push_back(*std::move(client));
    }
  }
  std::vector<std::thread> threads;
  for (const auto& client : clients_) threads.emplace_back([this, c = client.get()] { SendLines(c); });
  if (const absl::Status read = ReadInput(); !read.ok()) End(read);
  for (std::thread& thread : threads) thread.join();
  for (Journal* journal : {output_, errors_}) {
    if (const absl::Status synced = journal->Sync(); !synced.ok()) End(synced);
  }
  absl::MutexLock lock(&mutex_);
  return status_;
}

void Runner::Stop() { End(absl::CancelledError("stopped; the same command goes on from here")); }

Progress Runner::progress() const {
  absl::MutexLock lock(&mutex_);
  return progress_;
}

absl::Status Runner::ReadInput() {
  const absl::Status status =
      ForEachLine(options_.input, [this](int64_t number, absl::StatusOr<BatchLine> line) -> absl::Status {
        if (!line.ok()) {
          return absl::InvalidArgumentError(At(options_.input, number, "has changed since it was checked"));
        }
        if (done_.Contains(line->custom_id)) return absl::OkStatus();
        const size_t room = static_cast<size_t>(options_.concurrency);
        absl::MutexLock lock(&mutex_);
        const auto has_room = [this, room]()
                                  ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_ || lines_.size() < room; };
        mutex_.Await(absl::Condition(&has_room));
        if (ended_) return status_;
        lines_.push_back(*std::move(line));
        return absl::OkStatus();
      });
  absl::MutexLock lock(&mutex_);
  all_read_ = true;
  return status;
}

bool Runner::TakeLine(BatchLine* line) {
  absl::MutexLock lock(&mutex_);
  const auto is_news = [this]()
                           ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_ || all_read_ || !lines_.empty(); };
  mutex_.Await(absl::Condition(&is_news));
  if (ended_ || lines_.empty()) return false;
  *line = std::move(lines_.front());
  lines_.pop_front();
  return true;
}

void Runner::SendLines(HttpClient* client) {
  BatchLine line;
  Outcome outcome;
  while (TakeLine(&line) && SendUntilAnswered(client, line, &outcome)) Write(line, outcome);
}

bool Runner::SendUntilAnswered(HttpClient* client, const BatchLine& line, Outcome* outcome) {
  *outcome = Outcome();
  RetryPolicy retry(options_.retry_for);
  absl::BitGen dice;
  while (true) {
    absl::StatusOr<HttpReply> reply = client->Post(line.url, line.body, options_.request_timeout);
    const Verdict verdict = Judge(reply);
    if (verdict == Verdict::kCancelled) return false;
    if (verdict == Verdict::kNoAnswer) {
      outcome->error_code = absl::IsDeadlineExceeded(reply.status()) ? "request_timeout" : "answer_too_long";
      outcome->error_message = std::string(reply.status().message());
      return true;
    }
    if (verdict != Verdict::kAnswered) {
      const absl::Duration wish = reply.ok() ? reply->retry_after : absl::Seconds(-1);
      const std::optional<absl::Duration> wait = retry.WaitAfter(verdict, wish, absl::Uniform(dice, 0.0, 1.0));
      if (wait.has_value()) {
        if (!Pause(*wait)) return false;
        continue;
      }
      if (verdict != Verdict::kFailed) {
        End(absl::UnavailableError(
            absl::StrCat("the server is ", verdict == Verdict::kAway ? "away" : "full",
                         " for longer than --retry_for=", absl::FormatDuration(options_.retry_for), ": ",
                         reply.ok() ? absl::StrCat("status ", reply->status) : std::string(reply.status().message()))));
        return false;
      }
    }
    outcome->status = reply->status;
    outcome->request_id = std::move(reply->request_id);
    outcome->body = std::move(reply->body);
    return true;
  }
}

bool Runner::Pause(absl::Duration wait) {
  absl::MutexLock lock(&mutex_);
  ++progress_.retries;
  return !mutex_.AwaitWithTimeout(absl::Condition(&ended_), wait);
}

void Runner::Write(const BatchLine& line, const Outcome& outcome) {
  Journal* const journal = outcome.ok() ? output_ : errors_;
  const absl::Status written = journal->Append(OutputLine(line.custom_id, outcome));
  if (!written.ok()) return End(written);
  const TokenUsage usage = outcome.ok() ? UsageOf(outcome.body) : TokenUsage();
  absl::MutexLock lock(&mutex_);
  ++progress_.done;
  progress_.failed += outcome.ok() ? 0 : 1;
  progress_.tokens.prompt += usage.prompt;
  progress_.tokens.completion += usage.completion;
}

void Runner::End(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (ended_) return;
  ended_ = true;
  status_ = status;
  for (const auto& client : clients_) client->Cancel();
}

}  // namespace quire::batch
