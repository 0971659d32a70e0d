// One bidirectional stream to one rank, on gRPC's callback API. Bytes go out as they are (encoded once for all ranks),
// messages come in parsed.
//
// Thread rule: Send and Cancel from any thread, and from handlers; handlers run on gRPC's threads, on_message one at a
// time, on_end once and last. The stream keeps itself alive until on_end returned.
// Invariants:
//   R1  Messages go out in the order of Send; at most kMaxQueuedMessages wait, then the stream ends with
//       RESOURCE_EXHAUSTED.
//   R2  No handler runs while a lock of the stream is held.
//   R3  Whoever holds a stream drops it only after WaitEnded, and never on a gRPC thread: the last channel takes
//       gRPC's threads with it.
#ifndef QUIRE_COORDINATOR_CLUSTER_RANK_STREAM_H_
#define QUIRE_COORDINATOR_CLUSTER_RANK_STREAM_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace grpc {
class Channel;
class ChannelCredentials;
}  // namespace grpc
namespace quire::worker::v1 {
class RankMessage;
}

namespace quire::cluster {

// A channel to one worker: fails fast, sees a dead peer within seconds (keepalive on what leaves the machine), uses no
// proxy. `credentials` may be null: clear text, as always over unix sockets.
std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address,
                                           const std::shared_ptr<grpc::ChannelCredentials>& credentials);

// Why a channel that could not connect could not, in the transport's words; empty if it says nothing within a second.
// Blocks.
std::string WhyNoConnection(const std::shared_ptr<grpc::Channel>& channel);

class RankStream {
 public:
  struct Handlers {
    std::function<void(worker::v1::RankMessage* message)> on_message;
    // Why the stream ended; OK = the rank closed it. A message that does not parse or an overflow (R1) ends it too.
    std::function<void(absl::Status status)> on_end;
  };

  static constexpr int kMaxQueuedMessages = 8192;

  static std::shared_ptr<RankStream> Open(const std::shared_ptr<grpc::Channel>& channel, Handlers handlers);

  // Queues one serialized CoordinatorMessage; dropped if the stream has ended. Never blocks.
  void Send(std::shared_ptr<const std::string> bytes);

  // Ends the stream at once; on_end follows with CANCELLED unless it ended before. Idempotent.
  void Cancel();

  // Waits until on_end returned; false if it did not within `timeout`.
  bool WaitEnded(absl::Duration timeout);

  ~RankStream();

 private:
  class Reactor;
  explicit RankStream(std::shared_ptr<Reactor> reactor);
  std::shared_ptr<Reactor> reactor_;
};

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_RANK_STREAM_H_
