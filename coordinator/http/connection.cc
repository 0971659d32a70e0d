#include "coordinator/http/connection.h"

#include <glog/logging.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/status.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/http/connection_exchange.h"
#include "coordinator/openai/errors.h"

namespace quire::http {
namespace {

namespace beast_http = boost::beast::http;
using boost::system::error_code;

constexpr size_t kReadBytes = 4 << 10;  // at once; while a body comes:
constexpr size_t kBodyReadBytes = 64 << 10;
constexpr size_t kReadAheadMax = 64 << 10;
constexpr size_t kKeptBytesMax = 64 << 10;  // of an empty buffer's memory
constexpr absl::Duration kLinger = absl::Seconds(2);
constexpr char kPing[] = ": ping\n\n";

std::string Chunk(absl::string_view bytes) { return absl::StrCat(absl::Hex(bytes.size()), "\r\n", bytes, "\r\n"); }

const char* KnownMethod(absl::string_view method) {
  for (const char* known : {"GET", "HEAD", "POST", "OPTIONS"}) {
    if (method == known) return known;
  }
  return "other";
}

bool Expects100(const Request& request) { return absl::EqualsIgnoreCase(request.Header("expect"), "100-continue"); }

}  // namespace

Connection::Connection(Loop* loop, Shared* shared, std::unique_ptr<Stream> stream)
    : loop_(loop), shared_(shared), stream_(std::move(stream)), since_(Clock::now()) {
  ++shared_->num_connections;
}

Connection::~Connection() { CHECK(state_ == State::kClosed || loop_->context.stopped()); }

void Connection::Start() {
  loop_->connections.insert(shared_from_this());
  stream_->Start([self = shared_from_this()](bool ok) {
    if (self->state_ == State::kClosed) return;
    if (!ok || self->shared_->closing) return self->Close();
    self->NextRequest();
  });
}

void Connection::Tick(Clock::time_point now) {
  const HttpServerOptions& options = shared_->options;
  const auto over = [now](Clock::time_point since, absl::Duration limit) {
    return now - since > absl::ToChronoNanoseconds(limit);
  };
  if (state_ == State::kClosed) return;
  if (writing_ && over(progress_, options.stall_timeout)) return Gone();
  switch (state_) {
    case State::kStarting:
      if (over(since_, options.header_timeout)) Close();
      return;
    case State::kIdle:
      if (over(since_, options.idle_timeout)) Close();
      return;
    case State::kHeader:
      if (over(since_, options.header_timeout)) Refuse(408, "The header of the request took too long.");
      return;
    case State::kBody:
      if (over(since_, options.body_timeout)) Refuse(408, "The body of the request took too long.");
      return;
    case State::kAnswering:
      if (events_ && held_head_.empty() && !writing_ && over(progress_, options.ping_period)) {
        Send(chunked_ ? Chunk(kPing) : kPing, nullptr);
      }
      return;
    case State::kLingering:
      if (!writing_ && over(since_, kLinger)) Close();
      return;
    case State::kClosed:
      return;
  }
}

void Connection::Finish(bool now) {
  if (state_ == State::kAnswering && !now) {
    keep_alive_ = false;
  } else if (state_ == State::kAnswering) {
    Gone();
  } else if (now || state_ != State::kLingering) {
    Close();
  }
}

void Connection::Read() {
  if (reading_ || read_ended_ || state_ == State::kClosed) return;
  if (input_.size() >= kReadAheadMax) return;  // N1; it goes on once the answer is out
  reading_ = true;
  read_buffer_.resize(state_ == State::kBody ? kBodyReadBytes : kReadBytes);
  stream_->ReadSome(boost::asio::buffer(read_buffer_),
                    [self = shared_from_this()](const error_code& error, size_t bytes) {
                      self->reading_ = false;
                      self->OnRead(error, bytes);
                    });
}

void Connection::OnRead(const error_code& error, size_t bytes) {
  if (state_ == State::kClosed) return;
  if (error) {
    read_ended_ = true;
    return state_ == State::kAnswering ? Gone() : Close();
  }
  if (state_ != State::kLingering) input_.append(read_buffer_, 0, bytes);
  Feed();
  Read();
}

void Connection::NextRequest() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(shared_->options.max_header_bytes));
  parser_->body_limit(shared_->options.max_body_bytes);
  head_only_ = false;
  verdict_.reset();
  method_ = "other";
  header_bytes_ = 0;
  if (input_.empty()) std::string().swap(input_);
  if (!reading_) std::string().swap(read_buffer_);
  state_ = State::kIdle;
  since_ = Clock::now();
  Feed();
  Read();
}

