// Bad input over the wire: each gets one clear status that names the field and the limit, and the stream beside it
// does not notice.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

using quire::v1::GenerateRequest;
using quire::v1::SamplingParams;

struct BadCase {
  std::string name;
  grpc::StatusCode code;
  std::string param;                  // the error-param trailer; "" = not checked
  std::vector<std::string> mentions;  // in the message
  std::function<void(GenerateRequest*)> change;
};

std::vector<BadCase> BadRequests() {
  const auto bad = grpc::StatusCode::INVALID_ARGUMENT;
  return {
      {"empty prompt", bad, "text", {"empty"}, [](GenerateRequest* r) { r->set_text(""); }},
      {"no input", bad, "", {}, [](GenerateRequest* r) { r->clear_input(); }},
      {"empty ids", bad, "tokenized.input_ids", {"at least 1"}, [](GenerateRequest* r) { r->mutable_tokenized(); }},
      {"id out of range",
       bad,
       "tokenized.input_ids",
       {"4000000000"},
       [](GenerateRequest* r) { r->mutable_tokenized()->add_input_ids(4000000000u); }},
      {"prompt too long",
       bad,
       "",
       {"100000"},
       [](GenerateRequest* r) {
         for (int i = 0; i < 100000; ++i) r->mutable_tokenized()->add_input_ids(5);
       }},
      {"request_id with a space", bad, "request_id", {}, [](GenerateRequest* r) { r->set_request_id("a b"); }},
      {"priority under fcfs",
       bad,
       "priority",
       {"scheduling_policy", "3"},
       [](GenerateRequest* r) { r->set_priority(3); }},
      {"unknown model",
       grpc::StatusCode::NOT_FOUND,
       "model",
       {"nobody"},
       [](GenerateRequest* r) { r->set_model("nobody"); }},
      {"5 MiB",
       grpc::StatusCode::RESOURCE_EXHAUSTED,
       "",
       {"4194304"},
       [](GenerateRequest* r) { r->set_text(std::string(5 << 20, 'a')); }},
  };
}

