// The communicator's states, with NCCL's calls played by a fake.
#include "worker/comm/nccl_communicator.h"

#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace quire::worker {
namespace {

// What the fake library does; shared with the test, which changes it while calls run.
struct Script {
  std::atomic<int> polls_until_formed{3};
  std::atomic<int> polls_until_queued{2};
  std::atomic<NcclState> outcome{NcclState::kDone};  // of what is in progress
  std::atomic<bool> stream_idle{true};
  std::atomic<int> num_inits{0}, num_queued{0}, num_aborts{0}, num_calls_after_abort{0};
  std::string id_seen;
};

class FakeNccl final : public NcclApi {
 public:
  explicit FakeNccl(Script* script) : script_(script) {}

  absl::StatusOr<std::string> UniqueId() override { return std::string("id of the group\0!", 17); }
  NcclState Init(const std::string& id, int /*rank*/, int /*world_size*/, void** handle) override {
    script_->id_seen = id;
    ++script_->num_inits;
    *handle = this;
    left_ = script_->polls_until_formed;
    return Progress();
  }
  NcclState State(void* handle) override {
    Check(handle);
    return Progress();
  }
  std::string LastError(void* handle) override {
    Check(handle);
    return "the library's words";
  }
  NcclState AllReduceSum(void* handle, float* /*data*/, int64_t /*count*/, void* stream) override {
    return Queue(handle, stream);
  }
  NcclState AllGather(void* handle, const float* /*in*/, float* /*out*/, int64_t /*count*/, void* stream) override {
    return Queue(handle, stream);
  }
  bool StreamIsIdle(void* stream) override {
    EXPECT_EQ(stream, this_stream());
    return script_->stream_idle;
  }
  void Abort(void* handle) override {
    Check(handle);
    ++script_->num_aborts;
    aborted_ = true;
  }

  static void* this_stream() { return reinterpret_cast<void*>(0x1234); }

 private:
  NcclState Queue(void* handle, void* stream) {
    Check(handle);
    EXPECT_EQ(stream, this_stream());
    ++script_->num_queued;
    left_ = script_->polls_until_queued;
    return Progress();
  }
  NcclState Progress() { return left_-- > 0 ? NcclState::kInProgress : script_->outcome.load(); }
  void Check(void* handle) {
    EXPECT_EQ(handle, this);
    if (aborted_) ++script_->num_calls_after_abort;
  }

  Script* const script_;
  int left_ = 0;
  bool aborted_ = false;
};

class MemoryStore final : public RendezvousStore {
 public:
  absl::Status Put(const std::string& key, const std::string& value) override {
    absl::MutexLock lock(&mu_);
    values_[key] = value;
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) override {
    absl::MutexLock lock(&mu_);
    const auto there = [&] { return values_.count(key) > 0; };
    if (!mu_.AwaitWithTimeout(absl::Condition(&there), timeout)) return absl::DeadlineExceededError(key);
    return values_[key];
  }

 private:
  absl::Mutex mu_;
  std::map<std::string, std::string> values_;
};

CommunicatorOptions Options(absl::Duration timeout, int rank = 0, int world_size = 1) {
  CommunicatorOptions options;
  options.kind = "nccl";
  options.rank = rank;
  options.world_size = world_size;
  options.name = "test";
  options.timeout = timeout;
  options.stream = FakeNccl::this_stream();
  return options;
}

absl::StatusOr<std::unique_ptr<Communicator>> Form(Script* script, absl::Duration timeout = absl::Seconds(20)) {
  MemoryStore store;
  return FormNcclCommunicator(Options(timeout), &store, std::make_unique<FakeNccl>(script));
}

TEST(NcclCommunicator, FormsAndQueuesByPolling) {
  Script script;
  auto comm = Form(&script);
  ASSERT_TRUE(comm.ok()) << comm.status();
  EXPECT_STREQ((*comm)->Name(), "nccl");
  EXPECT_EQ(script.id_seen, std::string("id of the group\0!", 17));
  float data[4] = {};
  EXPECT_TRUE((*comm)->AllReduceSum(data, 4).ok());
  EXPECT_TRUE((*comm)->AllGather(data, data, 4).ok());
  EXPECT_TRUE((*comm)->Finished().ok());
  EXPECT_EQ(script.num_queued, 2);
  EXPECT_EQ(script.num_aborts, 0);
  comm->reset();
  EXPECT_EQ(script.num_aborts, 1) << "freed once";
  EXPECT_EQ(script.num_calls_after_abort, 0);
}

TEST(NcclCommunicator, AllRanksGetTheFirstOnesId) {
  Script scripts[3];
  MemoryStore store;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      auto comm =
          FormNcclCommunicator(Options(absl::Seconds(20), rank, 3), &store, std::make_unique<FakeNccl>(&scripts[rank]));
      EXPECT_TRUE(comm.ok()) << comm.status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Script& script : scripts) EXPECT_EQ(script.id_seen, scripts[0].id_seen);
}

