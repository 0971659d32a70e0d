// A client for tests of the HTTP edge: raw bytes over a socket, and answers taken apart.
//
// One thread; blocking, with a time limit on every read.
#ifndef QUIRE_COORDINATOR_HTTP_HTTP_CLIENT_H_
#define QUIRE_COORDINATOR_HTTP_HTTP_CLIENT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace quire::http {

struct Response {
  int status = 0;                              // 0: the connection ended before an answer
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // without the framing of chunks
  bool complete = false;                       // it ended as its framing says
};

// "POST /path HTTP/1.1" with Host, Content-Length and `headers` ("Name: value\r\n"...).
std::string Post(absl::string_view path, absl::string_view body, absl::string_view headers = "");
std::string Get(absl::string_view path, absl::string_view headers = "");

// The payloads of server-sent events in `body`: what follows "data: " on each line.
std::vector<std::string> EventData(absl::string_view body);

class HttpClient {
 public:
  // `receive_buffer_bytes` of the kernel; 0 = its default. Check-fails if nobody listens.
  explicit HttpClient(int port, int receive_buffer_bytes = 0);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // False: the server has closed.
  bool Send(absl::string_view bytes);
  // The next answer. `head_only`: to a HEAD.
  Response Read(absl::Duration limit = absl::Seconds(30), bool head_only = false);
  Response Ask(absl::string_view request);  // Send and Read
  // Reads until what was read contains `text`; false: the end or the limit came before.
  bool ReadUntil(absl::string_view text, absl::Duration limit = absl::Seconds(30));
  // Whether the server closes within the limit, without another byte.
  bool SeesEnd(absl::Duration limit = absl::Seconds(30));
  void Close();
  const std::string& unread() const { return input_; }

 private:
  // False: nothing more comes, or not in time.
  bool Fill(absl::Time deadline);

  int socket_ = -1;
  std::string input_;
  bool ended_ = false;
};

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_HTTP_CLIENT_H_
