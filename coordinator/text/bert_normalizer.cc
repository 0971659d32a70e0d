#include "coordinator/text/bert_normalizer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

struct Range {
  char32_t first, last;
};

template <size_t n>
bool IsIn(const Range (&ranges)[n], char32_t c) {
  const Range* range =
      std::lower_bound(std::begin(ranges), std::end(ranges), c, [](const Range& r, char32_t x) { return r.last < x; });
  return range != std::end(ranges) && c >= range->first;
}

// Controls, formats and private characters of the Unicode that the library's table is of, but for tab and line ends.
constexpr Range kDropped[] = {
    {0x0, 0x8},         {0xB, 0xC},         {0xE, 0x1F},        {0x7F, 0x9F},       {0xAD, 0xAD},
    {0x600, 0x605},     {0x61C, 0x61C},     {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x180E, 0x180E},
    {0x200B, 0x200F},   {0x202A, 0x202E},   {0x2060, 0x2064},   {0x2066, 0x206F},   {0xE000, 0xF8FF},
    {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},   {0xFFFD, 0xFFFD},   {0x110BD, 0x110BD}, {0x1BCA0, 0x1BCA3},
    {0x1D173, 0x1D17A}, {0xE0001, 0xE0001}, {0xE0020, 0xE007F}, {0xF0000, 0xFFFFD}, {0x100000, 0x10FFFD}};

// The library leaves out 2B820 to 2B91F.
constexpr Range kChinese[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},  {0x20000, 0x2A6DF},
                              {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};

void Clean(char32_t c, std::string* out) {
  if (IsIn(kDropped, c)) return;
  AppendChar(IsWhitespace(c) ? U' ' : c, out);
}

void SetApart(char32_t c, std::string* out) {
  const bool is_chinese = IsIn(kChinese, c);
  if (is_chinese) out->push_back(' ');
  AppendChar(c, out);
  if (is_chinese) out->push_back(' ');
}

void DropNonspacing(char32_t c, std::string* out) {
  if (MarkOf(c) != MarkKind::kNonspacing) AppendChar(c, out);
}

void DropMark(char32_t c, std::string* out) {
  if (MarkOf(c) == MarkKind::kNone) AppendChar(c, out);
}

}  // namespace

NormalizerPtr MakeBertNormalizer(const BertNormalizerOptions& options) {
  std::vector<NormalizerPtr> parts;
  if (options.clean_text) parts.push_back(MakeCharNormalizer(Clean));
  if (options.handle_chinese_chars) parts.push_back(MakeCharNormalizer(SetApart));
  if (options.strip_accents) {
    parts.push_back(MakeFormNormalizer(NormalForm::kNfd));
    parts.push_back(MakeCharNormalizer(DropNonspacing));
  }
  if (options.lowercase) parts.push_back(MakeCharNormalizer(AppendLower));
  return MakeSequenceNormalizer(std::move(parts));
}

NormalizerPtr MakeStripAccentsNormalizer() { return MakeCharNormalizer(DropMark); }

}  // namespace quire::text
