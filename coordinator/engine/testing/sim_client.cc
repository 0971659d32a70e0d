// A client and its stream. See sim_client.h.
#include "coordinator/engine/testing/sim_client.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "coordinator/engine/testing/sim_requests.h"
#include "coordinator/request/probe.h"
#include "proto/generate.pb.h"

namespace quire::engine {

SimClient::SimClient(SimClientOptions options, SimLoop* loop, std::function<void(uint64_t id)> cancel)
    : options_(std::move(options)),
      loop_(loop),
      cancel_(std::move(cancel)),
      alone_(RunAlone(options_.request, options_.vocab)),
      choices_(alone_.size()) {
  if (options_.read_ms == 0) return;
  frontend::ResponseOptions response;
  response.stream = true;
  response.num_choices = options_.request.params.n;
  response.prompt_tokens = static_cast<uint32_t>(options_.request.prompt_ids.size());
  response.logprobs = options_.request.params.logprobs >= 0;
  response.prompt_logprobs = options_.request.params.prompt_logprobs >= 0;
  response.prompt_ids.assign(options_.request.prompt_ids.begin(), options_.request.prompt_ids.end());
  response.seed = options_.request.params.seed;
  response.request_id = options_.request.request_id;
  builder_ = std::make_unique<frontend::ResponseBuilder>(std::move(response));
}

void SimClient::OnDelta(const ChoiceDelta& delta) {
  Choice& choice = choices_.at(delta.index);
  CHECK(!ended_) << "output after the end of " << request().request_id;
  CHECK(!choice.finished) << "output after choice " << delta.index << " finished";
  CHECK_EQ(delta.offset, choice.tokens.size()) << "a gap in " << request().request_id;
  if (!delta.prompt_logprobs.empty()) {
    for (const Choice& c : choices_) CHECK(c.tokens.empty()) << "log-probs of the prompt after output";
    prompt_logprobs_ = delta.prompt_logprobs;
  }
  for (const TokenDelta& t : delta.tokens) choice.tokens.push_back(t.token);
  choice.text += delta.text;
  choice.finished = delta.finished;
  if (builder_ == nullptr) return;
  builder_->Add(delta);
  behind_ += writing_;
  Hit(Probe::kReaderFellBehind, behind_ == 8);
  Pump();
}

void SimClient::OnEnd(const absl::Status& status) {
  CHECK(!ended_) << request().request_id << " ends twice";
  ended_ = true;
  status_ = status;
  CheckAgainstSoloRun();
  if (builder_ == nullptr) return;
  Hit(Probe::kReaderOutlivesRequest, writing_ && behind_ > 0);
  if (status.ok()) builder_->End(RequestTiming());
  Pump();
}

// As GenerateStream::Pump, with the write's time instead of gRPC.
void SimClient::Pump() {
  if (writing_ || finished_) return;
  v1::GenerateResponse message;
  const bool write = !broken_ && builder_->Next(&message);
  if (write) {
    writing_ = true;
    behind_ = 0;
    if (message.has_chunk()) {
      Choice& choice = choices_[message.chunk().index()];
      CHECK_EQ(message.chunk().offset(), choice.received.size()) << "a gap in the stream of " << request().request_id;
      choice.received.insert(choice.received.end(), message.chunk().token_ids().begin(),
                             message.chunk().token_ids().end());
      choice.received_text += message.chunk().text();
    } else {
      Choice& choice = choices_[message.complete().index()];
      CHECK_EQ(static_cast<size_t>(message.complete().output_ids_size()), choice.tokens.size());
      choice.received_text += message.complete().text();
    }
    loop_->After(loop_->Delay(options_.read_ms), [this] { Written(); });
  }
  finished_ = ended_ && !write && (broken_ || !builder_->HasNext());
}

void SimClient::Written() {
  writing_ = false;
  if (!broken_ && loop_->Chance(options_.leaves)) {
    broken_ = true;
    Hit(Probe::kReaderLeft, !ended_);
    if (!ended_) cancel_(options_.id);
  }
  Pump();
}

void SimClient::CheckAgainstSoloRun() const {
  if (status_.ok()) {
    const std::vector<TokenLogprobs> scores = ScoreAlone(request());
    const auto same = [](const TokenLogprobs& a, const TokenLogprobs& b) {
      return a.sampled == b.sampled && a.top == b.top;
    };
    CHECK(std::equal(scores.begin(), scores.end(), prompt_logprobs_.begin(), prompt_logprobs_.end(), same))
        << "log-probs of the prompt of " << request().request_id;
    Hit(Probe::kPromptScored, !scores.empty());
  }
  for (uint32_t i = 0; i < choices_.size(); ++i) {
    const SoloRun& want = alone_[i];
    const Choice& got = choices_[i];
    if (status_.ok()) {
      CHECK(got.finished) << request().request_id << " ends without an end of choice " << i;
      CHECK(got.tokens == want.tokens) << request().request_id << " choice " << i << " differs from its solo run: got "
                                       << absl::StrJoin(got.tokens, " ") << ", want "
                                       << absl::StrJoin(want.tokens, " ");
      CHECK_EQ(got.text, want.text) << request().request_id << " choice " << i;
    } else {
      CHECK_LE(got.tokens.size(), want.tokens.size()) << request().request_id << " choice " << i;
      CHECK(std::equal(got.tokens.begin(), got.tokens.end(), want.tokens.begin())) << "a committed token is wrong";
      CHECK_EQ(got.text, want.text.substr(0, got.text.size())) << "shown text is wrong";
    }
  }
}

void SimClient::CheckDone() const {
  CHECK(ended_) << request().request_id << " never ended";
  if (builder_ == nullptr) return;
  CHECK(finished_) << "the stream of " << request().request_id << " was never finished";
  if (broken_) return;
  for (const Choice& choice : choices_) {
    CHECK(choice.received == choice.tokens) << "the reader of " << request().request_id << " misses tokens";
    CHECK_EQ(choice.received_text, choice.text) << request().request_id;
  }
}

}  // namespace quire::engine
