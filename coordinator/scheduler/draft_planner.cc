// Which items get how many drafts. See draft_planner.h.
#include "coordinator/scheduler/draft_planner.h"

#include <glog/logging.h>

#include <algorithm>

namespace quire::scheduler {

using request::Sequence;
using request::SequenceGroup;

namespace {

// A step without overlap costs a round trip to the ranks more: less than this share of nearly every step.
constexpr double kWorthWaiting = 0.1;
// What was learned of steps may be wrong: drafts that are nearly always right are always made.
constexpr double kHighestPrice = 0.9;

}  // namespace

int DraftPlanner::Length(Sequence* s, int32_t in_flight, double price) {
  if (s->beam != nullptr || s->constraint != nullptr) return 0;
  const request::SamplingParams& params = s->group->request.params;
  const int64_t wanted = static_cast<int64_t>(params.max_tokens) - static_cast<int64_t>(s->output.size()) - in_flight;
  const int most = static_cast<int>(std::min<int64_t>(options_.num_speculative_tokens, wanted));
  if (most <= 0) return 0;
  if (s->drafter == nullptr) s->drafter = std::make_unique<spec::Drafter>(options_);
  const int length = s->drafter->rate.Length(most, price);
  if (length == 0 || options_.method == spec::Method::kDraftModel) return length;
  return s->drafter->CatchUp(s->group->request.prompt_ids, s->output) && s->drafter->index.HasMatch() ? length : 0;
}

bool DraftPlanner::WorthWaiting(const std::vector<SequenceGroup*>& running) {
  double expected = 0;
  int64_t decoding = 0;
  for (SequenceGroup* group : running) {
    if (!group->forked) continue;
    group->ForEachLive([&](Sequence& s) {
      if (s.in_flight == 0 || s.seq < 0) return;
      ++decoding;
      // What matched before the token in flight most likely matches after it.
      const int length = Length(&s, s.in_flight + 1, price_);
      if (length > 0) expected += s.drafter->rate.Expected(length);
    });
  }
  return expected > kWorthWaiting * static_cast<double>(decoding);
}

void DraftPlanner::AddDrafts(const std::vector<Sequence*>& items, DraftRoom room, kv::KvManager* kv, StepPlan* plan,
                             StepShape* shape) {
  price_ = std::min(room.price, kHighestPrice);
  const uint32_t num_items = static_cast<uint32_t>(plan->decode.size());
  for (uint32_t i = 0; i < num_items && room.tokens > 0 && room.rows > 0; ++i) {
    Sequence* s = items[i];
    if (s->in_flight != 1) continue;
    int64_t count = std::min<int64_t>({Length(s, 1, price_), room.tokens, room.rows});
    count = std::min(count, kv->TokensThatFit(*s, std::max<int64_t>(room.blocks, 0)));
    if (count <= 0) continue;
    if (options_.method == spec::Method::kNgram) {
      s->drafter->index.Propose(static_cast<int>(count), &plan->draft_ids);
    }
    for (int64_t d = 1; d <= count; ++d) shape->AddDecode(s->num_computed + d);
    const size_t before = s->blocks.size();
    kv->Grow(s, count, plan, nullptr);
    room.blocks -= static_cast<int64_t>(s->blocks.size() - before);
    room.tokens -= count;
    room.rows -= count;
    s->num_drafted = static_cast<int32_t>(count);
    plan->drafts.push_back({i, static_cast<uint32_t>(count)});
  }
}

void DraftPlanner::NoteAnswer(Sequence* s, int64_t accepted, kv::KvManager* kv) {
  CHECK_LE(accepted, s->num_drafted) << s->group->request.request_id;
  num_drafted_ += s->num_drafted;
  num_accepted_ += accepted;
  if (s->drafter != nullptr) s->drafter->rate.NoteDrafts(s->num_drafted, static_cast<int>(accepted));
  s->num_drafted = 0;
  // The last token of the answer waits to be computed.
  kv->Shrink(s, s->group->prompt_len() + static_cast<int64_t>(s->output.size()) + accepted);
}

}  // namespace quire::scheduler
