// One pass over all items, then a pass per draft. See draft_proposer.h.
#include "worker/runtime/draft_proposer.h"

#include <glog/logging.h>

#include <algorithm>

#include "worker/sampling/draw.h"

namespace quire::worker {

void DraftProposer::Clear() {
  token_ids_.clear();
  positions_.clear();
  slot_mapping_.clear();
  context_len_.clear();
  logit_rows_.clear();
  sequences_.clear();
  query_start_.assign(1, 0);
}

void DraftProposer::Add(const Sequence& s, int32_t position, absl::Span<const int32_t> tokens, bool with_logits) {
  const int64_t block_size = cache_->view().layout.block_size;
  for (const int32_t token : tokens) {
    token_ids_.push_back(token);
    positions_.push_back(position);
    slot_mapping_.push_back(s.block_ids[position / block_size] * block_size + position % block_size);
    ++position;
  }
  sequences_.push_back(&s);
  query_start_.push_back(static_cast<int32_t>(token_ids_.size()));
  context_len_.push_back(position);
  if (with_logits) logit_rows_.push_back(static_cast<int32_t>(token_ids_.size()) - 1);
}

absl::StatusOr<kernels::TensorView> DraftProposer::Forward() {
  const int64_t block_size = cache_->view().layout.block_size;
  const int32_t longest = *std::max_element(context_len_.begin(), context_len_.end());
  const int64_t max_blocks = (longest + block_size - 1) / block_size;
  block_tables_.assign(sequences_.size() * max_blocks, 0);
  for (size_t i = 0; i < sequences_.size(); ++i) {
    const std::vector<int32_t>& blocks = sequences_[i]->block_ids;
    std::copy_n(blocks.begin(), (context_len_[i] + block_size - 1) / block_size,
                block_tables_.begin() + i * max_blocks);
  }
  ForwardBatch batch;
  batch.token_ids = token_ids_;
  batch.positions = positions_;
  batch.slot_mapping = slot_mapping_;
  batch.attend.query_start = query_start_;
  batch.attend.context_len = context_len_;
  batch.attend.block_tables = block_tables_;
  batch.attend.max_blocks = max_blocks;
  batch.logit_rows = logit_rows_;
  absl::StatusOr<kernels::TensorView> logits = model_->Forward(batch, cache_->view());
  collective_us_ += model_->last_collective_us();
  return logits;
}

absl::Status DraftProposer::Draw(const kernels::TensorView& logits, const BatchInput& batch, int32_t depth,
                                 SequenceTable* table) {
  edits_.clear();
  rows_.clear();
  results_.assign(drawing_.size(), {});
  bool any_edits = false;
  for (const size_t i : drawing_) {
    const Sequence& s = *table->Find(batch.items()[i].seq);
    // Penalties do not see the drafts before: a guess may be a little worse.
    edits_.push_back(MakeLogitEdits(s.sampling, s.seen, s.num_output() + depth));
    rows_.push_back(MakeSampleRow(s.sampling, s.num_output() + depth, /*with_logprobs=*/false));
    any_edits |= HasEdits(edits_.back());
  }
  if (any_edits) backend_->EditLogits(logits, edits_);
  backend_->Sample(logits, rows_, absl::MakeSpan(results_));
  if (absl::Status s = backend_->Synchronize(); !s.ok()) return s;
  for (size_t r = 0; r < drawing_.size(); ++r) {
    drafts_[batch.items()[drawing_[r]].first_draft + depth] = results_[r].token;
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::Span<const int32_t>> DraftProposer::Propose(const BatchInput& batch, SequenceTable* table) {
  collective_us_ = 0;
  drafts_.clear();
  drawing_.clear();
  Clear();
  for (size_t i = 0; i < batch.items().size(); ++i) {
    const BatchInput::Item& item = batch.items()[i];
    const Sequence& s = *table->Find(item.seq);
    const absl::Span<const int32_t> tokens(s.token_ids);
    Add(s, s.num_computed, tokens.subspan(s.num_computed, item.num_tokens - item.num_drafts), item.num_drafts > 0);
    if (item.num_drafts == 0) continue;
    drawing_.push_back(i);
    drafts_.resize(item.first_draft + item.num_drafts);
  }
  absl::StatusOr<kernels::TensorView> logits = Forward();
  if (!logits.ok()) return logits.status();
  for (int32_t depth = 0; !drawing_.empty(); ++depth) {
    if (absl::Status s = Draw(*logits, batch, depth, table); !s.ok()) return s;
    const auto done = [&](size_t i) { return batch.items()[i].num_drafts == depth + 1; };
    drawing_.erase(std::remove_if(drawing_.begin(), drawing_.end(), done), drawing_.end());
    if (drawing_.empty()) break;
    Clear();
    for (const size_t i : drawing_) {
      const BatchInput::Item& item = batch.items()[i];
      const Sequence& s = *table->Find(item.seq);
      Add(s, s.num_tokens() + depth, absl::MakeConstSpan(&drafts_[item.first_draft + depth], 1), true);
    }
    logits = Forward();
    if (!logits.ok()) return logits.status();
  }
  return absl::MakeConstSpan(drafts_);
}

absl::Status DraftProposer::CatchUp(const BatchInput& batch, absl::Span<const int32_t> accepted, SequenceTable* table) {
  Clear();
  size_t next = 0;
  for (const BatchInput::Item& item : batch.items()) {
    if (item.num_drafts == 0 || accepted[next++] < item.num_drafts) continue;
    const Sequence& s = *table->Find(item.seq);
    Add(s, s.num_computed - 1, absl::MakeConstSpan(s.token_ids).subspan(s.num_computed - 1, 1), false);
  }
  if (sequences_.empty()) return absl::OkStatus();
  if (absl::Status s = Forward().status(); !s.ok()) return s;
  return backend_->Synchronize();
}

}  // namespace quire::worker
