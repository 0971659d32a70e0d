// Single decisions of the core that the simulation reaches but does not judge: deadlines, ids, giving up.
#include "coordinator/engine/core.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <utility>

namespace quire::engine {
namespace {

class CoreTest : public ::testing::Test {
 protected:
  void Make(CoreOptions options = {}) {
    core_ = std::make_unique<Core>(options);
    Step({});
  }

  void Form(int64_t blocks = 100) {
    ReplicaInfo info;
    info.epoch = core_->epoch();
    info.vocab_size = 50;
    info.device_blocks = blocks;
    info.block_size = 16;
    Step({ReplicaFormedEvent{info}});
  }

  void Step(std::vector<Event> events) {
    actions_.clear();
    core_->Step(&events, now_, &actions_);
    core_->CheckInvariants();
    if (!core_->formed()) unanswered_.clear();
    for (const StepPlan* plan : actions_.sends) unanswered_.push_back(*plan);
  }

  // Answers the oldest step in flight.
  void AnswerNext() {
    ASSERT_FALSE(unanswered_.empty());
    const StepPlan plan = std::move(unanswered_.front());
    unanswered_.pop_front();
    Step({Answer(plan)});
  }

  SubmitEvent Submit(uint64_t id, std::string label, uint32_t max_tokens = 8, int64_t prompt = 5) {
    SubmitEvent event;
    event.id = id;
    event.request.request_id = std::move(label);
    event.request.prompt_ids.assign(prompt, 7);
    event.request.params.max_tokens = max_tokens;
    return event;
  }

  // Answers a plan; every rank took `us`.
  StepDoneEvent Answer(const StepPlan& plan, uint32_t us = 1000) {
    StepDoneEvent event;
    event.result.epoch = plan.epoch;
    event.result.step = plan.step;
    event.result.tokens.assign(plan.num_samples(), 3);
    event.result.ranks.resize(2);
    event.result.ranks[1].exec_us = us;
    return event;
  }

