#include "worker/model/alibi.h"

#include <cmath>

namespace quire::worker {

std::vector<float> AlibiSlopes(int64_t num_heads, double bias_max) {
  int64_t power = 1;
  while (2 * power <= num_heads) power *= 2;
  std::vector<float> slopes;
  for (int64_t m = 1; m <= power; ++m) {
    slopes.push_back(static_cast<float>(std::exp2(-static_cast<double>(m) * bias_max / static_cast<double>(power))));
  }
  for (int64_t m = 1; static_cast<int64_t>(slopes.size()) < num_heads; m += 2) {
    const double share = static_cast<double>(m) * bias_max / static_cast<double>(2 * power);
    slopes.push_back(static_cast<float>(std::exp2(-share)));
  }
  return slopes;
}

}  // namespace quire::worker
