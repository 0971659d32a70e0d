// Which rows, in which slices: see the header.
#include "worker/runtime/prompt_scorer.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "proto/worker.pb.h"

namespace quire::worker {

PromptScorer::PromptScorer(int32_t max_logit_rows) : slice_rows_(std::min(kSliceRows, max_logit_rows)) {}

void PromptScorer::Collect(const BatchInput& batch, SequenceTable* table, v1::Done* done) {
  rows_.clear();
  samples_.clear();
  item_ends_.clear();
  int32_t first_row = 0;
  for (const BatchInput::Item& item : batch.items()) {
    const Sequence& s = *table->Find(item.seq);
    const int32_t row_of_zero = first_row - s.num_computed;
    first_row += item.num_tokens;
    if (!s.sampling.prompt_rows.has_value()) continue;
    const int32_t begin = std::max(s.sampling.prompt_rows->first, s.num_computed + 1);
    const int32_t end = std::min(s.prompt_len, s.num_computed + item.num_tokens + 1);
    if (begin >= end) continue;
    for (int32_t target = begin; target < end; ++target) {
      rows_.push_back(row_of_zero + target - 1);
      kernels::SampleRow& sample = samples_.emplace_back();
      sample.given = s.token_ids[target];
      sample.num_logprobs = s.sampling.prompt_rows->num_top;
    }
    item_ends_.push_back(rows_.size());
    if (done != nullptr) done->add_prompt_logprobs();
  }
}

absl::Status PromptScorer::Score(const BatchInput& batch, SequenceTable* table, Model* model, kernels::Backend* backend,
                                 v1::Done* done) {
  Collect(batch, table, done);
  size_t item = 0;
  for (size_t begin = 0; begin < rows_.size(); begin += slice_rows_) {
    const size_t count = std::min<size_t>(slice_rows_, rows_.size() - begin);
    const absl::StatusOr<kernels::TensorView> logits =
        model->RowLogits(absl::MakeConstSpan(rows_).subspan(begin, count));
    if (!logits.ok()) return logits.status();
    if (done != nullptr) {
      const auto samples = absl::MakeConstSpan(samples_).subspan(begin, count);
      results_.resize(count);
      backend->LogProbs(*logits, samples, absl::MakeSpan(results_));
      backend->Sample(*logits, samples, absl::MakeSpan(results_));
    }
    // The next slice takes the place of this one's logits.
    if (absl::Status s = backend->Synchronize(); !s.ok()) return s;
    if (done != nullptr) Report(begin, count, &item, done);
  }
  return absl::OkStatus();
}

void PromptScorer::Report(size_t begin, size_t count, size_t* item, v1::Done* done) const {
  for (size_t i = 0; i < count; ++i) {
    while (begin + i >= item_ends_[*item]) ++*item;
    v1::PromptLogprobs* to = done->mutable_prompt_logprobs(static_cast<int>(*item));
    to->add_sampled(results_[i].logprob);
    for (const auto& [id, value] : results_[i].top) {
      to->add_top_ids(static_cast<uint32_t>(id));
      to->add_top_values(value);
    }
  }
}

}  // namespace quire::worker
