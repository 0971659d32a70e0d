#include "coordinator/frontend/response_builder.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "coordinator/frontend/best_of.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

const char* FinishReasonName(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kStop:
      return "stop";
    case engine::FinishReason::kLength:
      return "length";
    case engine::FinishReason::kAbort:
      return "abort";
  }
  LOG(FATAL) << "finish reason " << static_cast<int>(reason);
}

}  // namespace

ResponseBuilder::ResponseBuilder(ResponseOptions options)
    : options_(std::move(options)), choices_(std::max(options_.num_choices, options_.best_of)) {
  CHECK(!options_.stream || options_.best_of <= options_.num_choices) << "request " << options_.request_id;
  if (!options_.echo) return;
  for (Choice& choice : choices_) choice.text = options_.prompt_text;
}

void ResponseBuilder::Add(const engine::ChoiceDelta& delta) {
  CHECK(!ended_) << "request " << options_.request_id;
  CHECK_LT(delta.index, choices_.size()) << "request " << options_.request_id;
  Choice& choice = choices_[delta.index];
  CHECK(!choice.finished) << "request " << options_.request_id << " choice " << delta.index;
  CHECK_EQ(delta.offset, choice.ids.size()) << "request " << options_.request_id << " choice " << delta.index;
  if (!delta.prompt_logprobs.empty()) prompt_logprobs_ = delta.prompt_logprobs;
  for (const engine::TokenDelta& token : delta.tokens) {
    choice.ids.push_back(static_cast<uint32_t>(token.token));
    if (options_.logprobs) choice.logprobs.push_back(token);
    if (knows_logprobs()) choice.cumulative_logprob += token.logprobs.sampled;
  }
  choice.text += delta.text;
  cached_tokens_ = static_cast<uint32_t>(delta.cached_tokens);
  if (delta.finished) {
    choice.finished = true;
    choice.reason = delta.reason;
    choice.matched_stop_token = delta.matched_stop_token;
    choice.matched_stop_str = delta.matched_stop_str;
  }
  const bool news = choice.num_sent < choice.ids.size() || !choice.text.empty();
  if (options_.stream && news && !choice.queued) {
    choice.queued = true;
    ready_.push_back(delta.index);
  }
}

void ResponseBuilder::End(const engine::RequestTiming& timing) {
  CHECK(!ended_) << "request " << options_.request_id;
  ended_ = true;
  timing_ = timing;
  std::vector<RankedChoice> drawn;
  for (const Choice& choice : choices_) drawn.push_back({choice.cumulative_logprob, choice.ids.size()});
  answered_ = BestChoices(drawn, options_.num_choices);
}

bool ResponseBuilder::HasNext() const { return !ready_.empty() || (ended_ && next_complete_ < answered_.size()); }

bool ResponseBuilder::Next(v1::GenerateResponse* response) {
  if (!HasNext()) return false;
  response->Clear();
  if (!ready_.empty()) {
    const uint32_t index = ready_.front();
    ready_.pop_front();
    FillChunk(index, response);
  } else {
    FillComplete(next_complete_, answered_[next_complete_], response);
    ++next_complete_;
  }
  return true;
}

void ResponseBuilder::FillChunk(uint32_t index, v1::GenerateResponse* response) {
  Choice& choice = choices_[index];
  v1::GenerateResponse::Chunk* chunk = response->mutable_chunk();
  chunk->set_index(index);
  chunk->set_offset(choice.num_sent);
  chunk->mutable_token_ids()->Add(choice.ids.begin() + static_cast<ptrdiff_t>(choice.num_sent), choice.ids.end());
  chunk->set_prompt_tokens(options_.prompt_tokens);
  chunk->set_completion_tokens(static_cast<uint32_t>(choice.ids.size()));
  chunk->set_cached_tokens(cached_tokens_);
  if (options_.echo && !std::exchange(choice.echoed, true)) {
    chunk->mutable_prompt_token_ids()->Add(options_.prompt_ids.begin(), options_.prompt_ids.end());
  }
  if (options_.prompt_logprobs && !scored_) TakeInputLogprobs(chunk->mutable_input_logprobs());
  if (!choice.text.empty()) *chunk->mutable_text() = std::exchange(choice.text, std::string());
  if (options_.logprobs) TakeLogprobs(&choice, chunk->mutable_output_logprobs());
  choice.num_sent = choice.ids.size();
  choice.queued = false;
}

