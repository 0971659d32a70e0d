#include "coordinator/text/utf8.h"

#include <cstdint>
#include <cstring>

namespace quire::text {
namespace {

enum class SequenceKind { kWhole, kIncomplete, kMalformed };

struct Sequence {
  SequenceKind kind;
  size_t length;  // bytes of the character, of the incomplete tail, or of the maximal malformed subpart
};

// Classifies the character that starts at bytes[pos]. The second byte's range depends on the lead (no overlong forms,
// no surrogates, nothing over U+10FFFF); all later bytes are 80..BF.
Sequence Classify(absl::string_view bytes, size_t pos) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = at(pos);
  if (lead < 0x80) return {SequenceKind::kWhole, 1};
  if (lead < 0xC2 || lead > 0xF4) return {SequenceKind::kMalformed, 1};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (pos + i >= bytes.size()) return {SequenceKind::kIncomplete, i};
    const unsigned char byte = at(pos + i);
    const bool fits = i == 1 ? (byte >= low && byte <= high) : (byte & 0xC0) == 0x80;
    if (!fits) return {SequenceKind::kMalformed, i};
  }
  return {SequenceKind::kWhole, length};
}

// First offset at or after `pos` that is not ASCII. Eight bytes at a time: most prompts are mostly ASCII.
size_t SkipAscii(absl::string_view text, size_t pos) {
  while (pos + 8 <= text.size()) {
    uint64_t word;
    std::memcpy(&word, text.data() + pos, sizeof(word));
    if (word & 0x8080808080808080ull) break;
    pos += 8;
  }
  while (pos < text.size() && static_cast<unsigned char>(text[pos]) < 0x80) ++pos;
  return pos;
}

}  // namespace

size_t FindInvalidUtf8(absl::string_view text) {
  for (size_t pos = SkipAscii(text, 0); pos < text.size();) {
    const Sequence sequence = Classify(text, pos);
    if (sequence.kind != SequenceKind::kWhole) return pos;
    pos += sequence.length;
    if (pos < text.size() && static_cast<unsigned char>(text[pos]) < 0x80) pos = SkipAscii(text, pos);
  }
  return absl::string_view::npos;
}

char32_t NextChar(absl::string_view text, size_t* pos) {
  const auto at = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[*pos + i])); };
  const size_t length = CharLength(text[*pos]);
  char32_t c = at(0);
  if (length == 2) {
    c = (c & 0x1F) << 6 | (at(1) & 0x3F);
  } else if (length == 3) {
    c = (c & 0x0F) << 12 | (at(1) & 0x3F) << 6 | (at(2) & 0x3F);
  } else if (length == 4) {
    c = (c & 0x07) << 18 | (at(1) & 0x3F) << 12 | (at(2) & 0x3F) << 6 | (at(3) & 0x3F);
  }
  *pos += length;
  return c;
}

void AppendChar(char32_t c, std::string* out) {
  const auto push = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    push(c);
  } else if (c < 0x800) {
    push(0xC0 | c >> 6);
    push(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    push(0xE0 | c >> 12);
    push(0x80 | (c >> 6 & 0x3F));
    push(0x80 | (c & 0x3F));
  } else {
    push(0xF0 | c >> 18);
    push(0x80 | (c >> 12 & 0x3F));
    push(0x80 | (c >> 6 & 0x3F));
    push(0x80 | (c & 0x3F));
  }
}

size_t AppendLossy(absl::string_view bytes, bool at_end, std::string* out) {
  size_t pos = 0;
  while (pos < bytes.size()) {
    const size_t ascii_end = SkipAscii(bytes, pos);
    out->append(bytes.data() + pos, ascii_end - pos);
    pos = ascii_end;
    if (pos == bytes.size()) break;
    const Sequence sequence = Classify(bytes, pos);
    if (sequence.kind == SequenceKind::kIncomplete && !at_end) break;
    if (sequence.kind == SequenceKind::kWhole) {
      out->append(bytes.data() + pos, sequence.length);
    } else {
      out->append(kReplacementCharacter);
    }
    pos += sequence.length;
  }
  return pos;
}

}  // namespace quire::text
