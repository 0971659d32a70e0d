// What the sequences of a step may draw, as words of bits: from the lists and words that the plan brings.
//
// Thread rule: compute thread.
// Invariants:
//   TM1  A mask has a word for every 32 tokens of the vocabulary, allows at least one token and none beyond the
//        vocabulary.
//   TM2  Every mask belongs to a sequence that draws in the step, once, and without drafts.
#ifndef QUIRE_WORKER_RUNTIME_TOKEN_MASKS_H_
#define QUIRE_WORKER_RUNTIME_TOKEN_MASKS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/runtime/batch_input.h"

namespace quire::worker {

class TokenMasks final {
 public:
  explicit TokenMasks(int32_t vocab_size) : vocab_size_(vocab_size) {}

  // Takes the masks of a step whose batch was built. Errors: INVALID_ARGUMENT with the sequence and both numbers.
  absl::Status Build(const v1::Step& step, const BatchInput& batch);

  bool empty() const { return num_masks_ == 0; }
  // The mask of draw `i`; empty = everything may be drawn. Valid until the next Build.
  absl::Span<const uint32_t> ForDraw(size_t i) const;

 private:
  absl::Status Fill(const v1::TokenMask& from, uint32_t* words) const;
  size_t words_per_mask() const { return (static_cast<size_t>(vocab_size_) + 31) / 32; }

  const int32_t vocab_size_;
  int num_masks_ = 0;
  std::vector<uint32_t> words_;    // of all masks
  std::vector<int32_t> mask_of_;   // by draw; -1 = none
  std::vector<int32_t> draws_of_;  // draws by sequence, while building: the last one's index; -1 = none
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_TOKEN_MASKS_H_
