// Finding the caller of a key. See key_ring.h.
#include "coordinator/access/key_ring.h"

#include <glog/logging.h>
#include <openssl/crypto.h>

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quire::access {
namespace {

constexpr absl::string_view kScheme = "bearer ";

// The credentials of an Authorization value of the scheme Bearer, empty if it is none.
absl::string_view BearerToken(absl::string_view authorization) {
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) return "";
  return absl::StripAsciiWhitespace(authorization.substr(kScheme.size()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<KeyRing>> KeyRing::Open(const std::string& path, absl::Duration period) {
  std::unique_ptr<KeyRing> ring(new KeyRing(path));
  // Watched first, then read: no change falls between the two.
  ring->watch_ = std::make_unique<FileWatch>(
      std::vector<std::string>{path}, [r = ring.get()] { r->ReadAgain(); }, period);
  if (const absl::Status status = ring->Read(); !status.ok()) return status;
  return ring;
}

absl::Status KeyRing::Read() {
  absl::MutexLock one_reader(&read_mu_);
  const absl::StatusOr<std::string> text = ReadSmallFile(path_, kKeyFileBytesMax);
  if (!text.ok()) return text.status();
  absl::StatusOr<KeyTable> table = ParseKeyFile(*text);
  if (!table.ok()) {
    return absl::Status(table.status().code(), absl::StrCat(path_, ": ", table.status().message()));
  }
  auto fresh = std::make_shared<const KeyTable>(*std::move(table));
  absl::MutexLock lock(&mu_);
  table_ = std::move(fresh);
  return absl::OkStatus();
}

void KeyRing::ReadAgain() {
  const absl::Status status = Read();
  if (!status.ok()) {
    failed_reloads_.fetch_add(1, std::memory_order_relaxed);
    LOG(ERROR) << "--api_key_file was changed and cannot be used, the keys of before stay valid: " << status.message();
    return;
  }
  reloads_.fetch_add(1, std::memory_order_relaxed);
  LOG(INFO) << "--api_key_file was changed: " << num_keys() << " key(s) now";
}

std::shared_ptr<const KeyTable> KeyRing::Table() const {
  absl::ReaderMutexLock lock(&mu_);
  return table_;
}

KeyRing::Counts KeyRing::counts() const {
  return {reloads_.load(std::memory_order_relaxed), failed_reloads_.load(std::memory_order_relaxed),
          refused_.load(std::memory_order_relaxed)};
}

absl::StatusOr<Caller> KeyRing::Authenticate(absl::string_view authorization) const {
  static const KeyEntry* const kNobody = new KeyEntry();
  const absl::StatusOr<KeyText> key = ParseKey(BearerToken(authorization));
  if (!key.ok()) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    return absl::UnauthenticatedError("an API key is needed: send 'Authorization: Bearer KEY'.");
  }
  const std::shared_ptr<const KeyTable> table = Table();
  const auto found = table->find(key->id);
  const KeyEntry& entry = found == table->end() ? *kNobody : found->second;
  const KeyDigest digest = HashSecret(entry.salt, key->secret);
  const bool same = CRYPTO_memcmp(digest.data(), entry.digest.data(), digest.size()) == 0;
  if (!same || found == table->end()) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    return absl::UnauthenticatedError("the API key is not valid here.");
  }
  return entry.caller;
}

}  // namespace quire::access
