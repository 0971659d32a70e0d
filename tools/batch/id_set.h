// A set of custom_ids of any length at 16 bytes each: files of many million lines have to fit.
//
// One thread. Two ids count as one if 128 bits of their SHA-256 are equal, which does not happen.
#ifndef QUIRE_TOOLS_BATCH_ID_SET_H_
#define QUIRE_TOOLS_BATCH_ID_SET_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"

namespace quire::batch {

class IdHash {
 public:
  explicit IdHash(absl::string_view id);

  std::string Hex() const;

  friend bool operator==(const IdHash& a, const IdHash& b) { return a.high_ == b.high_ && a.low_ == b.low_; }
  template <typename H>
  friend H AbslHashValue(H h, const IdHash& id) {
    return H::combine(std::move(h), id.high_, id.low_);
  }

 private:
  uint64_t high_ = 0;
  uint64_t low_ = 0;
};

class IdSet {
 public:
  // False if it was there.
  bool Insert(absl::string_view id) { return ids_.insert(IdHash(id)).second; }
  bool Contains(absl::string_view id) const { return ids_.contains(IdHash(id)); }
  bool ContainsAll(const IdSet& other) const {
    return std::all_of(other.ids_.begin(), other.ids_.end(), [this](const IdHash& id) { return ids_.contains(id); });
  }
  size_t size() const { return ids_.size(); }

 private:
  absl::flat_hash_set<IdHash> ids_;
};

}  // namespace quire::batch

#endif  // QUIRE_TOOLS_BATCH_ID_SET_H_
