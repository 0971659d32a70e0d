// Work over many items on all processors, for the few seconds of a load: threads are started and joined for each call.
#ifndef QUIRE_WORKER_LOADER_PARALLEL_SHARES_H_
#define QUIRE_WORKER_LOADER_PARALLEL_SHARES_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace quire::worker {

// Calls body(begin, end) for ranges that tile [0, count), side by side where there is enough to do. An item is
// `item_elements` elements of some array.
void ForShares(int64_t count, int64_t item_elements, absl::FunctionRef<void(int64_t begin, int64_t end)> body);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_PARALLEL_SHARES_H_
