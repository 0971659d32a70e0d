// See beam_search.h; `_beam_search` of transformers' generation/utils.py is the reference for every rule here.
#include "coordinator/request/beam_search.h"

#include <algorithm>
#include <cmath>

namespace quire::request {
namespace {

// B2.
bool Better(const BeamSearch::Candidate& a, const BeamSearch::Candidate& b) {
  if (a.score != b.score) return a.score > b.score;
  return a.beam != b.beam ? a.beam < b.beam : a.token < b.token;
}

}  // namespace

int32_t BeamSearch::RowSize(const SamplingParams& params, size_t num_end_ids) {
  const auto needed = static_cast<int32_t>(std::max<size_t>(2, 1 + num_end_ids) * params.beam_width);
  return std::max(needed, params.logprobs);
}

BeamSearch::BeamSearch(const SamplingParams& params, int32_t row_size, int32_t num_banned)
    : params_(params), row_size_(row_size), num_banned_(num_banned), scores_(1, 0.0f) {}

void BeamSearch::Rank(const std::vector<const Row*>& rows, const std::vector<int32_t>& banned,
                      std::vector<Candidate>* best) const {
  best->clear();
  for (size_t beam = 0; beam < rows.size(); ++beam) {
    for (const auto& [token, logprob] : *rows[beam]) {
      if (std::find(banned.begin(), banned.end(), token) != banned.end()) continue;
      const Candidate c{beam, token, logprob, logprob + scores_[beam]};
      if (best->size() == static_cast<size_t>(row_size_)) {
        if (c.score < best->back().score) break;  // so is the rest of its row
        if (!Better(c, best->back())) continue;
        best->pop_back();
      }
      best->insert(std::upper_bound(best->begin(), best->end(), c, Better), c);
    }
  }
}

void BeamSearch::Select(const std::vector<Candidate>& candidates, const std::vector<bool>& ends,
                        std::vector<size_t>* running) {
  running->clear();
  ended_.clear();
  scores_.clear();
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (ends[i]) {
      // Only the best `width` may end: the others stand by, so that enough are left to run on.
      if (i < params_.beam_width) ended_.push_back(i);
    } else if (running->size() < params_.beam_width) {
      running->push_back(i);
      scores_.push_back(candidates[i].score);
    }
  }
}

float BeamSearch::Penalized(float score, int64_t length) const {
  return score / static_cast<float>(std::pow(static_cast<double>(length), static_cast<double>(params_.length_penalty)));
}

Hypothesis* BeamSearch::Enter(float score, int64_t length) {
  const float penalized = Penalized(score, length);
  if (hypotheses_.size() < params_.beam_width) {
    hypotheses_.emplace_back();
  } else {
    const auto worst = std::min_element(hypotheses_.begin(), hypotheses_.end(),
                                        [](const Hypothesis& a, const Hypothesis& b) { return a.score < b.score; });
    if (penalized <= worst->score) return nullptr;
    hypotheses_.erase(worst);
    hypotheses_.emplace_back();
  }
  hypotheses_.back().score = penalized;
  return &hypotheses_.back();
}

bool BeamSearch::Done(int64_t length) const {
  if (scores_.empty()) return true;
  if (hypotheses_.size() < params_.beam_width) return false;
  if (params_.early_stopping == EarlyStopping::kTrue) return true;
  // What the best running beam may come to: as if it ended here, or, where longer is better, at the very end.
  const bool longest = params_.early_stopping == EarlyStopping::kNever && params_.length_penalty > 0;
  const float possible = Penalized(scores_[0], longest ? params_.max_tokens : length);
  return std::all_of(hypotheses_.begin(), hypotheses_.end(),
                     [possible](const Hypothesis& h) { return possible <= h.score; });
}

std::vector<Hypothesis> BeamSearch::TakeHypotheses() {
  std::stable_sort(hypotheses_.begin(), hypotheses_.end(),
                   [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  return std::move(hypotheses_);
}

}  // namespace quire::request
