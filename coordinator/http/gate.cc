#include "coordinator/http/gate.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/openai/errors.h"

namespace quire::http {
namespace {

constexpr size_t kLabelBytesMax = 128;

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool IsLowerHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c)) || (c >= 'a' && c <= 'f');
  });
}

bool IsZero(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '0'; });
}

bool Unescape(absl::string_view text, std::string* out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out->push_back(text[i]);
      continue;
    }
    const int high = i + 1 < text.size() ? HexValue(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexValue(text[i + 2]) : -1;
    if (high < 0 || low < 0) return false;
    const char c = static_cast<char>(high * 16 + low);
    if (c == '\0') return false;
    out->push_back(c);
    i += 2;
  }
  return true;
}

std::string NewLabel() {
  absl::BitGen random;
  return absl::StrCat("req-", absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16));
}

// Whether a header `Host` has an address, or this machine's own name.
bool IsAddress(absl::string_view host) {
  if (absl::StartsWith(host, "[")) return true;
  const absl::string_view name = host.substr(0, host.find(':'));
  return name == "localhost" || (!name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '.';
         }));
}

Verdict Refusal(int status, absl::string_view message, Headers headers) {
  return {nullptr, status, openai::ErrorBody(status, message), std::move(headers)};
}

}  // namespace

bool ParseTarget(absl::string_view target, std::string* path, std::string* query) {
  // Proxies may send the absolute form; whose name it has is of no interest here.
  for (const absl::string_view scheme : {"http://", "https://"}) {
    if (!absl::StartsWithIgnoreCase(target, scheme)) continue;
    const size_t slash = target.find('/', scheme.size());
    target = slash == absl::string_view::npos ? "/" : target.substr(slash);
    break;
  }
  if (!absl::StartsWith(target, "/")) return false;
  target = target.substr(0, target.find('#'));
  const size_t mark = target.find('?');
  query->assign(mark == absl::string_view::npos ? "" : std::string(target.substr(mark + 1)));
  path->clear();
  return Unescape(target.substr(0, mark), path);
}

bool IsLabel(absl::string_view text) {
  return !text.empty() && text.size() <= kLabelBytesMax && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == ':' || c == '-';
  });
}

bool IsTraceparent(absl::string_view text) {
  constexpr size_t kBytes = 55;  // 2-32-16-2
  if (text.size() < kBytes || text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
  const absl::string_view version = text.substr(0, 2), trace = text.substr(3, 32), span = text.substr(36, 16);
  if (!IsLowerHex(version) || !IsLowerHex(trace) || !IsLowerHex(span) || !IsLowerHex(text.substr(53, 2))) return false;
  if (version == "ff" || IsZero(trace) || IsZero(span)) return false;
  return version == "00" ? text.size() == kBytes : text.size() == kBytes || (text.size() <= 512 && text[kBytes] == '-');
}

Gate::Gate(std::vector<Route> routes, std::shared_ptr<const access::Authenticator> authenticator,
           std::vector<std::string> allowed_origins)
    : routes_(std::move(routes)),
      authenticator_(std::move(authenticator)),
      allowed_origins_(std::move(allowed_origins)) {}

bool Gate::CheckOrigin(const Request& request, Headers* headers) const {
  const absl::string_view origin = request.Header("origin");
  if (origin.empty()) return true;
  for (const std::string& allowed : allowed_origins_) {
    if (allowed != "*" && allowed != origin) continue;
    headers->emplace_back("Access-Control-Allow-Origin", allowed == "*" ? "*" : std::string(origin));
    headers->emplace_back("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
    if (allowed != "*") headers->emplace_back("Vary", "Origin");
    return true;
  }
  // Our own pages; not under a name, which an attacker's could be that leads here by their DNS.
  const absl::string_view host = request.Header("host");
  return IsAddress(host) && (origin == absl::StrCat("http://", host) || origin == absl::StrCat("https://", host));
}

Verdict Gate::Check(absl::string_view target, Request* request) const {
  Headers headers;
  const absl::string_view label = request->Header("x-request-id");
  if (IsLabel(label)) request->request_id = std::string(label);
  headers.emplace_back("X-Request-Id", request->request_id.empty() ? NewLabel() : request->request_id);
  const absl::string_view trace = request->Header("traceparent");
  if (IsTraceparent(trace)) request->traceparent = std::string(trace);

  if (!ParseTarget(target, &request->path, &request->query)) {
    return Refusal(400, "The target of the request is not a path.", std::move(headers));
  }
  const bool origin_allowed = CheckOrigin(*request, &headers);
  const std::string allowed = routes_.Allowed(request->path);
  if (allowed.empty()) return Refusal(404, "There is no such path.", std::move(headers));
  if (request->method == "OPTIONS") {
    headers.emplace_back("Allow", allowed);
    if (origin_allowed && !allowed_origins_.empty()) {
      headers.emplace_back("Access-Control-Allow-Methods", allowed);
      headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id, traceparent");
      headers.emplace_back("Access-Control-Max-Age", "600");
    }
    return {nullptr, 204, "", std::move(headers)};
  }
  const Route* route = routes_.Find(request->method, request->path);
  if (route == nullptr) {
    headers.emplace_back("Allow", allowed);
    return Refusal(405, absl::StrCat("This path has the methods ", allowed, "."), std::move(headers));
  }
  if (!origin_allowed && request->method != "GET" && request->method != "HEAD") {
    return Refusal(403, "Pages of this origin may not call this server (--allowed_origins).", std::move(headers));
  }
  if (route->policy == AuthPolicy::kKey && authenticator_ != nullptr) {
    // Of two we could not say which one another hop looked at.
    const bool one = std::count_if(request->headers.begin(), request->headers.end(),
                                   [](const auto& header) { return header.first == "authorization"; }) == 1;
    absl::StatusOr<access::Caller> caller = authenticator_->Authenticate(one ? request->Header("authorization") : "");
    if (!caller.ok()) {
      headers.emplace_back("WWW-Authenticate", "Bearer");
      return {nullptr, openai::HttpStatus(caller.status()), openai::ErrorBody(caller.status()), std::move(headers)};
    }
    request->caller = *std::move(caller);
  }
  return {route, 0, "", std::move(headers)};
}

}  // namespace quire::http
