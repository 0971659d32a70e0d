// How --workers is read: see the header.
#include "coordinator/cluster/worker_addresses.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proto/loopback.h"

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

absl::StatusOr<std::vector<WorkerAddresses>> GroupByReplica(const WorkerAddresses& workers, int size) {
  const int count = workers.num_local > 0 ? workers.num_local : static_cast<int>(workers.addresses.size());
  if (size == 0) size = count;
  if (size < 0 || size > count || count % size != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " worker(s) cannot be grouped into replicas of --tensor_parallel_size=", size,
                     " ranks: give a multiple of it"));
  }
  std::vector<WorkerAddresses> replicas(static_cast<size_t>(count / size));
  for (size_t r = 0; r < replicas.size(); ++r) {
    if (workers.num_local > 0) {
      replicas[r].num_local = size;
      continue;
    }
    const auto first = workers.addresses.begin() + static_cast<int64_t>(r) * size;
    replicas[r].addresses.assign(first, first + size);
  }
  return replicas;
}

int NumOnSameHost(const std::vector<WorkerAddresses>& replicas, size_t replica) {
  const WorkerAddresses& own = replicas[replica];
  const auto near = [&](const WorkerAddresses& other) {
    if (own.num_local > 0) return true;
    return std::any_of(own.addresses.begin(), own.addresses.end(), [&](const std::string& a) {
      return std::any_of(other.addresses.begin(), other.addresses.end(),
                         [&](const std::string& b) { return HostOf(a) == HostOf(b); });
    });
  };
  return static_cast<int>(std::count_if(replicas.begin(), replicas.end(), near));
}

std::string HostOf(absl::string_view address) {
  if (absl::StartsWith(address, "unix:")) return "";
  absl::string_view host = address.substr(0, address.rfind(':'));
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return std::string(host);
}

bool IsLoopback(absl::string_view address) {
  return absl::StartsWith(address, "unix:") || proto::IsLoopbackHost(HostOf(address));
}

}  // namespace quire::cluster
