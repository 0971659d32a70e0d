// Loading: what is read from the side files, what is refused and how, and that no broken file brings the process down.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/json_node.h"
#include "coordinator/text/tokenizer.h"

namespace quire::text {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

// A byte-fallback tokenizer small enough to read: "a b" is <s> ▁ a ▁b.
json SmallTokenizer() {
  json data = json::parse(R"({
    "version": "1.0",
    "added_tokens": [
      {"id": 0, "content": "<unk>", "normalized": false, "special": true},
      {"id": 1, "content": "<s>", "normalized": false, "special": true},
      {"id": 2, "content": "</s>", "normalized": false, "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": null,
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
      "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "a": 4, "b": 5, "▁b": 6, "<0xC3>": 7, "<0xA9>": 8},
      "merges": [["▁", "b"]]}})");
  return data;
}

class TokenizerLoadTest : public testing::Test {
 protected:
  TokenizerLoadTest() : dir_(absl::StrCat(testing::TempDir(), "/tokenizer_load")) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(absl::StrCat(dir_, "/", name), std::ios::binary) << text;
  }
  absl::StatusOr<std::unique_ptr<const Tokenizer>> Load(const json& data) {
    Write("tokenizer.json", data.dump());
    return Tokenizer::Load(dir_);
  }
  std::vector<int32_t> Encode(const Tokenizer& tokenizer, const std::string& text) {
    std::vector<int32_t> ids;
    const absl::Status status = tokenizer.Encode(text, /*add_special_tokens=*/true, &ids);
    EXPECT_TRUE(status.ok()) << status;
    return ids;
  }
  void ExpectRefused(const json& data, absl::StatusCode code, const std::string& what) {
    const absl::Status status = Load(data).status();
    EXPECT_EQ(status.code(), code) << status << " for " << what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(dir_, "/tokenizer.json: ")));
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }

  const std::string dir_;
};

TEST_F(TokenizerLoadTest, TheSmallTokenizerWorks) {
  auto tokenizer = Load(SmallTokenizer());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(Encode(**tokenizer, "a b"), ElementsAre(1, 3, 4, 6));
  EXPECT_THAT(Encode(**tokenizer, "é"), ElementsAre(1, 3, 7, 8));
  EXPECT_EQ((*tokenizer)->vocab_size(), 9);
  EXPECT_EQ((*tokenizer)->bos_id(), absl::nullopt);
  EXPECT_TRUE((*tokenizer)->IsSpecial(2));
  EXPECT_FALSE((*tokenizer)->IsSpecial(4));
  EXPECT_FALSE((*tokenizer)->IsSpecial(-1));
  EXPECT_EQ((*tokenizer)->TokenToId("</s>"), absl::optional<int32_t>(2));
  EXPECT_EQ((*tokenizer)->TokenToId("c"), absl::nullopt);
  EXPECT_EQ((*tokenizer)->TokenText(6), "▁b");
  EXPECT_EQ((*tokenizer)->TokenBytes(6), " b");
  EXPECT_EQ((*tokenizer)->TokenBytes(7), "\xC3");
  EXPECT_EQ((*tokenizer)->TokenBytes(99), "");
}

TEST_F(TokenizerLoadTest, InvalidUtf8IsRefusedByNameAndOffset) {
  auto tokenizer = Load(SmallTokenizer());
  ASSERT_TRUE(tokenizer.ok());
  std::vector<int32_t> ids;
  const absl::Status status = (*tokenizer)->Encode("ab\xC3(", true, &ids);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("invalid UTF-8 at byte 2 of 4"));
  EXPECT_TRUE(ids.empty());
}

TEST_F(TokenizerLoadTest, SideFilesAddTokensAndFlags) {
  Write("tokenizer_config.json", R"({
    "tokenizer_class": "LlamaTokenizerFast", "add_bos_token": false, "add_eos_token": true,
    "bos_token": {"content": "<s>", "special": true}, "eos_token": "</s>", "pad_token": null,
    "additional_special_tokens": ["a"],
    "added_tokens_decoder": {"9": {"content": "<new>", "special": false, "normalized": false, "lstrip": true}}})");
  auto tokenizer = Load(SmallTokenizer());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos_id(), absl::optional<int32_t>(1));
  EXPECT_EQ((*tokenizer)->eos_id(), absl::optional<int32_t>(2));
  EXPECT_EQ((*tokenizer)->vocab_size(), 10);
  EXPECT_TRUE((*tokenizer)->IsSpecial(4));
  EXPECT_THAT(Encode(**tokenizer, "b  <new>"), ElementsAre(6, 9, 2));
}

