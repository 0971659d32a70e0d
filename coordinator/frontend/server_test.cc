// The edge over a real engine and a simulated replica, through real sockets: streams, refusals, cancellation, shutdown.
#include "coordinator/frontend/server.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/frontend/api.h"
#include "coordinator/frontend/ascii_tokenizer.h"
#include "coordinator/frontend/sim_worker_group.h"
#include "proto/generate.grpc.pb.h"

namespace quire::frontend {
namespace {

using v1::GenerateRequest;
using v1::GenerateResponse;

constexpr absl::Duration kPatience = absl::Seconds(30);  // far more than anything takes

struct Outcome {
  grpc::Status status;
  std::string error_param;
  std::multimap<std::string, std::string> trailers;
  std::map<uint32_t, std::vector<uint32_t>> chunk_ids;
  std::map<uint32_t, std::string> chunk_text;
  std::map<uint32_t, GenerateResponse::Complete> completes;
  int num_chunks = 0;
};

class ServerTest : public ::testing::Test {
 protected:
  void StartAll(const SimWorkerGroupOptions& group_options = {}, int64_t max_queue_len = 1024, bool formed = true) {
    group_ = std::make_unique<SimWorkerGroup>(group_options);
    if (!formed) group_->Hold();
    engine::EngineOptions options;
    options.max_num_seqs = 16;
    options.max_queue_len = max_queue_len;
    engine_ = std::make_unique<engine::Replicas>(options, std::vector<cluster::WorkerGroup*>{group_.get()});
    ASSERT_EQ(engine_->WaitUntilFormed(formed ? kPatience : absl::ZeroDuration()).ok(), formed);
    ApiOptions api_options;
    api_options.served_model_name = "sim";
    api_options.model_path = "/models/sim";
    api_options.version = "1.2.3";
    api_options.max_num_seqs = options.max_num_seqs;
    api_options.max_num_batched_tokens = options.max_num_batched_tokens;
    api_ = std::make_unique<Api>(api_options, engine_.get(), AsciiTokenizer(testing::TempDir()));
    ServerOptions server_options;
    server_options.port = 0;
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(server_options, api_.get());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    grpc::ChannelArguments args;
    args.SetMaxSendMessageSize(-1);
    channel_ = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server_->port()),
                                         grpc::InsecureChannelCredentials(), args);
    stub_ = v1::Generator::NewStub(channel_);
  }

  ~ServerTest() override {
    if (server_ != nullptr) server_->Shutdown(absl::ZeroDuration());
    if (group_ != nullptr) group_->Release();
    if (engine_ != nullptr) engine_->Stop(absl::ZeroDuration());
  }

  static GenerateRequest Request(uint32_t max_tokens, bool stream = true, int64_t seed = 7) {
    GenerateRequest request;
    for (const uint32_t id : {3u, 4u, 5u}) request.mutable_tokenized()->add_input_ids(id);
    request.set_stream(stream);
    request.mutable_sampling_params()->set_max_tokens(max_tokens);
    request.mutable_sampling_params()->set_seed(seed);
    return request;
  }

  // Runs a call to its end. `on_response` may cancel it.
  Outcome Generate(const GenerateRequest& request, grpc::ClientContext* context,
                   const std::function<void(int)>& on_response = nullptr) {
    Outcome outcome;
    auto reader = stub_->Generate(context, request);
    GenerateResponse response;
    for (int i = 0; reader->Read(&response); ++i) {
      if (response.has_complete()) {
        outcome.completes[response.complete().index()] = response.complete();
      } else {
        std::vector<uint32_t>& ids = outcome.chunk_ids[response.chunk().index()];
        EXPECT_EQ(response.chunk().offset(), ids.size());
        ids.insert(ids.end(), response.chunk().token_ids().begin(), response.chunk().token_ids().end());
        outcome.chunk_text[response.chunk().index()] += response.chunk().text();
        ++outcome.num_chunks;
      }
      if (on_response != nullptr) on_response(i);
    }
    outcome.status = reader->Finish();
    for (const auto& [key, value] : context->GetServerTrailingMetadata()) {
      outcome.trailers.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
    }
    const auto it = outcome.trailers.find("error-param");
    if (it != outcome.trailers.end()) outcome.error_param = it->second;
    return outcome;
  }

