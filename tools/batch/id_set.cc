#include "tools/batch/id_set.h"

#include <openssl/sha.h>

#include <cstring>

#include "absl/strings/str_format.h"

namespace quire::batch {

IdHash::IdHash(absl::string_view id) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(id.data()), id.size(), digest);
  std::memcpy(&high_, digest, sizeof(high_));
  std::memcpy(&low_, digest + sizeof(high_), sizeof(low_));
}

std::string IdHash::Hex() const { return absl::StrFormat("%016x%016x", high_, low_); }

}  // namespace quire::batch
