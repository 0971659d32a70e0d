// An HTTP server for tests: answers every request as a function says, on a thread per connection.
//
// Threads: the function is called on any number of them at once. Start and Stop on one.
#ifndef QUIRE_TOOLS_BATCH_FAKE_SERVER_H_
#define QUIRE_TOOLS_BATCH_FAKE_SERVER_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"

namespace quire::batch {

struct FakeRequest {
  std::string path;
  std::string body;
  std::string authorization;
};

struct FakeReply {
  int status = 200;
  std::map<std::string, std::string> headers;
  std::string body;
  absl::Duration delay;  // before it answers
  bool hang_up = false;  // closes the connection instead
  bool keep_alive = true;
};

class FakeServer {
 public:
  // port 0 takes a free one. CHECKs that it can listen.
  explicit FakeServer(std::function<FakeReply(const FakeRequest&)> answer, int port = 0);
  ~FakeServer();  // ends the connections

  int port() const;
  std::string url() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quire::batch

#endif  // QUIRE_TOOLS_BATCH_FAKE_SERVER_H_