void Connection::Feed() {
  while (!input_.empty()) {
    if (state_ == State::kIdle) {
      state_ = State::kHeader;
      since_ = Clock::now();
    }
    if (state_ != State::kHeader && state_ != State::kBody) return;
    error_code error;
    const size_t used = parser_->put(boost::asio::buffer(input_), error);
    input_.erase(0, used);
    if (state_ == State::kHeader) header_bytes_ += used;
    // The parser counts what it has not taken yet.
    if (header_bytes_ > shared_->options.max_header_bytes) error = beast_http::error::header_limit;
    if (error && error != beast_http::error::need_more) return OnParseError(error);
    if (state_ == State::kHeader && parser_->is_header_done()) OnHeader();
    if (state_ != State::kBody && state_ != State::kHeader) return;
    if (state_ == State::kBody && !CountBody(parser_->get().body().size())) {
      return Refuse(503, "The server holds too many large requests; come back later.");
    }
    if (parser_->is_done()) return OnRequest();
    if (error == beast_http::error::need_more || used == 0) return;
  }
}

// The header is here: whoever may not come in is told so before the body is read.
void Connection::OnHeader() {
  const auto& message = parser_->get();
  request_ = std::make_unique<Request>();
  request_->method = std::string(message.method_string());
  for (const auto& field : message) {
    request_->headers.emplace_back(
        absl::AsciiStrToLower(absl::string_view(field.name_string().data(), field.name_string().size())),
        std::string(field.value()));
  }
  head_only_ = request_->method == "HEAD";
  method_ = KnownMethod(request_->method);
  chunked_ = message.version() >= 11;
  keep_alive_ = parser_->keep_alive() && !IsOld();
  if (message.version() >= 11 && message.count(beast_http::field::host) != 1) {
    return Refuse(400, "A request needs exactly one header Host.");
  }
  verdict_ = shared_->gate.Check(absl::string_view(message.target().data(), message.target().size()), request_.get());
  state_ = State::kBody;
  since_ = Clock::now();
  if (verdict_->route == nullptr) {
    keep_alive_ = keep_alive_ && parser_->is_done();
    answering_ = next_id_++;
    state_ = State::kAnswering;
    const std::string body = std::move(verdict_->body);
    return Reply(answering_, verdict_->status, body.empty() ? "" : "application/json", body, verdict_->headers);
  }
  parser_->eager(true);
  if (Expects100(*request_) && !parser_->is_done()) Send("HTTP/1.1 100 Continue\r\n\r\n", nullptr);
}

bool Connection::IsOld() const {
  const HttpServerOptions& options = shared_->options;
  return !options.tls.client_ca.empty() && Clock::now() - born_ > absl::ToChronoNanoseconds(options.connection_age);
}

bool Connection::CountBody(size_t bytes) {
  const int64_t more = static_cast<int64_t>(bytes) - body_bytes_;
  body_bytes_ += more;
  return (shared_->body_bytes += more) <= shared_->options.max_body_bytes_together;
}

void Connection::OnRequest() {
  state_ = State::kAnswering;
  since_ = Clock::now();
  request_->body = std::move(parser_->get().body());
  answering_ = next_id_++;
  const size_t body_size = request_->body.size();
  const RouteHandler* handler = &verdict_->route->handler;
  auto exchange =
      std::make_shared<ConnectionExchange>(shared_from_this(), loop_, shared_, answering_, std::move(request_),
                                           std::move(verdict_->headers), std::exchange(body_bytes_, 0));
  exchange_ = exchange;
  if (body_size <= shared_->options.inline_body_bytes) return (*handler)(std::move(exchange));
  std::function<void()> task = [handler, exchange] { (*handler)(exchange); };
  if (shared_->pool.Run(&task)) return;
  exchange->Reply(503, "application/json", openai::ErrorBody(503, "The server is busy; come back later."),
                  {{"Retry-After", "1"}});
}

// An answer of our own to a request that gets no further; the connection ends with it.
void Connection::Refuse(int status, const char* message) {
  keep_alive_ = false;
  answering_ = next_id_++;
  state_ = State::kAnswering;
  Headers headers;
  if (status == 503) headers.emplace_back("Retry-After", "1");
  Reply(answering_, status, "application/json", openai::ErrorBody(status, message), headers);
}

void Connection::OnParseError(const error_code& error) {
  head_only_ = false;
  if (error == beast_http::error::header_limit) return Refuse(431, "The header of the request is too large.");
  if (error == beast_http::error::body_limit) return Refuse(413, "The body of the request is too large.");
  if (error == beast_http::error::bad_version) return Refuse(505, "This server speaks HTTP/1.1 and HTTP/1.0.");
  Refuse(400, "This is not a well-formed HTTP request.");
}

std::string Connection::Head(int status, const Headers& extra) const {
  const auto reason = beast_http::obsolete_reason(beast_http::int_to_status(static_cast<unsigned>(status)));
  std::string head = absl::StrCat("HTTP/1.1 ", status, " ", std::string(reason), "\r\n");
  for (const auto& [name, value] : extra) absl::StrAppend(&head, name, ": ", value, "\r\n");
  absl::StrAppend(&head, "Connection: ", keep_alive_ ? "keep-alive" : "close", "\r\n");
  return head;
}

