// Runs the lines of an OpenAI batch file against a server.
//
//   batch --input=requests.jsonl --output=answers.jsonl --server=http://127.0.0.1:8000
//
// The same command again goes on where the last one ended, however it ended. Answers go to --output as they come; lines
// that the server refuses or cannot answer go to --errors: remove that file to have them tried again.
//
// Exit codes: 0 every line is answered, 3 too, but some with an error, 1 the run could not go on, 2 bad usage or input,
// 130 interrupted.
//
// Threads: main runs the batch; one waits for signals, one shows progress.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tools/batch/runner.h"

ABSL_FLAG(std::string, input, "", "JSONL file of requests: {\"custom_id\", \"method\", \"url\", \"body\"}, one a line");
ABSL_FLAG(std::string, output, "", "JSONL file of answers; lines that it holds already are not sent again");
ABSL_FLAG(std::string, errors, "", "JSONL file of lines that failed; empty = --output with .errors.jsonl behind it");
ABSL_FLAG(std::string, server, "http://127.0.0.1:8000", "http:// or https://, host and port");
ABSL_FLAG(int32_t, concurrency, 64, "requests at once");
ABSL_FLAG(std::string, api_key_file, "", "file with the API key; empty = none is sent");
ABSL_FLAG(std::string, ca_file, "", "PEM file of the authorities trusted with https; empty = the system's");
ABSL_FLAG(absl::Duration, request_timeout, absl::Hours(1),
          "how long a request may take; a line that takes longer fails");
ABSL_FLAG(absl::Duration, retry_for, absl::Minutes(10),
          "how long the waits of one line may take together while the server is away, busy (429, 503) or restarting");
ABSL_FLAG(absl::Duration, sync_interval, absl::Seconds(1),
          "answers are forced to the disk this often: what a power cut may take, and is then asked for again");

namespace quire::batch {
namespace {

constexpr int kExitStopped = 1;
constexpr int kExitUsage = 2;
constexpr int kExitFailedLines = 3;
constexpr int kExitInterrupted = 130;
constexpr int kConcurrencyMax = 4096;
constexpr int kBarWidth = 24;

int Complain(const absl::Status& status, int code) {
  fprintf(stderr, "batch: %s\n", std::string(status.message()).c_str());
  return code;
}

absl::StatusOr<RunOptions> OptionsFromFlags() {
  RunOptions options;
  options.input = absl::GetFlag(FLAGS_input);
  if (options.input.empty() || absl::GetFlag(FLAGS_output).empty()) {
    return absl::InvalidArgumentError("--input=FILE and --output=FILE are required; see --help");
  }
  absl::StatusOr<HttpServer> server = ParseServerUrl(absl::GetFlag(FLAGS_server));
  if (!server.ok()) return server.status();
  options.server = *std::move(server);
  options.server.ca_file = absl::GetFlag(FLAGS_ca_file);
  if (const std::string path = absl::GetFlag(FLAGS_api_key_file); !path.empty()) {
    std::ifstream in(path);
    std::getline(in, options.server.api_key);
    absl::StripAsciiWhitespace(&options.server.api_key);
    if (options.server.api_key.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("--api_key_file=", path, ": there is no key in it"));
    }
  }
  options.concurrency = absl::GetFlag(FLAGS_concurrency);
  if (options.concurrency < 1 || options.concurrency > kConcurrencyMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("--concurrency=", options.concurrency, " must be from 1 to ", kConcurrencyMax));
  }
  options.request_timeout = absl::GetFlag(FLAGS_request_timeout);
  options.retry_for = absl::GetFlag(FLAGS_retry_for);
  if (options.request_timeout <= absl::ZeroDuration() || options.retry_for < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("--request_timeout must be over 0, --retry_for at least 0");
  }
  options.request_timeout = std::min(options.request_timeout, absl::Hours(24 * 365));
  return options;
}

std::string Rates(const Progress& p, absl::Duration time) {
  const double seconds = std::max(absl::ToDoubleSeconds(time), 1e-3);
  return absl::StrFormat("%.1f requests/s, %.0f prompt + %.0f output tokens/s", p.done / seconds,
                         p.tokens.prompt / seconds, p.tokens.completion / seconds);
}

// A line that moves where somebody watches, one now and then elsewhere.
void ShowProgress(const Runner& runner, absl::Time start, absl::Notification* end) {
  const bool watched = isatty(STDERR_FILENO);
  while (!end->WaitForNotificationWithTimeout(watched ? absl::Milliseconds(200) : absl::Seconds(10))) {
    const Progress p = runner.progress();
    const int64_t done = p.before + p.done;
    const int filled = p.total > 0 ? static_cast<int>(kBarWidth * done / p.total) : kBarWidth;
    fprintf(stderr, "%s[%s%s] %ld/%ld, %ld failed, %s%s", watched ? "\r" : "", std::string(filled, '#').c_str(),
            std::string(kBarWidth - filled, '.').c_str(), done, p.total, p.failed,
            Rates(p, absl::Now() - start).c_str(), watched ? "\x1b[K" : "\n");
  }
  if (watched) fprintf(stderr, "\r\x1b[K");
}