std::vector<BadCase> BadSampling() {
  const auto bad = grpc::StatusCode::INVALID_ARGUMENT;
  const auto p = [](GenerateRequest* r) { return r->mutable_sampling_params(); };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  return {
      {"prompt and output too long",
       bad,
       "sampling_params.max_tokens",
       {"1000000"},
       [p](GenerateRequest* r) { p(r)->set_max_tokens(1000000); }},
      {"NaN temperature",
       bad,
       "sampling_params.temperature",
       {"temperature", "nan"},
       [p, nan](GenerateRequest* r) { p(r)->set_temperature(nan); }},
      {"temperature 3",
       bad,
       "sampling_params.temperature",
       {"2"},
       [p](GenerateRequest* r) { p(r)->set_temperature(3); }},
      {"negative temperature",
       bad,
       "sampling_params.temperature",
       {},
       [p](GenerateRequest* r) { p(r)->set_temperature(-1); }},
      {"top_p 0", bad, "sampling_params.top_p", {"(0, 1]", "0"}, [p](GenerateRequest* r) { p(r)->set_top_p(0); }},
      {"top_p 1.5",
       bad,
       "sampling_params.top_p",
       {"(0, 1]", "1.5"},
       [p](GenerateRequest* r) { p(r)->set_top_p(1.5f); }},
      {"min_p -1", bad, "sampling_params.min_p", {}, [p](GenerateRequest* r) { p(r)->set_min_p(-1); }},
      {"n 0", bad, "sampling_params.n", {"1"}, [p](GenerateRequest* r) { p(r)->set_n(0); }},
      {"n 129",
       bad,
       "sampling_params.n",
       {"128"},
       [p](GenerateRequest* r) { p(r)->set_n(129), p(r)->set_temperature(1); }},
      {"n 2, greedy", bad, "sampling_params.n", {"temperature"}, [p](GenerateRequest* r) { p(r)->set_n(2); }},
      {"max_tokens 0", bad, "sampling_params.max_tokens", {"1"}, [p](GenerateRequest* r) { p(r)->set_max_tokens(0); }},
      // A negative number of an unsigned field arrives as a huge one.
      {"negative max_tokens",
       bad,
       "sampling_params.max_tokens",
       {},
       [p](GenerateRequest* r) { p(r)->set_max_tokens(static_cast<uint32_t>(-5)); }},
      {"min_tokens above max_tokens",
       bad,
       "sampling_params.min_tokens",
       {"16", "50"},
       [p](GenerateRequest* r) { p(r)->set_max_tokens(16), p(r)->set_min_tokens(50); }},
      {"repetition_penalty 0",
       bad,
       "sampling_params.repetition_penalty",
       {},
       [p](GenerateRequest* r) { p(r)->set_repetition_penalty(0); }},
      {"frequency_penalty 2.5",
       bad,
       "sampling_params.frequency_penalty",
       {"2"},
       [p](GenerateRequest* r) { p(r)->set_frequency_penalty(2.5f); }},
      {"logprobs 21",
       bad,
       "sampling_params.logprobs",
       {"20", "21"},
       [p](GenerateRequest* r) { p(r)->set_logprobs(21); }},
      {"logprobs -1", bad, "sampling_params.logprobs", {}, [p](GenerateRequest* r) { p(r)->set_logprobs(-1); }},
      {"17 stop strings",
       bad,
       "sampling_params.stop",
       {"16", "17"},
       [p](GenerateRequest* r) {
         for (int i = 0; i < 17; ++i) p(r)->add_stop("x");
       }},
      {"empty stop string", bad, "sampling_params.stop", {}, [p](GenerateRequest* r) { p(r)->add_stop(""); }},
      {"stop string of 2000 bytes",
       bad,
       "sampling_params.stop",
       {"1024", "2000"},
       [p](GenerateRequest* r) { p(r)->add_stop(std::string(2000, 'x')); }},
      {"stop id out of range",
       bad,
       "sampling_params.stop_token_ids",
       {},
       [p](GenerateRequest* r) { p(r)->add_stop_token_ids(1 << 30); }},
      {"logit_bias of an unknown id",
       bad,
       "sampling_params.logit_bias",
       {},
       [p](GenerateRequest* r) { (*p(r)->mutable_logit_bias())[-3] = 1; }},
      {"logit_bias 200",
       bad,
       "sampling_params.logit_bias",
       {"100", "200"},
       [p](GenerateRequest* r) { (*p(r)->mutable_logit_bias())[3] = 200; }},
      {"json_schema that never ends",
       bad,
       "sampling_params.ignore_eos",
       {"constraint"},
       [p](GenerateRequest* r) { p(r)->set_json_schema("{}"), p(r)->set_ignore_eos(true); }},
      {"prompt_logprobs",
       bad,
       "sampling_params.prompt_logprobs",
       {"20", "21"},
       [p](GenerateRequest* r) { p(r)->set_prompt_logprobs(21); }},
      {"more choices than beams",
       bad,
       "sampling_params.n",
       {"2"},
       [p](GenerateRequest* r) { p(r)->set_use_beam_search(true), p(r)->set_beam_width(2), p(r)->set_n(3); }},
  };
}

