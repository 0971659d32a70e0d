// What a plan holds: budgets, order, admission, chunks, preemption. Long random histories live in
// engine/simulation_test.cc.
#include "coordinator/scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

namespace quire::scheduler {
namespace {

using request::Sequence;
using request::SequenceGroup;

class SchedulerTest : public ::testing::Test {
 protected:
  void Make(int64_t max_seqs, int64_t max_tokens, int64_t blocks, int32_t block_size = 4,
            Policy policy = Policy::kFcfs) {
    ReplicaInfo info;
    info.device_blocks = blocks;
    info.block_size = block_size;
    info.eos_token_ids = {2};
    scheduler_ = std::make_unique<Scheduler>(SchedulerOptions{max_seqs, max_tokens, policy, {}}, info);
  }

  SequenceGroup* Add(int64_t prompt, uint32_t max_tokens = 10, uint32_t n = 1, std::string tenant = "",
                     int32_t priority = 0) {
    groups_.push_back(std::make_unique<SequenceGroup>());
    SequenceGroup* g = groups_.back().get();
    g->id = groups_.size();
    g->request.prompt_ids.assign(prompt, 100 + static_cast<int32_t>(g->id));  // nobody shares a prefix
    g->request.params.max_tokens = max_tokens;
    g->request.params.n = n;
    g->request.tenant = std::move(tenant);
    g->request.priority = priority;
    g->sequences.resize(n);
    for (uint32_t i = 0; i < n; ++i) g->sequences[i].group = g, g->sequences[i].index = i;
    scheduler_->Add(g);
    return g;
  }

  // Plans one step; all its samples come back at once as token 7.
  bool Step() {
    plan_.Clear();
    const bool computes = scheduler_->BuildPlan(absl::UnixEpoch(), &plan_, &samples_);
    if (!computes) scheduler_->TakeBackFinished(&plan_);
    for (Sequence* s : samples_) {
      --s->in_flight;
      s->output.push_back(7);
    }
    return computes;
  }

