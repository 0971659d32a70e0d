// The gRPC server of the coordinator: quire.v1.Generator, grpc.health.v1 ("" = alive, "ready" = forward progress) and
// reflection.
//
// Threads: gRPC's own run the handlers; one thread of ours copies Replicas::Ready() into the health service. Start and
// Shutdown are called by the thread that owns the server.
// Invariants:
//   F1  Nothing is answered before Start returned OK, nothing after Shutdown returned.
//   F2  A port that another process listens on is an error that names host and port; the port is never shared.
//   F3  Messages over 4 MiB are refused with RESOURCE_EXHAUSTED before they are parsed.
#ifndef QUIRE_COORDINATOR_FRONTEND_SERVER_H_
#define QUIRE_COORDINATOR_FRONTEND_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace quire::engine {
class Replicas;
}
namespace quire::chat {
class ChatFormat;
}
namespace quire::text {
class Tokenizer;
}

namespace quire::frontend {

inline constexpr int kMaxReceiveBytes = 4 << 20;  // about a million token ids
inline constexpr char kReadyService[] = "ready";  // the health service's name for forward progress

// What the edge must know besides what the replica tells when it forms.
struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 50051;               // 0 = any free port, see Server::port
  std::string served_model_name;  // the only value of GenerateRequest.model that is not NOT_FOUND
  std::string model_path;         // for GetModelInfo only
  std::string version;            // for GetServerInfo only
  int32_t max_logprobs = 20;
  int64_t max_model_len = 0;   // tokens; 0 = the replica's
  int64_t max_num_seqs = 256;  // as given to the engine
  bool prefix_caching = true;
  bool priorities = false;                              // the engine's policy looks at GenerateRequest.priority
  int64_t max_num_batched_tokens = 0;                   // for GetServerInfo only
  int max_concurrent_streams = 4096;                    // per connection
  std::shared_ptr<const chat::ChatFormat> chat_format;  // null: conversations are refused
  std::string no_chat_reason = "the model has no chat template";
};

class Server {
 public:
  // Listens and serves. `tokenizer` may be null: then only token ids come in and go out. The engine must outlive the
  // server. Errors: INVALID_ARGUMENT port out of range; FAILED_PRECONDITION the address cannot be listened on, with
  // host:port.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, engine::Replicas* engine,
                                                       std::shared_ptr<const text::Tokenizer> tokenizer);

  ~Server();  // Shutdown(0)

  // The port that it listens on; differs from the option only if that was 0.
  int port() const;

  // "ready" becomes NOT_SERVING at once, new calls are refused, running ones may end within `grace` and are then
  // cancelled; returns when all have ended. Idempotent. Call before Replicas::Stop, so that streams can finish.
  void Shutdown(absl::Duration grace);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_SERVER_H_