// The ids are the library's with encode_special_tokens set.
TEST_F(TokenizerLoadTest, SpecialTokensInATextAreTextWhereTheConfigSaysSo) {
  const json data = json::parse(std::ifstream("coordinator/text/testdata/byte_fallback/tokenizer.json"));
  for (const bool split : {false, true}) {
    Write("tokenizer_config.json", split ? R"({"split_special_tokens": true})" : "{}");
    auto tokenizer = Load(data);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const std::vector<int32_t> ids = Encode(**tokenizer, "x </s> y<s>");
    if (split) {
      EXPECT_THAT(ids, ElementsAre(1, 452, 123, 452, 63, 50, 316, 65, 452, 321, 63, 316, 65));
    } else {
      EXPECT_EQ(ids.back(), 1) << "the token <s>";
    }
  }
}

TEST_F(TokenizerLoadTest, SpecialTokensMapFillsWhatTheConfigLeavesOpen) {
  Write("special_tokens_map.json", R"({"eos_token": {"content": "</s>"}})");
  auto tokenizer = Load(SmallTokenizer());
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ((*tokenizer)->eos_id(), absl::optional<int32_t>(2));
}

TEST_F(TokenizerLoadTest, BrokenSideFilesAreNamed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{", "not valid JSON"},
      {"[]", "expected an object, found array"},
      {R"({"bos_token": 7})", "bos_token: expected a string, found number"},
      {R"({"add_bos_token": "yes"})", "add_bos_token: expected true or false, found string"},
      {R"({"added_tokens_decoder": {"x": {"content": "y"}}})", "added_tokens_decoder.x: the key is not a token id"},
      {R"({"added_tokens_decoder": {"9": {}}})", "added_tokens_decoder.9.content: expected a string, found nothing"},
  };
  for (const auto& [text, what] : cases) {
    Write("tokenizer_config.json", text);
    const absl::Status status = Load(SmallTokenizer()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("tokenizer_config.json: "));
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }
  Write("tokenizer_config.json",
        R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "bos_token": "<no>"})");
  ExpectRefused(SmallTokenizer(), absl::StatusCode::kInvalidArgument, "bos_token '<no>'");
}

