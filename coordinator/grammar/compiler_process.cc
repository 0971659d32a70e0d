// Messages between the two: a byte that says what, four of length (little endian), so many bytes. The vocabulary goes
// first and is not answered; then source and answer take turns.
#include "coordinator/grammar/compiler_process.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/grammar/xgrammar_engine.h"

extern char** environ;

namespace quire::grammar {
namespace {

constexpr char kMark[] = "--quire_grammar_compiler";
constexpr int kChildSocket = 3;
constexpr uint32_t kMessageBytesMax = 256 << 20;
constexpr char kVocabulary = 'V', kCompiled = 'O', kRefused = 'E';  // a source has its kind as a digit

constexpr int kLookMs = 50;  // so often a wait looks whether it is called off

// How long to wait for the other end.
struct Patience {
  absl::Time deadline = absl::InfiniteFuture();
  const std::atomic<bool>* called_off = nullptr;  // null = never
};

// Waits until the socket can be read or written. False: too late, or called off.
bool Wait(int socket, short events, const Patience& patience) {
  while (patience.called_off == nullptr || !*patience.called_off) {
    const absl::Time deadline = patience.deadline;
    const int64_t ms = deadline == absl::InfiniteFuture() ? -1 : absl::ToInt64Milliseconds(deadline - absl::Now());
    if (deadline != absl::InfiniteFuture() && ms <= 0) return false;
    pollfd wait = {socket, events, 0};
    const int64_t most = patience.called_off == nullptr ? 60'000 : kLookMs;
    const int ready = poll(&wait, 1, static_cast<int>(ms < 0 ? most : std::min(ms, most)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // the call that follows fails and says why
  }
  return false;
}

// Moves all of `size` bytes by `call`, which is send or recv. Errors: DEADLINE_EXCEEDED; UNAVAILABLE the other end left.
template <typename Call>
absl::Status MoveAll(int socket, short events, const Patience& patience, size_t size, const Call& call) {
  for (size_t done = 0; done < size;) {
    if (!Wait(socket, events, patience)) return absl::DeadlineExceededError("too late");
    const ssize_t n = call(done, size - done);
    if (n > 0) {
      done += static_cast<size_t>(n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      return absl::UnavailableError(n == 0 ? "closed" : strerror(errno));
    }
  }
  return absl::OkStatus();
}

absl::Status Send(int socket, char what, const std::string& body, const Patience& patience) {
  const auto size = static_cast<uint32_t>(body.size());
  std::string message(5, what);
  for (int i = 0; i < 4; ++i) message[1 + i] = static_cast<char>(size >> (8 * i) & 0xff);
  message += body;
  return MoveAll(socket, POLLOUT, patience, message.size(), [&](size_t at, size_t n) {
    return send(socket, message.data() + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
  });
}

absl::Status Receive(int socket, char* what, std::string* body, const Patience& patience) {
  unsigned char head[5];
  const auto receive = [&](void* to) {
    return [socket, to](size_t at, size_t n) { return recv(socket, static_cast<char*>(to) + at, n, MSG_DONTWAIT); };
  };
  if (absl::Status s = MoveAll(socket, POLLIN, patience, sizeof(head), receive(head)); !s.ok()) return s;
  uint32_t size = 0;
  for (int i = 0; i < 4; ++i) size |= uint32_t{head[1 + i]} << (8 * i);
  if (size > kMessageBytesMax) return absl::ResourceExhaustedError(absl::StrCat("a message of ", size, " bytes"));
  *what = static_cast<char>(head[0]);
  body->resize(size);
  return MoveAll(socket, POLLIN, patience, size, receive(&(*body)[0]));
}

std::string JoinTokens(const std::vector<std::string>& tokens) {
  std::string joined;
  for (const std::string& token : tokens) {
    const auto size = static_cast<uint32_t>(token.size());
    joined.append(reinterpret_cast<const char*>(&size), sizeof(size));
    joined += token;
  }
  return joined;
}

std::vector<std::string> SplitTokens(const std::string& joined) {
  std::vector<std::string> tokens;
  for (size_t at = 0; at + sizeof(uint32_t) <= joined.size();) {
    uint32_t size;
    memcpy(&size, joined.data() + at, sizeof(size));
    at += sizeof(size);
    tokens.push_back(joined.substr(at, size));
    at += size;
  }
  return tokens;
}

// The child: serves until its socket closes.
[[noreturn]] void Serve(size_t memory_bytes) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit memory = {memory_bytes, memory_bytes}, none = {0, 0};
  setrlimit(RLIMIT_AS, &memory);
  setrlimit(RLIMIT_CORE, &none);
  const Patience never;
  char what = 0;
  std::string body;
  if (!Receive(kChildSocket, &what, &body, never).ok() || what != kVocabulary) _exit(1);
  const absl::StatusOr<std::shared_ptr<const Vocabulary>> vocabulary = Vocabulary::Make(SplitTokens(body));
  while (Receive(kChildSocket, &what, &body, never).ok()) {
    const GrammarSource source = {static_cast<GrammarKind>(what - '0'), std::move(body), ""};
    const absl::StatusOr<std::string> compiled =
        vocabulary.ok() ? CompileToBytes(source, **vocabulary) : absl::StatusOr<std::string>(vocabulary.status());
    if (absl::IsResourceExhausted(compiled.status())) break;  // at the limit: the next one starts afresh
    const absl::Status sent = compiled.ok()
                                  ? Send(kChildSocket, kCompiled, *compiled, never)
                                  : Send(kChildSocket, kRefused, std::string(compiled.status().message()), never);
    if (!sent.ok()) break;
  }
  _exit(0);
}

}  // namespace

CompilerProcess::CompilerProcess(std::string program, std::vector<std::string> token_bytes, size_t memory_bytes)
    : program_(std::move(program)), vocabulary_(JoinTokens(token_bytes)), memory_bytes_(memory_bytes) {}

CompilerProcess::~CompilerProcess() { Kill(); }

void CompilerProcess::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  close(socket_);
  pid_ = -1;
}

absl::Status CompilerProcess::Start(absl::Time deadline) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return absl::InternalError(absl::StrCat("socketpair: ", strerror(errno)));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pair[1], kChildSocket);
  posix_spawn_file_actions_addclosefrom_np(&actions, kChildSocket + 1);
  std::string mark = kMark, memory = absl::StrCat(memory_bytes_);
  char* argv[] = {&mark[0], &mark[0], &memory[0], nullptr};
  const int error = posix_spawn(&pid_, program_.c_str(), &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(pair[1]);
  socket_ = pair[0];
  if (error != 0) {
    pid_ = -1;
    close(socket_);
    return absl::InternalError(absl::StrCat("cannot start ", program_, ": ", strerror(error)));
  }
  return Send(socket_, kVocabulary, vocabulary_, {deadline, &called_off_});
}

absl::StatusOr<std::string> CompilerProcess::Compile(const GrammarSource& source, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  absl::Status status = pid_ < 0 ? Start(deadline) : absl::OkStatus();
  char what = static_cast<char>('0' + static_cast<int>(source.kind));
  std::string body;
  if (status.ok()) status = Send(socket_, what, source.text, {deadline, &called_off_});
  if (status.ok()) status = Receive(socket_, &what, &body, {deadline, &called_off_});
  if (status.ok() && what == kCompiled) return body;
  if (status.ok()) return absl::InvalidArgumentError(absl::StrCat("cannot be compiled: ", body));
  Kill();
  if (absl::IsInternal(status)) return status;
  return absl::ResourceExhaustedError(
      absl::IsDeadlineExceeded(status)
          ? absl::StrCat("takes more than ", absl::FormatDuration(timeout), " to compile.")
          : absl::StrCat("takes more than ", memory_bytes_ >> 20, " MiB, or more stack, to compile."));
}

void RunCompilerIfAsked(int argc, char** argv) {
  size_t memory_bytes = 0;
  if (argc != 3 || strcmp(argv[1], kMark) != 0 || !absl::SimpleAtoi(argv[2], &memory_bytes)) return;
  Serve(memory_bytes);
}

}  // namespace quire::grammar
