#include "coordinator/frontend/best_of.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace quire::frontend {
namespace {

// A choice without a token says nothing: it comes last.
double PerToken(const RankedChoice& choice) {
  if (choice.num_tokens == 0) return -std::numeric_limits<double>::infinity();
  return choice.cumulative_logprob / static_cast<double>(choice.num_tokens);
}

}  // namespace

std::vector<uint32_t> BestChoices(const std::vector<RankedChoice>& choices, uint32_t count) {
  std::vector<uint32_t> order(choices.size());
  std::iota(order.begin(), order.end(), 0);
  if (order.size() <= count) return order;
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return PerToken(choices[a]) > PerToken(choices[b]); });
  order.resize(count);
  return order;
}

}  // namespace quire::frontend
