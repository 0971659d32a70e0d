// What the core does with constrained choices: one at a time in flight, nothing without a mask, an end where the grammar
// cannot go on. That other choices go on meanwhile, and that nothing of it changes tokens, is the simulation's part.
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "coordinator/engine/core.h"

namespace quire::engine {
namespace {

// A constraint whose masks come when the test says so.
struct Script {
  std::vector<int32_t> told;
  bool ready = true;
  absl::Status status;
  int wakes_set = 0;
};

class ScriptedConstraint final : public request::OutputConstraint {
 public:
  explicit ScriptedConstraint(Script* script) : script_(script) {}
  void SetWake(std::function<void()>) override { ++script_->wakes_set; }
  void Advance(int32_t token) override {
    script_->told.push_back(token);
    script_->ready = false;
  }
  bool ready() const override { return script_->ready; }
  absl::Status status() const override { return script_->status; }
  TokenMask mask() const override {
    return std::make_shared<const std::vector<uint32_t>>(
        std::vector<uint32_t>{static_cast<uint32_t>(1 + script_->told.size()), 0});
  }

 private:
  Script* const script_;
};

class CoreConstraintsTest : public ::testing::Test {
 protected:
  CoreConstraintsTest() : core_(CoreOptions()) {
    Step({});
    ReplicaInfo info;
    info.epoch = core_.epoch();
    info.vocab_size = 50;
    info.device_blocks = 100;
    info.block_size = 16;
    Step({ReplicaFormedEvent{info}});
  }

  void Submit(uint64_t id, Script* script) {
    SubmitEvent event;
    event.id = id;
    event.request.request_id = std::string(1, static_cast<char>('a' + id));
    event.request.prompt_ids.assign(5, 7);
    event.request.params.max_tokens = 3;
    if (script != nullptr) {
      event.request.make_constraint = [script] { return std::make_unique<ScriptedConstraint>(script); };
    }
    Step({std::move(event)});
  }

  void Step(std::vector<Event> events) {
    actions_.clear();
    core_.Step(&events, absl::UnixEpoch(), &actions_);
    core_.CheckInvariants();
    for (const StepPlan* plan : actions_.sends) plans_.push_back(*plan);
  }

  void Answer(const StepPlan& plan) {
    StepDoneEvent event;
    event.result.epoch = plan.epoch;
    event.result.step = plan.step;
    event.result.tokens.assign(plan.num_samples(), 3);
    event.result.ranks.resize(1);
    Step({event});
  }

