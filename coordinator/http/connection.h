// One client's connection: reads requests one after the other, hands each to its route, writes the answers in order.
//
// Threads: everything runs on the thread of the connection's Loop, but for the Exchange it makes (exchange.h).
// Invariants:
//   N1  A read is always outstanding, also while an answer is made, so that a client that leaves is noticed at once; what a
//       client sends ahead is kept up to kReadAheadMax, and waits in the kernel beyond.
//   N2  At most one write is outstanding. Behind it waits at most what one WriteEvents and the end of an answer bring.
//   N3  No byte of a body is read before its route and caller are known and let it in.
//   N4  Every state that waits for the client has a time limit (Tick).
#ifndef QUIRE_COORDINATOR_HTTP_CONNECTION_H_
#define QUIRE_COORDINATOR_HTTP_CONNECTION_H_

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "coordinator/http/exchange.h"
#include "coordinator/http/gate.h"
#include "coordinator/http/server_options.h"
#include "coordinator/http/stream.h"
#include "coordinator/http/task_pool.h"

namespace quire::http {

class Connection;
class ConnectionExchange;

// A thread that serves sockets.
struct Loop {
  boost::asio::io_context context{1};                           // one thread runs it
  std::unordered_set<std::shared_ptr<Connection>> connections;  // that thread's
};

// What all connections share.
struct Shared {
  Shared(const HttpServerOptions& options, Gate gate)
      : options(options), gate(std::move(gate)), pool(options.pool_threads, options.pool_queue_max) {}

  const HttpServerOptions options;
  const Gate gate;
  TaskPool pool;
  std::atomic<int> num_connections{0};
  std::atomic<int64_t> body_bytes{0};  // see max_body_bytes_together
  std::atomic<bool> draining{false};   // every answer is its connection's last
  std::atomic<bool> closing{false};    // no connection begins any more
};

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  using Clock = std::chrono::steady_clock;

  // Counts itself in `shared`, which like `loop` outlives it.
  Connection(Loop* loop, Shared* shared, std::unique_ptr<Stream> stream);
  ~Connection();

  void Start();
  // Looks at the time limits.
  void Tick(Clock::time_point now);
  // Ends it: now, or if an answer is under way and `now` is false, after that.
  void Finish(bool now);

 private:
  friend class ConnectionExchange;
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  enum class State {
    kStarting,   // the stream's handshake
    kIdle,       // nothing of the next request is here
    kHeader,     // a part of its header is
    kBody,       // its header is, and was let in
    kAnswering,  // its handler has it
    kLingering,  // nothing more is answered; reads until the client has closed, so that it gets all that was written
    kClosed,
  };

  // Reading.
  void Read();
  void OnRead(const boost::system::error_code& error, size_t bytes);
  void NextRequest();
  void Feed();  // the parser, with what was read
  void OnHeader();
  void OnRequest();
  void Refuse(int status, const char* message);
  void OnParseError(const boost::system::error_code& error);
  bool CountBody(size_t bytes);
  bool IsOld() const;  // see connection_age

  // Writing; `id` is that of the exchange that wants it: an old one has no effect.
  void Reply(uint64_t id, int status, absl::string_view content_type, std::string body, const Headers& extra);
  void StartEvents(uint64_t id, const Headers& extra);
  void WriteEvents(uint64_t id, std::string events, std::function<void(bool)> written);
  void EndEvents(uint64_t id);
  void Abandon(uint64_t id);
  std::string Head(int status, const Headers& extra) const;
  void Send(std::string bytes, std::function<void(bool)> written);
  void WriteMore();
  void OnWritten(size_t bytes, bool ok);
  void OnAnswered();
  void Report(int status) const;  // to on_answer

  void Gone();  // the client is
  void Linger();
  void Close();

  Loop* const loop_;
  Shared* const shared_;
  const std::unique_ptr<Stream> stream_;
  const Clock::time_point born_ = Clock::now();
  State state_ = State::kStarting;
  Clock::time_point since_;  // when the state began

  bool reading_ = false;
  bool read_ended_ = false;  // the client sends no more
  std::string read_buffer_;  // of the read that is outstanding
  std::string input_;        // read, not parsed yet
  std::optional<Parser> parser_;
  size_t header_bytes_ = 0;         // of the request at hand
  std::optional<Verdict> verdict_;  // on the request at hand
  const char* method_ = "other";    // of it
  std::unique_ptr<Request> request_;
  int64_t body_bytes_ = 0;  // of it, counted in shared_

  uint64_t answering_ = 0;  // id of the exchange under way; 0 = none
  uint64_t next_id_ = 1;
  std::weak_ptr<ConnectionExchange> exchange_;
  bool keep_alive_ = false;
  bool head_only_ = false;  // HEAD
  bool chunked_ = false;    // the stream of events, as HTTP/1.1 has it
  bool events_ = false;     // a stream of events is under way
  std::string held_head_;   // leaves with the first event

  bool writing_ = false;
  std::string output_;  // the write that is outstanding
  size_t written_ = 0;  // of it
  std::function<void(bool)> on_written_;
  std::string next_output_;
  std::function<void(bool)> on_next_written_;
  bool answered_ = false;       // once all is written
  Clock::time_point progress_;  // of writing
};

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_CONNECTION_H_
