// Log-probs of prompt tokens: the rows that a step has computed and its sequences want go through the head a slice at a
// time, so that a long chunk never has all its logits in memory.
//
// Thread rule: compute thread.
// Invariants:
//   PS1  The same rows in the same slices on every rank, so that all make the same collectives; only the first rank
//        looks at the logits.
//   PS2  Row p of a sequence is about its token p + 1; a row is scored iff that token belongs to the prompt and is at
//        or after PromptRows.first.
#ifndef QUIRE_WORKER_RUNTIME_PROMPT_SCORER_H_
#define QUIRE_WORKER_RUNTIME_PROMPT_SCORER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "worker/model/model.h"
#include "worker/runtime/batch_input.h"
#include "worker/runtime/sequence_table.h"

namespace quire::worker::v1 {
class Done;
}

namespace quire::worker {

class PromptScorer final {
 public:
  // Rows at a time: enough that the head's weights are read from memory seldom, few enough for any vocabulary.
  static constexpr int32_t kSliceRows = 64;

  // Requires: max_logit_rows is what the model was loaded with.
  explicit PromptScorer(int32_t max_logit_rows);

  // Scores the wanted rows of the batch that Forward has just computed; the table does not count them as computed yet.
  // `done` null: not the first rank. Errors: the model's.
  absl::Status Score(const BatchInput& batch, SequenceTable* table, Model* model, kernels::Backend* backend,
                     v1::Done* done);

 private:
  void Collect(const BatchInput& batch, SequenceTable* table, v1::Done* done);
  // Appends the log-probs of rows [begin, begin + count), the first of which belongs to the reply's item *item.
  void Report(size_t begin, size_t count, size_t* item, v1::Done* done) const;

  const int32_t slice_rows_;
  std::vector<int32_t> rows_;                // of the batch
  std::vector<kernels::SampleRow> samples_;  // of the same rows
  std::vector<size_t> item_ends_;            // into rows_, by item that has some
  std::vector<kernels::SampleResult> results_;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_PROMPT_SCORER_H_
