// Decides which replica takes a request: prefix affinity, then load. Pure; whoever owns it locks it.
//
// What a replica has cached is guessed from what was sent there: a bounded table from chain hashes of a prompt's first
// blocks, salted with the tenant, to the replicas that have seen them, least recently used out first. A wrong guess
// costs a prefill, nothing else. Hashes are taken at growing distances, so that a prompt costs a few entries, however
// long it is, and the next turn of a conversation finds the one before.
// Invariants:
//   R1  Only a candidate is chosen.
//   R2  Affinity never overloads: it counts only for a replica whose load is within a margin of the least loaded one.
//   R3  At most kMaxEntries hashes are remembered.
#ifndef QUIRE_COORDINATOR_ENGINE_ROUTER_H_
#define QUIRE_COORDINATOR_ENGINE_ROUTER_H_

#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quire::engine {

// What a decision needs to know of one replica.
struct RoutedReplica {
  bool candidate = false;
  int64_t load_tokens = 0;  // of the requests that run and wait there
  int64_t slots = 1;        // tokens that its cache holds; what loads are measured by
};

class Router {
 public:
  static constexpr int kMaxReplicas = 64;
  static constexpr int64_t kBlockTokens = 16;
  static constexpr int64_t kMaxBlocks = 4096;  // of a prompt that are looked at
  static constexpr size_t kMaxEntries = 1 << 16;

  // `secret` keys the hashes. Requires: 1 <= num_replicas <= kMaxReplicas.
  Router(int num_replicas, uint64_t secret);

  // One hash for the first 1, 2, 3, 4, 6, 8, 12, ... blocks of the prompt, as many as it has. Any thread.
  struct Link {
    uint64_t hash = 0;
    int64_t tokens = 0;  // that it stands for
  };
  using Chain = std::vector<Link>;
  Chain MakeChain(absl::string_view tenant, absl::Span<const int32_t> prompt) const;

  // Chooses for a request of this many tokens and remembers the choice; -1 if there is no candidate.
  // Requires: one entry for every replica.
  int Route(const Chain& chain, int64_t own_tokens, absl::Span<const RoutedReplica> replicas);

  // The replica's cache is lost.
  void Forget(int replica);

  // Tokens of the prompt that the replica has probably cached.
  int64_t Matched(const Chain& chain, int replica) const;

  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    uint64_t replicas = 0;  // a set of bits
    std::list<uint64_t>::iterator use;
  };

  int Choose(const Chain& chain, int64_t own_tokens, absl::Span<const RoutedReplica> replicas) const;
  void Remember(const Chain& chain, int replica);

  const int num_replicas_;
  const uint64_t secret_;
  std::unordered_map<uint64_t, Entry> entries_;
  std::list<uint64_t> uses_;           // hashes, the least recently used first
  std::vector<uint64_t> last_routed_;  // by replica: number of the last request
  uint64_t num_routed_ = 0;
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_ROUTER_H_
