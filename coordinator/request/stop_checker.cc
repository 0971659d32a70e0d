// Stop tokens, stop strings and lengths. See stop_checker.h.
#include "coordinator/request/stop_checker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "coordinator/request/planted.h"
#include "coordinator/request/probe.h"

namespace quire::request {
namespace {

// Length of the longest suffix of `text` that is a proper prefix of `stop`.
size_t HeldSuffix(absl::string_view text, absl::string_view stop) {
  const size_t most = stop.size() - 1 - Planted(Defect::kStopStartShownEarly);
  for (size_t n = std::min(text.size(), most); n > 0; --n) {
    if (text.substr(text.size() - n) == stop.substr(0, n)) return n;
  }
  return 0;
}

bool Contains(absl::Span<const int32_t> ids, int32_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

}  // namespace

StopChecker::StopChecker(const SamplingParams& params, absl::Span<const int32_t> eos_ids,
                         std::unique_ptr<OutputDecoder> decoder)
    : params_(params), eos_ids_(eos_ids.begin(), eos_ids.end()), decoder_(std::move(decoder)) {}

std::unique_ptr<StopChecker> StopChecker::Clone() const {
  auto clone = std::make_unique<StopChecker>(params_, eos_ids_, decoder_ == nullptr ? nullptr : decoder_->Clone());
  clone->held_ = held_;
  clone->exempt_ = exempt_;
  clone->num_output_ = num_output_;
  return clone;
}

void StopChecker::Follow(const StopChecker& other) {
  decoder_ = other.decoder_ == nullptr ? nullptr : other.decoder_->Clone();
  held_ = other.held_;
  exempt_ = other.exempt_;
  num_output_ = other.num_output_;
}

Verdict StopChecker::Foresee(int32_t token) const {
  if (EndsByToken(token, num_output_ + 1)) return {true, FinishReason::kStop, token, ""};
  if (num_output_ + 1 >= params_.max_tokens) return {true, FinishReason::kLength, -1, ""};
  return {};
}

bool StopChecker::EndsByToken(int32_t token, uint32_t num_output) const {
  if (num_output + Planted(Defect::kMinTokensOffByOne) < params_.min_tokens) return false;
  return Contains(params_.stop_token_ids, token) || (!params_.ignore_eos && Contains(eos_ids_, token));
}

bool StopChecker::TakeStopString(std::string* text, Verdict* verdict) {
  size_t best_end = std::string::npos;
  const std::string* best = nullptr;
  if (num_output_ >= params_.min_tokens) {
    for (const std::string& stop : params_.stop) {
      const size_t from = exempt_ < stop.size() ? 0 : exempt_ - stop.size() + 1;
      const size_t at = held_.find(stop, from);
      if (at == std::string::npos) continue;
      const size_t end = at + stop.size();
      if (end < best_end || (end == best_end && stop.size() > best->size())) {
        best_end = end;
        best = &stop;
      }
    }
  }
  if (best != nullptr) {
    Hit(Probe::kStopAcrossTokens, best->size() > 1);
    text->append(held_, 0, params_.include_stop_str_in_output ? best_end : best_end - best->size());
    held_.clear();
    *verdict = {true, FinishReason::kStop, -1, *best};
    return true;
  }
  size_t keep = 0;
  if (kProbing && num_output_ < params_.min_tokens) {
    for (const std::string& stop : params_.stop) Hit(Probe::kStopStringBeforeMinTokens, absl::StrContains(held_, stop));
  }
  for (const std::string& stop : params_.stop) keep = std::max(keep, HeldSuffix(held_, stop));
  const size_t shown = held_.size() - keep;
  text->append(held_, 0, shown);
  held_.erase(0, shown);
  exempt_ = num_output_ < params_.min_tokens ? keep : exempt_ - std::min(exempt_, shown);
  return false;
}

void StopChecker::Flush(std::string* text) {
  if (decoder_ != nullptr) decoder_->Finish(&held_);
  Hit(Probe::kHeldTextShown, !held_.empty());
  text->append(held_);
  held_.clear();
}

Verdict StopChecker::Append(int32_t token, std::string* text) {
  ++num_output_;
  Verdict verdict;
  if (EndsByToken(token, num_output_)) {
    // The text of a stop token is shown only on request, as vLLM does.
    if (decoder_ != nullptr && params_.include_stop_str_in_output) decoder_->Append(token, &held_);
    Flush(text);
    return {true, FinishReason::kStop, token, ""};
  }
  if (decoder_ != nullptr) {
    if (params_.stop.empty()) {
      decoder_->Append(token, text);
    } else {
      decoder_->Append(token, &held_);
      if (TakeStopString(text, &verdict)) return verdict;
    }
  }
  if (num_output_ >= params_.max_tokens) {
    Flush(text);
    verdict = {true, FinishReason::kLength, -1, ""};
  }
  return verdict;
}

}  // namespace quire::request
