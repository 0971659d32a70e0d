// The prefix cache's name of a block's content: 128 bits of a keyed hash chain. Plain data.
#ifndef QUIRE_COORDINATOR_REQUEST_BLOCK_KEY_H_
#define QUIRE_COORDINATOR_REQUEST_BLOCK_KEY_H_

#include <cstddef>
#include <cstdint>

namespace quire::request {

struct BlockKey {
  uint64_t low = 0;
  uint64_t high = 0;

  bool IsNull() const { return low == 0 && high == 0; }
  bool operator==(const BlockKey& other) const { return low == other.low && high == other.high; }
};

struct BlockKeyHash {
  size_t operator()(const BlockKey& key) const { return static_cast<size_t>(key.low); }
};

}  // namespace quire::request

#endif  // QUIRE_COORDINATOR_REQUEST_BLOCK_KEY_H_
