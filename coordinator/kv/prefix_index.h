// Which blocks hold which token prefixes: the automatic prefix cache. Engine thread only.
//
// A full block is known under a chain key: SHA-256 over (parent key, its token ids), truncated to 128 bits. The chain
// starts from a key derived of the process's random secret, the tenant's salt and the adapter, so that nobody can
// forge or probe another tenant's keys. Tokens are compared on a hit as well, so that a wrong block is never shared
// even if keys collide.
// Invariants:
//   X1  A block has at most one entry, a key at most one block.
//   X2  The block of an entry holds exactly the entry's tokens (whoever evicts or writes the block erases the entry
//       first).
#ifndef QUIRE_COORDINATOR_KV_PREFIX_INDEX_H_
#define QUIRE_COORDINATOR_KV_PREFIX_INDEX_H_

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "coordinator/request/block_key.h"

namespace quire::kv {

using request::BlockKey;

class PrefixIndex {
 public:
  PrefixIndex(int64_t num_blocks, int64_t block_size, absl::string_view secret);

  // The parent of a tenant's first blocks.
  BlockKey Root(absl::string_view salt) const;
  // The key of a block with these tokens behind `parent`. Requires: block_size tokens.
  BlockKey Next(const BlockKey& parent, absl::Span<const int32_t> tokens) const;

  // The block with this key and these tokens, -1 if there is none.
  int32_t Find(const BlockKey& key, absl::Span<const int32_t> tokens) const;
  // Makes a block known. No effect if the key has a block already (the second copy stays private) or the block has an
  // entry.
  void Insert(const BlockKey& key, absl::Span<const int32_t> tokens, int32_t block);
  // Forgets what the block holds, if anything.
  void Erase(int32_t block);
  bool Contains(int32_t block) const { return !keys_[block].IsNull(); }
  // Under which the block is known; null if it is not.
  const BlockKey& KeyOf(int32_t block) const { return keys_[block]; }

  int64_t size() const { return static_cast<int64_t>(blocks_.size()); }

 private:
  int64_t block_size_;
  std::string secret_;
  std::unordered_map<BlockKey, int32_t, request::BlockKeyHash> blocks_;
  std::vector<BlockKey> keys_;   // by block; null = no entry
  std::vector<int32_t> tokens_;  // [num_blocks, block_size]
};

}  // namespace quire::kv

#endif  // QUIRE_COORDINATOR_KV_PREFIX_INDEX_H_
