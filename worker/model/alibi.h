// ALiBi: how much less a key counts for each token that it lies further back, by head. Pure; any thread.
#ifndef QUIRE_WORKER_MODEL_ALIBI_H_
#define QUIRE_WORKER_MODEL_ALIBI_H_

#include <cstdint>
#include <vector>

namespace quire::worker {

// The slopes of all heads. For the greatest power of two within the number of heads they are 2^(-m * bias_max / power),
// m = 1, 2, ...; the heads that are left get those of twice the power that lie between, the steepest first. Source: the
// ALiBi paper's code; MPT, BLOOM, Falcon and Baichuan agree.
std::vector<float> AlibiSlopes(int64_t num_heads, double bias_max);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_ALIBI_H_
