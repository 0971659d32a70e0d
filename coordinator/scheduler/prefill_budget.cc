// See prefill_budget.h.
#include "coordinator/scheduler/prefill_budget.h"

#include <algorithm>

namespace quire::scheduler {

namespace {

// A step with prefill takes up to 1.6 times one without: the time per token of those who decode stays under twice of
// what it was, with room for what a prediction misses.
constexpr double kAutoShare = 0.6;

}  // namespace

int64_t PrefillBudget(const StepCost& cost, int64_t target_step_ms, const StepShape& decodes,
                      const PrefillDemand& demand, int64_t limit) {
  if (target_step_ms == kNoTarget || decodes.decodes == 0) return limit;
  const double decode_seconds = cost.Seconds(decodes);
  double seconds = 0;
  if (target_step_ms == kAutoTarget) {
    const int64_t crowd = std::max<int64_t>(1, demand.num_prompts / kMaxPartialPrefills);
    seconds = kAutoShare * decode_seconds * static_cast<double>(crowd);
  } else {
    seconds = static_cast<double>(target_step_ms) * 1e-3 - decode_seconds;
  }
  const int64_t fits = seconds <= 0 ? 0 : cost.PrefillTokens(seconds, demand.start, limit);
  return std::min(limit, std::max(fits, kMinPrefillTokens));
}

void SharePrefill(int64_t budget, std::vector<PrefillShare>* prompts) {
  if (prompts->empty()) return;
  int64_t total = 0;
  for (const PrefillShare& p : *prompts) total += p.remaining;
  if (total <= budget) {
    for (PrefillShare& p : *prompts) p.share = p.remaining;
    return;
  }
  for (PrefillShare& p : *prompts) p.share = 0;
  PrefillShare& oldest = prompts->front();
  oldest.share = std::min(oldest.remaining, (budget + 1) / 2);
  budget -= oldest.share;
  std::vector<PrefillShare*> by_length;
  for (PrefillShare& p : *prompts) by_length.push_back(&p);
  std::stable_sort(by_length.begin(), by_length.end(),
                   [](const PrefillShare* a, const PrefillShare* b) { return a->remaining < b->remaining; });
  for (PrefillShare* p : by_length) {
    const int64_t more = std::min(budget, p->remaining - p->share);
    p->share += more;
    budget -= more;
  }
}

}  // namespace quire::scheduler