  std::unique_ptr<Scheduler> scheduler_;
  std::vector<std::unique_ptr<SequenceGroup>> groups_;
  StepPlan plan_;
  std::vector<Sequence*> samples_;
};

// While something runs nobody enters at the cost of a prefix that a waiting request holds; growth may take it.
TEST_F(SchedulerTest, AdmissionSparesAHeldPrefix) {
  for (const int64_t shared : {0, 17}) {
    Make(4, 100, 20);
    SequenceGroup* first = Add(20, 1, 1, "h");
    Step();  // its blocks are in the cache
    scheduler_->Remove(first);
    SequenceGroup* running = Add(4, 60);
    Step();
    SequenceGroup* big = Add(60, 1);  // leaves no block of the prefix, where none is held
    groups_.push_back(std::make_unique<SequenceGroup>());
    SequenceGroup* holder = groups_.back().get();
    holder->id = groups_.size();
    holder->request.prompt_ids.assign(first->request.prompt_ids.begin(), first->request.prompt_ids.end());
    holder->request.prompt_ids.resize(70, 9);
    holder->request.tenant = "h";
    holder->request.params.max_tokens = 1;
    holder->request.shared_prefix_tokens = shared;
    holder->sequences.resize(1);
    holder->sequences[0].group = holder;
    scheduler_->Add(holder);
    Step();
    EXPECT_EQ(scheduler_->waiting().Contains(*big), shared > 0);
    scheduler_->Remove(running);  // with nobody running it need not be spared any more
    Step();
    EXPECT_FALSE(scheduler_->waiting().Contains(*big));
    scheduler_.reset();
    groups_.clear();
  }
}

TEST_F(SchedulerTest, PromptsAreCutToTheTokenBudget) {
  Make(4, 8, 100);
  Add(20);
  ASSERT_TRUE(Step());
  ASSERT_EQ(plan_.prefill.size(), 1u);
  EXPECT_EQ(plan_.prefill[0].num_tokens, 8u);
  EXPECT_FALSE(plan_.prefill[0].sample);
  EXPECT_EQ(plan_.new_sequences[0].token_ids.size(), 20u);
  EXPECT_EQ(plan_.new_sequences[0].block_ids.size(), 2u) << "only what the chunk needs";
  Step();
  EXPECT_EQ(plan_.prefill[0].num_tokens, 8u);
  EXPECT_TRUE(plan_.new_sequences.empty());
  Step();
  EXPECT_EQ(plan_.prefill[0].num_tokens, 4u);
  EXPECT_TRUE(plan_.prefill[0].sample);
  Step();
  EXPECT_EQ(plan_.decode.size(), 1u);
}

TEST_F(SchedulerTest, DecodesComeBeforePrefillsAndShareTheBudget) {
  Make(4, 8, 100);
  Add(3);
  Step();
  Add(50);
  Step();
  EXPECT_EQ(plan_.decode.size(), 1u);
  ASSERT_EQ(plan_.prefill.size(), 1u);
  EXPECT_EQ(plan_.prefill[0].num_tokens, 7u);
}

TEST_F(SchedulerTest, SeveralPromptsShareAStep) {
  Make(4, 32, 100);
  Add(10);
  Add(10);
  Add(20);
  Step();
  ASSERT_EQ(plan_.prefill.size(), 3u);
  EXPECT_TRUE(plan_.prefill[1].sample);
  EXPECT_EQ(plan_.prefill[2].num_tokens, 12u);
  EXPECT_FALSE(plan_.prefill[2].sample);
}

TEST_F(SchedulerTest, AShortPromptDoesNotWaitBehindALongOne) {
  Make(8, 32, 400);
  SequenceGroup* long_one = Add(500);
  Step();
  EXPECT_EQ(plan_.prefill[0].num_tokens, 32u) << "alone it has all of the step";
  SequenceGroup* as_long = Add(500);
  SequenceGroup* short_one = Add(10);
  Step();
  ASSERT_EQ(plan_.prefill.size(), 2u);
  EXPECT_EQ(plan_.prefill[0].num_tokens, 22u);
  EXPECT_EQ(plan_.prefill[1].num_tokens, 10u);
  EXPECT_EQ(short_one->sequences[0].output.size(), 1u);
  EXPECT_EQ(as_long->sequences[0].num_computed, 0) << "no use in two long ones side by side";
  while (long_one->sequences[0].output.empty()) ASSERT_TRUE(Step());
  EXPECT_LT(as_long->sequences[0].num_computed, 32);
}

TEST_F(SchedulerTest, FewPromptsAreInPartsAndTheirBlocksArePromised) {
  Make(8, 16, 400);
  for (int i = 0; i < 8; ++i) Add(100);
  Step();
  EXPECT_EQ(scheduler_->running().size(), static_cast<size_t>(kMaxPartialPrefills));
  Make(8, 16, 30);
  SequenceGroup* first = Add(60, 5);
  Add(64, 5);
  Step();
  EXPECT_EQ(scheduler_->running().size(), 1u) << "of 26 free blocks the first prompt will take 11";
  while (first->sequences[0].output.size() < 5) ASSERT_TRUE(Step());
  EXPECT_EQ(scheduler_->running().size(), 1u);
  scheduler_->FinishSequence(&first->sequences[0]);
  scheduler_->Remove(first);
  ASSERT_TRUE(Step());
  EXPECT_TRUE(scheduler_->waiting().empty());
  EXPECT_EQ(scheduler_->num_preemptions(), 0);
}

TEST_F(SchedulerTest, PromptsLeaveTheDecodesTheirPace) {
  ReplicaInfo info;
  info.device_blocks = 4000;
  info.block_size = 4;
  SchedulerOptions options;
  options.target_step_ms = kAutoTarget;
  scheduler_ = std::make_unique<Scheduler>(options, info);
  const auto seconds = [this] {
    return 8e-3 + 1e-3 * scheduler_->shape().decodes + 0.5e-3 * scheduler_->shape().prefill_tokens;
  };
  const auto timed_step = [&] {
    ASSERT_TRUE(Step());
    scheduler_->NoteStep(scheduler_->shape(), seconds());
  };
  for (int i = 0; i < 16; ++i) Add(20, 10000);
  for (int i = 0; i < 100; ++i) timed_step();
  ASSERT_EQ(plan_.decode.size(), 16u);
  const double alone = seconds();
  SequenceGroup* prompt = Add(4000);
  double longest = 0;
  int steps = 0;
  for (; prompt->sequences[0].output.empty() && steps < 1000; ++steps) {
    timed_step();
    EXPECT_EQ(plan_.decode.size(), 16u);
    longest = std::max(longest, seconds());
  }
  EXPECT_LT(longest, 2 * alone);
  EXPECT_GT(longest, 1.4 * alone);
  EXPECT_LT(steps, 180) << "and the prompt has what is left of the time";
}

TEST_F(SchedulerTest, MaxNumSeqsCountsChoices) {
  Make(4, 64, 100);
  Add(5, 10, 3);
  Add(5, 10, 2);
  Add(5, 10, 1);
  Step();
  EXPECT_EQ(scheduler_->running().size(), 1u) << "first come, first served: the third does not overtake the second";
  EXPECT_EQ(plan_.forks.size(), 2u);
  EXPECT_EQ(samples_.size(), 3u) << "every choice draws from the prompt's row";
}

TEST_F(SchedulerTest, OverlapPlansTheNextDecodeBeforeTheTokenIsKnown) {
  Make(4, 64, 100);
  SequenceGroup* g = Add(5, 3);
  plan_.Clear();
  ASSERT_TRUE(scheduler_->BuildPlan(absl::UnixEpoch(), &plan_, &samples_));
  plan_.Clear();
  ASSERT_TRUE(scheduler_->BuildPlan(absl::UnixEpoch(), &plan_, &samples_));
  EXPECT_EQ(plan_.decode.size(), 1u);
  EXPECT_EQ(g->sequences[0].in_flight, 2);
  plan_.Clear();
  ASSERT_TRUE(scheduler_->BuildPlan(absl::UnixEpoch(), &plan_, &samples_));
  plan_.Clear();
  EXPECT_FALSE(scheduler_->BuildPlan(absl::UnixEpoch(), &plan_, &samples_)) << "max_tokens are in flight";
}

TEST_F(SchedulerTest, TheLatestGroupGivesWayAndComesBackWithItsTokens) {
  Make(4, 64, 6);
  SequenceGroup* a = Add(8, 13);
  SequenceGroup* b = Add(7, 13);
  Step();
  ASSERT_EQ(scheduler_->running().size(), 2u);
  while (scheduler_->num_preemptions() == 0) ASSERT_TRUE(Step());
  EXPECT_EQ(scheduler_->running(), std::vector<SequenceGroup*>{a});
  EXPECT_TRUE(b->sequences[0].blocks.empty());
  EXPECT_EQ(plan_.finished.size(), 1u) << "the ranks let go of it in the same plan";
  const size_t kept = b->sequences[0].output.size();
  ASSERT_GT(kept, 0u);
  while (!a->sequences[0].finished) {
    ASSERT_TRUE(Step());
    if (a->sequences[0].output.size() == 13) scheduler_->FinishSequence(&a->sequences[0]), scheduler_->Remove(a);
  }
  ASSERT_TRUE(Step());
  ASSERT_EQ(plan_.new_sequences.size(), 1u);
  EXPECT_EQ(plan_.new_sequences[0].token_ids.size(), 7 + kept);
  EXPECT_EQ(plan_.new_sequences[0].prompt_len, 7u);
  EXPECT_EQ(plan_.finished.size(), 1u) << "a's end travels with the next plan";
}

TEST_F(SchedulerTest, WorstCaseIsPerChoiceAndWithoutTheLastToken) {
  Make(4, 64, 100);
  EXPECT_EQ(scheduler_->WorstCaseBlocks(*Add(8, 1)), 2);
  EXPECT_EQ(scheduler_->WorstCaseBlocks(*Add(8, 2)), 3);
  EXPECT_EQ(scheduler_->WorstCaseBlocks(*Add(8, 2, 3)), 9);
}

TEST_F(SchedulerTest, RemoveFreesAtOnce) {
  Make(4, 64, 100);
  SequenceGroup* g = Add(20);
  Step();
  EXPECT_EQ(scheduler_->kv().pool().num_used(), 5);
  scheduler_->Remove(g);
  EXPECT_EQ(scheduler_->kv().pool().num_used(), 0);
  plan_.Clear();
  EXPECT_FALSE(scheduler_->BuildPlan(absl::UnixEpoch(), &plan_, &samples_));
  EXPECT_EQ(plan_.finished.size(), 1u);
}

TEST_F(SchedulerTest, BansTravelWithMinTokens) {
  Make(4, 64, 100);
  SequenceGroup* g = Add(4);
  g->request.params.min_tokens = 3;
  g->request.params.stop_token_ids = {11};
  Step();
  EXPECT_EQ(plan_.new_sequences[0].sampling.banned_until_min, (std::vector<int32_t>{2, 11}));
}

TEST_F(SchedulerTest, PriorityAdmitsTheUrgentFirstAndPreemptsTheLeastUrgent) {
  Make(1, 64, 100, 4, Policy::kPriority);
  Add(5, 10, 1, "", 5);
  SequenceGroup* urgent = Add(5, 10, 1, "", -1);
  Add(5, 10, 1, "", -1);
  Step();
  EXPECT_EQ(scheduler_->running(), std::vector<SequenceGroup*>{urgent});

  Make(2, 64, 6, 4, Policy::kPriority);
  SequenceGroup* lazy = Add(7, 13, 1, "", 1);
  Step();
  SequenceGroup* late_but_urgent = Add(8, 13, 1, "", 0);
  Step();
  ASSERT_EQ(scheduler_->running().size(), 2u);
  while (scheduler_->num_preemptions() == 0) ASSERT_TRUE(Step());
  EXPECT_EQ(scheduler_->running(), std::vector<SequenceGroup*>{late_but_urgent});
  EXPECT_TRUE(scheduler_->waiting().Contains(*lazy));
}

// Of two tenants that always have work, one sending ten times the requests, each gets half of the tokens; by weight 3,
// three quarters.
TEST_F(SchedulerTest, TheOldestThatWaitsIsKnownUnderEveryPolicy) {
  for (const Policy policy : {Policy::kFcfs, Policy::kPriority, Policy::kFair}) {
    WaitingQueue queue(policy);
    EXPECT_EQ(queue.OldestArrival(), absl::InfiniteFuture());
    // The urgent ones came later, and so did those of the first tenant.
    std::vector<SequenceGroup> groups(6);
    for (size_t i = 0; i < groups.size(); ++i) {
      groups[i].id = i + 1;
      groups[i].arrival = absl::FromUnixSeconds(100 + static_cast<int64_t>(i));
      groups[i].request.priority = i < 3 ? 5 : 1;
      groups[i].request.tenant = i < 2 ? "z" : "a";
      queue.Add(&groups[i]);
    }
    EXPECT_EQ(queue.OldestArrival(), absl::FromUnixSeconds(100));
    queue.Remove(&groups[0]);
    EXPECT_EQ(queue.OldestArrival(), absl::FromUnixSeconds(101));
  }
}

TEST_F(SchedulerTest, FairSharesTokensNotRequests) {
  for (const double weight : {1.0, 3.0}) {
    for (const Policy policy : {Policy::kFair, Policy::kFcfs}) {
      Make(4, 64, 400, 4, policy);
      std::map<std::string, int64_t> tokens, waiting;
      const auto add = [&](const std::string& tenant) {
        SequenceGroup* g = Add(20, 30, 1, tenant);
        g->request.weight = tenant == "quiet" ? weight : 1;
        ++waiting[tenant];
      };
      for (int step = 0; step < 6000; ++step) {
        while (waiting["greedy"] < 40) add("greedy");
        while (waiting["quiet"] < 4) add("quiet");
        ASSERT_TRUE(Step());
        for (Sequence* s : samples_) {
          ++tokens[s->group->request.tenant];
          if (s->output.size() < 30) continue;
          --waiting[s->group->request.tenant];
          scheduler_->FinishSequence(s);
          scheduler_->Remove(s->group);
        }
      }
      const double share =
          static_cast<double>(tokens["quiet"]) / static_cast<double>(tokens["quiet"] + tokens["greedy"]);
      if (policy == Policy::kFair) {
        EXPECT_NEAR(share, weight / (weight + 1), 0.05);
      } else {
        EXPECT_LT(share, 0.3) << "first come, first served is not fair; else this test proves nothing";
      }
    }
  }
}

}  // namespace
}  // namespace quire::scheduler
