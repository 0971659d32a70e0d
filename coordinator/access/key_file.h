// The file of --api_key_file: who may call, as text, and keys for it. Pure but for the random bytes of MakeKey.
//
// One key per line, `name=value` words in any order; empty lines and what follows '#' mean nothing:
//
//   id=3f9c0a5be2d1447a hash=<salt>:<digest> tenant=acme weight=2 max_live_requests=64 max_choices=4 max_tokens=2048 class=paid
//
// `id`, `hash` and `tenant` are required; weight 1, no limits and class "default" are what a line without them means. A
// tenant may have several keys (the new one is added before the old one goes); what those lines say of it must agree.
//
// A key is "qk-<id>-<secret>": 16 hexadecimal digits that find the line, and 256 random bits in 64. The file has
// SHA-256(salt | secret) alone. A slow hash (scrypt, argon2) protects secrets that people choose, of which most can be
// tried one by one; of 2^256 equally likely ones nobody tries a noticeable share, however fast the hash is. So the fast
// one is as safe, and a call costs a microsecond instead of the hundred milliseconds that anybody could make us spend.
// The salt keeps equal secrets from looking equal; lengths are fixed, so that (salt, secret) splits in one way only.
// Invariants:
//   K1  A secret is never in the file, in an error or in a log; an id may be.
//   K2  Parsing takes at most kKeyFileBytesMax bytes and kKeysMax keys, and its errors name the line.
#ifndef QUIRE_COORDINATOR_ACCESS_KEY_FILE_H_
#define QUIRE_COORDINATOR_ACCESS_KEY_FILE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/access/authenticator.h"

namespace quire::access {

inline constexpr size_t kKeyFileBytesMax = 4 << 20;
inline constexpr size_t kKeysMax = 10'000;
inline constexpr size_t kClassesMax = 16;  // they become label values of metrics

using KeySalt = std::array<uint8_t, 16>;
using KeyDigest = std::array<uint8_t, 32>;

struct KeyEntry {
  KeySalt salt = {};
  KeyDigest digest = {};
  Caller caller;
};

using KeyTable = std::unordered_map<std::string, KeyEntry>;  // by id

// A key as a client sends it.
struct KeyText {
  std::string id;
  std::string secret;  // as in the key: 64 hexadecimal digits
};

// The table that a file's text means. Errors: INVALID_ARGUMENT with the line's number and the word at fault; a file
// without a single key is one too, so that an emptied file does not lock everybody out unnoticed.
absl::StatusOr<KeyTable> ParseKeyFile(absl::string_view text);

// Takes "qk-<id>-<secret>" apart. Errors: INVALID_ARGUMENT, without a word of what was given.
absl::StatusOr<KeyText> ParseKey(absl::string_view key);

// SHA-256(salt | secret).
KeyDigest HashSecret(const KeySalt& salt, absl::string_view secret);

struct NewKey {
  std::string key;   // for the client; nobody can compute it again
  std::string line;  // for the file
};

// A new random key of a tenant, with the words of its line that differ from the defaults. Errors: INVALID_ARGUMENT the
// caller could not be written to a file; INTERNAL no random bytes.
absl::StatusOr<NewKey> MakeKey(const Caller& caller);

}  // namespace quire::access

#endif  // QUIRE_COORDINATOR_ACCESS_KEY_FILE_H_
