// Core: beam search. A beam's row of continuations comes like a token; when the rows of all beams are there, the group
// goes one token on: some beams end, some branch, some are given up. Nothing is emitted before the search is done.
#include <glog/logging.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "coordinator/engine/core.h"

namespace quire::engine {

using request::BeamSearch;
using request::Sequence;

namespace {

// A candidate with all that it needs to live on or to end.
struct Continuation {
  std::unique_ptr<request::StopChecker> stop;
  std::string text;  // that its token adds
  request::Verdict verdict;
};

std::vector<Continuation> Continue(const std::vector<Sequence*>& beams,
                                   const std::vector<BeamSearch::Candidate>& candidates) {
  std::vector<Continuation> out(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    out[i].stop = beams[candidates[i].beam]->stop->Clone();
    out[i].verdict = out[i].stop->Append(candidates[i].token, &out[i].text);
  }
  return out;
}

TokenLogprobs ChosenLogprobs(const BeamSearch::Row& row, float logprob, int32_t num_top) {
  TokenLogprobs out;
  out.sampled = logprob;
  out.top.assign(row.begin(), row.begin() + std::min<ptrdiff_t>(num_top, static_cast<ptrdiff_t>(row.size())));
  return out;
}

void Extend(Sequence* beam, const BeamSearch::Candidate& candidate, const BeamSearch::Row& row, Continuation* next) {
  const int32_t num_top = beam->group->request.params.logprobs;
  beam->output.push_back(candidate.token);
  beam->stop = std::move(next->stop);
  beam->beam->text += next->text;
  if (num_top >= 0) beam->beam->logprobs.push_back(ChosenLogprobs(row, candidate.logprob, num_top));
  beam->beam->owes_token = beam->seq >= 0;
  beam->beam->answered = false;
}

request::Hypothesis MakeHypothesis(const Sequence& beam, const BeamSearch::Candidate& candidate, Continuation* last) {
  const int32_t num_top = beam.group->request.params.logprobs;
  request::Hypothesis h;
  h.tokens = beam.output;
  h.tokens.push_back(candidate.token);
  h.text = beam.beam->text + last->text;
  h.verdict = last->verdict;
  h.logprobs = beam.beam->logprobs;
  if (num_top >= 0) h.logprobs.push_back(ChosenLogprobs(beam.beam->row, candidate.logprob, num_top));
  return h;
}

// Gives the candidates that run on their places: a beam's first continuation keeps its place, each other one branches
// off, and a beam without any is given up.
void MoveBeams(const std::vector<BeamSearch::Candidate>& candidates, const std::vector<size_t>& running,
               std::vector<Continuation>* next, request::SequenceGroup* group, scheduler::Scheduler* scheduler) {
  const std::vector<Sequence*> old = group->beams;
  std::vector<BeamSearch::Row> rows;
  for (Sequence* s : old) rows.push_back(std::move(s->beam->row));
  std::vector<int> children(old.size(), 0);
  for (size_t i : running) ++children[candidates[i].beam];
  for (size_t b = 0; b < old.size(); ++b) {
    if (children[b] == 0) scheduler->Drop(old[b]);
  }
  group->beams.clear();
  for (size_t i : running) {
    Sequence* parent = old[candidates[i].beam];
    if (std::find(group->beams.begin(), group->beams.end(), parent) == group->beams.end()) {
      group->beams.push_back(parent);
      continue;
    }
    const auto place =
        std::find_if(group->sequences.begin(), group->sequences.end(), [](const Sequence& s) { return !s.active; });
    CHECK(place != group->sequences.end()) << group->request.request_id << " has more beams than places";
    scheduler->Branch(*parent, &*place);
    place->output = parent->output;
    place->beam->text = parent->beam->text;
    place->beam->logprobs = parent->beam->logprobs;
    group->beams.push_back(&*place);
  }
  for (size_t j = 0; j < running.size(); ++j) {
    const BeamSearch::Candidate& candidate = candidates[running[j]];
    Extend(group->beams[j], candidate, rows[candidate.beam], &(*next)[running[j]]);
    scheduler->Publish(group->beams[j]);
  }
}

}  // namespace

void Core::StartBeams(Group* group) {
  const request::SamplingParams& params = group->request.params;
  std::vector<int32_t> end_ids = params.stop_token_ids;
  end_ids.insert(end_ids.end(), replica_.eos_token_ids.begin(), replica_.eos_token_ids.end());
  std::sort(end_ids.begin(), end_ids.end());
  const auto num_end_ids = static_cast<size_t>(std::unique(end_ids.begin(), end_ids.end()) - end_ids.begin());
  group->search = std::make_unique<BeamSearch>(params, BeamSearch::RowSize(params, num_end_ids),
                                               params.min_tokens > 0 ? static_cast<int32_t>(num_end_ids) : 0);
  group->forked = true;
  for (Sequence& s : group->sequences) {
    s.beam = std::make_unique<request::Beam>();
    s.active = &s == &group->sequences[0];
  }
  group->beams = {&group->sequences[0]};
}

void Core::CommitRow(Sequence* beam, TokenLogprobs* logprobs) {
  Group* group = beam->group;
  CHECK_EQ(beam->in_flight, 1);
  beam->in_flight = 0;
  if (group->ended) {
    EraseIfDrained(group);
    return;
  }
  beam->beam->answered = true;
  beam->beam->row = std::move(logprobs->top);
  if (std::all_of(group->beams.begin(), group->beams.end(), [](const Sequence* s) { return s->beam->answered; })) {
    AdvanceBeams(group);
  }
}

void Core::AdvanceBeams(Group* group) {
  if (group->first_token == absl::InfiniteFuture()) group->first_token = now_;
  group->last_token = now_;
  generation_tokens_ += static_cast<int64_t>(group->beams.size());
  BeamSearch& search = *group->search;
  std::vector<const BeamSearch::Row*> rows;
  for (const Sequence* s : group->beams) rows.push_back(&s->beam->row);
  const request::SamplingParams& params = group->request.params;
  std::vector<int32_t> banned;
  if (group->beams[0]->output.size() < params.min_tokens) {
    banned = params.stop_token_ids;
    banned.insert(banned.end(), replica_.eos_token_ids.begin(), replica_.eos_token_ids.end());
  }
  const std::vector<BeamSearch::Candidate> candidates = search.Rank(rows, banned);
  std::vector<Continuation> next = Continue(group->beams, candidates);
  std::vector<bool> ends;
  for (const Continuation& c : next) ends.push_back(c.verdict.finished);
  const auto length = static_cast<int64_t>(group->beams[0]->output.size()) + 1;
  const std::vector<size_t> running = search.Select(candidates, ends, length);
  for (size_t i : search.ended()) {
    request::Hypothesis* place = search.Enter(candidates[i].score, length);
    if (place == nullptr) continue;
    const float score = place->score;
    *place = MakeHypothesis(*group->beams[candidates[i].beam], candidates[i], &next[i]);
    place->score = score;
  }
  if (search.Done(length)) {
    EmitHypotheses(group);
    return;
  }
  MoveBeams(candidates, running, &next, group, scheduler_.get());
}

void Core::EmitHypotheses(Group* group) {
  const request::SamplingParams& params = group->request.params;
  std::vector<request::Hypothesis> best = group->search->TakeHypotheses();
  for (uint32_t i = 0; i < params.n; ++i) {
    actions_->emits.emplace_back();
    EmitAction& emit = actions_->emits.back();
    emit.id = group->id;
    emit.delta.index = i;
    emit.delta.cached_tokens = group->cached_tokens;
    emit.delta.prompt_logprobs = prompt_logprobs_.Take(group->id);
    emit.delta.finished = true;
    emit.delta.reason = request::FinishReason::kAbort;  // a vocabulary too small for n different texts
    if (i >= best.size()) continue;
    request::Hypothesis& h = best[i];
    for (size_t t = 0; t < h.tokens.size(); ++t) {
      emit.delta.tokens.emplace_back();
      emit.delta.tokens.back().token = h.tokens[t];
      if (params.logprobs >= 0) emit.delta.tokens.back().logprobs = std::move(h.logprobs[t]);
    }
    emit.delta.text = std::move(h.text);
    emit.delta.reason = h.verdict.reason;
    emit.delta.matched_stop_token = h.verdict.matched_token;
    emit.delta.matched_stop_str = std::move(h.verdict.matched_str);
  }
  End(group, absl::OkStatus());
}

}  // namespace quire::engine
