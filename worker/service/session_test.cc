// The protocol over a real gRPC channel: phases, epochs, digests, repeated steps, broken plans, and that the process
// serves on after each.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/plan_digest.h"
#include "proto/protocol.h"
#include "proto/worker.grpc.pb.h"
#include "worker/runtime/fake_model.h"
#include "worker/service/worker_service.h"

namespace quire::worker {
namespace {

// A worker process without the process.
struct TestWorker {
  TestWorker() {
    WorkerContext context;
    backend = *kernels::CreateCpuBackend({1, /*reference=*/true});
    context.backend = backend.get();
    context.on_ready = [this](bool now) { ready = now; };
    context.load_model = [this](const LoadOptions& options, kernels::Backend*,
                                Communicator*) -> absl::StatusOr<std::unique_ptr<Model>> {
      if (options.model_dir == "missing") return absl::NotFoundError("config.json of missing");
      for (int i = 0; i < 1000; ++i) options.progress(i, 1000);
      options.progress(1000, 1000);
      ++loads;
      return std::make_unique<FakeModel>();
    };
    service = std::make_unique<WorkerService>(context);
    grpc::ServerBuilder builder;
    builder.RegisterService(service.get());
    server = builder.BuildAndStart();
    stub = v1::Worker::NewStub(server->InProcessChannel({}));
  }
  ~TestWorker() {
    server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
    service->Shutdown();
  }
  std::unique_ptr<kernels::Backend> backend;
  std::atomic<bool> ready{false};
  std::atomic<int> loads{0};
  std::unique_ptr<WorkerService> service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<v1::Worker::Stub> stub;
};

// The coordinator's end of one stream.
struct Stream {
  explicit Stream(TestWorker* worker) : stream(worker->stub->Session(&context)) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  }
  ~Stream() {
    context.TryCancel();
    if (!finished) (void)stream->Finish();
  }