TEST(NcclCommunicator, AMissingRankIsNamed) {
  Script script;
  MemoryStore store;
  const auto comm =
      FormNcclCommunicator(Options(absl::Milliseconds(50), 0, 2), &store, std::make_unique<FakeNccl>(&script));
  EXPECT_TRUE(absl::IsDeadlineExceeded(comm.status())) << comm.status();
  EXPECT_NE(comm.status().message().find("for rank 1"), std::string::npos) << comm.status();
  EXPECT_EQ(script.num_inits, 0);
}

TEST(NcclCommunicator, FormingEndsWithTheTimeAndWithAnError) {
  Script slow;
  slow.polls_until_formed = 1 << 30;
  const absl::Status late = Form(&slow, absl::Milliseconds(30)).status();
  EXPECT_TRUE(absl::IsUnavailable(late)) << late;
  EXPECT_NE(late.message().find("forming the group took more than 30ms"), std::string::npos) << late;
  EXPECT_EQ(slow.num_aborts, 1);
  Script broken;
  broken.outcome = NcclState::kError;
  const absl::Status refused = Form(&broken).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_NE(refused.message().find("the library's words"), std::string::npos) << refused;
  EXPECT_EQ(broken.num_aborts, 1);
}

TEST(NcclCommunicator, AnErrorStaysAndNothingIsCalledBehindIt) {
  Script script;
  auto comm = *Form(&script);
  script.outcome = NcclState::kRemoteError;
  float data[1] = {};
  const absl::Status failed = comm->AllReduceSum(data, 1);
  EXPECT_TRUE(absl::IsUnavailable(failed)) << failed;
  EXPECT_NE(failed.message().find("a peer failed"), std::string::npos) << failed;
  script.outcome = NcclState::kDone;
  const int queued = script.num_queued;
  EXPECT_EQ(comm->AllReduceSum(data, 1), failed);
  EXPECT_EQ(comm->AllGather(data, data, 1), failed);
  EXPECT_EQ(comm->Finished(), failed);
  comm->Abort();
  EXPECT_EQ(comm->AllReduceSum(data, 1), failed) << "the first reason stays";
  EXPECT_EQ(script.num_queued, queued);
  comm.reset();
  EXPECT_EQ(script.num_aborts, 1);
  EXPECT_EQ(script.num_calls_after_abort, 0);
}

TEST(NcclCommunicator, AbortEndsACallThatWaits) {
  Script script;
  auto comm = *Form(&script);
  script.polls_until_queued = 1 << 30;
  absl::Status status;
  std::thread caller([&] {
    float data[1] = {};
    status = comm->AllReduceSum(data, 1);
  });
  while (script.num_queued == 0) absl::SleepFor(absl::Milliseconds(1));
  comm->Abort();
  caller.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(script.num_aborts, 1);
}

// The call has returned, the device waits for a peer that is gone: the thread that watches ends it.
TEST(NcclCommunicator, ACollectiveThatStaysUnfinishedIsAborted) {
  Script script;
  auto comm = *Form(&script, absl::Milliseconds(60));
  script.stream_idle = false;
  float data[1] = {};
  ASSERT_TRUE(comm->AllReduceSum(data, 1).ok());
  while (script.num_aborts == 0) absl::SleepFor(absl::Milliseconds(2));
  const absl::Status status = comm->Finished();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_NE(status.message().find("not finished after 60ms"), std::string::npos) << status;
}

TEST(NcclCommunicator, AnIdleStreamIsNoHang) {
  Script script;
  auto comm = *Form(&script, absl::Milliseconds(40));
  float data[1] = {};
  ASSERT_TRUE(comm->AllReduceSum(data, 1).ok());
  absl::SleepFor(absl::Milliseconds(200));  // long after the timeout: nothing was queued since
  EXPECT_TRUE(comm->Finished().ok());
  script.stream_idle = false;  // other work, no collective
  absl::SleepFor(absl::Milliseconds(200));
  EXPECT_TRUE(comm->Finished().ok());
  EXPECT_EQ(script.num_aborts, 0);
}

}  // namespace
}  // namespace quire::worker
