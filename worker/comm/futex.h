// Sleep on and wake a word that processes share. Linux only; any thread.
#ifndef QUIRE_WORKER_COMM_FUTEX_H_
#define QUIRE_WORKER_COMM_FUTEX_H_

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace quire::worker {

// Returns when *word differs from `seen`, when somebody wakes it, or after `timeout`; may return early for no reason.
void FutexWait(std::atomic<uint32_t>* word, uint32_t seen, absl::Duration timeout);

// Wakes all sleepers of the word, in every process.
void FutexWakeAll(std::atomic<uint32_t>* word);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_FUTEX_H_
