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
  if (!beam_round_.Advance(replica_.eos_token_ids, group, scheduler_.get())) EmitHypotheses(group);
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
