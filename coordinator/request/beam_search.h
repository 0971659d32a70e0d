// Beam search over one request: which continuations live on, which have ended, and when nothing better can come. The
// arithmetic of Hugging Face generate (v5 `_beam_search`), so that results agree token for token.
//
// Pure; engine thread. Running beams are named by their place in the order of the last round, best first.
// Invariants:
//   B1  At most `width` running beams and at most `width` hypotheses, the best ones seen.
//   B2  The outcome is a function of the rows alone: equal scores go to the better beam, then to the lower token id.
//   B3  Scores are sums of 32-bit log-probs in the order of the tokens.
#ifndef QUIRE_COORDINATOR_REQUEST_BEAM_SEARCH_H_
#define QUIRE_COORDINATOR_REQUEST_BEAM_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/request/request.h"
#include "coordinator/request/stop_checker.h"
#include "coordinator/scheduler/step_plan.h"

namespace quire::request {

// A finished beam.
struct Hypothesis {
  float score = 0;  // sum of log-probs / length^length_penalty
  std::vector<int32_t> tokens;
  std::vector<TokenLogprobs> logprobs;  // by token, if the client asked
  std::string text;
  Verdict verdict;
};

class BeamSearch {
 public:
  // The most probable tokens after a beam and their log-probs, best first.
  using Row = std::vector<std::pair<int32_t, float>>;

  struct Candidate {
    size_t beam = 0;  // place in the order
    int32_t token = 0;
    float logprob = 0;
    float score = 0;  // sum of log-probs with this token
  };

  // Entries that a row needs, so that `width` continuations are left when every ending one is among the best.
  // `num_end_ids`: different token ids that end a text.
  static int32_t RowSize(const SamplingParams& params, size_t num_end_ids);

  // `num_banned`: entries of a row that may have to be struck out, because min_tokens forbids them. The rows hold so many
  // more, so that none is missing then.
  // Requires: params outlives it; params.beam_width > 0.
  BeamSearch(const SamplingParams& params, int32_t row_size, int32_t num_banned = 0);

  // Fills in the best continuations of the running beams, best first, at most row_size, without `banned` tokens.
  // Requires: a row for each running beam.
  void Rank(const std::vector<const Row*>& rows, const std::vector<int32_t>& banned,
            std::vector<Candidate>* best) const;

  // Ends the round. `ends`: by candidate, whether it ends the text (end id, stop string or length). `running`: the
  // candidates that run on, best first: they are the next order.
  void Select(const std::vector<Candidate>& candidates, const std::vector<bool>& ends, std::vector<size_t>* running);

  // Candidates of the last Select that may enter the hypotheses, best first. The caller fills in what Enter returns.
  const std::vector<size_t>& ended() const { return ended_; }
  // A place among the hypotheses for a beam that ended with this sum at this length; null: `width` better ones are in.
  Hypothesis* Enter(float score, int64_t length);

  // No running beam can improve the hypotheses any more. Call after the round's hypotheses have entered.
  bool Done(int64_t length) const;

  // Best first. Ends the search.
  std::vector<Hypothesis> TakeHypotheses();
  // Entries to ask the ranks for.
  int32_t row_size() const { return row_size_ + num_banned_; }

 private:
  float Penalized(float score, int64_t length) const;

  const SamplingParams& params_;
  const int32_t row_size_;
  const int32_t num_banned_;
  std::vector<float> scores_;  // of running beams, by order
  std::vector<size_t> ended_;
  std::vector<Hypothesis> hypotheses_;  // in no order
};

}  // namespace quire::request

#endif  // QUIRE_COORDINATOR_REQUEST_BEAM_SEARCH_H_
