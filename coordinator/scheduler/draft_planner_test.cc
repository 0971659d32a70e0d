// What a plan leaves is what drafts get: DP1 to DP3, and waiting for them only where they promise something. Random
// histories live in engine/simulation_test.cc.
#include "coordinator/scheduler/draft_planner.h"

#include <gtest/gtest.h>

#include <memory>

#include "coordinator/scheduler/scheduler.h"

namespace quire::scheduler {
namespace {

using request::Sequence;
using request::SequenceGroup;

class DraftPlannerTest : public ::testing::Test {
 protected:
  void Make(SchedulerOptions options, int64_t blocks) {
    options.spec.method = spec::Method::kNgram;
    options.spec.num_speculative_tokens = 8;
    ReplicaInfo info;
    info.device_blocks = blocks;
    info.block_size = 4;
    scheduler_ = std::make_unique<Scheduler>(options, info);
  }

  // A prompt that repeats three tokens.
  SequenceGroup* Add(int64_t prompt, uint32_t max_tokens) {
    groups_.push_back(std::make_unique<SequenceGroup>());
    SequenceGroup* g = groups_.back().get();
    g->id = groups_.size();
    for (int64_t i = 0; i < prompt; ++i) g->request.prompt_ids.push_back(Token(i));
    g->request.params.max_tokens = max_tokens;
    g->sequences.resize(1);
    g->sequences[0].group = g;
    scheduler_->Add(g);
    return g;
  }
  static int32_t Token(int64_t position) { return static_cast<int32_t>(100 + position % 3); }

  void Plan() {
    plan_.Clear();
    scheduler_->BuildPlan(absl::UnixEpoch(), &plan_, &samples_);
  }
  // Answers the plan as if all drafts were right; `accepted` caps them.
  void Answer(int64_t accepted = 100) {
    size_t next = 0;
    for (size_t i = 0; i < samples_.size(); ++i) {
      Sequence* s = samples_[i];
      int64_t tokens = 0;
      if (next < plan_.drafts.size() && plan_.drafts[next].item == i) {
        tokens = std::min<int64_t>(accepted, plan_.drafts[next++].count);
      }
      --s->in_flight;
      scheduler_->NoteAnswer(s, tokens);
      for (int64_t t = 0; t <= tokens; ++t) {
        s->output.push_back(Token(s->group->prompt_len() + static_cast<int64_t>(s->output.size())));
      }
    }
  }

  std::unique_ptr<Scheduler> scheduler_;
  std::vector<std::unique_ptr<SequenceGroup>> groups_;
  std::vector<Sequence*> samples_;
  StepPlan plan_;
};

TEST_F(DraftPlannerTest, DraftsFollowTheLoopAndStopBeforeTheLastToken) {
  Make({4, 64}, 100);
  SequenceGroup* g = Add(9, 30);
  Plan();
  EXPECT_TRUE(plan_.drafts.empty()) << "a prefill";
  EXPECT_TRUE(scheduler_->WaitsForDrafts(plan_));
  Answer();
  int64_t steps = 0, drafted = 0;
  while (g->sequences[0].output.size() < 30) {
    Plan();
    ASSERT_EQ(plan_.decode.size(), 1u);
    ASSERT_EQ(plan_.num_tokens(), 1 + plan_.num_drafts());
    size_t at = g->request.prompt_ids.size() + g->sequences[0].output.size();
    for (int32_t id : plan_.draft_ids) EXPECT_EQ(id, Token(static_cast<int64_t>(at++)));
    EXPECT_LT(static_cast<int64_t>(g->sequences[0].output.size()) + plan_.num_drafts(), 30);
    drafted += plan_.num_drafts();
    Answer();
    ASSERT_LT(++steps, 20);
  }
  EXPECT_EQ(g->sequences[0].output.size(), 30u);
  EXPECT_EQ(scheduler_->drafts().num_accepted(), drafted);
  EXPECT_LT(steps, 12);
}

TEST_F(DraftPlannerTest, RejectedDraftsGiveTheirBlocksBack) {
  Make({4, 64}, 100);
  SequenceGroup* g = Add(9, 60);
  Plan();
  for (int i = 0; i < 12; ++i) {
    Answer(i < 6 ? 100 : 1);
    const Sequence& s = g->sequences[0];
    EXPECT_EQ(s.num_computed, 9 + static_cast<int64_t>(s.output.size()) - 1);
    EXPECT_EQ(static_cast<int64_t>(s.blocks.size()), scheduler_->kv().BlocksFor(s.num_computed));
    EXPECT_EQ(scheduler_->kv().pool().num_used(), static_cast<int64_t>(s.blocks.size()));
    Plan();
  }
  EXPECT_LT(scheduler_->drafts().num_accepted(), scheduler_->drafts().num_drafted());
}

TEST_F(DraftPlannerTest, TokensRowsAndBlocksThatOthersNeedAreNotTaken) {
  Make({2, 6}, 100);  // 6 tokens a step
  Add(9, 40);
  Add(9, 40);
  for (int i = 0; i < 20; ++i) {
    Plan();
    EXPECT_LE(plan_.num_tokens(), 6);
    EXPECT_LE(plan_.num_samples() + plan_.num_drafts(), 2) << "rows: max_num_seqs";
    if (plan_.decode.size() == 2) {
      EXPECT_TRUE(plan_.drafts.empty());
    }
    Answer();
  }
  SchedulerOptions options{2, 64};
  options.max_logit_rows = 20;
  Make(options, 6);
  groups_.clear();
  Add(9, 5);
  Add(9, 5);
  for (int i = 0; i < 3; ++i) {
    Plan();
    Answer();
  }
  EXPECT_EQ(scheduler_->num_preemptions(), 0);
  EXPECT_GT(scheduler_->drafts().num_drafted(), 0);
}

TEST_F(DraftPlannerTest, NobodyWaitsWhereNothingRepeats) {
  Make({4, 64}, 100);
  SequenceGroup* g = Add(9, 60);
  for (size_t i = 0; i < g->request.prompt_ids.size(); ++i) g->request.prompt_ids[i] = static_cast<int32_t>(i);
  Plan();
  EXPECT_FALSE(scheduler_->WaitsForDrafts(plan_));
}

}  // namespace
}  // namespace quire::scheduler
