#include "coordinator/text/charsmap.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

// One character must not become a text that fills the memory. The longest of the real rules is 33 bytes.
constexpr size_t kReplacementBytesMax = 1024;

// What the bits of a unit say. Source: Darts-clone's DoubleArrayUnit.
bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t Value(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t Label(uint32_t unit) { return unit & 0x800000FF; }
uint32_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }

uint32_t LittleEndian(absl::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

bool IsContinuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

}  // namespace

absl::StatusOr<Charsmap> Charsmap::Parse(absl::string_view blob) {
  Charsmap map;
  if (blob.empty()) return map;
  if (blob.size() < 4) return absl::InvalidArgumentError(absl::StrCat(blob.size(), " bytes, too short for a charsmap"));
  const uint32_t size = LittleEndian(blob, 0);
  if (size > blob.size() - 4 || size % 4 != 0) {
    return absl::InvalidArgumentError(absl::StrCat("a table of ", size, " bytes in ", blob.size() - 4));
  }
  for (size_t at = 4; at < 4 + size_t{size}; at += 4) map.units_.push_back(LittleEndian(blob, at));
  map.replacements_ = std::string(blob.substr(4 + size));
  if (const size_t bad = FindInvalidUtf8(map.replacements_); bad != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("invalid UTF-8 at byte ", bad, " of the replacements"));
  }
  for (absl::string_view replacement : absl::StrSplit(map.replacements_, '\0')) {
    if (replacement.size() <= kReplacementBytesMax) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a replacement of ", replacement.size(), " bytes, over the limit of ", kReplacementBytesMax));
  }
  return map;
}

absl::optional<Charsmap::Match> Charsmap::Longest(absl::string_view text) const { return Find(text, true); }
absl::optional<Charsmap::Match> Charsmap::Shortest(absl::string_view text) const { return Find(text, false); }

absl::optional<Charsmap::Match> Charsmap::Find(absl::string_view text, bool longest) const {
  absl::optional<Match> match;
  if (units_.empty()) return match;
  uint32_t node = Offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || Label(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= Offset(unit);
    if (!HasLeaf(unit)) continue;
    if (node >= units_.size()) break;
    const size_t begin = Value(units_[node]);
    const bool at_char_end = i + 1 == text.size() || !IsContinuation(text[i + 1]);
    if (begin >= replacements_.size() || IsContinuation(replacements_[begin]) || !at_char_end) continue;
    const absl::string_view rest = absl::string_view(replacements_).substr(begin);
    match = Match{i + 1, rest.substr(0, rest.find('\0'))};
    if (!longest) break;
  }
  return match;
}

}  // namespace quire::text
