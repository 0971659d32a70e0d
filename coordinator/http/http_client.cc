#include "coordinator/http/http_client.h"

#include <arpa/inet.h>
#include <glog/logging.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"

namespace quire::http {

std::string Post(absl::string_view path, absl::string_view body, absl::string_view headers) {
  return absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: localhost\r\nContent-Length: ", body.size(), "\r\n", headers,
                      "\r\n", body);
}

std::string Get(absl::string_view path, absl::string_view headers) {
  return absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\n", headers, "\r\n");
}

std::vector<std::string> EventData(absl::string_view body) {
  std::vector<std::string> data;
  for (absl::string_view line : absl::StrSplit(body, '\n')) {
    if (absl::ConsumePrefix(&line, "data: ")) data.emplace_back(line);
  }
  return data;
}

HttpClient::HttpClient(int port, int receive_buffer_bytes) {
  socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  PCHECK(socket_ >= 0);
  if (receive_buffer_bytes > 0) {
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
  }
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  PCHECK(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) << "port " << port;
}

HttpClient::~HttpClient() { Close(); }

void HttpClient::Close() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
  ended_ = true;
}

bool HttpClient::Send(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool HttpClient::Fill(absl::Time deadline) {
  if (ended_) return false;
  pollfd wanted = {socket_, POLLIN, 0};
  const int64_t ms = std::max<int64_t>(0, absl::ToInt64Milliseconds(deadline - absl::Now()));
  if (poll(&wanted, 1, static_cast<int>(ms)) <= 0) return false;
  char buffer[16 << 10];
  const ssize_t n = recv(socket_, buffer, sizeof(buffer), 0);
  if (n <= 0) {
    ended_ = true;
    return false;
  }
  input_.append(buffer, static_cast<size_t>(n));
  return true;
}

bool HttpClient::ReadUntil(absl::string_view text, absl::Duration limit) {
  const absl::Time deadline = absl::Now() + limit;
  while (input_.find(std::string(text)) == std::string::npos) {
    if (!Fill(deadline)) return false;
  }
  return true;
}

bool HttpClient::SeesEnd(absl::Duration limit) {
  const absl::Time deadline = absl::Now() + limit;
  return input_.empty() && !Fill(deadline) && ended_;
}

Response HttpClient::Read(absl::Duration limit, bool head_only) {
  const absl::Time deadline = absl::Now() + limit;
  Response response;
  if (!ReadUntil("\r\n\r\n", limit)) return response;
  const size_t end = input_.find("\r\n\r\n");
  const std::vector<std::string> lines = absl::StrSplit(input_.substr(0, end), "\r\n");
  input_.erase(0, end + 4);
  const std::vector<std::string> words = absl::StrSplit(lines[0], absl::MaxSplits(' ', 2));
  CHECK(words.size() >= 2 && absl::SimpleAtoi(words[1], &response.status)) << lines[0];
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::pair<std::string, std::string> field = absl::StrSplit(lines[i], absl::MaxSplits(": ", 1));
    response.headers[absl::AsciiStrToLower(field.first)] = field.second;
  }
  if (response.status == 100) return Read(limit, head_only);
  if (head_only || response.status == 204) {
    response.complete = true;
    return response;
  }
  if (response.headers.count("transfer-encoding") > 0) {
    while (true) {
      if (!ReadUntil("\r\n", deadline - absl::Now())) return response;
      const size_t line = input_.find("\r\n");
      const size_t size = std::strtoul(input_.c_str(), nullptr, 16);
      while (input_.size() < line + 2 + size + 2) {
        if (!Fill(deadline)) return response;
      }
      response.body += input_.substr(line + 2, size);
      input_.erase(0, line + 2 + size + 2);
      if (size == 0) break;
    }
    response.complete = true;
    return response;
  }
  size_t length = 0;
  const auto it = response.headers.find("content-length");
  if (it == response.headers.end()) {  // until the end
    while (Fill(deadline)) {
    }
    response.body = std::move(input_);
    input_.clear();
    response.complete = ended_;
    return response;
  }
  CHECK(absl::SimpleAtoi(it->second, &length)) << it->second;
  while (input_.size() < length) {
    if (!Fill(deadline)) return response;
  }
  response.body = input_.substr(0, length);
  input_.erase(0, length);
  response.complete = true;
  return response;
}

Response HttpClient::Ask(absl::string_view request) {
  if (!Send(request)) return Response();
  return Read();
}

}  // namespace quire::http
