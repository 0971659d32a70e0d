#include "coordinator/text/unicode.h"

#include <gtest/gtest.h>

#include <string>

#include "coordinator/text/byte_map.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

constexpr size_t kNone = absl::string_view::npos;

TEST(Utf8Test, EveryCharacterIsWrittenAndReadBack) {
  std::string all;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c > 0xDFFF) AppendChar(c, &all);
  }
  EXPECT_EQ(FindInvalidUtf8(all), kNone);
  size_t pos = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    ASSERT_EQ(NextChar(all, &pos), c);
  }
  EXPECT_EQ(pos, all.size());
}

struct BadText {
  std::string bytes;
  size_t offset;         // of the first bad byte
  std::string repaired;  // as Rust's String::from_utf8_lossy does
};

TEST(Utf8Test, FindsAndRepairsWhatIsMalformed) {
  const std::string r = kReplacementCharacter;
  const BadText cases[] = {
      {"\x80", 0, r},
      {"abcdefghij\xFF"
       "k",
       10, "abcdefghij" + r + "k"},
      {"\xC0\x80", 0, r + r},          // overlong
      {"\xE0\x80\x80", 0, r + r + r},  // overlong
      {"\xED\xA0\x80", 0, r + r + r},  // surrogate
      {"\xF4\x90\x80\x80", 0, r + r + r + r},
      {"\xF5\x80", 0, r + r},
      {"\xE4\xBD", 0, r},  // one maximal subpart
      {"a\xE4\xBDz", 1, "a" + r + "z"},
      {"\xF0\x9F\x98"
       "A",
       0, r + "A"},
      {"\xF0\x9F\xF0\x9F\x98\x80", 0, r + "\xF0\x9F\x98\x80"},
      {"\xC2", 0, r},
  };
  for (const BadText& bad : cases) {
    EXPECT_EQ(FindInvalidUtf8(bad.bytes), bad.offset);
    std::string repaired;
    EXPECT_EQ(AppendLossy(bad.bytes, /*at_end=*/true, &repaired), bad.bytes.size());
    EXPECT_EQ(repaired, bad.repaired);
  }
}

TEST(Utf8Test, AnIncompleteCharacterIsLeftUntilTheEnd) {
  std::string text;
  EXPECT_EQ(AppendLossy("ab\xF0\x9F\x98", /*at_end=*/false, &text), 2u);
  EXPECT_EQ(text, "ab");
  EXPECT_EQ(AppendLossy("\xF0\x9F\x98\x80", /*at_end=*/false, &text), 4u);
  EXPECT_EQ(text, "ab\xF0\x9F\x98\x80");
}

TEST(ByteMapTest, EveryByteHasItsOwnCharacter) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  std::string mapped, back;
  AppendMapped(bytes, &mapped);
  EXPECT_TRUE(UnmapBytes(mapped, &back));
  EXPECT_EQ(back, bytes);
  EXPECT_EQ(MappedChar(' '), char32_t{0x120});
  EXPECT_EQ(MappedChar('\n'), char32_t{0x10A});
  EXPECT_EQ(MappedChar(0xAD), char32_t{0x143});
  EXPECT_FALSE(UnmapBytes("a b", &back));
  EXPECT_EQ(back, "");
}

TEST(UnicodeTest, NormalForms) {
  EXPECT_EQ(Normalize("e\u0301 plain", NormalForm::kNfc), "\u00e9 plain");
  EXPECT_EQ(Normalize("\u00e9", NormalForm::kNfd), "e\u0301");
  EXPECT_EQ(Normalize("\ufb01\uff21", NormalForm::kNfc), "\ufb01\uff21");
  EXPECT_EQ(Normalize("\ufb01\uff21", NormalForm::kNfkc), "fiA");
  EXPECT_EQ(Normalize("q\u0307\u0323", NormalForm::kNfc), "q\u0323\u0307");
  EXPECT_EQ(Normalize("\u1100\u1161\u11a8", NormalForm::kNfc), "\uac01");
}

TEST(UnicodeTest, AMillionMarksInTheWorstOrderAreNotQuadratic) {
  std::string text = "a";
  for (int i = 0; i < 500'000; ++i) text += "\u0301\u0323";  // class 230 before class 220: each pair is out of order
  const std::string normal = Normalize(text, NormalForm::kNfd);
  EXPECT_EQ(normal.size(), text.size());
  EXPECT_EQ(normal.substr(0, 5), "a\u0323\u0323");
}

TEST(UnicodeTest, Classes) {
  int whitespace = 0;
  for (char32_t c = 0; c < 0x110000; ++c) whitespace += IsWhitespace(c);
  EXPECT_EQ(whitespace, 25);
  EXPECT_TRUE(IsWordChar(U'é') && IsWordChar(0x24B6) && IsWordChar(0x200D) && IsWordChar('_'));
  EXPECT_FALSE(IsWordChar('-') || IsWordChar(0x2460));
  EXPECT_TRUE(IsNumeric('7') && IsNumeric(0xBD) && IsNumeric(0x2167));
  EXPECT_FALSE(IsNumeric('a'));
  EXPECT_TRUE(IsPunctuation('+') && IsPunctuation(0x3002) && IsPunctuation(0xAB));
  EXPECT_FALSE(IsPunctuation(0xB0) || IsPunctuation('a'));
}

}  // namespace
}  // namespace quire::text
