#include "coordinator/text/bpe_merges.h"

#include <glog/logging.h>

#include <algorithm>
#include <functional>
#include <queue>

namespace quire::text {
namespace {

// Up to this many symbols a scan for the lowest rank beats a heap.
constexpr size_t kFewSymbolsMax = 48;

}  // namespace

BpeMerges::BpeMerges(const std::vector<BpeMerge>& merges) {
  int bits = 4;
  while ((size_t{1} << bits) < merges.size() * 2) ++bits;
  slots_.resize(size_t{1} << bits);
  shift_ = 64 - bits;
  for (size_t place = 0; place < merges.size(); ++place) {
    const BpeMerge& merge = merges[place];
    const auto rank = static_cast<uint32_t>(merge.rank == kRankIsPlace ? place : merge.rank);
    Insert(Key(merge.left, merge.right), rank, merge.result);
    if (merge.last_symbol_of_left < 0 || merge.first_symbol_of_right < 0) can_cut_ = false;
    joinable_.insert(Key(merge.last_symbol_of_left, merge.first_symbol_of_right));
  }
}

void BpeMerges::Insert(uint64_t key, uint32_t rank, int32_t result) {
  size_t i = Home(key);
  while (slots_[i].key != kEmpty && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = {key, rank, result};
}

const BpeMerges::Slot& BpeMerges::Find(int32_t left, int32_t right) const {
  const uint64_t key = Key(left, right);
  size_t i = Home(key);
  while (slots_[i].key != key && slots_[i].key != kEmpty) i = (i + 1) & (slots_.size() - 1);
  return slots_[i];
}

void BpeMerges::MergeAll(size_t begin, std::vector<int32_t>* ids) const {
  CHECK_LE(begin, ids->size());
  int32_t* const symbols = ids->data() + begin;
  const size_t count = ids->size() - begin;
  if (count <= kFewSymbolsMax) {
    ids->resize(begin + MergeFew(symbols, count));
    return;
  }
  size_t written = 0;
  for (size_t part = 0; part < count;) {
    size_t part_end = part + 1;
    while (part_end < count && (!can_cut_ || joinable_.contains(Key(symbols[part_end - 1], symbols[part_end])))) {
      ++part_end;
    }
    const size_t length = part_end - part;
    const size_t merged =
        length <= kFewSymbolsMax ? MergeFew(symbols + part, length) : MergeMany(symbols + part, length);
    std::copy(symbols + part, symbols + part + merged, symbols + written);
    written += merged;
    part = part_end;
  }
  ids->resize(begin + written);
}

// Rescans for the lowest rank after each merge; quadratic, in at most kFewSymbolsMax symbols.
size_t BpeMerges::MergeFew(int32_t* symbols, size_t count) const {
  if (count < 2) return count;
  uint32_t ranks[kFewSymbolsMax];  // ranks[i]: the merge of symbols i and i + 1
  for (size_t i = 0; i + 1 < count; ++i) ranks[i] = Find(symbols[i], symbols[i + 1]).rank;
  while (count > 1) {
    const size_t best = std::min_element(ranks, ranks + count - 1) - ranks;
    if (ranks[best] == kNoRank) break;
    symbols[best] = Find(symbols[best], symbols[best + 1]).result;
    std::copy(symbols + best + 2, symbols + count, symbols + best + 1);
    if (best + 2 < count) std::copy(ranks + best + 2, ranks + count - 1, ranks + best + 1);
    --count;
    if (best + 1 < count) ranks[best] = Find(symbols[best], symbols[best + 1]).rank;
    if (best > 0) ranks[best - 1] = Find(symbols[best - 1], symbols[best]).rank;
  }
  return count;
}

// A heap of (rank, position) over a linked list of symbols. An entry is stale when the pair at its position no longer
// has its rank; stale entries are dropped when they surface.
size_t BpeMerges::MergeMany(int32_t* symbols, size_t count) const {
  CHECK_LT(count, size_t{1} << 31);
  const auto end = static_cast<uint32_t>(count);
  constexpr uint32_t kNone = ~uint32_t{0};
  std::vector<uint32_t> next(count), previous(count);
  for (uint32_t i = 0; i < end; ++i) {
    next[i] = i + 1;
    previous[i] = i == 0 ? kNone : i - 1;
  }
  std::vector<uint64_t> entries;
  entries.reserve(count);
  const auto entry = [](uint32_t rank, uint32_t position) { return static_cast<uint64_t>(rank) << 32 | position; };
  for (uint32_t i = 0; i + 1 < end; ++i) {
    const uint32_t rank = Find(symbols[i], symbols[i + 1]).rank;
    if (rank != kNoRank) entries.push_back(entry(rank, i));
  }
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> heap(std::greater<>(), std::move(entries));
  constexpr int32_t kGone = -1;
  while (!heap.empty()) {
    const auto position = static_cast<uint32_t>(heap.top());
    const auto rank = static_cast<uint32_t>(heap.top() >> 32);
    heap.pop();
    if (symbols[position] == kGone || next[position] == end) continue;
    const uint32_t right = next[position];
    const Slot& slot = Find(symbols[position], symbols[right]);
    if (slot.rank != rank) continue;
    symbols[position] = slot.result;
    symbols[right] = kGone;
    next[position] = next[right];
    if (next[position] != end) {
      previous[next[position]] = position;
      const uint32_t new_rank = Find(symbols[position], symbols[next[position]]).rank;
      if (new_rank != kNoRank) heap.push(entry(new_rank, position));
    }
    if (previous[position] != kNone) {
      const uint32_t new_rank = Find(symbols[previous[position]], symbols[position]).rank;
      if (new_rank != kNoRank) heap.push(entry(new_rank, previous[position]));
    }
  }
  size_t written = 0;
  for (uint32_t i = 0; i < end; i = next[i]) symbols[written++] = symbols[i];
  return written;
}

}  // namespace quire::text