  std::unique_ptr<Core> core_;
  Actions actions_;
  std::deque<StepPlan> unanswered_;
  absl::Time now_ = absl::UnixEpoch();
};

TEST_F(CoreTest, ASharedPrefixIsHeldUntilItsRequestEnds) {
  Make();
  Form();
  SubmitEvent event = Submit(1, "a", 8, 40);
  event.request.shared_prefix_tokens = 40;
  Step({std::move(event)});
  EXPECT_EQ(core_->stats().blocks_held, 2);
  Step({ReplicaDownEvent{core_->epoch(), absl::UnavailableError("rank 1 died")}});
  now_ += absl::Minutes(1);
  Step({});
  Form();
  EXPECT_EQ(core_->stats().blocks_held, 2) << "in the new replica's cache, once it is computed there";
  Step({CancelEvent{1, ""}});
  EXPECT_EQ(core_->stats().blocks_held, 0);
}

TEST_F(CoreTest, AReplicaThatNeverFormedIsGivenUpAtOnce) {
  Make();
  EXPECT_EQ(actions_.form_epoch, 1u);
  Step({ReplicaDownEvent{1, absl::UnavailableError("host:1 does not answer")}});
  EXPECT_TRUE(core_->failed());
  EXPECT_EQ(actions_.form_epoch, 0u);
  EXPECT_EQ(core_->down_reason().message(), "host:1 does not answer");
  Step({Submit(1, "a")});
  ASSERT_EQ(actions_.ends.size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(actions_.ends[0].status));
}

TEST_F(CoreTest, AReplicaThatWorkedIsFormedAgainEverMorePatiently) {
  CoreOptions options;
  options.max_form_attempts = 4;
  Make(options);
  Form();
  Step({ReplicaDownEvent{1, absl::UnavailableError("rank 0 died")}});
  EXPECT_EQ(actions_.form_epoch, 2u) << "at once";
  absl::Duration last;
  for (uint64_t epoch = 2; epoch < 4; ++epoch) {
    Step({ReplicaDownEvent{epoch, absl::UnavailableError("no")}});
    EXPECT_EQ(actions_.form_epoch, 0u);
    EXPECT_GT(core_->NextTimer() - now_, last);
    last = core_->NextTimer() - now_;
    now_ = core_->NextTimer();
    Step({TickEvent{}});
    EXPECT_EQ(actions_.form_epoch, epoch + 1);
  }
  Step({ReplicaDownEvent{4, absl::UnavailableError("no")}});
  EXPECT_TRUE(core_->failed());
}

TEST_F(CoreTest, EpochsStartWhereTheShellSays) {
  CoreOptions options;
  options.first_epoch = 1000;
  Make(options);
  EXPECT_EQ(actions_.form_epoch, 1000u);
}

TEST_F(CoreTest, ARequestInThreeLossesFailsAndItsNeighbourLivesOn) {
  Make();
  Form();
  Step({Submit(1, "poison", 100)});
  for (int loss = 1; loss <= 3; ++loss) {
    if (loss == 3) Step({Submit(2, "late", 100)});
    Step({ReplicaDownEvent{core_->epoch(), absl::UnavailableError("rank 0 died")}});
    if (loss < 3) {
      EXPECT_TRUE(actions_.ends.empty());
    } else {
      ASSERT_EQ(actions_.ends.size(), 1u);
      EXPECT_EQ(actions_.ends[0].id, 1u);
      EXPECT_TRUE(absl::IsInternal(actions_.ends[0].status));
      EXPECT_NE(actions_.ends[0].status.message().find("3 times"), std::string::npos) << actions_.ends[0].status;
    }
    Form();
  }
  EXPECT_EQ(core_->stats().num_running_reqs, 1);
}

TEST_F(CoreTest, AfterTwoLossesARequestRunsAloneUntilItHasGotSomewhere) {
  Make();
  Form();
  Step({Submit(1, "a", 100), Submit(2, "b", 100)});
  EXPECT_EQ(core_->stats().num_running_reqs, 2);
  for (int loss = 1; loss <= 2; ++loss) {
    Step({ReplicaDownEvent{core_->epoch(), absl::UnavailableError("rank 0 died")}});
    Form();
    EXPECT_EQ(core_->stats().num_running_reqs, loss == 1 ? 2 : 1);
  }
  Step({Submit(3, "c", 100)});
  std::vector<size_t> steps(4, 0);  // until the requests together, counted from 1, ran
  for (size_t step = 1; step <= 200; ++step) {
    AnswerNext();
    const size_t running = static_cast<size_t>(core_->stats().num_running_reqs);
    if (steps[running] == 0) steps[running] = step;
    if (running == 3) break;
  }
  EXPECT_GE(steps[3], 2 * request::CrashRecord::kProgress) << "one after the other, then all";
  EXPECT_EQ(steps[0], 0u);
}

TEST_F(CoreTest, ALossAfterProgressIsNotHeldAgainstARequest) {
  Make();
  Form();
  Step({Submit(1, "unlucky", 1000)});
  for (int loss = 1; loss <= 6; ++loss) {
    for (int64_t i = 0; i <= request::CrashRecord::kProgress + 1; ++i) {
      AnswerNext();
    }
    Step({ReplicaDownEvent{core_->epoch(), absl::UnavailableError("rank 0 died")}});
    EXPECT_TRUE(actions_.ends.empty());
    Form();
  }
  EXPECT_EQ(core_->stats().num_running_reqs, 1);
}

TEST_F(CoreTest, ARequestMovesToAnotherCoreWithWhatIsCommitted) {
  CoreOptions options;
  options.has_siblings = true;
  Make(options);
  Form();
  SubmitEvent two = Submit(1, "two", 40);
  two.request.params.n = 2;
  Step({two, Submit(2, "waits", 10, 1500)});
  for (int i = 0; i < 5; ++i) AnswerNext();
  const absl::Time deadline = now_ + absl::Minutes(1);
  SubmitEvent late = Submit(3, "late");
  late.request.deadline = deadline;
  Step({late});
  Step({ReplicaDownEvent{core_->epoch(), absl::UnavailableError("rank 0 died")}});
  EXPECT_TRUE(core_->GiveUp(0, false).empty()) << "no room for any";
  std::vector<MovedGroup> given = core_->GiveUp(100, false);
  core_->CheckInvariants();
  EXPECT_FALSE(core_->has_requests());
  ASSERT_EQ(given.size(), 3u);
  EXPECT_EQ(given[0].num_blocks, 2 * 3);
  const int64_t committed = given[0].group->longest_output();
  EXPECT_EQ(committed, 5);

  std::unique_ptr<Core> old = std::move(core_);
  Make(options);
  Form();
  actions_.clear();
  for (MovedGroup& moved : given) core_->Adopt(std::move(moved), now_, &actions_);
  old.reset();
  EXPECT_TRUE(actions_.ends.empty());
  EXPECT_EQ(core_->NextTimer(), deadline);
  Step({});
  AnswerNext();
  ASSERT_GE(actions_.emits.size(), 2u);
  for (const EmitAction& emit : actions_.emits) {
    if (emit.id == 1) {
      EXPECT_EQ(emit.delta.offset, static_cast<uint64_t>(committed));
    }
  }
  Step({CancelEvent{1, ""}, CancelEvent{2, ""}, CancelEvent{3, ""}});
  EXPECT_EQ(actions_.ends.size(), 3u);
}

TEST_F(CoreTest, SuspectsMoveOnlyWhenTheirReplicaDoesNotReturn) {
  CoreOptions options;
  options.has_siblings = true;
  options.max_form_attempts = 2;
  Make(options);
  Form();
  Step({Submit(1, "suspect", 100)});
  for (int loss = 1; loss <= 2; ++loss) {
    if (loss == 2) {
      Form();
      Step({Submit(2, "innocent", 100)});
      AnswerNext();
    }
    Step({ReplicaDownEvent{core_->epoch(), absl::UnavailableError("rank 0 died")}});
  }
  std::vector<MovedGroup> given = core_->GiveUp(100, false);
  ASSERT_EQ(given.size(), 1u);
  EXPECT_EQ(given[0].group->id, 2u);
  Step({ReplicaDownEvent{core_->epoch(), absl::UnavailableError("no")}});
  EXPECT_TRUE(core_->failed());
  EXPECT_TRUE(actions_.ends.empty()) << "others may take it";
  EXPECT_EQ(core_->GiveUp(100, true).size(), 1u);
  now_ = core_->NextTimer();
  Step({});
  EXPECT_NE(actions_.form_epoch, 0u) << "tried again";
  Form();
  EXPECT_FALSE(core_->failed());
}

TEST_F(CoreTest, CancelByIdDoesNotHitALaterNamesake) {
  Make();
  Form();
  Step({Submit(1, "twin")});
  Step({Submit(2, "twin")});
  ASSERT_EQ(actions_.ends.size(), 1u);
  EXPECT_TRUE(absl::IsAlreadyExists(actions_.ends[0].status));
  Step({CancelEvent{2, ""}});
  EXPECT_TRUE(actions_.ends.empty()) << "2 is gone, 1 is somebody else's";
  Step({CancelEvent{1, ""}});
  EXPECT_EQ(actions_.ends.size(), 1u);
}

TEST_F(CoreTest, StepDeadlinesFollowTheSizeOfTheStep) {
  CoreOptions options;
  options.min_step_deadline = absl::Seconds(1);
  Make(options);
  Form();
  Step({Submit(1, "a", 100, 500)});
  ASSERT_EQ(actions_.sends.size(), 2u);
  const StepPlan prefill = *actions_.sends[0];
  const StepPlan decode = *actions_.sends[1];
  EXPECT_EQ(prefill.num_tokens(), 500);
  EXPECT_EQ(prefill.deadline_ms, 5u * 60 * 1000) << "nobody knows yet how long a prompt takes";
  EXPECT_EQ(decode.deadline_ms, 5u * 60 * 1000);
  Step({Answer(prefill, 2'000'000)});
  ASSERT_EQ(actions_.sends.size(), 1u);
  const StepPlan second = *actions_.sends[0];
  EXPECT_EQ(second.deadline_ms, 5u * 60 * 1000) << "a long prompt says nothing of a single token";
  Step({Answer(decode, 500'000)});
  ASSERT_EQ(actions_.sends.size(), 1u);
  EXPECT_EQ(actions_.sends[0]->deadline_ms, 8000u) << "8 x 0.5 s, twice because two are in flight";
}

TEST_F(CoreTest, WhatCanNeverFitIsRefusedWithBothNumbers) {
  Make();
  Form(10);
  Step({Submit(1, "big", 161, 10)});
  ASSERT_EQ(actions_.ends.size(), 1u);
  EXPECT_TRUE(absl::IsInvalidArgument(actions_.ends[0].status));
  EXPECT_NE(actions_.ends[0].status.message().find("11"), std::string::npos);
  EXPECT_NE(actions_.ends[0].status.message().find("10"), std::string::npos);
  Step({Submit(2, "fits", 151, 10)});
  EXPECT_TRUE(actions_.ends.empty());
}

TEST_F(CoreTest, TheQueueIsBoundedInTokensToo) {
  CoreOptions options;
  options.scheduler.max_num_seqs = 1;
  options.max_queue_tokens = 100;
  Make(options);
  Form();
  Step({Submit(1, "runs", 100)});
  Step({Submit(2, "waits, although long", 8, 150)});
  EXPECT_TRUE(actions_.ends.empty()) << "nothing waited";
  Step({Submit(3, "one too many")});
  ASSERT_EQ(actions_.ends.size(), 1u);
  EXPECT_TRUE(absl::IsResourceExhausted(actions_.ends[0].status)) << actions_.ends[0].status;
  EXPECT_TRUE(actions_.ends[0].status.GetPayload(kRetryAfterPayload).has_value());
  Step({CancelEvent{2, ""}});
  Step({Submit(4, "fits again")});
  EXPECT_TRUE(actions_.ends.empty());
}

// A prompt in two chunks whose log-probs are wanted; the replica is lost between them.
TEST_F(CoreTest, PromptLogprobsComeOnceAcrossALoss) {
  CoreOptions options;
  options.scheduler.max_num_seqs = 16;
  options.scheduler.max_num_batched_tokens = 20;
  Make(options);
  Form();
  SubmitEvent submit = Submit(1, "a", 8, 30);
  submit.request.params.prompt_logprobs = 0;
  Step({submit});
  ASSERT_EQ(actions_.sends.size(), 2u);
  EXPECT_EQ(actions_.sends[0]->new_sequences[0].sampling.prompt_rows->first, 1u);
  StepDoneEvent first = Answer(*actions_.sends[0]);
  first.result.prompt_logprobs.assign(1, std::vector<TokenLogprobs>(20));
  for (int i = 0; i < 20; ++i) first.result.prompt_logprobs[0][i].sampled = -1.0f - i;
  Step({first});
  Step({ReplicaDownEvent{1, absl::UnavailableError("rank 0 died")}});
  Form();
  ASSERT_EQ(actions_.sends.size(), 2u);
  const NewSequence& again = actions_.sends[0]->new_sequences[0];
  EXPECT_EQ(again.sampling.prompt_rows->first, 21u) << "20 positions are here";
  EXPECT_EQ(again.num_computed, 0u);
  // The first chunk computes tokens 0 to 19, whose rows are all here.
  StepDoneEvent replayed = Answer(*actions_.sends[0]);
  StepDoneEvent rest = Answer(*actions_.sends[1]);
  rest.result.prompt_logprobs.assign(1, std::vector<TokenLogprobs>(9));
  for (int i = 0; i < 9; ++i) rest.result.prompt_logprobs[0][i].sampled = -21.0f - i;
  Step({replayed, rest});
  ASSERT_EQ(actions_.emits.size(), 1u);
  const std::vector<TokenLogprobs>& got = actions_.emits[0].delta.prompt_logprobs;
  ASSERT_EQ(got.size(), 29u);
  for (int i = 0; i < 29; ++i) EXPECT_EQ(got[i].sampled, -1.0f - i);
}

TEST_F(CoreTest, MissingPromptLogprobsEndTheEpoch) {
  Make();
  Form();
  SubmitEvent submit = Submit(1, "a");
  submit.request.params.prompt_logprobs = 0;
  Step({submit});
  Step({Answer(*actions_.sends[0])});
  EXPECT_EQ(actions_.form_epoch, 2u);
  EXPECT_TRUE(actions_.ends.empty()) << "the request waits for the next epoch";
}

TEST_F(CoreTest, BestOfDrawsMoreThanItAnswersWithLogprobs) {
  Make();
  Form();
  SubmitEvent submit = Submit(1, "a");
  submit.request.params.n = 2;
  submit.request.params.best_of = 5;
  Step({submit});
  ASSERT_FALSE(actions_.sends.empty());
  EXPECT_EQ(actions_.sends[0]->forks.size(), 4u);
  EXPECT_EQ(actions_.sends[0]->new_sequences[0].sampling.num_logprobs, 0);
}

TEST_F(CoreTest, AWrongNumberOfTokensEndsTheEpoch) {
  Make();
  Form();
  Step({Submit(1, "a")});
  StepDoneEvent answer = Answer(*actions_.sends[0]);
  answer.result.tokens.push_back(1);
  Step({answer});
  EXPECT_EQ(actions_.form_epoch, 2u);
  EXPECT_FALSE(core_->formed());
  EXPECT_TRUE(actions_.ends.empty()) << "the request waits for the next epoch";
}

}  // namespace
}  // namespace quire::engine
