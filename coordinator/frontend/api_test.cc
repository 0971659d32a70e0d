// What callers may do, over a real engine and a simulated replica.
#include "coordinator/frontend/api.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/frontend/sim_worker_group.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

// How a request ended.
struct Ending {
  absl::Notification ended;
  absl::Status status;
};

class EndSink final : public engine::RequestSink {
 public:
  explicit EndSink(std::shared_ptr<Ending> ending) : ending_(std::move(ending)) {}
  void OnDelta(const engine::ChoiceDelta&) override {}
  void OnEnd(const absl::Status& status, const engine::RequestTiming&) override {
    ending_->status = status;
    ending_->ended.Notify();
  }

 private:
  const std::shared_ptr<Ending> ending_;
};

class ApiTest : public ::testing::Test {
 protected:
  ApiTest()
      : group_(SimWorkerGroupOptions()), engine_({}, {&group_}), api_(Options(), &engine_, /*tokenizer=*/nullptr) {
    EXPECT_TRUE(engine_.WaitUntilFormed(kPatience).ok());
  }

  ~ApiTest() override {
    group_.Release();
    engine_.Stop(absl::ZeroDuration());
  }

  static ApiOptions Options() {
    ApiOptions options;
    options.served_model_name = "sim";
    return options;
  }

  static v1::GenerateRequest Message(uint32_t max_tokens = 4) {
    v1::GenerateRequest message;
    for (const uint32_t id : {3u, 4u, 5u}) message.mutable_tokenized()->add_input_ids(id);
    if (max_tokens > 0) message.mutable_sampling_params()->set_max_tokens(max_tokens);
    return message;
  }

  static access::Caller Caller(const std::string& tenant) {
    access::Caller caller;
    caller.tenant = tenant;
    return caller;
  }

  absl::StatusOr<std::shared_ptr<Ending>> Submit(const v1::GenerateRequest& message, const access::Caller& caller) {
    absl::StatusOr<Prepared> prepared = api_.Prepare(message, caller, absl::InfiniteFuture());
    if (!prepared.ok()) return prepared.status();
    auto ending = std::make_shared<Ending>();
    const absl::StatusOr<uint64_t> id = api_.Submit(*std::move(prepared), std::make_unique<EndSink>(ending));
    if (!id.ok()) return id.status();
    return ending;
  }

  void Abort(const std::string& label, const access::Caller& caller) {
    v1::AbortRequest abort;
    abort.add_request_ids(label);
    api_.Abort(abort, caller);
  }

  SimWorkerGroup group_;
  engine::Replicas engine_;
  Api api_;
};

TEST_F(ApiTest, TheCallersTenantAndWeightAreTheRequests) {
  access::Caller caller = Caller("acme");
  caller.weight = 2.5;
  v1::GenerateRequest message = Message();
  message.set_request_id("mine");
  const absl::StatusOr<Prepared> prepared = api_.Prepare(message, caller, absl::UnixEpoch());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(prepared->request.tenant, "acme");
  EXPECT_EQ(prepared->request.weight, 2.5);
  EXPECT_EQ(prepared->request.deadline, absl::UnixEpoch());
  EXPECT_EQ(prepared->response.request_id, "mine") << "the client sees its own label";
}