TEST_F(TokenizerLoadTest, AMissingFileIsNotFound) {
  const absl::Status status = Tokenizer::Load(absl::StrCat(dir_, "/nowhere")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nowhere: no tokenizer: looked for"));
}

TEST_F(TokenizerLoadTest, BrokenAndUnsupportedFilesNameTheKey) {
  struct Case {
    const char* pointer;  // where
    const char* value;    // what is put there
    absl::StatusCode code;
    const char* what;
  };
  constexpr auto kBroken = absl::StatusCode::kInvalidArgument;
  constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;
  const Case cases[] = {
      {"/version", R"("2.0")", kUnsupported, "version: "},
      {"/model", "null", kBroken, "model.vocab: expected an object"},
      {"/model", "[]", kBroken, "model: expected an object, found array"},
      {"/model/type", R"("WordPieces")", kUnsupported, "model.type: model of type 'WordPieces' is not supported"},
      {"/model/type", R"("Unigram")", kBroken, "model.vocab: expected an array"},
      {"/model", R"({"type": "Unigram", "vocab": [["a", 1], 5]})", kBroken, "vocab[1]: expected a token and its score"},
      {"/model", R"({"type": "Unigram", "vocab": [["a", 1], ["a", 2]]})", kBroken, "token 'a' occurs twice"},
      {"/model", R"({"type": "Unigram", "vocab": [["a", 1]], "unk_id": 1})", kBroken, "unknown token has id 1 of 1"},
      {"/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "?"})", kBroken,
       "precompiled_charsmap: not base64"},
      {"/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "/////w=="})", kBroken,
       "precompiled_charsmap: a table of 4294967295 bytes in 0"},
      {"/model/dropout", "0.1", kUnsupported, "model.dropout"},
      {"/model/end_of_word_suffix", R"("\u00e9")", kUnsupported,
       "model.end_of_word_suffix: an affix that is not ASCII"},
      {"/model/fuse_unk", "1", kBroken, "model.fuse_unk: expected true or false, found number"},
      {"/model/vocab/a", "-1", kBroken, "model.vocab: token 'a' has id -1"},
      {"/model/vocab/a", "5", kBroken, "both have id 5"},
      {"/model/vocab/a", "4294967300", kBroken, "token 'a' has id 4294967300"},
      {"/model/vocab/a", "18446744073709551615", kBroken, "token 'a' has id 18446744073709551615"},
      {"/model/vocab/a", "4.5", kBroken, "token 'a' has id 4.5"},
      {"/model/vocab/a", R"("4")", kBroken, "expected an integer"},
      {"/model/merges", "{}", kBroken, "model.merges: expected an array"},
      {"/model/merges/0", R"(["a", "b"])", kBroken, "merges[0] needs the token 'ab'"},
      {"/model/merges/0", R"("z b")", kBroken, "merges[0] needs the token 'z'"},
      {"/model/merges/0", R"("a b c")", kBroken, "model.merges[0]: expected two tokens"},
      {"/model/merges/0", "[1, 2]", kBroken, "model.merges[0]: expected two tokens"},
      {"/normalizer", R"({"type": "StripVowels"})", kUnsupported, "normalizer of type 'StripVowels' is not supported"},
      {"/normalizer", R"({})", kBroken, "normalizer.type: expected a string"},
      {"/normalizer/normalizers/1/pattern", R"({"String": ""})", kBroken, "normalizers[1].pattern: an empty pattern"},
      {"/pre_tokenizer", R"({"type": "UnicodeScripts"})", kUnsupported, "'UnicodeScripts' is not supported"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false})",
       kBroken, "pre_tokenizer.pattern.Regex: regex: "},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "[[a-z]&&[^b]]"}, "behavior": "Isolated"})",
       kUnsupported, "set intersection"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Sideways"})", kBroken,
       "unknown behavior 'Sideways'"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "__"})", kBroken, "expected a single character"},
      {"/decoder/decoders/1", R"({"type": "CTC"})", kUnsupported, "decoder of type 'CTC' is not supported"},
      {"/decoder/decoders/1", "null", kBroken, "decoder.decoders[1]: expected an object, found null"},
      {"/decoder/decoders/3/start", "-1", kBroken, "-1 is outside 0 to"},
      {"/post_processor", R"({"type": "CtcProcessing"})", kUnsupported, "'CtcProcessing' is not supported"},
      {"/post_processor", R"({"type": "BertProcessing"})", kBroken, "post_processor.cls: expected an array"},
      {"/post_processor", R"({"type": "RobertaProcessing", "cls": ["<s>", 1], "sep": ["</s>", 70]})", kBroken,
       "no token with id 70"},
      {"/post_processor/special_tokens/<s>/ids", "[999]", kBroken, "no token with id 999 (ids end at 9)"},
      {"/post_processor/single", "[]", kUnsupported, "the text exactly once"},
      {"/added_tokens/0/id", "-3", kBroken, "added_tokens[0].id: -3 is outside"},
      {"/added_tokens/0/content", R"("<other>")", kBroken, "token '<other>' has id 0, which belongs to '<unk>'"},
      {"/added_tokens/0", "5", kBroken, "added_tokens[0]: expected an object, found number"},
  };
  for (const Case& c : cases) {
    json data = SmallTokenizer();
    data[json::json_pointer(c.pointer)] = json::parse(c.value);
    ExpectRefused(data, c.code, c.what);
  }
}

TEST_F(TokenizerLoadTest, JsonIsBounded) {
  Write("tokenizer.json", std::string(1'000'000, '['));
  EXPECT_EQ(Tokenizer::Load(dir_).status().code(), absl::StatusCode::kInvalidArgument);
  const std::string deep = std::string(kJsonDepthMax + 1, '[') + std::string(kJsonDepthMax + 1, ']');
  Write("tokenizer.json", deep);
  EXPECT_THAT(std::string(Tokenizer::Load(dir_).status().message()), HasSubstr("nested deeper than 64 levels"));
  const std::string allowed = std::string(kJsonDepthMax, '[') + std::string(kJsonDepthMax, ']');
  Write("tokenizer.json", allowed);
  EXPECT_THAT(std::string(Tokenizer::Load(dir_).status().message()), HasSubstr("expected an object, found array"));
  Write("tokenizer.json", "\xFF{}");
  EXPECT_THAT(std::string(Tokenizer::Load(dir_).status().message()), HasSubstr("not valid JSON"));
  Write("tokenizer.json", "");
  EXPECT_FALSE(Tokenizer::Load(dir_).ok());
  Write("big.json", std::string(1000, ' '));
  EXPECT_THAT(std::string(ReadJsonFile(dir_ + "/big.json", 999).status().message()), HasSubstr("1000 bytes, over"));
  EXPECT_FALSE(ReadJsonFile(dir_, 999).ok());
}

TEST_F(TokenizerLoadTest, ATokenOutsideTheVocabularyIsAnErrorOnlyWhereATextNeedsIt) {
  json data = SmallTokenizer();
  data["model"]["unk_token"] = "<nowhere>";
  data["model"]["byte_fallback"] = false;
  auto tokenizer = Load(data);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(Encode(**tokenizer, "a"), ElementsAre(1, 3, 4));
  std::vector<int32_t> ids;
  EXPECT_EQ((*tokenizer)->Encode("z", true, &ids).code(), absl::StatusCode::kFailedPrecondition);
}