  Outcome Generate(const GenerateRequest& request) {
    grpc::ClientContext context;
    return Generate(request, &context);
  }

  v1::GetLoadsResponse Loads() {
    grpc::ClientContext context;
    v1::GetLoadsResponse loads;
    EXPECT_TRUE(stub_->GetLoads(&context, v1::GetLoadsRequest(), &loads).ok());
    return loads;
  }

  bool WaitFor(const std::function<bool()>& condition) {
    const absl::Time end = absl::Now() + kPatience;
    while (absl::Now() < end) {
      if (condition()) return true;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return false;
  }

  // All requests and their blocks are gone, says the replica. It learns what ended with the next step, so one runs.
  bool WaitUntilEmpty() {
    const bool idle = WaitFor([this] { return Loads().num_running_reqs() == 0 && Loads().num_waiting_reqs() == 0; });
    EXPECT_TRUE(Generate(Request(1)).status.ok());
    return idle && WaitFor([this] {
             const v1::GetLoadsResponse loads = Loads();
             return loads.ranks_size() == 1 && loads.ranks(0).device_blocks_used() == 0 && loads.num_used_tokens() == 0;
           });
  }

  // The answer of the standard health service, by hand: field 1 of its request is the name, field 1 of its reply the
  // enum (1 = SERVING).
  std::string Health(const std::string& service) {
    const std::string request = absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
    std::string reply;
    const grpc::Status status = CallRaw("/grpc.health.v1.Health/Check", service.empty() ? "" : request, &reply);
    if (!status.ok()) return absl::StrCat("status ", status.error_code());
    return reply == std::string("\x08\x01") ? "SERVING" : "NOT_SERVING";
  }

  grpc::Status CallRaw(const std::string& method, const std::string& bytes, std::string* reply) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    grpc::CompletionQueue queue;
    grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    grpc::ByteBuffer response;
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue.Next(&tag, &ok));
    if (status.ok() && response.Valid()) {
      grpc::Slice whole;
      EXPECT_TRUE(response.DumpToSingleSlice(&whole).ok());
      reply->assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
    }
    return status;
  }

  std::unique_ptr<SimWorkerGroup> group_;
  std::unique_ptr<engine::Replicas> engine_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Generator::Stub> stub_;
};

TEST_F(ServerTest, AStreamAndAWholeAnswerSayTheSame) {
  StartAll();
  const Outcome stream = Generate(Request(40));
  ASSERT_TRUE(stream.status.ok()) << stream.status.error_message();
  EXPECT_GT(stream.num_chunks, 0);
  EXPECT_EQ(stream.chunk_ids.at(0).size(), 40u);
  const GenerateResponse::Complete& end = stream.completes.at(0);
  EXPECT_EQ(std::vector<uint32_t>(end.output_ids().begin(), end.output_ids().end()), stream.chunk_ids.at(0));
  EXPECT_EQ(end.finish_reason(), "length");
  EXPECT_EQ(end.prompt_tokens(), 3u);
  EXPECT_EQ(end.completion_tokens(), 40u);
  EXPECT_EQ(end.seed(), 7);
  const Outcome whole = Generate(Request(40, /*stream=*/false));
  ASSERT_TRUE(whole.status.ok());
  EXPECT_EQ(whole.num_chunks, 0);
  EXPECT_EQ(whole.completes.at(0).output_ids_size(), 40);
  EXPECT_TRUE(std::equal(end.output_ids().begin(), end.output_ids().end(), whole.completes.at(0).output_ids().begin()));
  EXPECT_EQ(whole.completes.at(0).text(), stream.chunk_text.at(0));
  EXPECT_FALSE(whole.completes.at(0).text().empty());
}

