// Collectives over TCP by Gloo's transport, between hosts. Only its connections are used: the sum is ours, so that C2
// holds.
//
// Thread rule: compute thread; Abort from any thread. Gloo has one I/O thread per communicator.
// Invariants:
//   GL1  No exception leaves this adapter.
//   GL2  Memory that a connection may still touch belongs to the communicator (staging), never to the caller.
// Requires of the process: SIGPIPE ignored, Gloo writes to sockets whose other end may be gone.
#ifndef QUIRE_WORKER_COMM_GLOO_COMMUNICATOR_H_
#define QUIRE_WORKER_COMM_GLOO_COMMUNICATOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "worker/comm/communicator.h"

namespace quire::worker {

// Forms the group. Errors: DEADLINE_EXCEEDED naming missing ranks; INVALID_ARGUMENT a listen_host that is no address of
// this host; UNAVAILABLE a connection that failed.
absl::StatusOr<std::unique_ptr<Communicator>> FormGlooCommunicator(const CommunicatorOptions& options,
                                                                   RendezvousStore* store);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_GLOO_COMMUNICATOR_H_