  Core core_;
  Actions actions_;
  std::vector<StepPlan> plans_;
};

TEST_F(CoreConstraintsTest, NothingIsDrawnWithoutItsMask) {
  Script script;
  Submit(1, &script);
  EXPECT_EQ(script.wakes_set, 1);
  ASSERT_EQ(plans_.size(), 1u) << "no second step behind the draw";
  ASSERT_EQ(plans_[0].masks.size(), 1u);
  EXPECT_EQ(plans_[0].masks[0].seq, plans_[0].prefill[0].seq);
  EXPECT_EQ((*plans_[0].masks[0].mask)[0], 1u);
  Answer(plans_[0]);
  EXPECT_EQ(script.told, std::vector<int32_t>{3});
  EXPECT_EQ(plans_.size(), 1u) << "the mask is not known yet";
  Submit(2, nullptr);
  EXPECT_EQ(plans_.size(), 3u) << "others go on, with overlap";
  script.ready = true;
  Answer(plans_[1]);
  ASSERT_EQ(plans_.size(), 4u);
  ASSERT_EQ(plans_[3].masks.size(), 1u);
  EXPECT_EQ((*plans_[3].masks[0].mask)[0], 2u);
  EXPECT_EQ(plans_[3].decode.size(), 2u);
}

TEST_F(CoreConstraintsTest, WhoAwaitsItsGrammarHoldsUpNobody) {
  Script script;
  script.ready = false;
  Submit(1, &script);
  EXPECT_TRUE(plans_.empty());
  EXPECT_EQ(core_.stats().num_waiting_reqs, 0);
  Submit(2, nullptr);
  EXPECT_EQ(plans_.size(), 2u);
  script.ready = true;
  Answer(plans_[0]);
  ASSERT_EQ(plans_.size(), 3u);
  EXPECT_EQ(plans_[2].masks.size(), 1u);
}

TEST_F(CoreConstraintsTest, AGrammarThatDoesNotCompileEndsItsRequest) {
  Script script;
  script.ready = false;
  Submit(1, &script);
  script.status = absl::InvalidArgumentError("no grammar");
  script.ready = true;
  Step({TickEvent{}});
  ASSERT_EQ(actions_.ends.size(), 1u);
  EXPECT_EQ(actions_.ends[0].status, script.status);
  EXPECT_TRUE(plans_.empty());
}

TEST_F(CoreConstraintsTest, CancelledWhileItAwaitsItsGrammar) {
  Script script;
  script.ready = false;
  Submit(1, &script);
  Step({CancelEvent{1, ""}});
  ASSERT_EQ(actions_.ends.size(), 1u);
  script.ready = true;
  Step({TickEvent{}});
  EXPECT_TRUE(plans_.empty());
}

TEST_F(CoreConstraintsTest, AReplicaThatCameBackSmallerDoesNotStallBehindALateRequest) {
  Script script;
  script.ready = false;
  Submit(1, &script);
  Step({ReplicaDownEvent{core_.epoch(), absl::UnavailableError("gone")}});
  ReplicaInfo info = core_.replica();
  info.epoch = core_.epoch();
  info.device_blocks = 0;
  Step({ReplicaFormedEvent{info}});
  script.ready = true;
  Step({TickEvent{}});
  ASSERT_EQ(actions_.ends.size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(actions_.ends[0].status)) << actions_.ends[0].status;
}

TEST_F(CoreConstraintsTest, WhatTheGrammarCannotFollowEnds) {
  Script script;
  Submit(1, &script);
  Answer(plans_[0]);
  script.status = absl::InternalError("token 3 is outside of the grammar");
  script.ready = true;
  Step({TickEvent{}});
  ASSERT_EQ(actions_.ends.size(), 1u);
  EXPECT_EQ(actions_.ends[0].status, script.status);
  EXPECT_EQ(core_.scheduler()->kv().pool().num_used(), 0);
}

TEST_F(CoreConstraintsTest, TheLastTokenAsksForNoMask) {
  Script script;
  Submit(1, &script);
  for (int i = 0; i < 3; ++i) {
    Answer(plans_[i]);
    script.ready = true;
    Step({TickEvent{}});
  }
  EXPECT_EQ(script.told.size(), 2u);
  EXPECT_EQ(plans_.size(), 4u);
  EXPECT_EQ(plans_[3].finished.size(), 1u);
}

TEST_F(CoreConstraintsTest, AMovedRequestIsWokenByItsNewCore) {
  Script script;
  Submit(1, &script);
  Answer(plans_[0]);
  Step({ReplicaDownEvent{core_.epoch(), absl::UnavailableError("gone")}});
  std::vector<MovedGroup> moved = core_.GiveUp(100, true);
  ASSERT_EQ(moved.size(), 1u);
  Core other{CoreOptions()};
  Actions actions;
  std::vector<Event> events;
  other.Step(&events, absl::UnixEpoch(), &actions);
  ReplicaInfo info = core_.replica();
  info.epoch = other.epoch();
  events = {ReplicaFormedEvent{info}};
  other.Step(&events, absl::UnixEpoch(), &actions);
  other.Adopt(std::move(moved[0]), absl::UnixEpoch(), &actions);
  EXPECT_EQ(script.wakes_set, 2);
  events.clear();
  actions.clear();
  other.Step(&events, absl::UnixEpoch(), &actions);
  EXPECT_TRUE(actions.sends.empty()) << "the mask is not known yet";
  script.ready = true;
  events = {TickEvent{}};
  other.Step(&events, absl::UnixEpoch(), &actions);
  ASSERT_EQ(actions.sends.size(), 1u);
  EXPECT_EQ(actions.sends[0]->new_sequences[0].token_ids.size(), 6u);
  EXPECT_EQ(actions.sends[0]->masks.size(), 1u);
}

}  // namespace
}  // namespace quire::engine
