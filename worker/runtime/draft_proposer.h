// The draft model on a rank: a second, smaller model that guesses the next tokens of sequences before the model itself
// checks them. Sharded over the ranks as the model is, with a cache of its own under the same block ids.
//
// Thread rule: compute thread.
// Invariants:
//   DM1  After a step the draft model's cache holds exactly the tokens that the model's holds: what a step computes,
//        moves, copies and swaps, it does in both. So blocks that sequences share are right in both.
//   DM2  Every rank proposes the same drafts: they are drawn from whole rows of logits, equal on all ranks.
//   DM3  A draft is drawn as the model's own token will be, with the same noise: two models that agree on the
//        distribution agree on the token, at any temperature.
#ifndef QUIRE_WORKER_RUNTIME_DRAFT_PROPOSER_H_
#define QUIRE_WORKER_RUNTIME_DRAFT_PROPOSER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "worker/model/model.h"
#include "worker/runtime/batch_input.h"
#include "worker/runtime/kv_cache.h"
#include "worker/runtime/sequence_table.h"

namespace quire::worker {

class DraftProposer final {
 public:
  // Requires: backend, model and cache outlive the proposer; the model has the vocabulary of the one it drafts for.
  DraftProposer(kernels::Backend* backend, Model* model, KvCache* cache)
      : backend_(backend), model_(model), cache_(cache) {}

  // Moves the blocks that the step names. Errors: the backend's.
  absl::Status Move(const v1::Step& step) { return cache_->Move(step); }

  // Computes the known tokens of all items, then draft after draft, and returns the drafts of the items that shall have
  // some, in order; valid until the next call. Requires: the table stands where it stood when the batch was built.
  // Errors: a collective's or the backend's.
  absl::StatusOr<absl::Span<const int32_t>> Propose(const BatchInput& batch, SequenceTable* table);

  // Once the tokens are committed: computes the last draft of the items that accepted all of theirs (`accepted`: by item
  // with drafts). Errors: as Propose.
  absl::Status CatchUp(const BatchInput& batch, absl::Span<const int32_t> accepted, SequenceTable* table);

  // Time in collectives since the last Propose began, in microseconds.
  int64_t collective_us() const { return collective_us_; }

 private:
  void Clear();
  // Computes `tokens` behind `position` of the sequence, with logits of the last one if wanted.
  void Add(const Sequence& sequence, int32_t position, absl::Span<const int32_t> tokens, bool with_logits);
  absl::StatusOr<kernels::TensorView> Forward();
  // Draws the next draft of every item that has logits: those in drawing_, whose drafts have come to `depth`.
  absl::Status Draw(const kernels::TensorView& logits, const BatchInput& batch, int32_t depth, SequenceTable* table);

  kernels::Backend* const backend_;
  Model* const model_;
  KvCache* const cache_;
  int64_t collective_us_ = 0;
  std::vector<int32_t> drafts_;  // of the batch, by BatchInput::Item::first_draft
  std::vector<size_t> drawing_;  // items with a row of logits, in order
  std::vector<kernels::LogitEdits> edits_;
  std::vector<kernels::SampleRow> rows_;
  std::vector<kernels::SampleResult> results_;
  // The pass being built, flat as in BatchInput.
  std::vector<int32_t> token_ids_, positions_, query_start_, context_len_, block_tables_, logit_rows_;
  std::vector<int64_t> slot_mapping_;
  std::vector<const Sequence*> sequences_;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_DRAFT_PROPOSER_H_