TEST_F(ApiTest, LimitsOfTheCallerBindWhatIsAskedFor) {
  access::Caller caller = Caller("acme");
  caller.max_choices = 2;
  caller.max_tokens = 10;
  const auto field_of = [&](const v1::GenerateRequest& message) {
    const absl::Status status = api_.Prepare(message, caller, absl::InfiniteFuture()).status();
    EXPECT_EQ(status.ok() ? absl::StatusCode::kInvalidArgument : status.code(), absl::StatusCode::kInvalidArgument);
    return ErrorField(status);
  };
  v1::GenerateRequest message = Message(10);
  EXPECT_EQ(field_of(message), "");
  message.mutable_sampling_params()->set_n(2);
  EXPECT_EQ(field_of(message), "");
  message.mutable_sampling_params()->set_n(3);
  EXPECT_EQ(field_of(message), "sampling_params.n");
  message.mutable_sampling_params()->set_n(2);
  message.mutable_sampling_params()->set_best_of(3);
  EXPECT_EQ(field_of(message), "sampling_params.best_of");
  message = Message(4);
  message.mutable_sampling_params()->set_use_beam_search(true);
  message.mutable_sampling_params()->set_beam_width(3);
  EXPECT_EQ(field_of(message), "sampling_params.beam_width");
  EXPECT_EQ(field_of(Message(11)), "sampling_params.max_tokens");
  // Who asks for nothing gets what the key allows, not what the context has room for.
  const absl::StatusOr<Prepared> open = api_.Prepare(Message(/*max_tokens=*/0), caller, absl::InfiniteFuture());
  ASSERT_TRUE(open.ok()) << open.status();
  EXPECT_EQ(open->request.params.max_tokens, 10u);
}

TEST_F(ApiTest, ATenantsLiveRequestsAreCountedUntilTheyEnd) {
  group_.Hold();
  access::Caller caller = Caller("acme");
  caller.max_live_requests = 2;
  const auto first = Submit(Message(), caller);
  const auto second = Submit(Message(), caller);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(Submit(Message(), caller).status().code(), absl::StatusCode::kResourceExhausted);
  access::Caller other = Caller("other");
  other.max_live_requests = 1;
  const auto theirs = Submit(Message(), other);
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  EXPECT_EQ(api_.num_live_requests(), 3);
  group_.Release();
  for (const auto& ending : {first, second, theirs}) {
    ASSERT_TRUE((*ending)->ended.WaitForNotificationWithTimeout(kPatience));
    EXPECT_TRUE((*ending)->status.ok()) << (*ending)->status;
  }
  EXPECT_EQ(api_.num_live_requests(), 0);
  EXPECT_TRUE(Submit(Message(), caller).ok());
}

TEST_F(ApiTest, WhatSubmitRefusesTakesNoPlace) {
  group_.Hold();
  access::Caller caller = Caller("acme");
  caller.max_live_requests = 2;
  v1::GenerateRequest message = Message();
  message.set_request_id("twice");
  ASSERT_TRUE(Submit(message, caller).ok());
  EXPECT_EQ(Submit(message, caller).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(api_.num_live_requests(), 1);
  EXPECT_TRUE(Submit(Message(), caller).ok());
}

TEST_F(ApiTest, LabelsOfTenantsNeverMeet) {
  group_.Hold();
  v1::GenerateRequest message = Message();
  message.set_request_id("x");
  const auto acme = Submit(message, Caller("acme"));
  const auto other = Submit(message, Caller("other"));
  const auto nobody = Submit(message, Caller(""));
  ASSERT_TRUE(acme.ok() && other.ok() && nobody.ok()) << other.status();
  Abort("acme/x", Caller(""));
  Abort("unknown", Caller("acme"));
  Abort("x", Caller("other"));
  ASSERT_TRUE((*other)->ended.WaitForNotificationWithTimeout(kPatience));
  EXPECT_EQ((*other)->status.code(), absl::StatusCode::kCancelled);
  group_.Release();
  for (const auto& ending : {acme, nobody}) {
    ASSERT_TRUE((*ending)->ended.WaitForNotificationWithTimeout(kPatience));
    EXPECT_TRUE((*ending)->status.ok()) << (*ending)->status;
  }
}

TEST_F(ApiTest, DrainTakesNothingNewAndLetsTheRunningEnd) {
  group_.Hold();
  const auto running = Submit(Message(), Caller(""));
  ASSERT_TRUE(running.ok());
  EXPECT_TRUE(api_.Ready());
  api_.Drain();
  EXPECT_FALSE(api_.Ready());
  EXPECT_EQ(Submit(Message(), Caller("")).status().code(), absl::StatusCode::kUnavailable);
  group_.Release();
  ASSERT_TRUE((*running)->ended.WaitForNotificationWithTimeout(kPatience));
  EXPECT_TRUE((*running)->status.ok()) << (*running)->status;
}

}  // namespace
}  // namespace quire::frontend
