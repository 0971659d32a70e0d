// The output of one request on its way to the client: collects what the engine says and hands out messages at the pace
// of the client.
//
// Not thread-safe: GenerateStream calls it under its lock.
// Invariants:
//   F1  Every committed token of a choice is in exactly one chunk (stream), in order, and in `complete.output_ids`.
//   F2  What waits for a slow client is at most the output itself: news of a choice that already waits join its next
//       chunk.
//   F3  No chunk comes after the first `complete`; completes come in the order of their index.
//   F4  With more choices drawn than asked for, the completes are the best of them, best first, and none is streamed.
//   F5  What is said of the prompt comes first: its log-probs once per request, an echo once per choice.
#ifndef QUIRE_COORDINATOR_FRONTEND_RESPONSE_BUILDER_H_
#define QUIRE_COORDINATOR_FRONTEND_RESPONSE_BUILDER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "coordinator/engine/output.h"

namespace quire::v1 {
class GenerateResponse;
class InputLogprobs;
class OutputLogprobs;
class TokenLogprob;
}  // namespace quire::v1

namespace quire::frontend {

struct ResponseOptions {
  bool stream = false;  // otherwise only completes
  uint32_t num_choices = 1;
  uint32_t best_of = 1;  // more than num_choices: so many are drawn, with log-probs
  uint32_t prompt_tokens = 0;
  bool logprobs = false;
  bool prompt_logprobs = false;
  bool echo = false;
  std::vector<uint32_t> prompt_ids;  // for prompt_logprobs and echo
  std::string prompt_text;           // for echo
  uint64_t seed = 0;
  std::string request_id;
  // The text of one token, for log-probs; null = ids only.
  std::function<std::string(int32_t)> token_text;
};

class ResponseBuilder {
 public:
  explicit ResponseBuilder(ResponseOptions options);

  // Requires: the delta continues its choice (engine.h, E2); End was not called.
  void Add(const engine::ChoiceDelta& delta);

  // All choices finished: the completes may go out.
  void End(const engine::RequestTiming& timing);

  // Fills *response with the next message, or returns false: nothing to say now.
  bool Next(v1::GenerateResponse* response);

  // Whether Next has something.
  bool HasNext() const;

 private:
  struct Choice {
    std::vector<uint32_t> ids;
    std::vector<engine::TokenDelta> logprobs;  // of ids that no message carried yet
    std::string text;                          // that no message carried yet
    double cumulative_logprob = 0;             // of ids; 0 if log-probs are not known
    size_t num_sent = 0;                       // ids in chunks
    bool queued = false;                       // in ready_
    bool echoed = false;                       // its prompt ids are out
    bool finished = false;
    engine::FinishReason reason = engine::FinishReason::kStop;
    int32_t matched_stop_token = -1;
    std::string matched_stop_str;
  };

  void FillChunk(uint32_t index, v1::GenerateResponse* response);
  // Choice `drawn` as the answer's `index`.
  void FillComplete(uint32_t index, uint32_t drawn, v1::GenerateResponse* response);
  bool knows_logprobs() const { return options_.logprobs || options_.best_of > options_.num_choices; }
  void FillTokenLogprob(int32_t token, float logprob, v1::TokenLogprob* to);
  void TakeLogprobs(Choice* choice, v1::OutputLogprobs* out);
  void TakeInputLogprobs(v1::InputLogprobs* out);

  const ResponseOptions options_;
  std::vector<Choice> choices_;
  std::deque<uint32_t> ready_;  // choices with a chunk to send, oldest news first
  std::vector<TokenLogprobs> prompt_logprobs_;
  bool scored_ = false;                                   // the prompt's log-probs are out
  std::unordered_map<int32_t, std::string> token_texts_;  // the engine thread waits while log-probs are filled in
  uint32_t cached_tokens_ = 0;
  std::vector<uint32_t> answered_;  // choices by index of the answer; once it has ended
  bool ended_ = false;
  uint32_t next_complete_ = 0;
  engine::RequestTiming timing_;
};

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_RESPONSE_BUILDER_H_
