#include "tools/bench/serve_run.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

namespace quire::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr int kBarWidth = 32;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

// The calls in flight and the records of those that ended.
class Calls {
 public:
  void Started(grpc::ClientContext* context) {
    absl::MutexLock lock(&mutex_);
    active_.insert(context);
  }

  void Ended(grpc::ClientContext* context, RequestRecord record) {
    absl::MutexLock lock(&mutex_);
    active_.erase(context);
    output_tokens_ += record.output_tokens;
    records_.push_back(std::move(record));
  }

  // Waits until fewer than `limit` run, at most for `timeout`.
  bool AwaitFewerThan(int64_t limit, absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    const auto fewer = [this, limit]()
                           ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return static_cast<int64_t>(active_.size()) < limit; };
    return mutex_.AwaitWithTimeout(absl::Condition(&fewer), timeout);
  }

  void CancelAll() {
    absl::MutexLock lock(&mutex_);
    for (grpc::ClientContext* context : active_) context->TryCancel();
  }

  int64_t num_ended() const {
    absl::MutexLock lock(&mutex_);
    return static_cast<int64_t>(records_.size());
  }
  int64_t output_tokens() const {
    absl::MutexLock lock(&mutex_);
    return output_tokens_;
  }
  std::vector<RequestRecord> TakeRecords() {
    absl::MutexLock lock(&mutex_);
    return std::move(records_);
  }

 private:
  mutable absl::Mutex mutex_;
  std::set<grpc::ClientContext*> active_ ABSL_GUARDED_BY(mutex_);
  std::vector<RequestRecord> records_ ABSL_GUARDED_BY(mutex_);
  int64_t output_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
};

// One call; deletes itself at its end.
class Call final : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  Call(v1::Generator::Stub* stub, Calls* calls, const RequestSpec& spec, const RunOptions& options) : calls_(calls) {
    request_.mutable_tokenized()->mutable_input_ids()->Add(spec.prompt_ids.begin(), spec.prompt_ids.end());
    request_.set_stream(true);
    v1::SamplingParams* params = request_.mutable_sampling_params();
    params->set_max_tokens(spec.output_len);
    params->set_ignore_eos(true);
    params->set_n(options.n);
    if (options.beam_width > 0) {
      params->set_use_beam_search(true);
      params->set_beam_width(options.beam_width);
    } else {
      params->set_temperature(options.temperature);
      params->set_seed(1);
    }
    record_.input_tokens = static_cast<int64_t>(spec.prompt_ids.size());
    calls_->Started(&context_);
    start_ = SteadyClock::now();
    stub->async()->Generate(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const double now = SecondsSince(start_);
    if (response_.has_chunk() && response_.chunk().token_ids_size() > 0) {
      if (record_.output_tokens == 0) {
        record_.ttft = now;
      } else {
        record_.gaps.push_back(now - record_.last_token);
      }
      record_.last_token = now;
      record_.output_tokens += response_.chunk().token_ids_size();
    }
    if (response_.has_complete()) complete_ = true;
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    record_.e2e = SecondsSince(start_);
    record_.ok = status.ok() && complete_;
    if (!status.ok()) {
      record_.error = absl::StrCat(status.error_code(), ": ", status.error_message());
    } else if (!complete_) {
      record_.error = "the stream ended without `complete`";
    }
    calls_->Ended(&context_, std::move(record_));
    delete this;
  }

 private:
  Calls* const calls_;
  grpc::ClientContext context_;
  v1::GenerateRequest request_;
  v1::GenerateResponse response_;
  RequestRecord record_;
  SteadyClock::time_point start_;
  bool complete_ = false;
};

// What happens beside the calls: the progress bar, and samples of the server's load.
class Observer {
 public:
  Observer(v1::Generator::Stub* stub, const RunOptions& options, const Calls* calls)
      : stub_(stub), options_(options), calls_(calls), start_(SteadyClock::now()) {}

  void Tick() {
    if (absl::Now() - last_ < kTick) return;
    last_ = absl::Now();
    Sample();
    if (options_.progress && isatty(STDERR_FILENO)) Draw();
  }

  void Finish(RunResult* result) {
    if (options_.progress && isatty(STDERR_FILENO)) {
      Draw();
      std::fputc('\n', stderr);
    }
    result->mean_used_tokens = num_samples_ > 0 ? used_tokens_ / num_samples_ : 0;
    result->mean_running = num_samples_ > 0 ? running_ / num_samples_ : 0;
  }

 private:
  void Sample() {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(1)));
    v1::GetLoadsResponse loads;
    if (!stub_->GetLoads(&context, v1::GetLoadsRequest(), &loads).ok() || loads.num_running_reqs() == 0) return;
    ++num_samples_;
    used_tokens_ += static_cast<double>(loads.num_used_tokens());
    running_ += loads.num_running_reqs();
  }

  void Draw() const {
    const int64_t ended = calls_->num_ended();
    const auto filled = static_cast<int>(ended * kBarWidth / options_.num_requests);
    const double seconds = SecondsSince(start_);
    std::fprintf(stderr, "\r[%s%s] %ld/%ld requests, %.0f s, %.1f tok/s   ", std::string(filled, '#').c_str(),
                 std::string(kBarWidth - filled, ' ').c_str(), static_cast<long>(ended),
                 static_cast<long>(options_.num_requests), seconds,
                 static_cast<double>(calls_->output_tokens()) / std::max(seconds, 1e-3));
    std::fflush(stderr);
  }

  v1::Generator::Stub* const stub_;
  const RunOptions& options_;
  const Calls* const calls_;
  const SteadyClock::time_point start_;
  absl::Time last_ = absl::InfinitePast();
  double used_tokens_ = 0;
  double running_ = 0;
  int num_samples_ = 0;
};

uint64_t ServerSteps(v1::Generator::Stub* stub) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(5)));
  v1::GetServerInfoResponse info;
  stub->GetServerInfo(&context, v1::GetServerInfoRequest(), &info);
  return info.steps();
}

}  // namespace

RunResult Run(v1::Generator::Stub* stub, const RunOptions& options) {
  RunResult result;
  Calls calls;
  std::vector<absl::Duration> arrivals;
  const bool open_loop = options.request_rate > 0;
  if (open_loop) arrivals = PoissonArrivals(options.workload.seed, options.request_rate, options.num_requests);
  const uint64_t steps_before = ServerSteps(stub);
  Observer observer(stub, options, &calls);
  const absl::Time start = absl::Now();
  const absl::Time end = start + options.time_limit;
  const SteadyClock::time_point clock_start = SteadyClock::now();
  for (int64_t i = 0; i < options.num_requests && absl::Now() < end;) {
    observer.Tick();
    if (open_loop) {
      const absl::Duration left = start + arrivals[static_cast<size_t>(i)] - absl::Now();
      if (left > absl::ZeroDuration()) absl::SleepFor(std::min(left, kTick));
      if (left > kTick) continue;
    } else if (!calls.AwaitFewerThan(options.concurrency, kTick)) {
      continue;
    }
    new Call(stub, &calls, MakeRequestSpec(options.workload, options.first_index + i), options);
    ++i;
  }
  while (!calls.AwaitFewerThan(1, kTick)) {
    observer.Tick();
    if (absl::Now() >= end) {
      result.timed_out = true;
      calls.CancelAll();
    }
  }
  result.seconds = SecondsSince(clock_start);
  observer.Finish(&result);
  result.steps = ServerSteps(stub) - steps_before;
  result.records = calls.TakeRecords();
  result.timed_out |= static_cast<int64_t>(result.records.size()) < options.num_requests;
  return result;
}

}  // namespace quire::bench
