// See beam_round.h.
#include "coordinator/engine/beam_round.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

namespace quire::engine {

using request::BeamSearch;
using request::Sequence;
using request::SequenceGroup;

namespace {

TokenLogprobs ChosenLogprobs(const BeamSearch::Row& row, float logprob, int32_t num_top) {
  TokenLogprobs out;
  out.sampled = logprob;
  out.top.assign(row.begin(), row.begin() + std::min<ptrdiff_t>(num_top, static_cast<ptrdiff_t>(row.size())));
  return out;
}

// Makes `to` a copy of `from`. Both have the first `common` elements in common, if they have as many.
template <typename T>
void Follow(const std::vector<T>& from, int64_t common, std::vector<T>* to) {
  const int64_t keep = std::clamp<int64_t>(common, 0, static_cast<int64_t>(std::min(from.size(), to->size())));
  to->resize(static_cast<size_t>(keep));
  to->insert(to->end(), from.begin() + keep, from.end());
}

}  // namespace

bool BeamRound::Advance(const std::vector<int32_t>& eos_ids, SequenceGroup* group, scheduler::Scheduler* scheduler) {
  BeamSearch* search = group->search.get();
  rows_.clear();
  for (const Sequence* s : group->beams) rows_.push_back(&s->beam->row);
  const request::SamplingParams& params = group->request.params;
  banned_.clear();
  if (group->beams[0]->output.size() < params.min_tokens) {
    banned_ = params.stop_token_ids;
    banned_.insert(banned_.end(), eos_ids.begin(), eos_ids.end());
  }
  search->Rank(rows_, banned_, &candidates_);
  Continue(group->beams);
  const auto length = static_cast<int64_t>(group->beams[0]->output.size()) + 1;
  search->Select(candidates_, ends_, &running_);
  for (size_t i : search->ended()) EnterHypothesis(*group->beams[candidates_[i].beam], i, length, search);
  if (search->Done(length)) return false;
  MoveBeams(group, scheduler);
  return true;
}

void BeamRound::Continue(const std::vector<Sequence*>& beams) {
  if (next_.size() < candidates_.size()) next_.resize(candidates_.size());
  ends_.clear();
  for (size_t i = 0; i < candidates_.size(); ++i) {
    const request::StopChecker& stop = *beams[candidates_[i].beam]->stop;
    Continuation& next = next_[i];
    if (stop.needs_text()) {
      next.text.clear();
      next.stop = stop.Clone();
      next.verdict = next.stop->Append(candidates_[i].token, &next.text);
    } else {
      next.stop = nullptr;
      next.verdict = stop.Foresee(candidates_[i].token);
    }
    ends_.push_back(next.verdict.finished);
  }
}

void BeamRound::EnterHypothesis(const Sequence& beam, size_t i, int64_t length, BeamSearch* search) {
  const BeamSearch::Candidate& candidate = candidates_[i];
  request::Hypothesis* h = search->Enter(candidate.score, length);
  if (h == nullptr) return;
  h->tokens = beam.output;
  h->tokens.push_back(candidate.token);
  h->text = beam.beam->text;
  if (next_[i].stop != nullptr) {
    h->text += next_[i].text;
  } else {
    beam.stop->Clone()->Append(candidate.token, &h->text);
  }
  h->verdict = next_[i].verdict;
  const int32_t num_top = beam.group->request.params.logprobs;
  h->logprobs = beam.beam->logprobs;
  if (num_top >= 0) h->logprobs.push_back(ChosenLogprobs(beam.beam->row, candidate.logprob, num_top));
}

// Gives the candidates that run on their places: a beam's first continuation keeps its place, each other one branches
// off, best into the place of a beam that is given up, and a beam without any is given up.
void BeamRound::MoveBeams(SequenceGroup* group, scheduler::Scheduler* scheduler) {
  old_ = group->beams;
  left_.clear();
  const auto continues = [&](size_t beam) {
    return std::any_of(running_.begin(), running_.end(), [&](size_t i) { return candidates_[i].beam == beam; });
  };
  for (size_t b = 0; b < old_.size(); ++b) {
    if (!continues(b)) left_.push_back(old_[b]);
  }
  group->beams.clear();
  for (size_t i : running_) {
    Sequence* parent = old_[candidates_[i].beam];
    if (std::find(group->beams.begin(), group->beams.end(), parent) == group->beams.end()) {
      group->beams.push_back(parent);
      continue;
    }
    Sequence* place = nullptr;
    int64_t common = 0;  // tokens at the front that need no copy
    if (!left_.empty()) {
      place = left_.back();
      left_.pop_back();
      common = scheduler->Replace(*parent, place) - group->prompt_len();
    } else {
      const auto free =
          std::find_if(group->sequences.begin(), group->sequences.end(), [](const Sequence& s) { return !s.active; });
      CHECK(free != group->sequences.end()) << group->request.request_id << " has more beams than places";
      place = &*free;
      scheduler->Branch(*parent, place);
    }
    Follow(parent->output, common, &place->output);
    if (next_[i].stop == nullptr) place->stop->Follow(*parent->stop);
    place->beam->text = parent->beam->text;
    Follow(parent->beam->logprobs, common, &place->beam->logprobs);
    group->beams.push_back(place);
  }
  for (Sequence* s : left_) scheduler->Drop(s);
  for (size_t j = 0; j < running_.size(); ++j) {
    Extend(running_[j], group->beams[j]);
    scheduler->Publish(group->beams[j]);
  }
}

void BeamRound::Extend(size_t i, Sequence* beam) {
  const BeamSearch::Candidate& candidate = candidates_[i];
  request::Beam* own = beam->beam.get();
  if (next_[i].stop != nullptr) {
    beam->stop = std::move(next_[i].stop);
    own->text += next_[i].text;
  } else {
    CHECK(!beam->stop->Append(candidate.token, &own->text).finished) << beam->group->request.request_id;
  }
  beam->output.push_back(candidate.token);
  const int32_t num_top = beam->group->request.params.logprobs;
  if (num_top >= 0) {
    own->logprobs.push_back(ChosenLogprobs(old_[candidate.beam]->beam->row, candidate.logprob, num_top));
  }
  own->owes_token = beam->seq >= 0;
  own->answered = false;
}

}  // namespace quire::engine
