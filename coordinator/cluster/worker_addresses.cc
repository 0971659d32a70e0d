// How --workers is read: see the header.
#include "coordinator/cluster/worker_addresses.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace quire::cluster {
namespace {

// What is wrong with one address; empty if nothing.
std::string Fault(absl::string_view address) {
  if (address.empty()) return "is empty";
  if (absl::StartsWith(address, "unix:")) return address.size() > 5 ? "" : "names no socket";
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos) return "has no port (want host:port)";
  const absl::string_view host = address.substr(0, colon);
  const bool bracketed = absl::StartsWith(host, "[") && absl::EndsWith(host, "]");
  if (host.empty() || host == "[]") return "has no host (want host:port)";
  if (!bracketed && absl::StrContains(host, ':')) return "has a bare IPv6 host (want [host]:port)";
  if (absl::StrContains(address, '/')) return "has a '/' (want host:port)";
  uint32_t port = 0;
  if (!absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 1 || port > 65535) {
    return "has no port from 1 to 65535";
  }
  return "";
}

}  // namespace

absl::StatusOr<WorkerAddresses> ParseWorkerAddresses(absl::string_view flag) {
  WorkerAddresses result;
  if (absl::ConsumePrefix(&flag, "local:")) {
    if (!absl::SimpleAtoi(flag, &result.num_local) || result.num_local < 1 || result.num_local > kMaxWorkers) {
      return absl::InvalidArgumentError(
          absl::StrCat("--workers=local:", flag, " is not a number of workers from 1 to ", kMaxWorkers));
    }
    return result;
  }
  for (const absl::string_view entry : absl::StrSplit(flag, ',')) {
    const absl::string_view address = absl::StripAsciiWhitespace(entry);
    const std::string fault = Fault(address);
    if (!fault.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--workers: entry ", result.addresses.size(), " '", address, "' ", fault));
    }
    if (std::find(result.addresses.begin(), result.addresses.end(), address) != result.addresses.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--workers: '", address, "' is named twice; one worker holds one rank"));
    }
    if (result.addresses.size() == kMaxWorkers) {
      return absl::InvalidArgumentError(absl::StrCat("--workers names more than ", kMaxWorkers, " workers"));
    }
    result.addresses.emplace_back(address);
  }
  return result;
}

std::string HostOf(absl::string_view address) {
  if (absl::StartsWith(address, "unix:")) return "";
  absl::string_view host = address.substr(0, address.rfind(':'));
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return std::string(host);
}

bool IsLoopback(absl::string_view address) {
  const std::string host = HostOf(address);
  return host.empty() || host == "localhost" || host == "::1" || absl::StartsWith(host, "127.");
}

}  // namespace quire::cluster
