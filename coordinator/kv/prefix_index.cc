// Chain keys and the table from keys to blocks. See prefix_index.h.
#include "coordinator/kv/prefix_index.h"

#include <glog/logging.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "coordinator/request/planted.h"

namespace quire::kv {
namespace {

// SHA256() looks for the algorithm at every call, under locks, which takes longer than the hash of a block.
void Sha256(const unsigned char* input, size_t bytes, unsigned char (&digest)[SHA256_DIGEST_LENGTH]) {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  CHECK(EVP_DigestInit_ex2(context.get(), algorithm, nullptr) == 1 &&
        EVP_DigestUpdate(context.get(), input, bytes) == 1 && EVP_DigestFinal_ex(context.get(), digest, nullptr) == 1);
}

BlockKey Truncate(const unsigned char (&digest)[SHA256_DIGEST_LENGTH]) {
  BlockKey key;
  std::memcpy(&key.low, digest, sizeof(key.low));
  std::memcpy(&key.high, digest + sizeof(key.low), sizeof(key.high));
  if (key.IsNull()) key.low = 1;  // null means "no entry"
  return key;
}

}  // namespace

PrefixIndex::PrefixIndex(int64_t num_blocks, int64_t block_size, absl::string_view secret)
    : block_size_(block_size), secret_(secret), keys_(num_blocks), tokens_(num_blocks * block_size) {
  blocks_.reserve(static_cast<size_t>(num_blocks));  // no rehashing in the middle of a step
}

BlockKey PrefixIndex::Root(absl::string_view salt) const {
  // The secret has a fixed length, so that (secret, salt) cannot be split in two ways.
  std::string input = secret_;
  if (!Planted(Defect::kTenantsShareKeys)) input.append(salt.data(), salt.size());
  unsigned char digest[SHA256_DIGEST_LENGTH];
  Sha256(reinterpret_cast<const unsigned char*>(input.data()), input.size(), digest);
  return Truncate(digest);
}

BlockKey PrefixIndex::Next(const BlockKey& parent, absl::Span<const int32_t> tokens) const {
  CHECK_EQ(static_cast<int64_t>(tokens.size()), block_size_);
  constexpr size_t kStackTokens = 256;
  unsigned char stack[sizeof(BlockKey) + kStackTokens * sizeof(int32_t)];
  std::vector<unsigned char> heap;
  const size_t bytes = sizeof(BlockKey) + tokens.size() * sizeof(int32_t);
  unsigned char* input = stack;
  if (bytes > sizeof(stack)) {
    heap.resize(bytes);
    input = heap.data();
  }
  std::memcpy(input, &parent, sizeof(BlockKey));
  std::memcpy(input + sizeof(BlockKey), tokens.data(), tokens.size() * sizeof(int32_t));
  unsigned char digest[SHA256_DIGEST_LENGTH];
  Sha256(input, bytes, digest);
  return Truncate(digest);
}

int32_t PrefixIndex::Find(const BlockKey& key, absl::Span<const int32_t> tokens) const {
  const auto it = blocks_.find(key);
  if (it == blocks_.end()) return -1;
  return std::equal(tokens.begin(), tokens.end(), tokens_.begin() + it->second * block_size_) ? it->second : -1;
}

void PrefixIndex::Insert(const BlockKey& key, absl::Span<const int32_t> tokens, int32_t block) {
  CHECK_EQ(static_cast<int64_t>(tokens.size()), block_size_);
  if (Contains(block) || !blocks_.emplace(key, block).second) return;
  keys_[block] = key;
  std::copy(tokens.begin(), tokens.end(), tokens_.begin() + block * block_size_);
}

void PrefixIndex::Erase(int32_t block) {
  if (!Contains(block)) return;
  blocks_.erase(keys_[block]);
  keys_[block] = {};
}

}  // namespace quire::kv
