// The program itself against a scripted server: kills and resumes, refusals, retries, bounds.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "tools/batch/fake_server.h"

namespace quire::batch {
namespace {

using nlohmann::json;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string InputLine(const std::string& id, const std::string& prompt) {
  const json line = {{"custom_id", id},
                     {"method", "POST"},
                     {"url", "/v1/completions"},
                     {"body", {{"prompt", prompt}, {"max_tokens", 5}}}};
  return line.dump() + "\n";
}

// A run of the program.
class Batch {
 public:
  explicit Batch(std::vector<std::string> args, const std::string& log) : log_(log) {
    args.insert(args.begin(), "tools/batch/batch");
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    const int fd = open(log_.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execv(argv[0], argv.data());
    _exit(127);
  }

  void Signal(int number) { kill(pid_, number); }

  // The exit code; 128 + signal.
  int Wait() {
    if (!ended_) waitpid(pid_, &status_, 0);
    ended_ = true;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  }

  bool Ended() {
    ended_ = ended_ || waitpid(pid_, &status_, WNOHANG) == pid_;
    return ended_;
  }

  std::string Log() const { return ReadFile(log_); }

 private:
  const std::string log_;
  pid_t pid_ = 0;
  bool ended_ = false;
  int status_ = 0;
};

class BatchTest : public ::testing::Test {
 protected:
  BatchTest() {
    char path[] = "/tmp/quire_batch.XXXXXX";
    const char* root = getenv("TEST_TMPDIR");
    dir_ = root == nullptr ? path : absl::StrCat(root, "/XXXXXX");
    EXPECT_NE(mkdtemp(dir_.data()), nullptr);
  }

  std::string Path(const std::string& name) const { return absl::StrCat(dir_, "/", name); }
  std::string output() const { return Path("out.jsonl"); }
  std::string errors() const { return Path("out.jsonl.errors.jsonl"); }

  void WriteInput(const std::string& text) { std::ofstream(Path("in.jsonl")) << text; }

  void WriteInput(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += InputLine(absl::StrCat("id", i), absl::StrCat("prompt ", i));
    WriteInput(text);
  }

  // Counts the requests by prompt and answers them.
  FakeReply Echo(const FakeRequest& request) {
    const json body = json::parse(request.body);
    const std::string prompt = body["prompt"];
    {
      absl::MutexLock lock(&mutex_);
      ++seen_[prompt];
      most_ = std::max(most_, ++now_);
    }
    FakeReply reply;
    reply.headers["X-Request-Id"] = "r-" + prompt;
    reply.body =
        json{{"choices", {{{"text", "echo " + prompt}}}}, {"usage", {{"prompt_tokens", 2}, {"completion_tokens", 5}}}}
            .dump(2);
    absl::MutexLock lock(&mutex_);
    --now_;
    return reply;
  }

  int Seen(const std::string& prompt) {
    absl::MutexLock lock(&mutex_);
    return seen_[prompt];
  }

  Batch Start(const std::string& url, std::vector<std::string> more = {}) {
    std::vector<std::string> args = {absl::StrCat("--input=", Path("in.jsonl")), absl::StrCat("--output=", output()),
                                     absl::StrCat("--server=", url)};
    args.insert(args.end(), more.begin(), more.end());
    return Batch(args, Path("log"));
  }

  // custom_id -> how often it stands in the file.
  std::map<std::string, int> Ids(const std::string& path) {
    std::map<std::string, int> ids;
    for (absl::string_view line : absl::StrSplit(ReadFile(path), '\n', absl::SkipEmpty())) {
      ++ids[json::parse(line)["custom_id"].get<std::string>()];
    }
    return ids;
  }

