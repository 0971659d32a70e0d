// The merge table of a byte-pair encoding and the algorithm that applies it.
//
// Immutable after Build, any thread.
//   I1  MergeAll gives what this loop gives: while any adjacent pair has a merge, apply the one of lowest rank, the
//       leftmost of several. Source: TK models/bpe/word.rs.
//   I2  Cost is O(n log n) for n symbols, O(n) pieces at a time where no merge can reach across (I3).
//   I3  joinable_ holds every pair of first symbols that some merge result puts side by side. Between two symbols that
//       are not in it no merge can ever happen, so a long run is cut there and each part is merged on its own.
#ifndef QUIRE_COORDINATOR_TEXT_BPE_MERGES_H_
#define QUIRE_COORDINATOR_TEXT_BPE_MERGES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace quire::text {

// A merge's rank is its place in the list.
constexpr int32_t kRankIsPlace = -1;

struct BpeMerge {
  int32_t left = 0;  // token ids
  int32_t right = 0;
  int32_t result = 0;
  // The symbols that meet where left and right join, -1 when they cannot be told (then nothing is ever cut).
  int32_t last_symbol_of_left = -1;
  int32_t first_symbol_of_right = -1;
  int32_t rank = kRankIsPlace;  // several merges may have the same
};

class BpeMerges final {
 public:
  // Of two merges of one pair the later counts, as in the reference.
  explicit BpeMerges(const std::vector<BpeMerge>& merges);

  // Merges the symbols ids[begin, end) in place and drops the rest of the vector's tail behind the result.
  void MergeAll(size_t begin, std::vector<int32_t>* ids) const;

 private:
  struct Slot {
    uint64_t key = kEmpty;
    uint32_t rank = kNoRank;
    int32_t result = 0;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static constexpr uint32_t kNoRank = ~uint32_t{0};

  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t Home(uint64_t key) const { return (key * 0x9E3779B97F4A7C15ull) >> shift_; }
  // The slot of the pair, or an empty slot with rank kNoRank.
  const Slot& Find(int32_t left, int32_t right) const;
  void Insert(uint64_t key, uint32_t rank, int32_t result);

  size_t MergeFew(int32_t* symbols, size_t count) const;
  size_t MergeMany(int32_t* symbols, size_t count) const;

  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
  int shift_ = 63;
  bool can_cut_ = true;
  absl::flat_hash_set<uint64_t> joinable_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_BPE_MERGES_H_
