// One step from message to reply: apply the differences, move blocks, compute, draw.
//
// Thread rule: compute thread.
// Invariants:
//   MR1  Every rank draws every token itself from equal logits, so tokens never travel between ranks; the first rank
//        alone reports them.
//   MR2  The plan decides everything: a runner skips nothing, reorders nothing and stops nothing by itself.
//   MR3  Drafts change how many tokens a step brings, never which: each is drawn from the row, with the penalties, bans
//        and noise that it would have had in a step of its own, and the first draw that differs from its draft is the
//        last one kept.
//   MR4  After an error the runner is not used again (SequenceTable T1).
#ifndef QUIRE_WORKER_RUNTIME_MODEL_RUNNER_H_
#define QUIRE_WORKER_RUNTIME_MODEL_RUNNER_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "worker/model/model.h"
#include "worker/runtime/batch_input.h"
#include "worker/runtime/draft_proposer.h"
#include "worker/runtime/kv_cache.h"
#include "worker/runtime/prompt_scorer.h"
#include "worker/runtime/sequence_table.h"
#include "worker/runtime/token_masks.h"

namespace quire::worker::v1 {
class Done;
class Step;
}  // namespace quire::worker::v1

namespace quire::worker {

struct RunnerOptions {
  int rank = 0;
  TableLimits table;
  BatchLimits batch;
};

class ModelRunner final {
 public:
  // `proposer`: null = drafts come with the plan. Requires: all outlive the runner.
  ModelRunner(const RunnerOptions& options, kernels::Backend* backend, Model* model, KvCache* cache,
              DraftProposer* proposer = nullptr);

  // Runs one step and fills tokens, log-probs (of the prompt too), block usage and collective_us of `done`; ids and times are the caller's.
  // Errors: INVALID_ARGUMENT a plan that cannot be; a collective's or the backend's own.
  absl::Status Run(const v1::Step& step, v1::Done* done);

 private:
  absl::Status Move(const v1::Step& step);
  absl::Status Propose();
  absl::Status Compute();
  void Draw(const kernels::TensorView& logits);
  // What penalties see before a draw behind drafts. Valid until the next Draw.
  const SeenTokens& SeenBefore(const Sequence& sequence, absl::Span<const int32_t> drafts);
  // Marks the draws that count, and how many drafts each drafted item accepts.
  void Verify();
  // What is banned at a draw behind drafts. Valid until the next Draw.
  absl::Span<const int32_t> Banned(size_t draw, const Sequence& sequence, absl::Span<const int32_t> drafts);
  void Commit();
  void Report(v1::Done* done) const;

  const RunnerOptions options_;
  kernels::Backend* const backend_;
  Model* const model_;
  KvCache* const cache_;
  DraftProposer* const proposer_;
  SequenceTable table_;
  BatchInput batch_;
  TokenMasks masks_;
  PromptScorer scorer_;
  std::vector<kernels::LogitEdits> edits_;
  std::vector<std::vector<int32_t>> banned_;  // by draw, where bad words are; edits_ points into it
  std::vector<int32_t> output_;               // and drafts, while bans are made
  std::vector<kernels::SampleRow> rows_;
  std::vector<kernels::SampleResult> results_;
  std::vector<bool> kept_;         // by draw
  std::vector<int32_t> accepted_;  // by item with drafts
  std::deque<SeenTokens> seen_;    // of draws behind drafts, where penalties look
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_MODEL_RUNNER_H_
