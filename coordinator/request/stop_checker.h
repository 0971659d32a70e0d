// Decides after every committed token whether a choice ends, and which text may be shown.
//
// Runs on the engine thread. A pure function of (parameters, ids fed so far): a replay of the committed ids rebuilds
// it.
// Invariants:
//   S1  Emitted text never has to be taken back: what could still become (part of) a stop string is held.
//   S2  The verdict does not depend on how text is cut into tokens: of all stop strings the match that ends first
//       wins, ties go to the longest.
//   S3  Before min_tokens nothing but max_tokens ends a choice.
#ifndef QUIRE_COORDINATOR_REQUEST_STOP_CHECKER_H_
#define QUIRE_COORDINATOR_REQUEST_STOP_CHECKER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "coordinator/request/output_decoder.h"
#include "coordinator/request/request.h"

namespace quire::request {

enum class FinishReason : uint8_t { kStop, kLength, kAbort };

struct Verdict {
  bool finished = false;
  FinishReason reason = FinishReason::kStop;
  int32_t matched_token = -1;  // the end-of-sequence or stop_token_ids id; -1 = none
  std::string matched_str;     // empty = none
};

class StopChecker {
 public:
  // Requires: params outlive the checker. decoder may be null (no text).
  StopChecker(const SamplingParams& params, absl::Span<const int32_t> eos_ids, std::unique_ptr<OutputDecoder> decoder);

  // A checker that goes on from here on its own.
  std::unique_ptr<StopChecker> Clone() const;

  // The decoder is asked of memory now, for an Append that comes soon.
  void FetchAhead() const { __builtin_prefetch(decoder_.get(), 1); }

  // Goes on where the other one is. Requires: made with the same parameters.
  void Follow(const StopChecker& other);

  // Verdicts depend on text, not on tokens and lengths alone.
  bool needs_text() const { return !params_.stop.empty(); }
  // The verdict that Append would give. Requires: !needs_text().
  Verdict Foresee(int32_t token) const;

  // Feeds one committed token and appends to *text what may be shown now. Requires: no earlier verdict was `finished`.
  Verdict Append(int32_t token, std::string* text);

 private:
  // As the token number `num_output`.
  bool EndsByToken(int32_t token, uint32_t num_output) const;
  // Moves text out of held_: up to a stop string if one is complete, else all that cannot be the start of one.
  bool TakeStopString(std::string* text, Verdict* verdict);
  void Flush(std::string* text);

  const SamplingParams& params_;
  const absl::InlinedVector<int32_t, 4> eos_ids_;  // its own: requests move between replicas
  std::unique_ptr<OutputDecoder> decoder_;
  uint32_t num_output_ = 0;
  size_t exempt_ = 0;  // so many bytes of held_ came before min_tokens: no stop string ends in them (S3)
  std::string held_;   // decoded, not shown
};

}  // namespace quire::request

#endif  // QUIRE_COORDINATOR_REQUEST_STOP_CHECKER_H_
