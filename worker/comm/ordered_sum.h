// The sum behind C2: element by element, in one tree over the ranks. Pure functions, any thread. Compiled with -O3 so that it runs at
// memory speed.
#ifndef QUIRE_WORKER_COMM_ORDERED_SUM_H_
#define QUIRE_WORKER_COMM_ORDERED_SUM_H_

#include <cstdint>

namespace quire::worker {

// out[i] = ((in[0][i] + in[1][i]) + (in[2][i] + in[3][i])) + ...: halves of a group of 2^k inputs are summed by
// themselves, as if one rank had held both; an odd rest is added last. out may be one of the inputs, but must not overlap any otherwise.
// Shapes: in [num_inputs] pointers to [count]; out [count]. Requires: num_inputs >= 1.
void OrderedSum(const float* const* in, int num_inputs, float* out, int64_t count);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_ORDERED_SUM_H_
