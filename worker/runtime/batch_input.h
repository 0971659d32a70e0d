// A step as the decoder's flat arrays. The arrays keep their room: nothing is allocated once the batch has had its
// largest size.
//
// Thread rule: compute thread.
// Invariants:
//   BI1  Every slot of the batch is written by one item only, and no two items write the same block.
//   BI2  Every draw has a row of logits of its own: edits of one cannot reach another.
//   BI3  An item with drafts draws from each of its rows, as if the drafts before that row were its tokens. The table
//        does not know of drafts.
// The order of draws is the order of the reply: items in batch order (decode, then prefill); after a prefill item that
// samples, the children forked from its sequence in this very step, in the order of `forks`. Such a child appears in
// no item of the step; it draws from its parent's logits (same tokens, same row) with its own choice index, and after
// the step stands where its parent stands, with its parent's table: blocks that came to the parent in this step are
// shared too, though forks are applied before block_appends. A child forked from any other sequence shares what the
// parent had before the step and draws only when an item of its own says so.
#ifndef QUIRE_WORKER_RUNTIME_BATCH_INPUT_H_
#define QUIRE_WORKER_RUNTIME_BATCH_INPUT_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/model/model.h"
#include "worker/runtime/sequence_table.h"

namespace quire::worker::v1 {
class Step;
class TokenMask;
}  // namespace quire::worker::v1

namespace quire::worker {

struct BatchLimits {
  int32_t max_num_seqs = 0;  // items
  int32_t max_num_batched_tokens = 0;
  int32_t max_logit_rows = 0;  // draws; 0 = max_num_seqs
};

class BatchInput final {
 public:
  struct Item {
    uint32_t seq = 0;
    int32_t num_tokens = 0;
    int32_t num_drafts = 0;  // the last ones of num_tokens
    int32_t first_draft = 0;
    int32_t first_draw = 0;
  };
  struct Draw {
    uint32_t seq = 0;
    int32_t num_drafts = 0;  // drafts that stand before this draw as if they were tokens
  };

  explicit BatchInput(const BatchLimits& limits) : limits_(limits) {}

  // Builds the arrays from the items of a step that the table has applied. With `drafts_follow` the
  // step names no drafts, they come by FillDrafts. Errors: INVALID_ARGUMENT with the ids and both numbers.
  absl::Status Build(const v1::Step& step, bool drafts_follow, SequenceTable* table);

  // The drafts of all drafted items, in order. Requires: as many as the built step has, of the vocabulary.
  void FillDrafts(absl::Span<const int32_t> drafts);

  // Views of the arrays; valid until the next Build.
  ForwardBatch forward_batch() const;
  absl::Span<const Item> items() const { return items_; }
  // The drafts of an item.
  absl::Span<const int32_t> drafts(const Item& item) const {
    return absl::MakeConstSpan(drafts_).subspan(item.first_draft, item.num_drafts);
  }
  // Who draws, one per row of logits, in reply order.
  absl::Span<const Draw> draws() const { return draws_; }
  // Children that draw in this step beside their parent.
  absl::Span<const Fork> drawing_forks() const { return drawing_forks_; }

 private:
  // Takes the drafts of the step and checks them; num_drafts_ tells each decode item's number.
  absl::Status TakeDrafts(const v1::Step& step, bool drafts_follow, const TableLimits& table);
  absl::Status AddItem(uint32_t seq, int32_t num_tokens, int32_t num_drafts, bool sample, SequenceTable* table);
  absl::Status CheckItem(const Item& item, const Sequence* s, bool sample, const TableLimits& table);
  absl::Status ClaimBlocks(uint32_t seq, const Sequence& s, int32_t num_tokens, int32_t block_size);
  absl::Status AddChildren(uint32_t parent, bool sample, SequenceTable* table);
  absl::Status AddDraw(uint32_t seq, int32_t num_drafts, int32_t row);
  void FillTables(SequenceTable* table);

  const BatchLimits limits_;
  std::vector<Item> items_;
  std::vector<Draw> draws_;
  std::vector<int32_t> drafts_;      // of all items
  std::vector<int32_t> num_drafts_;  // by decode item
  std::vector<Fork> drawing_forks_;
  std::vector<int32_t> token_ids_, positions_, query_start_, context_len_, block_tables_, logit_rows_;
  std::vector<int64_t> slot_mapping_;
  int64_t max_blocks_ = 0;
  // Stamps of the build: who wrote a block, whether a sequence has an item.
  struct Writer {
    uint64_t build = 0;
    uint32_t seq = 0;
  };
  std::vector<Writer> writers_;       // by block
  std::vector<uint64_t> item_stamp_;  // by sequence
  uint64_t build_ = 0;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_BATCH_INPUT_H_