// Found by fuzzing: tables are indexed by id, and one id far away made them half a gigabyte.
TEST_F(TokenizerLoadTest, AnIdFarBehindAllOthersIsRefusedBeforeItCostsMemory) {
  json data = SmallTokenizer();
  data["model"]["vocab"]["b"] = 4194303;
  EXPECT_THAT(std::string(Load(data).status().message()),
              HasSubstr("model.vocab: the largest id is 4194303, and there are 9 tokens: more than 262144 ids"));
  data = SmallTokenizer();
  data["added_tokens"].push_back({{"id", 4194303}, {"content", "<far>"}, {"special", true}});
  EXPECT_THAT(std::string(Load(data).status().message()), HasSubstr("added_tokens: the largest id is 4194303"));
  data["added_tokens"].back()["id"] = 262152;
  EXPECT_TRUE(Load(data).ok()) << "some models leave room";
}

// Found by fuzzing: an id below the largest one, which only an added token far behind it makes large, has no token.
TEST_F(TokenizerLoadTest, ATemplateThatNamesAnIdInAHoleIsRefused) {
  json data = SmallTokenizer();
  data["added_tokens"].push_back({{"id", 76}, {"content", "<far>"}, {"special", true}});
  data["post_processor"]["special_tokens"]["<s>"]["ids"] = {68};
  EXPECT_THAT(std::string(Load(data).status().message()), HasSubstr("no token with id 68 (ids end at 77)"));
}

// Replaces a random value somewhere in the document by something else, often of another type.
void MutateValue(json* value, std::mt19937* rng) {
  while (!value->empty() && value->is_structured() && (*rng)() % 8 != 0) {
    value = &*std::next(value->begin(), static_cast<ptrdiff_t>((*rng)() % value->size()));
  }
  const json replacements[] = {nullptr,
                               -1,
                               0,
                               7,
                               1 << 30,
                               1e300,
                               "",
                               "\xE2\x96\x81",
                               "(",
                               "Sequence",
                               "ByteLevel",
                               true,
                               json::array(),
                               json::object(),
                               json::array({"a", "b"}),
                               0xFFFFFFFFFFFFFFFFull};
  *value = replacements[(*rng)() % std::size(replacements)];
}

// Loads, and uses what was loaded.
void LoadAndUse(const std::string& dir, int* loaded) {
  absl::StatusOr<std::unique_ptr<const Tokenizer>> tokenizer = Tokenizer::Load(dir);
  if (!tokenizer.ok()) {
    EXPECT_FALSE(tokenizer.status().message().empty());
    return;
  }
  ++*loaded;
  std::vector<int32_t> ids = {-1, 0, 5, 1 << 30};
  const absl::Status encoded = (*tokenizer)->Encode("<s>a  b é ▁\n12 don't<unk>", true, &ids);
  (*tokenizer)->Decode(ids, encoded.ok());
}

TEST_F(TokenizerLoadTest, NoMutatedValueBringsTheProcessDown) {
  json level = json::parse(std::ifstream("coordinator/text/testdata/byte_level/tokenizer.json"));
  level["model"]["merges"].erase(level["model"]["merges"].begin() + 20, level["model"]["merges"].end());
  std::mt19937 rng(3);
  int loaded = 0;
  for (int round = 0; round < 2000; ++round) {
    json data = round % 4 == 0 ? level : SmallTokenizer();
    const int edits = 1 + static_cast<int>(rng() % 3);
    for (int i = 0; i < edits; ++i) MutateValue(&data, &rng);
    Write("tokenizer.json", data.dump(-1, ' ', false, json::error_handler_t::replace));
    LoadAndUse(dir_, &loaded);
  }
  EXPECT_GE(loaded, 120);
}

TEST_F(TokenizerLoadTest, NoMutatedByteBringsTheProcessDown) {
  std::mt19937 rng(4);
  int loaded = 0;
  const std::string good = SmallTokenizer().dump();
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    const int edits = 1 + static_cast<int>(rng() % 3);
    for (int i = 0; i < edits; ++i) {
      const size_t at = rng() % text.size();
      switch (rng() % 4) {
        case 0:
          text[at] = static_cast<char>(rng());
          break;
        case 1:
          text.erase(at, rng() % 20);
          break;
        case 2: {
          const size_t source = rng() % text.size();
          const size_t count = rng() % 30;
          text.insert(at, text.substr(source, count));
          break;
        }
        default:
          text[at] = "0123456789{}[]\",:-e\\"[rng() % 20];
      }
    }
    Write("tokenizer.json", text);
    LoadAndUse(dir_, &loaded);
  }
  EXPECT_GE(loaded, 150);
}

}  // namespace
}  // namespace quire::text
