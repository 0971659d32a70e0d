// Families of what the edges observed. See metrics.h.
#include "coordinator/metrics/metrics.h"

#include <time.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace quire::metrics {
namespace {

constexpr absl::string_view kOther = "other";
constexpr absl::string_view kHttpMethods[] = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"};

// In words of an operator; a code that says nothing better keeps its own.
std::string ReasonOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
      return "queue_full";
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return "invalid";
    case absl::StatusCode::kUnimplemented:
      return "not_served";
    case absl::StatusCode::kNotFound:
      return "unknown_model";
    case absl::StatusCode::kAlreadyExists:
      return "duplicate_id";
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return "unauthenticated";
    default:
      return absl::AsciiStrToLower(absl::StatusCodeToString(status.code()));
  }
}

}  // namespace

int64_t MonotonicNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void LabelledCounter::Declare(const Key& key) {
  absl::MutexLock lock(&mutex_);
  counts_.try_emplace(key, 0);
}

void LabelledCounter::Count(absl::string_view first, absl::string_view second, absl::string_view third) {
  Key key = {std::string(first), std::string(second), std::string(third)};
  absl::MutexLock lock(&mutex_);
  auto it = counts_.find(key);
  if (it == counts_.end()) {
    if (counts_.size() + 1 >= kMaxSeries) key.fill(std::string(kOther));
    it = counts_.try_emplace(std::move(key), 0).first;
  }
  ++it->second;
}

void LabelledCounter::AddTo(const std::array<const char*, 3>& labels, FamilyList* list) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [key, count] : counts_) {
    Labels named;
    for (size_t i = 0; i < labels.size(); ++i) {
      if (labels[i][0] != '\0') named.emplace_back(labels[i], key[i]);
    }
    list->Add(static_cast<double>(count), std::move(named));
  }
}

// Series that exist from the start: a rate needs a first sample that is zero.
Metrics::Metrics(const Options& options) : options_(options) {
  for (const char* reason : {"queue_full", "invalid", "unavailable", "deadline_exceeded", "unauthenticated"}) {
    rejected_.Declare({reason, "", ""});
  }
  for (const char* code : {"unavailable", "deadline_exceeded", "internal"}) failed_.Declare({code, "", ""});
}

void Metrics::CountRejected(const absl::Status& status) { rejected_.Count(ReasonOf(status)); }

void Metrics::CountHttp(absl::string_view handler, absl::string_view method, int status) {
  // The one part that a client may invent.
  const auto* known = std::find(std::begin(kHttpMethods), std::end(kHttpMethods), method);
  http_.Count(handler, known == std::end(kHttpMethods) ? kOther : *known, absl::StrCat(status));
}

void Metrics::CountGrpc(absl::string_view method, absl::string_view code) { grpc_.Count(method, code); }

void Metrics::SetCertificateEnd(absl::string_view use, double unix_seconds) {
  absl::MutexLock lock(&certificates_mutex_);
  certificates_[std::string(use)] = unix_seconds;
}

void Metrics::AddRequests(FamilyList* list) const {
  list->Begin(Kind::kCounter, "request_success_total", "Choices that ended, by why.");
  const char* const finishes[] = {"stop", "length", "abort"};
  for (size_t i = 0; i < finished_.size(); ++i) {
    list->Add(static_cast<double>(finished_[i].load(std::memory_order_relaxed)), {{"finished_reason", finishes[i]}});
  }
  list->Begin(Kind::kCounter, "requests_rejected_total", "Requests that never ran, by why.");
  rejected_.AddTo({"reason", "", ""}, list);
  list->Begin(Kind::kCounter, "requests_failed_total", "Requests that ran and ended early, by the status they got.");
  failed_.AddTo({"code", "", ""}, list);
  list->Begin(Kind::kCounter, "http_requests_total", "HTTP requests answered.");
  http_.AddTo({"handler", "method", "status"}, list);
  list->Begin(Kind::kCounter, "grpc_requests_total", "gRPC calls ended.");
  grpc_.AddTo({"method", "code", ""}, list);

  list->Histogram("time_to_first_token_seconds", "From the arrival of a request to its first token.",
                  first_token_.Read());
  list->Histogram("inter_token_latency_seconds", "Between two pieces of news of a choice.", inter_token_.Read());
  list->Histogram("request_time_per_output_token_seconds", "Of a request: time after the first token by the others.",
                  per_output_token_.Read());
  list->Histogram("e2e_request_latency_seconds", "From the arrival of a request to its end.", whole_.Read());
  list->Histogram("request_queue_time_seconds", "From arrival to the first step.", queue_.Read());
  list->Histogram("request_inference_time_seconds", "From the first step to the last token.", inference_.Read());
  list->Histogram("request_prefill_time_seconds", "From the first step to the first token.", prefill_.Read());
  list->Histogram("request_decode_time_seconds", "From the first token to the last.", decode_.Read());
  list->Histogram("request_prompt_tokens", "Tokens of a prompt.", prompt_tokens_.Read());
  list->Histogram("request_cached_tokens", "Tokens of a prompt that were in the prefix cache.", cached_tokens_.Read());
  list->Histogram("request_generation_tokens", "Tokens of a choice.", generation_tokens_.Read());
  list->Histogram("request_max_num_generation_tokens", "Tokens of a request's longest choice.",
                  most_generation_tokens_.Read());
  list->Histogram("request_params_n", "Choices that a request asks for.", asked_choices_.Read());
  list->Histogram("request_params_max_tokens", "Tokens that a request asks for at most.", asked_tokens_.Read());
}

std::string Metrics::Page(const Snapshot& snapshot) const {
  FamilyList list({{"model_name", options_.model_name}});
  list.Begin(Kind::kGauge, "build_info", "Always 1; the labels are the facts.");
  list.Add(1, {{"version", options_.version}});
  AddRequests(&list);
  AddSnapshot(snapshot, &list);
  list.Begin(Kind::kGauge, "cert_not_after_seconds", "Unix time at which the certificate in use ends.");
  {
    absl::MutexLock lock(&certificates_mutex_);
    for (const auto& [use, end] : certificates_) list.Add(end, {{"use", use}});
  }
  return ToText(list.Take());
}

}  // namespace quire::metrics