// failed_before: lines that earlier runs wrote to the errors.
void Report(const Progress& p, int64_t failed_before, absl::Duration time, const std::string& errors) {
  fprintf(stderr, "batch: %ld of %ld lines answered (%ld before, %ld now, %ld of them failed, %ld retries) in %s: %s\n",
          p.before + p.done, p.total, p.before, p.done, p.failed, p.retries,
          absl::FormatDuration(absl::Trunc(time, absl::Milliseconds(1))).c_str(), Rates(p, time).c_str());
  if (p.failed + failed_before == 0) return;
  fprintf(stderr, "batch: %ld failed lines are in %s; without that file they are tried again\n",
          p.failed + failed_before, errors.c_str());
}

// The first signal stops the run, the second ends the process. Detached: it lives as long as the process.
void StopAtSignal(const sigset_t& signals, Runner* runner, std::atomic<bool>* interrupted) {
  std::thread([signals, runner, interrupted] {
    int signal = 0;
    sigwait(&signals, &signal);
    *interrupted = true;
    runner->Stop();
    sigwait(&signals, &signal);
    _exit(kExitInterrupted);
  }).detach();
}

int Main(const sigset_t& signals) {
  const absl::StatusOr<RunOptions> options = OptionsFromFlags();
  if (!options.ok()) return Complain(options.status(), kExitUsage);
  IdSet ids, done;
  if (const absl::Status status = CheckInput(options->input, &ids); !status.ok()) return Complain(status, kExitUsage);
  const std::string output_path = absl::GetFlag(FLAGS_output);
  std::string errors_path = absl::GetFlag(FLAGS_errors);
  if (errors_path.empty()) errors_path = absl::StrCat(output_path, ".errors.jsonl");
  const absl::Duration sync_interval = absl::GetFlag(FLAGS_sync_interval);
  absl::StatusOr<std::unique_ptr<Journal>> output = Journal::Open(output_path, sync_interval, &done);
  if (!output.ok()) return Complain(output.status(), kExitUsage);
  const size_t num_good = done.size();
  absl::StatusOr<std::unique_ptr<Journal>> errors = Journal::Open(errors_path, sync_interval, &done);
  if (!errors.ok()) return Complain(errors.status(), kExitUsage);
  if (!ids.ContainsAll(done)) {
    return Complain(absl::InvalidArgumentError(absl::StrCat(output_path, " or ", errors_path,
                                                            " has answers to lines that are not in ", options->input,
                                                            "; is it of another batch?")),
                    kExitUsage);
  }
  const int64_t failed_before = static_cast<int64_t>(done.size() - num_good);
  const int64_t total = static_cast<int64_t>(ids.size());
  const absl::Time start = absl::Now();
  // Never freed: the signal thread may hold them to the end.
  auto* runner = new Runner(*options, total, std::move(done), output->get(), errors->get());
  auto* interrupted = new std::atomic<bool>(false);
  StopAtSignal(signals, runner, interrupted);
  absl::Notification end;
  std::thread shower([&] { ShowProgress(*runner, start, &end); });
  const absl::Status status = runner->Run();
  end.Notify();
  shower.join();
  (*errors)->RemoveIfEmpty();
  const Progress progress = runner->progress();
  Report(progress, failed_before, absl::Now() - start, errors_path);
  if (*interrupted) return kExitInterrupted;
  if (!status.ok()) return Complain(status, kExitStopped);
  return progress.failed + failed_before > 0 ? kExitFailedLines : 0;
}

}  // namespace
}  // namespace quire::batch

int main(int argc, char** argv) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  absl::SetProgramUsageMessage(
      "Runs the lines of an OpenAI batch file against a server; the same command again goes on.");
  const std::vector<char*> words = absl::ParseCommandLine(argc, argv);
  if (words.size() > 1) {
    fprintf(stderr, "batch: unexpected argument '%s'; flags are written --name=value, see --help\n", words[1]);
    return 2;
  }
  // `bazel run` starts us elsewhere; paths are meant from where the user stands.
  const char* directory = getenv("BUILD_WORKING_DIRECTORY");
  if (directory != nullptr && chdir(directory) != 0) perror("batch: cannot enter the working directory");
  fflush(nullptr);
  _exit(quire::batch::Main(signals));  // without static destructors: the signal thread is still there
}
