// Finds every token that starts at a place of a text, in one walk over the bytes.
//
// Immutable once filled, any thread.
//   I1  A walk costs one table probe for each byte up to the longest token that the text can still become.
#ifndef QUIRE_COORDINATOR_TEXT_PIECE_TRIE_H_
#define QUIRE_COORDINATOR_TEXT_PIECE_TRIE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace quire::text {

class PieceTrie final {
 public:
  // Requires: value >= 0. An empty string is never found.
  void Add(absl::string_view piece, int32_t value) {
    uint32_t node = 0;
    for (char c : piece) {
      const auto [it, inserted] = next_.emplace(Key(node, c), static_cast<uint32_t>(values_.size()));
      if (inserted) values_.push_back(-1);
      node = it->second;
    }
    if (node != 0) values_[node] = value;
  }

  // Calls visit(length, value) for each piece that starts at text[pos], shortest first.
  template <typename Visit>
  void ForEachPrefix(absl::string_view text, size_t pos, Visit visit) const {
    uint32_t node = 0;
    for (size_t i = pos; i < text.size(); ++i) {
      const auto it = next_.find(Key(node, text[i]));
      if (it == next_.end()) return;
      node = it->second;
      if (values_[node] >= 0) visit(i + 1 - pos, values_[node]);
    }
  }

 private:
  static uint64_t Key(uint32_t node, char c) { return uint64_t{node} << 8 | static_cast<unsigned char>(c); }

  std::vector<int32_t> values_ = {-1};  // by node, node 0 is the root; -1: no piece ends here
  absl::flat_hash_map<uint64_t, uint32_t> next_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_PIECE_TRIE_H_
