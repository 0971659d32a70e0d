// Where the last tokens of a sequence stood before, and what came after them there: drafts without a model. Pure;
// engine thread only.
//
// Every run of `min` tokens is a key; the positions where it ended are chained from the latest backwards, so that a
// token costs one look-up and a proposal a short walk.
// Invariants:
//   N1  A proposal is what followed the longest of the kMaxCandidates latest earlier occurrences of the last `min`
//       tokens, counted back at most to `max` tokens; of equally long ones the latest.
//   N2  Memory is 16 to 24 bytes a token; nothing is allocated but to grow with the sequence.
#ifndef QUIRE_COORDINATOR_SPEC_NGRAM_INDEX_H_
#define QUIRE_COORDINATOR_SPEC_NGRAM_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace quire::spec {

class NgramIndex {
 public:
  static constexpr int kMaxCandidates = 16;

  // Requires: 1 <= min <= max.
  NgramIndex(int min, int max);

  void Append(int32_t token);

  // Whether Propose has something to say. Cost: one look-up.
  bool HasMatch() const { return !previous_.empty() && previous_.back() >= 0; }

  // Appends the `count` tokens that are likely next, or nothing. Past the end of the sequence the proposal goes on
  // with itself, as a loop does.
  void Propose(int count, std::vector<int32_t>* out) const;

  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }

 private:
  // The slot of the key that ends at `end`: its own, or the free one that it may take.
  size_t SlotOf(int32_t end) const;
  void Grow();
  // How many tokens before and at a and b are equal, at most max_.
  int CommonSuffix(int32_t a, int32_t b) const;

  const int min_;
  const int max_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> previous_;  // by position: where the key that ends there ended before; -1 = nowhere
  std::vector<int32_t> latest_;    // open hash table: the latest end of a key; -1 = free. A power of two
  size_t num_keys_ = 0;
};

}  // namespace quire::spec

#endif  // QUIRE_COORDINATOR_SPEC_NGRAM_INDEX_H_
