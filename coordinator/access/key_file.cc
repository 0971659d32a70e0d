// Lines to keys and back. See key_file.h.
#include "coordinator/access/key_file.h"

#include <glog/logging.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace quire::access {
namespace {

constexpr absl::string_view kKeyPrefix = "qk-";
constexpr size_t kIdDigits = 16;
constexpr size_t kSecretDigits = 64;
constexpr size_t kLineBytesMax = 1024;
constexpr size_t kNameBytesMax = 64;
constexpr double kWeightLeast = 1e-3;
constexpr double kWeightMost = 1e3;
constexpr int64_t kLimitMost = int64_t{1} << 31;
constexpr char kDefaultClass[] = "default";

bool IsHex(absl::string_view text, size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isdigit(static_cast<unsigned char>(c)) || (c >= 'a' && c <= 'f');
         });
}

bool IsName(absl::string_view text) {
  return !text.empty() && text.size() <= kNameBytesMax && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  });
}

template <size_t N>
bool ReadHex(absl::string_view text, std::array<uint8_t, N>* out) {
  if (!IsHex(text, 2 * N)) return false;
  const std::string bytes = absl::HexStringToBytes(text);
  std::memcpy(out->data(), bytes.data(), N);
  return true;
}

template <size_t N>
std::string ToHex(const std::array<uint8_t, N>& bytes) {
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes.data()), N));
}

template <size_t N>
bool FillRandom(std::array<uint8_t, N>* out) {
  return RAND_bytes(out->data(), static_cast<int>(N)) == 1;
}

// What is wrong with a number, empty if nothing is.
std::string ReadLimit(absl::string_view text, int64_t most, int64_t* out) {
  if (absl::SimpleAtoi(text, out) && *out >= 1 && *out <= most) return "";
  return absl::StrCat("must be a number from 1 to ", most, ", got '", text, "'");
}

std::string ReadWord(absl::string_view name, absl::string_view value, std::string* id, KeyEntry* entry) {
  Caller& caller = entry->caller;
  if (name == "id") {
    *id = std::string(value);
    return IsHex(value, kIdDigits) ? "" : "must be 16 digits of 0-9a-f";
  }
  if (name == "hash") {
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(value, absl::MaxSplits(':', 1));
    const bool ok = ReadHex(parts.first, &entry->salt) && ReadHex(parts.second, &entry->digest);
    return ok ? "" : "must be a salt of 32 digits of 0-9a-f, ':' and a digest of 64";
  }
  if (name == "tenant" || name == "class") {
    (name == "tenant" ? caller.tenant : caller.tenant_class) = std::string(value);
    return IsName(value) ? "" : "must be 1 to 64 letters, digits, '.', '_' or '-'";
  }
  if (name == "weight") {
    const bool ok = absl::SimpleAtod(value, &caller.weight) && caller.weight >= kWeightLeast &&
                    caller.weight <= kWeightMost;  // NaN fails both
    return ok ? "" : absl::StrCat("must be from ", kWeightLeast, " to ", kWeightMost, ", got '", value, "'");
  }
  if (name == "max_live_requests") return ReadLimit(value, kLimitMost, &caller.max_live_requests);
  if (name == "max_tokens") return ReadLimit(value, kLimitMost, &caller.max_tokens);
  if (name == "max_choices") {
    int64_t choices = 0;
    std::string fault = ReadLimit(value, std::numeric_limits<uint16_t>::max(), &choices);
    caller.max_choices = static_cast<uint32_t>(choices);
    return fault;
  }
  return "is none of id, hash, tenant, weight, max_live_requests, max_choices, max_tokens, class";
}

// What is wrong with a line, empty if nothing is. Values are not repeated where they could be a misplaced secret (K1).
std::string ReadLine(absl::string_view line, std::string* id, KeyEntry* entry) {
  if (line.size() > kLineBytesMax) return absl::StrCat("has more than ", kLineBytesMax, " bytes");
  std::set<absl::string_view> seen;
  for (const absl::string_view word : absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty())) {
    const size_t equals = word.find('=');
    if (equals == absl::string_view::npos) {
      return "has a word that is not name=value (a key itself does not belong here, see --help of the key tool)";
    }
    const absl::string_view name = word.substr(0, equals);
    if (!seen.insert(name).second) return absl::StrCat("has '", name.substr(0, kNameBytesMax), "' twice");
    const std::string fault = ReadWord(name, word.substr(equals + 1), id, entry);
    if (!fault.empty()) return absl::StrCat("'", name.substr(0, kNameBytesMax), "' ", fault);
  }
  for (const char* required : {"id", "hash", "tenant"}) {
    if (seen.count(required) == 0) return absl::StrCat("has no '", required, "'");
  }
  return "";
}

