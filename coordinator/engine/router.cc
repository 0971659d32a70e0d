// Affinity and load. See router.h.
#include "coordinator/engine/router.h"

#include <glog/logging.h>

#include <algorithm>

namespace quire::engine {
namespace {

// Affinity counts up to this share of the mean load above the least load.
constexpr double kMargin = 0.5;

uint64_t Mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
  hash = (hash ^ (hash >> 32)) * 0xc4ceb9fe1a85ec53ULL;
  return hash ^ (hash >> 29);
}

// Of one replica, as shares of what its cache holds.
double Load(const RoutedReplica& replica) {
  return static_cast<double>(replica.load_tokens) / static_cast<double>(std::max<int64_t>(1, replica.slots));
}

}  // namespace

Router::Router(int num_replicas, uint64_t secret)
    : num_replicas_(num_replicas), secret_(secret), last_routed_(static_cast<size_t>(num_replicas)) {
  CHECK_GE(num_replicas, 1);
  CHECK_LE(num_replicas, kMaxReplicas);
}

Router::Chain Router::MakeChain(absl::string_view tenant, absl::Span<const int32_t> prompt) const {
  Chain chain;
  if (num_replicas_ == 1) return chain;  // nothing to choose
  uint64_t hash = Mix(secret_, tenant.size());
  for (const char c : tenant) hash = Mix(hash, static_cast<unsigned char>(c));
  const int64_t blocks = std::min<int64_t>(kMaxBlocks, static_cast<int64_t>(prompt.size()) / kBlockTokens);
  int64_t next = 1;  // 1, 2, 3, 4, 6, 8, 12, ...: powers of two, and half-way between
  for (int64_t block = 1; block <= blocks; ++block) {
    for (const int32_t id : prompt.subspan(static_cast<size_t>((block - 1) * kBlockTokens), kBlockTokens)) {
      hash = Mix(hash, static_cast<uint32_t>(id));
    }
    if (block != next) continue;
    chain.push_back({hash, block * kBlockTokens});
    const bool power = (next & (next - 1)) == 0;
    next = next == 1 ? 2 : power ? next + next / 2 : next / 3 * 4;
  }
  return chain;
}

int64_t Router::Matched(const Chain& chain, int replica) const {
  int64_t tokens = 0;
  for (const Link& link : chain) {
    const auto it = entries_.find(link.hash);
    if (it == entries_.end() || (it->second.replicas >> replica & 1) == 0) break;
    tokens = link.tokens;
  }
  return tokens;
}

int Router::Choose(const Chain& chain, int64_t own_tokens, absl::Span<const RoutedReplica> replicas) const {
  double least = 0, sum = 0;
  int num_candidates = 0;
  for (const RoutedReplica& replica : replicas) {
    if (!replica.candidate) continue;
    least = num_candidates == 0 ? Load(replica) : std::min(least, Load(replica));
    sum += Load(replica);
    ++num_candidates;
  }
  int best = -1;
  int64_t best_matched = 0;
  for (int r = 0; r < num_replicas_; ++r) {
    const RoutedReplica& replica = replicas[static_cast<size_t>(r)];
    if (!replica.candidate) continue;
    RoutedReplica own{true, own_tokens, replica.slots};
    const bool overloaded = Load(replica) > least + kMargin * sum / num_candidates + Load(own);
    const int64_t matched = overloaded ? 0 : Matched(chain, r);
    bool better = best < 0 || matched > best_matched;
    if (best >= 0 && matched == best_matched) {
      const double load = Load(replica), best_load = Load(replicas[static_cast<size_t>(best)]);
      // Of idle replicas the one that has been idle longest.
      better = load < best_load ||
               (load == best_load && last_routed_[static_cast<size_t>(r)] < last_routed_[static_cast<size_t>(best)]);
    }
    if (!better) continue;
    best = r;
    best_matched = matched;
  }
  return best;
}

int Router::Route(const Chain& chain, int64_t own_tokens, absl::Span<const RoutedReplica> replicas) {
  CHECK_EQ(static_cast<int>(replicas.size()), num_replicas_);
  const int replica = Choose(chain, own_tokens, replicas);
  if (replica < 0) return replica;
  last_routed_[static_cast<size_t>(replica)] = ++num_routed_;
  Remember(chain, replica);
  return replica;
}

void Router::Remember(const Chain& chain, int replica) {
  // From the far end, so that the beginning of a prompt is always the more recently used.
  for (auto link = chain.rbegin(); link != chain.rend(); ++link) {
    auto [it, is_new] = entries_.try_emplace(link->hash);
    Entry& entry = it->second;
    entry.replicas |= uint64_t{1} << replica;
    if (is_new) {
      entry.use = uses_.insert(uses_.end(), link->hash);
    } else {
      uses_.splice(uses_.end(), uses_, entry.use);
    }
  }
  while (entries_.size() > kMaxEntries) {
    entries_.erase(uses_.front());
    uses_.pop_front();
  }
}

void Router::Forget(int replica) {
  for (auto& [hash, entry] : entries_) entry.replicas &= ~(uint64_t{1} << replica);
}

}  // namespace quire::engine
