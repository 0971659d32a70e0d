// The way back to the coordinator, as the session sees it. Production: the gRPC reactor; tests reach it through a real
// channel.
#ifndef QUIRE_WORKER_SERVICE_OUTBOX_H_
#define QUIRE_WORKER_SERVICE_OUTBOX_H_

#include "absl/status/status.h"

namespace quire::worker::v1 {
class RankMessage;
}

namespace quire::worker {

// Thread rule: any thread. Calls after Close, or after the stream broke, do nothing.
class Outbox {
 public:
  virtual ~Outbox() = default;

  // Queues one message; never blocks. A coordinator that does not read ends the stream (the queue is bounded).
  virtual void Send(v1::RankMessage message) = 0;

  // Ends the stream with this status after the messages queued so far.
  virtual void Close(absl::Status status) = 0;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_SERVICE_OUTBOX_H_