  std::string dir_;
  absl::Mutex mutex_;
  std::map<std::string, int> seen_;
  int now_ = 0, most_ = 0;
};

TEST_F(BatchTest, EveryLineIsAnswered) {
  FakeServer server([this](const FakeRequest& r) {
    EXPECT_EQ(r.authorization, "Bearer secret");
    EXPECT_EQ(r.path, "/v1/completions");
    FakeReply reply = Echo(r);
    reply.keep_alive = !absl::StrContains(r.body, "prompt 7");
    return reply;
  });
  std::ofstream(Path("key")) << "secret\n";
  WriteInput(300);
  Batch batch = Start(server.url() + "/v1/", {absl::StrCat("--api_key_file=", Path("key")), "--concurrency=8"});
  EXPECT_EQ(batch.Wait(), 0) << batch.Log();
  EXPECT_EQ(Ids(output()).size(), 300u);
  for (absl::string_view text : absl::StrSplit(ReadFile(output()), '\n', absl::SkipEmpty())) {
    const json line = json::parse(text);
    const std::string prompt = absl::StrCat("prompt ", line["custom_id"].get<std::string>().substr(2));
    EXPECT_EQ(line["response"]["body"]["choices"][0]["text"], "echo " + prompt);
    EXPECT_EQ(line["response"]["request_id"], "r-" + prompt);
  }
  EXPECT_TRUE(absl::StrContains(batch.Log(), "300 of 300 lines answered (0 before, 300 now, 0 of them failed"))
      << batch.Log();
  EXPECT_FALSE(std::ifstream(errors()).good()) << "no failures, no file of them";
  // Once more: nothing is left to do.
  Batch again = Start(server.url(), {absl::StrCat("--api_key_file=", Path("key"))});
  EXPECT_EQ(again.Wait(), 0);
  EXPECT_TRUE(absl::StrContains(again.Log(), "(300 before, 0 now")) << again.Log();
  EXPECT_EQ(Seen("prompt 0"), 1);
}

TEST_F(BatchTest, KilledAtAnyPointItGoesOnWithEachLineExactlyOnce) {
  constexpr int kLines = 400;
  std::atomic<int> answered{0};
  FakeServer server([&](const FakeRequest& r) {
    FakeReply reply = Echo(r);
    reply.delay = absl::Milliseconds(4);
    if (absl::StrContains(r.body, "13\"")) reply.status = 400;
    ++answered;
    return reply;
  });
  WriteInput(kLines);
  std::mt19937 dice(3);
  int kills = 0;
  while (true) {
    const int until = answered + static_cast<int>(dice() % 60);
    Batch batch = Start(server.url(), {"--concurrency=6"});
    while (answered < until && answered < kLines && !batch.Ended()) absl::SleepFor(absl::Milliseconds(1));
    if (batch.Ended() || answered >= kLines) {
      EXPECT_EQ(batch.Wait(), 3) << batch.Log();
      break;
    }
    batch.Signal(SIGKILL);
    EXPECT_EQ(batch.Wait(), 128 + SIGKILL);
    ++kills;
    // What a torn write leaves.
    if (kills % 2 == 0) std::ofstream(output(), std::ios::app) << R"({"id":"batch_req_1","custom_id":"id9)";
  }
  Batch last = Start(server.url());
  EXPECT_EQ(last.Wait(), 3) << last.Log();  // those that were refused are still there
  EXPECT_GT(kills, 5);
  std::map<std::string, int> ids = Ids(output());
  for (const auto& [id, count] : Ids(errors())) {
    EXPECT_TRUE(absl::EndsWith(id, "13")) << id;
    ids[id] += count;
  }
  EXPECT_EQ(ids.size(), static_cast<size_t>(kLines));
  for (const auto& [id, count] : ids) EXPECT_EQ(count, 1) << id;
}

TEST_F(BatchTest, RefusalsAreTriedAgainWhenTheServerSays) {
  absl::Mutex mutex;
  std::map<std::string, absl::Time> refused;
  FakeServer server([&](const FakeRequest& r) {
    FakeReply reply = Echo(r);
    const std::string prompt = json::parse(r.body)["prompt"];
    absl::MutexLock lock(&mutex);
    if (refused.count(prompt) == 0) {
      refused[prompt] = absl::Now();
      reply.status = prompt == "prompt 1" ? 503 : 429;
      reply.headers["Retry-After"] = "1";
      if (prompt == "prompt 2") reply.headers["retry-after-ms"] = "40";
      reply.hang_up = prompt == "prompt 3";
    } else if (prompt != "prompt 3" && prompt != "prompt 2") {
      EXPECT_GE(absl::Now() - refused[prompt], absl::Seconds(1)) << prompt;
    }
    return reply;
  });
  WriteInput(4);
  Batch batch = Start(server.url());
  EXPECT_EQ(batch.Wait(), 0) << batch.Log();
  EXPECT_EQ(Ids(output()).size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Seen(absl::StrCat("prompt ", i)), 2) << i;
}

TEST_F(BatchTest, WhatCannotBeAnsweredGoesToTheErrors) {
  FakeServer server([this](const FakeRequest& r) {
    FakeReply reply = Echo(r);
    if (absl::StrContains(r.body, "prompt 1")) reply.status = 500;
    if (absl::StrContains(r.body, "prompt 2"))
      reply = {400, {}, R"({"error":{"message":"no","type":"x"}})", {}, false, true};
    if (absl::StrContains(r.body, "prompt 3")) reply.delay = absl::Seconds(60);
    return reply;
  });
  WriteInput(5);
  Batch batch = Start(server.url(), {"--request_timeout=500ms"});
  EXPECT_EQ(batch.Wait(), 3) << batch.Log();
  EXPECT_EQ(Ids(output()), (std::map<std::string, int>{{"id0", 1}, {"id4", 1}}));
  EXPECT_EQ(Ids(errors()), (std::map<std::string, int>{{"id1", 1}, {"id2", 1}, {"id3", 1}}));
  EXPECT_EQ(Seen("prompt 1"), 3);
  EXPECT_EQ(Seen("prompt 2"), 1);
  EXPECT_EQ(Seen("prompt 3"), 1);
  EXPECT_TRUE(absl::StrContains(ReadFile(errors()), R"("error":{"code":"request_timeout")")) << ReadFile(errors());
  EXPECT_TRUE(absl::StrContains(ReadFile(errors()), R"("status_code":400,"request_id":"","body":{"error")"));
  unlink(errors().c_str());  // have them tried again
  EXPECT_EQ(Start(server.url(), {"--request_timeout=500ms"}).Wait(), 3);
  EXPECT_EQ(Seen("prompt 2"), 2);
  EXPECT_EQ(Seen("prompt 0"), 1);
}

TEST_F(BatchTest, AServerThatIsAwayEndsTheRunAndMakesNoErrors) {
  int port = 0;
  {
    FakeServer server([this](const FakeRequest& r) { return Echo(r); });
    port = server.port();
  }
  WriteInput(20);
  const std::string url = absl::StrCat("http://127.0.0.1:", port);
  Batch batch = Start(url, {"--retry_for=1s", "--concurrency=4"});
  EXPECT_EQ(batch.Wait(), 1) << batch.Log();
  EXPECT_TRUE(absl::StrContains(batch.Log(), "the server is away for longer than --retry_for=1s")) << batch.Log();
  EXPECT_TRUE(Ids(output()).empty() && Ids(errors()).empty());
  // It comes back while the batch waits.
  Batch waiting = Start(url, {"--retry_for=60s"});
  absl::SleepFor(absl::Milliseconds(300));
  FakeServer server([this](const FakeRequest& r) { return Echo(r); }, port);
  EXPECT_EQ(waiting.Wait(), 0) << waiting.Log();
  EXPECT_EQ(Ids(output()).size(), 20u);
}

TEST_F(BatchTest, InterruptedItEndsAtOnceAndGoesOnLater) {
  std::atomic<bool> slow{true};
  FakeServer server([&](const FakeRequest& r) {
    FakeReply reply = Echo(r);
    if (slow && !absl::StrContains(r.body, "prompt 0")) reply.delay = absl::Hours(1);
    return reply;
  });
  WriteInput(10);
  Batch batch = Start(server.url());
  while ((Seen("prompt 9") == 0 || ReadFile(output()).empty()) && !batch.Ended()) {
    absl::SleepFor(absl::Milliseconds(2));
  }
  batch.Signal(SIGINT);
  EXPECT_EQ(batch.Wait(), 130) << batch.Log();
  EXPECT_EQ(Ids(output()).size(), 1u);
  slow = false;
  EXPECT_EQ(Start(server.url()).Wait(), 0);
  EXPECT_EQ(Ids(output()).size(), 10u);
}

TEST_F(BatchTest, ConcurrencyIsBounded) {
  std::atomic<int> now{0}, most{0};
  FakeServer server([&](const FakeRequest& r) {
    int n = ++now, m = most;
    while (m < n && !most.compare_exchange_weak(m, n)) {
    }
    absl::SleepFor(absl::Milliseconds(5));
    --now;
    return Echo(r);
  });
  WriteInput(100);
  EXPECT_EQ(Start(server.url(), {"--concurrency=7"}).Wait(), 0);
  EXPECT_LE(most, 7);
  EXPECT_GE(most, 2);
}

TEST_F(BatchTest, BadInputIsRefusedBeforeAnythingIsSent) {
  FakeServer server([this](const FakeRequest& r) { return Echo(r); });
  WriteInput(InputLine("a", "x") + "{\"custom_id\":\"b\"}\n" + InputLine("a", "y") + "nonsense\n");
  Batch batch = Start(server.url());
  EXPECT_EQ(batch.Wait(), 2);
  EXPECT_TRUE(absl::StrContains(batch.Log(), "in.jsonl:2: method must be \"POST\"")) << batch.Log();
  EXPECT_TRUE(absl::StrContains(batch.Log(), "in.jsonl:3: custom_id 'a' stands there twice")) << batch.Log();
  EXPECT_TRUE(absl::StrContains(batch.Log(), "in.jsonl:4: is not JSON")) << batch.Log();
  EXPECT_EQ(Seen("x"), 0);
}

TEST_F(BatchTest, AnOutputOfAnotherBatchIsRefused) {
  FakeServer server([this](const FakeRequest& r) { return Echo(r); });
  WriteInput(InputLine("a", "x"));
  EXPECT_EQ(Start(server.url()).Wait(), 0);
  WriteInput(InputLine("b", "x"));
  Batch batch = Start(server.url());
  EXPECT_EQ(batch.Wait(), 2);
  EXPECT_TRUE(absl::StrContains(batch.Log(), "of another batch")) << batch.Log();
}

TEST_F(BatchTest, BadFlags) {
  WriteInput(1);
  for (const char* flag :
       {"--server=ftp://x", "--server=http://", "--server=http://h:0", "--concurrency=0", "--request_timeout=0s",
        "--input=/nowhere", "--output=", "--api_key_file=/dev/null", "word"}) {
    Batch batch = Start("http://127.0.0.1:1", {flag});
    EXPECT_EQ(batch.Wait(), 2) << flag << batch.Log();
  }
}

}  // namespace
}  // namespace quire::batch