TEST_F(ServerTest, ChoicesComeInOneStream) {
  StartAll();
  GenerateRequest request = Request(10);
  request.mutable_sampling_params()->set_n(4);
  request.mutable_sampling_params()->set_logprobs(0);
  const Outcome outcome = Generate(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  ASSERT_EQ(outcome.completes.size(), 4u);
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(outcome.chunk_ids.at(i).size(), 10u);
  EXPECT_NE(outcome.chunk_ids.at(0), outcome.chunk_ids.at(1));
}

TEST_F(ServerTest, ARefusalNamesTheFieldAndHurtsNobodyElse) {
  StartAll({/*num_blocks=*/256, /*vocab_size=*/257, /*max_model_len=*/1024, /*step_time=*/absl::Milliseconds(1)});
  Outcome neighbour;
  std::thread running([&] { neighbour = Generate(Request(200)); });
  GenerateRequest request = Request(5);
  request.mutable_sampling_params()->set_top_p(1.5f);
  Outcome outcome = Generate(request);
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(outcome.status.error_message(), "sampling_params.top_p must be in (0, 1], got 1.5.");
  EXPECT_EQ(outcome.error_param, "sampling_params.top_p");
  request = Request(5);
  request.set_model("other");
  EXPECT_EQ(Generate(request).status.error_code(), grpc::StatusCode::NOT_FOUND);
  request = Request(5);
  request.mutable_sampling_params()->set_regex("a+");
  outcome = Generate(request);
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION) << "this model never ends a text";
  EXPECT_EQ(outcome.error_param, "sampling_params.regex");
  request = Request(5);
  request.set_text("\xff");  // the client library sends it all the same
  outcome = Generate(request);
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(outcome.error_param, "text");
  running.join();
  EXPECT_TRUE(neighbour.status.ok()) << neighbour.status.error_message();
  EXPECT_EQ(neighbour.chunk_ids.at(0).size(), 200u);
}

TEST_F(ServerTest, BytesThatAreNoMessageGetAStatus) {
  StartAll();
  std::string reply;
  const grpc::Status status = CallRaw("/quire.v1.Generator/Tokenize", "\x0a\x7f", &reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "the message of 2 bytes is not an encoding of quire.v1.TokenizeRequest.");
}

TEST_F(ServerTest, ReflectionListsTheServices) {
  StartAll();
  std::string reply;
  // One message each way of the bidirectional stream: field 7 of the request is `list_services`.
  const grpc::Status status =
      CallRaw("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", std::string("\x3a\x00", 2), &reply);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(absl::StrContains(reply, "quire.v1.Generator"));
  EXPECT_TRUE(absl::StrContains(reply, "grpc.health.v1.Health"));
}

TEST_F(ServerTest, AMessageOverTheLimitIsRefusedUnread) {
  StartAll();
  GenerateRequest request = Request(5);
  request.set_text(std::string(5 << 20, 'a'));
  EXPECT_EQ(Generate(request).status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Generate(Request(5)).status.ok());
}

