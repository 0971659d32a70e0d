#include "coordinator/text/incremental_decoder.h"

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

class IncrementalDecoderTest : public testing::Test {
 protected:
  static std::unique_ptr<const Tokenizer> Load(const std::string& name) {
    auto tokenizer = Tokenizer::Load(absl::StrCat("coordinator/text/testdata/", name));
    CHECK(tokenizer.ok()) << tokenizer.status();
    return *std::move(tokenizer);
  }
  static int32_t Id(const Tokenizer& tokenizer, const std::string& token) {
    const absl::optional<int32_t> id = tokenizer.TokenToId(token);
    CHECK(id.has_value()) << token;
    return *id;
  }

  const std::unique_ptr<const Tokenizer> byte_level_ = Load("byte_level");
  const std::unique_ptr<const Tokenizer> byte_fallback_ = Load("byte_fallback");
};

// What one push or the end adds.
std::string Push(IncrementalDecoder* decoder, int32_t id) {
  std::string text;
  decoder->Append(id, &text);
  return text;
}
std::string End(IncrementalDecoder* decoder) {
  std::string text;
  decoder->Finish(&text);
  return text;
}

TEST_F(IncrementalDecoderTest, ByteLevelHoldsACharacterUntilItIsWhole) {
  IncrementalDecoder decoder(byte_level_.get(), {});
  // U+1F600 is F0 9F 98 80; in the byte-level alphabet these are ð Ł ĺ Ģ.
  EXPECT_EQ(Push(&decoder, Id(*byte_level_, "ð")), "");
  EXPECT_EQ(Push(&decoder, Id(*byte_level_, "Ł")), "");
  EXPECT_EQ(Push(&decoder, Id(*byte_level_, "ĺ")), "");
  EXPECT_EQ(Push(&decoder, Id(*byte_level_, "Ģ")), "\U0001F600");
  EXPECT_EQ(Push(&decoder, Id(*byte_level_, "ð")), "");
  EXPECT_EQ(Push(&decoder, Id(*byte_level_, "a")), "\uFFFDa");
  EXPECT_EQ(Push(&decoder, Id(*byte_level_, "Ł")), "\uFFFD");  // cannot start a character: known at once
  EXPECT_EQ(Push(&decoder, Id(*byte_level_, "ð")), "");
  EXPECT_EQ(End(&decoder), "\uFFFD");
}

TEST_F(IncrementalDecoderTest, AByteFallbackRunAppearsWhenItEnds) {
  const int32_t e1 = Id(*byte_fallback_, "<0xC3>");
  const int32_t e2 = Id(*byte_fallback_, "<0xA9>");
  const int32_t a = Id(*byte_fallback_, "a");
  IncrementalDecoder whole(byte_fallback_.get(), {});
  EXPECT_EQ(Push(&whole, e1), "");
  EXPECT_EQ(Push(&whole, e2), "");
  EXPECT_EQ(Push(&whole, a), "éa");
  // One broken byte breaks its whole run: the reference decodes run by run.
  IncrementalDecoder broken(byte_fallback_.get(), {});
  for (int32_t id : {e1, e2, e1}) EXPECT_EQ(Push(&broken, id), "");
  EXPECT_EQ(Push(&broken, a), "\uFFFD\uFFFD\uFFFDa");
  EXPECT_EQ(byte_fallback_->Decode({e1, e2, e1, a}, false), "\uFFFD\uFFFD\uFFFDa");
}

TEST_F(IncrementalDecoderTest, TheLeadingSpaceIsDroppedOnlyAtTheStartOfAText) {
  const int32_t the = Id(*byte_fallback_, "▁the");
  IncrementalDecoder start(byte_fallback_.get(), {/*skip_special_tokens=*/true, /*at_text_start=*/true});
  EXPECT_EQ(Push(&start, the), "the");
  EXPECT_EQ(Push(&start, the), " the");
  IncrementalDecoder continued(byte_fallback_.get(), {/*skip_special_tokens=*/true, /*at_text_start=*/false});
  EXPECT_EQ(Push(&continued, the), " the");
}

TEST_F(IncrementalDecoderTest, SpecialTokensAreSkippedOnRequest) {
  const int32_t end = Id(*byte_level_, "<|end_of_text|>");
  IncrementalDecoder skipping(byte_level_.get(), {/*skip_special_tokens=*/true});
  EXPECT_EQ(Push(&skipping, end), "");
  IncrementalDecoder showing(byte_level_.get(), {/*skip_special_tokens=*/false});
  EXPECT_EQ(Push(&showing, end), "<|end_of_text|>");
}

TEST_F(IncrementalDecoderTest, ACopyGoesItsOwnWay) {
  IncrementalDecoder first(byte_level_.get(), {});
  EXPECT_EQ(Push(&first, Id(*byte_level_, "Ã")), "");  // C3
  IncrementalDecoder second = first;
  EXPECT_EQ(Push(&first, Id(*byte_level_, "©")), "é");
  EXPECT_EQ(Push(&second, Id(*byte_level_, "¨")), "è");
}

// The rule is vLLM's; only a tokenizer without a decoder puts spaces between tokens.
TEST_F(IncrementalDecoderTest, AddedTokensInARowHaveNoSpaceBetweenThemIfAskedSo) {
  nlohmann::json data = nlohmann::json::parse(std::ifstream("coordinator/text/testdata/byte_fallback/tokenizer.json"));
  data["decoder"] = nullptr;
  const std::string dir = testing::TempDir();
  std::ofstream(absl::StrCat(dir, "/tokenizer.json")) << data.dump();
  const auto tokenizer = Tokenizer::Load(dir);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const bool spaces : {true, false}) {
    IncrementalDecoder decoder(tokenizer->get(), {/*skip_special_tokens=*/false, /*at_text_start=*/true, spaces});
    std::string text;
    for (const int32_t id : {1, 2, 300, 1, 0, 2, 301}) decoder.Append(id, &text);
    decoder.Finish(&text);
    EXPECT_EQ(text, spaces ? "<s> </s> c <s> <unk> </s> d" : "<s></s> c <s><unk></s> d");
  }
}

TEST_F(IncrementalDecoderTest, AnyIdsStreamToWhatTheyDecodeTo) {
  std::mt19937 rng(11);
  for (const Tokenizer* tokenizer : {byte_level_.get(), byte_fallback_.get()}) {
    for (int round = 0; round < 2000; ++round) {
      std::vector<int32_t> ids(rng() % 40);
      // Half the rounds keep to the first ids, which are mostly single bytes; a few ids have no token at all.
      const int32_t top = round % 2 == 0 ? 300 : tokenizer->vocab_size() + 5;
      for (int32_t& id : ids) {
        const bool below_zero = rng() % 50 == 0;
        id = static_cast<int32_t>(rng() % static_cast<uint32_t>(top)) - (below_zero ? top : 0);
      }
      IncrementalDecoder decoder(tokenizer, {round % 3 == 0, /*at_text_start=*/true});
      std::string streamed;
      for (int32_t id : ids) {
        const std::string piece = Push(&decoder, id);
        ASSERT_EQ(FindInvalidUtf8(piece), absl::string_view::npos);
        streamed += piece;
      }
      streamed += End(&decoder);
      ASSERT_EQ(streamed, tokenizer->Decode(ids, round % 3 == 0));
    }
  }
}

}  // namespace
}  // namespace quire::text