std::vector<BadCase> BadCases() {
  std::vector<BadCase> cases = BadRequests(), more = BadSampling();
  cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

TEST(BadInput, EachIsRefusedByNameAndNobodyElseNotices) {
  Cluster cluster({"--workers=local:2"});
  GenerateRequest neighbour = TextRequest("Once upon a time", 400);
  neighbour.mutable_sampling_params()->set_ignore_eos(true);
  neighbour.mutable_sampling_params()->set_logprobs(1);
  const std::string undisturbed = Fingerprint(cluster.Generate(neighbour));
  std::string disturbed;
  std::thread client([&] { disturbed = Fingerprint(cluster.Generate(neighbour)); });
  for (const BadCase& c : BadCases()) {
    GenerateRequest request = TextRequest("The little dog", 8);
    c.change(&request);
    const Output out = cluster.Generate(request);
    EXPECT_EQ(out.status.error_code(), c.code) << c.name << ": " << out.status.error_message();
    if (!c.param.empty()) {
      EXPECT_EQ(out.error_param, c.param) << c.name << ": " << out.status.error_message();
    }
    for (const std::string& word : c.mentions) {
      EXPECT_TRUE(absl::StrContains(absl::AsciiStrToLower(out.status.error_message()), absl::AsciiStrToLower(word)))
          << c.name << ": " << out.status.error_message();
    }
    EXPECT_TRUE(out.choices.empty()) << c.name;
  }
  client.join();
  EXPECT_EQ(disturbed, undisturbed);
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(5)));
}

TEST(BadInput, InvalidUtf8IsRefused) {
  // A conforming client cannot send it in a proto3 string; raw bytes can: field 3 (text) = 0xFF.
  Cluster cluster({"--workers=local:1"});
  grpc::GenericStub stub(cluster.channel());
  grpc::ClientContext context;
  grpc::Slice slice(std::string("\x1a\x01\xff", 3));
  grpc::ByteBuffer request(&slice, 1), response;
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, "/quire.v1.Generator/Generate", request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(cluster.Health("ready"), "SERVING");
  EXPECT_TRUE(cluster.Generate(TextRequest("The little dog", 4)).ok());
}

TEST(BadInput, WhatCanNeverFitIsRefusedAtTheDoor) {
  Cluster cluster({"--workers=local:1", "--num_device_blocks_override=10", "--block_size=16"});
  std::vector<uint32_t> ids(100, 20);
  const Output out = cluster.Generate(IdsRequest(ids, 90));
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << out.status.error_message();
  EXPECT_TRUE(absl::StrContains(out.status.error_message(), "10") ||
              absl::StrContains(out.status.error_message(), "160"))
      << out.status.error_message();
  EXPECT_TRUE(cluster.Generate(IdsRequest(ids, 50)).ok());
}

TEST(BadInput, ALiveRequestIdIsNotTakenTwice) {
  Cluster cluster({"--workers=local:1"});
  GenerateRequest first = TextRequest("Once upon a time", 400);
  first.mutable_sampling_params()->set_ignore_eos(true);
  first.set_request_id("twin");
  Output a;
  std::thread client([&] { a = cluster.Generate(first); });
  ASSERT_TRUE(Await([&] { return cluster.Loads().num_running_reqs() == 1; }, absl::Seconds(10)));
  GenerateRequest second = TextRequest("The little dog", 4);
  second.set_request_id("twin");
  EXPECT_EQ(cluster.Generate(second).status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  client.join();
  EXPECT_TRUE(a.ok());
  EXPECT_TRUE(cluster.Generate(second).ok()) << "free again after the end";
}

TEST(BadInput, AFullQueueRefusesAtOnce) {
  Cluster cluster({"--workers=local:1", "--max_num_seqs=1", "--max_queue_len=2"});
  GenerateRequest request = TextRequest("Once upon a time", 400);
  request.mutable_sampling_params()->set_ignore_eos(true);
  std::vector<Output> out(12);
  std::vector<std::thread> clients;
  for (size_t i = 0; i < out.size(); ++i) clients.emplace_back([&, i] { out[i] = cluster.Generate(request); });
  for (std::thread& t : clients) t.join();
  int refused = 0, served = 0;
  for (const Output& o : out) {
    refused += o.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
    served += o.ok();
  }
  EXPECT_EQ(refused + served, 12);
  EXPECT_GT(refused, 0);
  EXPECT_GE(served, 3);
}

}  // namespace
}  // namespace quire::e2e
