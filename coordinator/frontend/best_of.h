// Which of the choices that were drawn are answered. Pure; any thread.
#ifndef QUIRE_COORDINATOR_FRONTEND_BEST_OF_H_
#define QUIRE_COORDINATOR_FRONTEND_BEST_OF_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace quire::frontend {

struct RankedChoice {
  double cumulative_logprob = 0;
  size_t num_tokens = 0;
};

// The indices of the `count` choices with the highest log-prob per token, best first, ties to the lower index. All of
// them, in their own order, if there are no more than `count`.
std::vector<uint32_t> BestChoices(const std::vector<RankedChoice>& choices, uint32_t count);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_BEST_OF_H_