void Connection::Reply(uint64_t id, int status, absl::string_view content_type, std::string body,
                       const Headers& extra) {
  if (id != answering_) return;
  Report(status);
  if (shared_->draining) keep_alive_ = false;
  std::string out = Head(status, extra);
  if (!content_type.empty()) absl::StrAppend(&out, "Content-Type: ", content_type, "\r\n");
  if (status != 204) absl::StrAppend(&out, "Content-Length: ", body.size(), "\r\n");
  out += "\r\n";
  if (!head_only_) out += body;
  answered_ = true;
  Send(std::move(out), nullptr);
}

void Connection::StartEvents(uint64_t id, const Headers& extra) {
  if (id != answering_) return;
  Report(200);
  if (shared_->draining || !chunked_) keep_alive_ = false;
  held_head_ = absl::StrCat(Head(200, extra),
                            "Content-Type: text/event-stream\r\n"
                            "Cache-Control: no-cache\r\n"
                            "X-Accel-Buffering: no\r\n",
                            chunked_ ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
  events_ = true;
  progress_ = Clock::now();
}

void Connection::WriteEvents(uint64_t id, std::string events, std::function<void(bool)> written) {
  if (id != answering_) {
    // Not from inside of the call.
    boost::asio::post(loop_->context, [written = std::move(written)] {
      if (written != nullptr) written(false);
    });
    return;
  }
  if (chunked_ && !events.empty()) events = Chunk(events);
  if (!held_head_.empty()) events.insert(0, std::exchange(held_head_, std::string()));
  Send(std::move(events), std::move(written));
}

void Connection::EndEvents(uint64_t id) {
  if (id != answering_) return;
  answered_ = true;
  events_ = false;
  std::string last = std::exchange(held_head_, std::string());
  if (chunked_) last += "0\r\n\r\n";
  if (!last.empty()) return Send(std::move(last), nullptr);
  if (!writing_) OnAnswered();
}

void Connection::Abandon(uint64_t id) {
  if (id == answering_) Gone();
}

void Connection::Send(std::string bytes, std::function<void(bool)> written) {
  if (writing_) {
    CHECK(on_next_written_ == nullptr) << "two writes wait";
    next_output_ += bytes;
    on_next_written_ = std::move(written);
    return;
  }
  output_ = std::move(bytes);
  written_ = 0;
  on_written_ = std::move(written);
  writing_ = true;
  progress_ = Clock::now();
  WriteMore();
}

void Connection::WriteMore() {
  stream_->WriteSome(boost::asio::const_buffer(output_.data() + written_, output_.size() - written_),
                     [self = shared_from_this()](const error_code& error, size_t bytes) {
                       self->OnWritten(error ? 0 : bytes, !error);
                     });
}

void Connection::OnWritten(size_t bytes, bool ok) {
  if (!ok) {
    writing_ = false;
    if (state_ != State::kClosed) Gone();
    return;
  }
  if (state_ == State::kClosed) return;
  progress_ = Clock::now();
  written_ += bytes;
  if (written_ < output_.size()) return WriteMore();
  writing_ = false;
  std::function<void(bool)> written = std::exchange(on_written_, nullptr);
  output_.clear();
  if (output_.capacity() > kKeptBytesMax) std::string().swap(output_);
  if (!next_output_.empty()) {
    Send(std::exchange(next_output_, std::string()), std::exchange(on_next_written_, nullptr));
  }
  if (written != nullptr) written(true);
  if (answered_ && !writing_) OnAnswered();
}

void Connection::Report(int status) const {
  if (shared_->options.on_answer == nullptr) return;
  const Route* route = verdict_.has_value() ? verdict_->route : nullptr;
  shared_->options.on_answer(route == nullptr ? "none" : absl::string_view(route->path), method_, status);
}

// All of the answer is with the kernel.
void Connection::OnAnswered() {
  answered_ = false;
  events_ = false;
  answering_ = 0;
  exchange_.reset();
  shared_->body_bytes -= std::exchange(body_bytes_, 0);
  // What the answer's head said holds, also if the server drains since: the client may have sent its next request.
  if (!keep_alive_) return Linger();
  NextRequest();
}

void Connection::Gone() {
  const std::shared_ptr<ConnectionExchange> exchange = exchange_.lock();
  const bool asked = answering_ != 0;
  if (asked && !answered_ && !events_) Report(499);
  Close();
  if (asked && exchange != nullptr) exchange->Gone();
}

// Closing with unread bytes would take back what the client has not read yet.
void Connection::Linger() {
  state_ = State::kLingering;
  since_ = Clock::now();
  stream_->ShutdownSend(shared_from_this());
  if (read_ended_) return Close();
  input_.clear();
  Read();
}

void Connection::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  answering_ = 0;
  exchange_.reset();
  shared_->body_bytes -= std::exchange(body_bytes_, 0);
  stream_->Close();
  --shared_->num_connections;
  // What waits for a write hears of it, but not from inside of the call that closed.
  for (std::function<void(bool)>* written : {&on_written_, &on_next_written_}) {
    if (*written == nullptr) continue;
    boost::asio::post(loop_->context, [done = std::exchange(*written, nullptr)] { done(false); });
  }
  loop_->connections.erase(shared_from_this());
}

}  // namespace quire::http
