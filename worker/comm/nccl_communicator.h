// Collectives between GPUs by NCCL, queued on the stream that computes.
//
// Thread rule: as Communicator; a thread of its own watches the time.
// Invariants:
//   NC1  A call returns when the collective is queued; its result is there when the stream has come so far. Finished,
//        asked after the device was synchronized, tells whether the results mean anything.
//   NC2  Nothing waits longer than the timeout for a peer: forming, queueing, and a collective that stays unfinished on
//        the stream; then the communicator is aborted, which ends the device's work, and every call says UNAVAILABLE.
//   NC3  After Abort or an error NCCL is not called again but to free the communicator, once.
//   NC4  Unlike C2 of Communicator, NCCL chooses the order of a sum by size and topology: all ranks hold the same bits,
//        but other numbers of ranks may give others. The staged communicator keeps C2 on GPUs, slowly.
#ifndef QUIRE_WORKER_COMM_NCCL_COMMUNICATOR_H_
#define QUIRE_WORKER_COMM_NCCL_COMMUNICATOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "worker/comm/communicator.h"
#include "worker/comm/nccl_api.h"

namespace quire::worker {

// Blocks until all ranks are there. Errors: DEADLINE_EXCEEDED with the ranks that are missing; UNAVAILABLE in NCCL's
// words.
absl::StatusOr<std::unique_ptr<Communicator>> FormNcclCommunicator(const CommunicatorOptions& options,
                                                                   RendezvousStore* store,
                                                                   std::unique_ptr<NcclApi> api);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_NCCL_COMMUNICATOR_H_
