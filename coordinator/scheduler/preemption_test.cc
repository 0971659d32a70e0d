// Who gives way; that the bound on preemptions holds and everybody ends, whatever comes.
#include "coordinator/scheduler/preemption.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>

#include "coordinator/scheduler/scheduler.h"

namespace quire::scheduler {
namespace {

using request::Sequence;
using request::SequenceGroup;

constexpr uint64_t kBuild = 7;

class ChooseVictimTest : public ::testing::Test {
 protected:
  void Add(int32_t preemptions, int64_t steps, bool planned = false) {
    groups_.push_back(std::make_unique<SequenceGroup>());
    groups_.back()->num_preemptions = preemptions;
    groups_.back()->steps_since_resume = steps;
    groups_.back()->planned_step = planned ? kBuild : 0;
    running_.push_back(groups_.back().get());
  }
  int64_t Choose(size_t claimant) { return ChooseVictim(running_, claimant, kBuild, 3); }

  std::vector<std::unique_ptr<SequenceGroup>> groups_;
  std::vector<SequenceGroup*> running_;
};

TEST_F(ChooseVictimTest, TheLatestThatIsNotPlanned) {
  Add(0, 5);
  Add(0, 5);
  Add(0, 5);
  Add(0, 5, true);
  EXPECT_EQ(Choose(0), 2);
  EXPECT_EQ(Choose(1), 2);
  EXPECT_EQ(Choose(2), kNobody);
}

TEST_F(ChooseVictimTest, TheSettlingGiveWayOnlyToTheFirst) {
  Add(0, 5);
  Add(0, 5);
  Add(1, kMinRunSteps);
  Add(1, kMinRunSteps - 1);
  EXPECT_EQ(Choose(1), 2) << "it has run long enough";
  EXPECT_EQ(Choose(2), kNobody);
  running_.erase(running_.begin() + 2);
  EXPECT_EQ(Choose(1), kNobody);
  EXPECT_EQ(Choose(0), 1);
  running_.erase(running_.begin() + 1);
  EXPECT_EQ(Choose(0), 1) << "there is no other way";
}

TEST_F(ChooseVictimTest, TheSpentGiveWayToNobodyAndTakeFromTheSettling) {
  Add(3, 100);
  Add(3, 0);
  EXPECT_EQ(Choose(0), kNobody);
  Add(1, 0);
  EXPECT_EQ(Choose(0), 2);
  EXPECT_EQ(Choose(1), 2);
}

TEST(SwapIsCheaperTest, ComparesBothWaysWithComputingAgain) {
  StepCost cost;
  EXPECT_TRUE(SwapIsCheaper(10, 160, 1, cost)) << "nothing is known: tried";
  for (int i = 0; i < 20; ++i) {
    StepShape shape;
    shape.AddPrefill(0, 100 + 10 * i);
    cost.Learn(shape, 1e-3 * static_cast<double>(shape.prefill_tokens));
  }
  EXPECT_TRUE(SwapIsCheaper(10, 160, 7e-3, cost));
  EXPECT_FALSE(SwapIsCheaper(10, 160, 9e-3, cost));
}

struct Outcome {
  int64_t preemptions = 0;
  int64_t most = 0;
  int64_t steps = 0;
};

// Requests of random sizes and choices under far too few blocks, run to their ends.
Outcome RunRandom(uint64_t seed, int64_t bound, Policy policy) {
  std::mt19937_64 rng(seed);
  const auto uniform = [&rng](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  ReplicaInfo info;
  info.device_blocks = uniform(20, 60);
  info.host_blocks = uniform(0, 1) * 50;
  info.block_size = 4;
  SchedulerOptions options;
  options.max_num_seqs = 16;
  options.max_num_batched_tokens = uniform(16, 64);
  options.policy = policy;
  options.max_preemptions = bound;
  Scheduler scheduler(options, info);
  std::vector<std::unique_ptr<SequenceGroup>> groups;
  StepPlan plan;
  std::vector<Sequence*> samples;
  Outcome out;
  size_t ended = 0;
  while (ended < 60) {
    EXPECT_LT(++out.steps, 100000) << "seed " << seed << ", bound " << bound << ": no progress";
    if (out.steps >= 100000) break;
    if (groups.size() < 60 && uniform(0, 3) == 0) {
      groups.push_back(std::make_unique<SequenceGroup>());
      SequenceGroup* g = groups.back().get();
      g->id = groups.size();
      g->request.prompt_ids.assign(uniform(1, 30), static_cast<int32_t>(g->id));
      g->request.params.max_tokens = static_cast<uint32_t>(uniform(1, 50));
      g->request.params.n = uniform(0, 5) == 0 ? 2 : 1;
      g->request.priority = static_cast<int32_t>(uniform(0, 3));
      g->sequences.resize(g->request.params.n);
      for (uint32_t i = 0; i < g->request.params.n; ++i) g->sequences[i].group = g, g->sequences[i].index = i;
      if (scheduler.WorstCaseBlocks(*g) > info.device_blocks) {
        groups.pop_back();
      } else {
        scheduler.Add(g);
      }
    }
    plan.Clear();
    if (!scheduler.BuildPlan(absl::UnixEpoch(), &plan, &samples)) scheduler.TakeBackFinished(&plan);
    for (Sequence* s : samples) {
      --s->in_flight;
      s->output.push_back(7);
      if (s->output.size() < s->group->request.params.max_tokens) continue;
      scheduler.FinishSequence(s);
      if (s->group->num_unfinished() > 0) continue;
      scheduler.Remove(s->group);
      ++ended;
    }
  }
  out.preemptions = scheduler.num_preemptions();
  out.most = scheduler.most_preemptions();
  return out;
}

TEST(PreemptionBoundTest, HoldsWhateverComesAndEverybodyEnds) {
  for (const Policy policy : {Policy::kFcfs, Policy::kPriority, Policy::kFair}) {
    for (const int64_t bound : {0, 1, 2, 100}) {
      int64_t preemptions = 0, most = 0;
      for (uint64_t seed = 0; seed < 60; ++seed) {
        const Outcome out = RunRandom(seed, bound, policy);
        preemptions += out.preemptions;
        most = std::max(most, out.most);
      }
      EXPECT_LE(most, bound);
      if (bound == 0) {
        EXPECT_EQ(preemptions, 0) << "nobody is ever preempted";
      } else if (bound == 2) {
        EXPECT_EQ(most, bound) << "else this proves nothing";
      } else if (bound == 100) {
        EXPECT_GT(most, 2) << "without the bound there would be more";
      }
    }
  }
}

}  // namespace
}  // namespace quire::scheduler