  void Join(uint64_t epoch, uint32_t rank = 0, uint32_t world_size = 1, uint32_t version = proto::kProtocolVersion) {
    v1::CoordinatorMessage m;
    m.mutable_join()->set_protocol_version(version);
    m.mutable_join()->set_epoch(epoch);
    m.mutable_join()->set_rank(rank);
    m.mutable_join()->set_world_size(world_size);
    stream->Write(m);
  }
  static v1::CoordinatorMessage LoadMessage() {
    v1::CoordinatorMessage m;
    v1::Load* load = m.mutable_load();
    load->set_model_dir("fake");
    load->set_block_size(16);
    load->set_max_num_seqs(8);
    load->set_max_num_batched_tokens(128);
    load->set_collective("single");
    load->set_collective_name("test");
    return m;
  }
  void Start(uint32_t device_blocks) {
    v1::CoordinatorMessage m;
    m.mutable_start()->set_device_blocks(device_blocks);
    stream->Write(m);
  }
  void Send(const v1::Step& step) {
    v1::CoordinatorMessage m;
    *m.mutable_step() = step;
    stream->Write(m);
  }
  // The next message that is no progress report; an empty one at the end of the stream.
  v1::RankMessage Next() {
    v1::RankMessage m;
    do {
      if (!stream->Read(&m)) return {};
      progress += m.has_load_progress();
    } while (m.has_load_progress());
    return m;
  }
  // Joins, loads and starts; false if the worker fails on the way.
  bool Form(uint64_t epoch) {
    Join(epoch);
    if (!Next().has_joined()) return false;
    stream->Write(LoadMessage());
    if (!Next().has_loaded()) return false;
    Start(32);
    return Next().has_started();
  }
  grpc::Status Finish() {
    finished = true;
    return stream->Finish();
  }

  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::CoordinatorMessage, v1::RankMessage>> stream;
  int progress = 0;
  bool finished = false;
};

v1::Step Sign(v1::Step step, uint64_t epoch, uint64_t number) {
  step.set_epoch(epoch);
  step.set_step(number);
  step.set_plan_digest(proto::PlanDigest(step));
  return step;
}

v1::Step PrefillStep() {
  v1::Step step;
  v1::NewSequence* s = step.add_new_sequences();
  s->set_top_p(1.0f);
  s->set_repetition_penalty(1.0f);
  s->set_num_logprobs(1);
  for (uint32_t t : {5, 6, 7}) s->add_token_ids(t);
  s->set_prompt_len(3);
  s->add_block_ids(4);
  for (uint32_t v : {0, 3, 1}) step.add_prefill(v);
  return step;
}

v1::Step DecodeStep(uint32_t seq = 0) {
  v1::Step step;
  step.add_decode(seq);
  return step;
}

// The end of a stream, checked by code and words.
void ExpectEnd(Stream* s, grpc::StatusCode code, std::initializer_list<std::string> words) {
  const v1::RankMessage message = s->Next();
  EXPECT_EQ(message.message_case(), v1::RankMessage::MESSAGE_NOT_SET) << message.DebugString();
  const grpc::Status status = s->Finish();
  EXPECT_EQ(status.error_code(), code) << status.error_message();
  for (const std::string& word : words)
    EXPECT_TRUE(absl::StrContains(status.error_message(), word)) << word << ": " << status.error_message();
}

void ExpectFailed(Stream* s, absl::StatusCode code, std::initializer_list<std::string> words) {
  const v1::RankMessage message = s->Next();
  ASSERT_TRUE(message.has_failed()) << message.DebugString();
  EXPECT_EQ(message.failed().code(), static_cast<uint32_t>(code)) << message.DebugString();
  for (const std::string& word : words)
    EXPECT_TRUE(absl::StrContains(message.failed().message(), word)) << word << ": " << message.failed().message();
  ExpectEnd(s, grpc::StatusCode::OK, {});
}

TEST(SessionTest, LoadsAndSteps) {
  TestWorker worker;
  Stream s(&worker);
  s.Join(1);
  const v1::RankMessage joined = s.Next();
  ASSERT_TRUE(joined.has_joined());
  EXPECT_EQ(joined.joined().protocol_version(), proto::kProtocolVersion);
  EXPECT_FALSE(joined.joined().host_id().empty());
  s.stream->Write(Stream::LoadMessage());
  const v1::RankMessage loaded = s.Next();
  ASSERT_TRUE(loaded.has_loaded()) << loaded.DebugString();
  EXPECT_LE(s.progress, 3) << "1000 reports within milliseconds";
  EXPECT_EQ(loaded.loaded().model().vocab_size(), static_cast<uint32_t>(FakeModel::kVocab));
  EXPECT_EQ(loaded.loaded().device_blocks(), 8u * FakeModel::kMaxModelLen / 16);
  EXPECT_FALSE(worker.ready);
  s.Start(32);
  ASSERT_TRUE(s.Next().has_started());
  EXPECT_TRUE(worker.ready);
  // Two steps in flight: the second is sent before the first is answered.
  s.Send(Sign(PrefillStep(), 1, 1));
  s.Send(Sign(DecodeStep(), 1, 2));
  for (uint64_t step : {1, 2}) {
    const v1::Done done = s.Next().done();
    EXPECT_EQ(done.step(), step);
    EXPECT_EQ(done.epoch(), 1u);
    EXPECT_EQ(done.tokens_size(), 1);
    EXPECT_EQ(done.device_blocks_used(), 1u);
    EXPECT_EQ(done.device_blocks_total(), 32u);
  }
  v1::Step idle;  // nothing to compute: alive is all it says
  s.Send(Sign(idle, 1, 3));
  EXPECT_EQ(s.Next().done().step(), 3u);
  s.stream->WritesDone();
  EXPECT_FALSE(s.Next().has_done());
  for (int i = 0; i < 500 && worker.ready; ++i) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_FALSE(worker.ready);
}

TEST(SessionTest, RepeatedLastStepIsAnsweredFromTheCache) {
  TestWorker worker;
  Stream s(&worker);
  ASSERT_TRUE(s.Form(1));
  s.Send(Sign(PrefillStep(), 1, 1));
  const v1::RankMessage first = s.Next();
  s.Send(Sign(PrefillStep(), 1, 1));
  const v1::RankMessage again = s.Next();
  EXPECT_EQ(first.SerializeAsString(), again.SerializeAsString());
  s.Send(Sign(DecodeStep(), 1, 2));
  EXPECT_EQ(s.Next().done().tokens_size(), 1);
}

TEST(SessionTest, NewerEpochFencesOlderIsRefused) {
  TestWorker worker;
  Stream first(&worker);
  ASSERT_TRUE(first.Form(5));
  {
    Stream older(&worker);
    older.Join(4);
    ExpectFailed(&older, absl::StatusCode::kFailedPrecondition, {"epoch 4", "epoch 5"});
    Stream equal(&worker);
    equal.Join(5);
    ExpectFailed(&equal, absl::StatusCode::kFailedPrecondition, {"epoch 5"});
  }
  first.Send(Sign(PrefillStep(), 5, 1));  // refused Joins change nothing
  EXPECT_EQ(first.Next().done().step(), 1u);
  Stream second(&worker);
  ASSERT_TRUE(second.Form(6));
  ExpectEnd(&first, grpc::StatusCode::ABORTED, {"fenced by epoch 6"});
  second.Send(Sign(PrefillStep(), 6, 1));
  EXPECT_EQ(second.Next().done().epoch(), 6u);
}

TEST(SessionTest, FencingEndsASessionThatWaitsForItsPeers) {
  TestWorker worker;
  Stream first(&worker);
  first.Join(1, 0, 2);
  ASSERT_TRUE(first.Next().has_joined());
  v1::CoordinatorMessage load = Stream::LoadMessage();
  load.mutable_load()->set_collective("shm");
  load.mutable_load()->set_collective_timeout_seconds(25);
  first.stream->Write(load);
  EXPECT_TRUE(first.Next().has_store_put());  // rank 1 never answers
  const absl::Time start = absl::Now();
  Stream second(&worker);
  ASSERT_TRUE(second.Form(2));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  ExpectEnd(&first, grpc::StatusCode::ABORTED, {"fenced by epoch 2"});
}

TEST(SessionTest, TwoRanksFormThroughTheStore) {
  TestWorker workers[2];
  Stream a(&workers[0]), b(&workers[1]);
  Stream* streams[2] = {&a, &b};
  std::thread relays[2];
  for (int rank = 0; rank < 2; ++rank) {
    streams[rank]->Join(1, rank, 2);
    ASSERT_TRUE(streams[rank]->Next().has_joined());
    v1::CoordinatorMessage load = Stream::LoadMessage();
    load.mutable_load()->set_collective("shm");
    streams[rank]->stream->Write(load);
  }
  absl::Mutex writing[2];
  for (int rank = 0; rank < 2; ++rank) {
    relays[rank] = std::thread([&, rank] {
      for (;;) {
        const v1::RankMessage m = streams[rank]->Next();
        if (!m.has_store_put()) {
          EXPECT_TRUE(m.has_loaded()) << m.DebugString();
          return;
        }
        v1::CoordinatorMessage put;
        *put.mutable_store_put() = m.store_put();
        absl::MutexLock lock(&writing[1 - rank]);
        streams[1 - rank]->stream->Write(put);
      }
    });
  }
  for (std::thread& t : relays) t.join();
  for (int rank = 0; rank < 2; ++rank) {
    streams[rank]->Start(16);
    ASSERT_TRUE(streams[rank]->Next().has_started());
  }
}

TEST(SessionTest, TheShardStaysForTheNextEpoch) {
  TestWorker worker;
  const std::string dir = absl::StrCat(testing::TempDir(), "/shard", getpid());
  ASSERT_EQ(mkdir(dir.c_str(), 0700), 0);
  std::ofstream(dir + "/config.json") << "{}";
  uint64_t epoch = 0;
  const auto form_and_step = [&](uint32_t max_num_seqs) {
    Stream s(&worker);
    s.Join(++epoch);
    ASSERT_TRUE(s.Next().has_joined());
    v1::CoordinatorMessage load = Stream::LoadMessage();
    load.mutable_load()->set_model_dir(dir);
    load.mutable_load()->set_max_num_seqs(max_num_seqs);
    s.stream->Write(load);
    ASSERT_TRUE(s.Next().has_loaded());
    s.Start(16);
    ASSERT_TRUE(s.Next().has_started());
    s.Send(Sign(PrefillStep(), epoch, 1));  // the table and the cache start empty each time
    EXPECT_EQ(s.Next().done().device_blocks_used(), 1u);
  };
  form_and_step(8);
  form_and_step(8);
  EXPECT_EQ(worker.loads, 1);
  form_and_step(16);  // sizes the activations
  EXPECT_EQ(worker.loads, 2);
  std::ofstream(dir + "/config.json") << "{ }";  // another checkpoint of the same name
  form_and_step(16);
  EXPECT_EQ(worker.loads, 3);
}

TEST(SessionTest, StepsThatCannotBeEndTheSessionAndANewOneWorks) {
  struct Case {
    const char* name;
    v1::Step step;
    grpc::StatusCode code;
    std::initializer_list<std::string> words;
  };
  const Case cases[] = {
      {"a step is missing", DecodeStep(), grpc::StatusCode::FAILED_PRECONDITION, {"step 3", "step 1"}},
      {"stale epoch", DecodeStep(), grpc::StatusCode::FAILED_PRECONDITION, {"epoch 1", "epoch 2"}},
      {"wrong digest", DecodeStep(), grpc::StatusCode::INVALID_ARGUMENT, {"plan_digest"}},
      {"unknown sequence", DecodeStep(9), grpc::StatusCode::INVALID_ARGUMENT, {"step 2", "sequence 9"}},
  };
  TestWorker worker;
  uint64_t epoch = 0;
  for (const Case& c : cases) {
    ++epoch;
    if (std::string(c.name) == "stale epoch") epoch = 2;
    Stream s(&worker);
    ASSERT_TRUE(s.Form(epoch)) << c.name;
    s.Send(Sign(PrefillStep(), epoch, 1));
    ASSERT_TRUE(s.Next().has_done()) << c.name;
    v1::Step step = Sign(c.step, epoch, 2);
    if (std::string(c.name) == "a step is missing") step = Sign(c.step, epoch, 3);
    if (std::string(c.name) == "stale epoch") step = Sign(c.step, 1, 2);
    if (std::string(c.name) == "wrong digest") step.set_plan_digest(step.plan_digest() ^ 1);
    s.Send(step);
    ExpectEnd(&s, c.code, c.words);
  }
  Stream last(&worker);
  ASSERT_TRUE(last.Form(++epoch));
  last.Send(Sign(PrefillStep(), epoch, 1));
  EXPECT_EQ(last.Next().done().tokens_size(), 1);
}

TEST(SessionTest, MessagesOutOfOrderAreFailed) {
  TestWorker worker;
  Stream not_joined(&worker);
  not_joined.stream->Write(Stream::LoadMessage());
  ExpectFailed(&not_joined, absl::StatusCode::kFailedPrecondition, {"Join"});
  Stream version(&worker);
  version.Join(1, 0, 1, proto::kProtocolVersion + 1);
  ExpectFailed(&version, absl::StatusCode::kFailedPrecondition,
               {absl::StrCat("version ", proto::kProtocolVersion + 1), absl::StrCat(proto::kProtocolVersion)});
  Stream rank(&worker);
  rank.Join(1, 2, 2);
  ExpectFailed(&rank, absl::StatusCode::kInvalidArgument, {"rank 2 of world_size 2"});
  Stream early(&worker);
  early.Join(1);
  ASSERT_TRUE(early.Next().has_joined());
  early.Send(Sign(PrefillStep(), 1, 1));
  ExpectFailed(&early, absl::StatusCode::kFailedPrecondition, {"before Started"});
  Stream start(&worker);
  start.Join(2);
  ASSERT_TRUE(start.Next().has_joined());
  start.Start(1);
  ExpectFailed(&start, absl::StatusCode::kFailedPrecondition, {"Start"});
}

TEST(SessionTest, LoadsThatCannotBeAreFailedByName) {
  struct Case {
    void (*spoil)(v1::Load*);
    std::initializer_list<std::string> words;
  };
  const Case cases[] = {
      {[](v1::Load* l) { l->set_model_dir("missing"); }, {"config.json"}},
      {[](v1::Load* l) { l->set_block_size(5); }, {"block_size 5", "512"}},
      {[](v1::Load* l) { l->set_max_num_seqs(0); }, {"max_num_seqs 0"}},
      {[](v1::Load* l) { l->set_max_num_batched_tokens(0); }, {"max_num_batched_tokens 0"}},
      {[](v1::Load* l) { l->set_max_model_len(4096); }, {"max_model_len 4096", "256"}},
      {[](v1::Load* l) { l->set_collective("mpi"); }, {"mpi"}},
      {[](v1::Load* l) { l->set_memory_utilization(3); }, {"memory_utilization 3"}},
      {[](v1::Load* l) { l->set_kv_cache_memory_bytes(128); }, {"kv_cache_memory_bytes"}},
  };
  TestWorker worker;
  uint64_t epoch = 0;
  for (const Case& c : cases) {
    Stream s(&worker);
    s.Join(++epoch);
    ASSERT_TRUE(s.Next().has_joined());
    v1::CoordinatorMessage m = Stream::LoadMessage();
    c.spoil(m.mutable_load());
    s.stream->Write(m);
    const v1::RankMessage failed = s.Next();
    ASSERT_TRUE(failed.has_failed()) << failed.DebugString();
    for (const std::string& word : c.words)
      EXPECT_TRUE(absl::StrContains(failed.failed().message(), word)) << failed.failed().message();
  }
  Stream blocks(&worker);
  blocks.Join(++epoch);
  ASSERT_TRUE(blocks.Next().has_joined());
  blocks.stream->Write(Stream::LoadMessage());
  ASSERT_TRUE(blocks.Next().has_loaded());
  blocks.Start(1000);
  ExpectFailed(&blocks, absl::StatusCode::kInvalidArgument, {"1000", "128"});
}

TEST(SessionTest, ACoordinatorThatFloodsIsEnded) {
  TestWorker worker;
  Stream s(&worker);
  s.Join(1, 0, 2);
  ASSERT_TRUE(s.Next().has_joined());
  v1::CoordinatorMessage load = Stream::LoadMessage();
  load.mutable_load()->set_collective("shm");
  s.stream->Write(load);  // waits for rank 1 while the steps pile up
  ASSERT_TRUE(s.Next().has_store_put());
  for (uint64_t i = 0; i < 2 * Session::kMaxQueued; ++i) s.Send(Sign(DecodeStep(), 1, i + 1));
  const v1::RankMessage end = s.Next();
  EXPECT_FALSE(end.has_done());
  EXPECT_EQ(s.Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST(SessionTest, ManySessionsComeAndGo) {
  TestWorker worker;
  for (uint64_t epoch = 1; epoch <= 60; ++epoch) {
    Stream s(&worker);
    if (epoch % 3 == 0) {  // vanishes in the middle of anything
      s.Join(epoch);
      s.stream->Write(Stream::LoadMessage());
      continue;
    }
    ASSERT_TRUE(s.Form(epoch)) << epoch;
    s.Send(Sign(PrefillStep(), epoch, 1));
    if (epoch % 2 == 1) continue;
    EXPECT_EQ(s.Next().done().tokens_size(), 1);
  }
}

}  // namespace
}  // namespace quire::worker