void ResponseBuilder::FillComplete(uint32_t index, uint32_t drawn, v1::GenerateResponse* response) {
  Choice& choice = choices_[drawn];
  v1::GenerateResponse::Complete* complete = response->mutable_complete();
  complete->set_index(index);
  complete->mutable_output_ids()->Add(choice.ids.begin(), choice.ids.end());
  complete->set_finish_reason(choice.finished ? FinishReasonName(choice.reason) : "abort");
  complete->set_prompt_tokens(options_.prompt_tokens);
  complete->set_completion_tokens(static_cast<uint32_t>(choice.ids.size()));
  complete->set_cached_tokens(cached_tokens_);
  if (choice.matched_stop_token >= 0) {
    complete->set_matched_stop_token_id(static_cast<uint32_t>(choice.matched_stop_token));
  } else if (!choice.matched_stop_str.empty()) {
    complete->set_matched_stop_str(choice.matched_stop_str);
  }
  *complete->mutable_text() = std::exchange(choice.text, std::string());
  if (options_.echo && !std::exchange(choice.echoed, true)) {
    complete->mutable_prompt_token_ids()->Add(options_.prompt_ids.begin(), options_.prompt_ids.end());
  }
  if (options_.prompt_logprobs && !scored_) TakeInputLogprobs(complete->mutable_input_logprobs());
  if (options_.logprobs && !options_.stream) TakeLogprobs(&choice, complete->mutable_output_logprobs());
  if (knows_logprobs()) complete->set_cumulative_logprob(choice.cumulative_logprob);
  complete->mutable_timing()->set_queue_seconds(absl::ToDoubleSeconds(timing_.queue));
  complete->mutable_timing()->set_prefill_seconds(absl::ToDoubleSeconds(timing_.prefill));
  complete->mutable_timing()->set_decode_seconds(absl::ToDoubleSeconds(timing_.decode));
  complete->set_seed(static_cast<int64_t>(options_.seed));
  complete->set_request_id(options_.request_id);
}

void ResponseBuilder::FillTokenLogprob(int32_t token, float logprob, v1::TokenLogprob* to) {
  to->set_token_id(static_cast<uint32_t>(token));
  to->set_logprob(logprob);
  if (options_.token_text == nullptr) return;
  const auto [it, fresh] = token_texts_.try_emplace(token);
  if (fresh) it->second = options_.token_text(token);
  to->set_token(it->second);
}

void ResponseBuilder::TakeInputLogprobs(v1::InputLogprobs* out) {
  scored_ = true;
  for (size_t i = 0; i < options_.prompt_ids.size(); ++i) {
    v1::PositionLogprobs* position = out->add_positions();
    const auto id = static_cast<int32_t>(options_.prompt_ids[i]);
    // Nothing comes before the first token; nothing comes of any if the request ended before its prompt was computed.
    const bool known = i > 0 && i <= prompt_logprobs_.size();
    FillTokenLogprob(id, known ? prompt_logprobs_[i - 1].sampled : 0, position->mutable_sampled());
    if (!known) {
      position->mutable_sampled()->clear_logprob();
      continue;
    }
    for (const auto& [top, logprob] : prompt_logprobs_[i - 1].top) FillTokenLogprob(top, logprob, position->add_top());
  }
  prompt_logprobs_.clear();
}

void ResponseBuilder::TakeLogprobs(Choice* choice, v1::OutputLogprobs* out) {
  for (const engine::TokenDelta& token : choice->logprobs) {
    v1::PositionLogprobs* position = out->add_positions();
    FillTokenLogprob(token.token, token.logprobs.sampled, position->mutable_sampled());
    for (const auto& [id, logprob] : token.logprobs.top) FillTokenLogprob(id, logprob, position->add_top());
  }
  choice->logprobs.clear();
}

}  // namespace quire::frontend