TEST_F(ServerTest, APortInUseIsAnErrorThatNamesIt) {
  StartAll();
  ServerOptions options;
  options.port = server_->port();
  const absl::Status status = Server::Start(options, api_.get()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("127.0.0.1:", server_->port()))) << status;
  options.port = 70000;
  EXPECT_EQ(Server::Start(options, api_.get()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ServerTest, AClientThatCancelsFreesItsBlocks) {
  StartAll({/*num_blocks=*/64, /*vocab_size=*/257, /*max_model_len=*/1000, /*step_time=*/absl::Microseconds(200)});
  std::atomic<int> num_cancelled{0};
  std::vector<std::thread> clients;
  for (uint32_t client = 0; client < 4; ++client) {
    clients.emplace_back([&, client] {
      std::mt19937 random(client);
      for (int i = 0; i < 25; ++i) {
        grpc::ClientContext context;
        const int stop_at = static_cast<int>(random() % 8);
        const Outcome outcome = Generate(Request(900), &context, [&](int response) {
          if (response == stop_at) context.TryCancel();
        });
        if (outcome.status.error_code() == grpc::StatusCode::CANCELLED) ++num_cancelled;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(num_cancelled, 100);
  EXPECT_TRUE(WaitUntilEmpty());
}

TEST_F(ServerTest, AbortEndsTheCall) {
  StartAll({/*num_blocks=*/64, /*vocab_size=*/257, /*max_model_len=*/1000, /*step_time=*/absl::Milliseconds(1)});
  GenerateRequest request = Request(900);
  request.set_request_id("to-abort");
  grpc::ClientContext context;
  const Outcome outcome = Generate(request, &context, [&](int response) {
    if (response != 0) return;
    grpc::ClientContext abort_context;
    v1::AbortRequest abort;
    abort.add_request_ids("unknown");
    abort.add_request_ids("to-abort");
    v1::AbortResponse reply;
    EXPECT_TRUE(stub_->Abort(&abort_context, abort, &reply).ok());
  });
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitUntilEmpty());
}

TEST_F(ServerTest, TheDeadlineOfTheCallEndsTheRequest) {
  StartAll();
  group_->Hold();
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(50)));
  EXPECT_EQ(Generate(Request(5), &context).status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  group_->Release();
  EXPECT_TRUE(WaitUntilEmpty());
}

TEST_F(ServerTest, ALiveIdIsNotTakenTwice) {
  StartAll();
  group_->Hold();
  GenerateRequest request = Request(5);
  request.set_request_id("twice");
  std::atomic<int> num_refused{0}, num_done{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back([&] {
      const Outcome outcome = Generate(request);
      if (outcome.status.ok()) return void(++num_done);
      EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::ALREADY_EXISTS) << outcome.status.error_message();
      ++num_refused;
    });
  }
  EXPECT_TRUE(WaitFor([&] { return num_refused == 1; }));
  group_->Release();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(num_done, 1);
  EXPECT_TRUE(Generate(request).status.ok()) << "an id is free again when its request has ended";
}

TEST_F(ServerTest, AFullQueueRefusesAtOnceAndSaysWhenToComeBack) {
  StartAll({}, /*max_queue_len=*/2);
  group_->Hold();
  std::atomic<int> num_refused{0}, num_done{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 40; ++i) {
    clients.emplace_back([&] {
      const Outcome outcome = Generate(Request(2));
      if (outcome.status.ok()) return void(++num_done);
      EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << outcome.status.error_message();
      EXPECT_EQ(outcome.trailers.count("retry-after-ms"), 1u);
      ++num_refused;
    });
  }
  EXPECT_TRUE(WaitFor([&] { return num_refused > 0; }));
  group_->Release();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(num_refused + num_done, 40);
  EXPECT_GT(num_done, 0);
}

TEST_F(ServerTest, BeforeTheReplicaHasFormedCallsAreUnavailableAndReadyIsFalse) {
  StartAll({}, 1024, /*formed=*/false);
  EXPECT_EQ(Generate(Request(5)).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Health(""), "SERVING");
  EXPECT_EQ(Health("ready"), "NOT_SERVING");
  EXPECT_EQ(Health("unknown"), "status 5");
  group_->Release();
  EXPECT_TRUE(WaitFor([this] { return Health("ready") == "SERVING"; }));
  EXPECT_TRUE(Generate(Request(5)).status.ok());
  engine_->Stop(absl::ZeroDuration());
  EXPECT_TRUE(WaitFor([this] { return Health("ready") == "NOT_SERVING"; }));
  EXPECT_EQ(Generate(Request(5)).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ServerTest, ShutdownLetsRunningStreamsEnd) {
  StartAll({/*num_blocks=*/64, /*vocab_size=*/257, /*max_model_len=*/1000, /*step_time=*/absl::Milliseconds(1)});
  std::atomic<bool> started{false};
  Outcome outcome;
  grpc::ClientContext context;
  std::thread running([&] { outcome = Generate(Request(100), &context, [&](int) { started = true; }); });
  EXPECT_TRUE(WaitFor([&] { return started.load(); }));
  server_->Shutdown(kPatience);
  running.join();
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  EXPECT_EQ(outcome.chunk_ids.at(0).size(), 100u);
}

TEST_F(ServerTest, ShutdownWithoutGraceCancels) {
  StartAll({/*num_blocks=*/64, /*vocab_size=*/257, /*max_model_len=*/1000, /*step_time=*/absl::Milliseconds(5)});
  std::atomic<bool> started{false};
  Outcome outcome;
  grpc::ClientContext context;
  std::thread running([&] { outcome = Generate(Request(900), &context, [&](int) { started = true; }); });
  EXPECT_TRUE(WaitFor([&] { return started.load(); }));
  server_->Shutdown(absl::ZeroDuration());
  running.join();
  EXPECT_FALSE(outcome.status.ok());
}

TEST_F(ServerTest, TextInAndOut) {
  StartAll();
  grpc::ClientContext c1, c2, c3, c4;
  v1::TokenizeRequest tokenize;
  tokenize.set_text("a b");
  v1::TokenizeResponse ids;
  ASSERT_TRUE(stub_->Tokenize(&c1, tokenize, &ids).ok());
  ASSERT_EQ(ids.ids_size(), 3);
  EXPECT_EQ(ids.ids(0), static_cast<uint32_t>('a' - 31));
  EXPECT_EQ(ids.ids(1), 1u);
  v1::DetokenizeRequest detokenize;
  *detokenize.mutable_ids() = ids.ids();
  v1::DetokenizeResponse text;
  ASSERT_TRUE(stub_->Detokenize(&c2, detokenize, &text).ok());
  EXPECT_EQ(text.text(), "a b");
  detokenize.add_ids(257);
  const grpc::Status status = stub_->Detokenize(&c3, detokenize, &text);
  EXPECT_EQ(status.error_message(), "ids must be below the vocabulary size 257, got 257.");
  GenerateRequest request = Request(3);
  request.set_text("a b");
  const Outcome outcome = Generate(request, &c4);
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  EXPECT_EQ(outcome.completes.at(0).prompt_tokens(), 3u);
}

TEST_F(ServerTest, InfoAndDefaultsComeFromTheReplica) {
  SimWorkerGroupOptions group_options;
  group_options.generation_config_json = R"({"max_new_tokens": 4})";
  StartAll(group_options);
  grpc::ClientContext c1, c2;
  v1::GetModelInfoResponse model;
  ASSERT_TRUE(stub_->GetModelInfo(&c1, v1::GetModelInfoRequest(), &model).ok());
  EXPECT_EQ(model.model_path(), "/models/sim");
  EXPECT_EQ(model.served_model_name(), "sim");
  EXPECT_EQ(model.max_context_length(), 1024u);
  EXPECT_EQ(model.vocab_size(), 257u);
  EXPECT_EQ(model.model_type(), "sim");
  EXPECT_EQ(model.bos_token_id(), 1u);
  EXPECT_EQ(model.weight_sparsity(), 0.25);
  EXPECT_EQ(model.default_sampling_params_json(), group_options.generation_config_json);
  GenerateRequest request = Request(1);
  request.mutable_sampling_params()->clear_max_tokens();
  EXPECT_EQ(Generate(request).completes.at(0).completion_tokens(), 4u);
  // The engine's snapshot may trail the answer by some milliseconds.
  EXPECT_TRUE(WaitFor([this] { return Loads().generation_tokens_total() == 4; }));
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(stub_->GetServerInfo(&c2, v1::GetServerInfoRequest(), &info).ok());
  EXPECT_EQ(info.version(), "1.2.3");
  EXPECT_EQ(info.tensor_parallel_size(), 1u);
  EXPECT_EQ(info.max_num_seqs(), 16u);
  EXPECT_EQ(info.block_size(), 16u);
  EXPECT_GE(info.epoch(), 1u);
  EXPECT_GE(info.steps(), 4u);
  EXPECT_EQ(info.weight_bytes(), 1000u);
  const v1::GetLoadsResponse loads = Loads();
  EXPECT_EQ(loads.ranks_size(), 1);
  EXPECT_EQ(loads.max_total_num_tokens(), 256u * 16u);
}

}  // namespace
}  // namespace quire::frontend