auto AllOf(const Caller& c) {
  return std::tie(c.tenant, c.weight, c.max_live_requests, c.max_choices, c.max_tokens, c.tenant_class);
}

}  // namespace

absl::StatusOr<KeyTable> ParseKeyFile(absl::string_view text) {
  if (text.size() > kKeyFileBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", text.size(), " bytes, more than the ", kKeyFileBytesMax, " allowed"));
  }
  struct Seen {
    Caller caller;
    int line;
  };
  KeyTable table;
  std::map<std::string, Seen> tenants;
  std::set<std::string> classes;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const auto error = [number](const std::string& what) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, " ", what));
    };
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    std::string id;
    KeyEntry entry;
    if (const std::string fault = ReadLine(line, &id, &entry); !fault.empty()) return error(fault);
    const auto [tenant, fresh] = tenants.try_emplace(entry.caller.tenant, Seen{entry.caller, number});
    if (!fresh && AllOf(tenant->second.caller) != AllOf(entry.caller)) {
      return error(absl::StrCat("says other things of tenant '", entry.caller.tenant, "' than line ",
                                tenant->second.line, "; all keys of a tenant share its weight, limits and class"));
    }
    classes.insert(entry.caller.tenant_class);
    if (classes.size() > kClassesMax) return error(absl::StrCat("brings a class beyond the ", kClassesMax, " allowed"));
    if (!table.emplace(id, std::move(entry)).second) return error(absl::StrCat("repeats id ", id));
    if (table.size() > kKeysMax) return error(absl::StrCat("brings a key beyond the ", kKeysMax, " allowed"));
  }
  if (table.empty()) return absl::InvalidArgumentError("has no key in it");
  return table;
}

absl::StatusOr<KeyText> ParseKey(absl::string_view key) {
  const bool ok = absl::ConsumePrefix(&key, kKeyPrefix) && key.size() == kIdDigits + 1 + kSecretDigits &&
                  key[kIdDigits] == '-' && IsHex(key.substr(0, kIdDigits), kIdDigits) &&
                  IsHex(key.substr(kIdDigits + 1), kSecretDigits);
  if (!ok) return absl::InvalidArgumentError("not a key of this server's kind");
  return KeyText{std::string(key.substr(0, kIdDigits)), std::string(key.substr(kIdDigits + 1))};
}

KeyDigest HashSecret(const KeySalt& salt, absl::string_view secret) {
  std::string input(reinterpret_cast<const char*>(salt.data()), salt.size());
  input.append(secret.data(), secret.size());
  KeyDigest digest;
  unsigned int size = 0;
  CHECK_EQ(EVP_Digest(input.data(), input.size(), digest.data(), &size, EVP_sha256(), nullptr), 1);
  CHECK_EQ(size, digest.size());
  return digest;
}

absl::StatusOr<NewKey> MakeKey(const Caller& caller) {
  std::array<uint8_t, kIdDigits / 2> id;
  std::array<uint8_t, kSecretDigits / 2> secret;
  KeySalt salt;
  if (!FillRandom(&id) || !FillRandom(&secret) || !FillRandom(&salt)) {
    return absl::InternalError("the system gives no random bytes");
  }
  const std::string hex = ToHex(secret);
  NewKey made;
  made.key = absl::StrCat(kKeyPrefix, ToHex(id), "-", hex);
  made.line = absl::StrCat("id=", ToHex(id), " hash=", ToHex(salt), ":", ToHex(HashSecret(salt, hex)),
                           " tenant=", caller.tenant);
  if (caller.weight != 1) absl::StrAppend(&made.line, " weight=", caller.weight);
  if (caller.max_live_requests != 0) absl::StrAppend(&made.line, " max_live_requests=", caller.max_live_requests);
  if (caller.max_choices != 0) absl::StrAppend(&made.line, " max_choices=", caller.max_choices);
  if (caller.max_tokens != 0) absl::StrAppend(&made.line, " max_tokens=", caller.max_tokens);
  if (caller.tenant_class != kDefaultClass) absl::StrAppend(&made.line, " class=", caller.tenant_class);
  if (const absl::StatusOr<KeyTable> table = ParseKeyFile(made.line); !table.ok()) return table.status();
  return made;
}

}  // namespace quire::access
