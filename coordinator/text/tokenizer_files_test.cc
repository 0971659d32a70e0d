// Which file of a directory counts, and that broken files of the binary and line-based kinds are refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/tokenizer.h"

namespace quire::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kKinds[] = "coordinator/text/testdata/kinds";

std::string ReadKind(const std::string& name) {
  std::ifstream stream(absl::StrCat(kKinds, "/", name), std::ios::binary);
  EXPECT_TRUE(stream.good()) << name;
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Just enough of the wire format to write a model.
std::string Bytes(int number, const std::string& bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  for (size_t size = bytes.size();; size >>= 7) {
    out.push_back(static_cast<char>((size & 0x7F) | (size > 0x7F ? 0x80 : 0)));
    if (size <= 0x7F) return out + bytes;
  }
}
std::string Varint(int number, int value) {  // number < 32, value < 128
  std::string key(1, static_cast<char>(number << 3 & 0x7F));
  if (number > 15) key = {static_cast<char>((number << 3 & 0x7F) | 0x80), static_cast<char>(number >> 4)};
  return key + std::string(1, static_cast<char>(value));
}
std::string Float(int number, float value) {
  std::string out(1 + sizeof(value), static_cast<char>(number << 3 | 5));
  std::copy_n(reinterpret_cast<const char*>(&value), sizeof(value), out.begin() + 1);
  return out;
}
std::string Piece(const std::string& text, float score, int type) {
  return Bytes(1, Bytes(1, text) + Float(2, score) + Varint(3, type));
}
std::string SmallModel(int model_type) {
  return Piece("<unk>", 0, 2) + Piece("<s>", 0, 3) + Piece("</s>", 0, 3) + Piece("\u2581", -3, 1) + Piece("a", -2, 1) +
         Piece("\u2581a", -1, 1) + Bytes(2, Varint(3, model_type));
}

class TokenizerFilesTest : public testing::Test {
 protected:
  TokenizerFilesTest() : dir_(absl::StrCat(testing::TempDir(), "/tokenizer_files")) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(absl::StrCat(dir_, "/", name), std::ios::binary) << text;
  }
  void ExpectRefused(const std::string& file, const std::string& text, absl::StatusCode code, const std::string& what) {
    Write(file, text);
    const absl::Status status = Tokenizer::Load(dir_).status();
    EXPECT_EQ(status.code(), code) << status << " for " << what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(dir_, "/", file)));
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }
  int32_t VocabSize() {
    const auto tokenizer = Tokenizer::Load(dir_);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return tokenizer.ok() ? (*tokenizer)->vocab_size() : -1;
  }

  const std::string dir_;
};

TEST_F(TokenizerFilesTest, TheFirstKindThatExistsCounts) {
  const absl::Status none = Tokenizer::Load(dir_).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kNotFound);
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "*.tiktoken", "found 0"}) {
    EXPECT_THAT(std::string(none.message()), HasSubstr(name));
  }
  const std::string tiktoken = ReadKind("tiktoken_qwen/qwen.tiktoken");
  Write("qwen.tiktoken", tiktoken);
  EXPECT_EQ(VocabSize(), 1500 + 208);
  Write("other.tiktoken", tiktoken);
  EXPECT_THAT(std::string(Tokenizer::Load(dir_).status().message()), HasSubstr("found 2 of these"));
  Write("vocab.json", ReadKind("vocab_merges/vocab.json"));
  EXPECT_EQ(Tokenizer::Load(dir_).status().code(), absl::StatusCode::kNotFound) << "vocab.json alone is not enough";
  Write("merges.txt", ReadKind("vocab_merges/merges.txt"));
  EXPECT_EQ(VocabSize(), 1500);
  Write("tokenizer.model", SmallModel(2));
  EXPECT_EQ(VocabSize(), 6);
  Write("tokenizer.json", R"({"model": {"type": "Unigram", "vocab": [["a", 0]]}})");
  EXPECT_EQ(VocabSize(), 1);
}

TEST_F(TokenizerFilesTest, ASentencePieceModelPutsItsBosBeforeTextsUnlessToldOtherwise) {
  for (int model_type : {1, 2}) {
    Write("tokenizer.model", SmallModel(model_type));
    auto tokenizer = Tokenizer::Load(dir_);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    std::vector<int32_t> ids;
    ASSERT_TRUE((*tokenizer)->Encode(" a  a</s>", /*add_special_tokens=*/true, &ids).ok());
    EXPECT_THAT(ids, ElementsAre(1, 5, 5, 0)) << "a control piece is no text";
    EXPECT_EQ((*tokenizer)->bos_id(), absl::optional<int32_t>(1));
    EXPECT_EQ((*tokenizer)->eos_id(), absl::optional<int32_t>(2));
    EXPECT_TRUE((*tokenizer)->IsSpecial(0));
    EXPECT_EQ((*tokenizer)->TokenBytes(5), " a");
    EXPECT_EQ((*tokenizer)->Decode({1, 5, 5, 2}, /*skip_special_tokens=*/true), "a a");
  }
  Write("tokenizer_config.json", R"({"add_bos_token": false, "add_eos_token": true, "eos_token": "</s>"})");
  Write("added_tokens.json", R"({"<new>": 6})");
  auto tokenizer = Tokenizer::Load(dir_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::vector<int32_t> ids;
  ASSERT_TRUE((*tokenizer)->Encode("a</s><new>a", /*add_special_tokens=*/true, &ids).ok());
  EXPECT_THAT(ids, ElementsAre(5, 2, 6, 5, 2)) << "a token that the configuration names is found";
}

TEST_F(TokenizerFilesTest, BrokenSentencePieceModelsNameTheField) {
  constexpr auto kBroken = absl::StatusCode::kInvalidArgument;
  constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::string good = SmallModel(1);
  const struct {
    std::string bytes;
    absl::StatusCode code;
    const char* what;
  } cases[] = {
      {"", kBroken, "pieces: 0 of 0 are of type UNKNOWN"},
      {"\n\x7F", kBroken, "ModelProto: no field of a sentencepiece model at byte 0 of 2"},
      {good.substr(0, good.size() - 1), kBroken, "broken or cut short"},
      {good + "\x0B", kBroken, "ModelProto: no field"},
      {good + std::string(12, '\xFF'), kBroken, "ModelProto: no field"},
      {good + Varint(1, 5), kBroken, "ModelProto field 1: wire type 0, expected 2"},
      {good + Piece("", 0, 1), kBroken, "pieces[6].piece: 0 bytes"},
      {good + Piece(std::string(1025, 'x'), 0, 1), kBroken, "pieces[6].piece: 1025 bytes, outside 1 to 1024"},
      {good + Piece("\xFF", 0, 1), kBroken, "pieces[6].piece: invalid UTF-8"},
      {good + Piece("x", nan, 1), kBroken, "pieces[6].score: not finite"},
      {good + Piece("x", 0, 9), kBroken, "pieces[6].type: not a type"},
      {good + Piece("a", 0, 1), kBroken, "token 'a' occurs twice"},
      {good + Piece("x", 0, 2), kBroken, "pieces: 2 of 7 are of type UNKNOWN"},
      {good + Bytes(1, Varint(2, 1)), kBroken, "pieces[6].score: wire type 0, expected 5"},
      {SmallModel(3), kUnsupported, "trainer_spec.model_type: 3"},
      {SmallModel(2) + Piece("x", 0, 5), kUnsupported, "pieces[6].type: UNUSED is not supported in a BPE model"},
      {good + Bytes(2, Varint(24, 1)), kUnsupported, "trainer_spec.treat_whitespace_as_suffix"},
      {good + Bytes(3, Varint(5, 0)), kUnsupported, "normalizer_spec.escape_whitespaces"},
      {good + Bytes(3, Bytes(2, "abc")), kBroken, "normalizer_spec.precompiled_charsmap: 3 bytes, too short"},
      {good + Bytes(3, Bytes(2, std::string(4, '\x7F'))), kBroken, "precompiled_charsmap: a table of"},
      {good + Bytes(5, Bytes(2, "abc")), kUnsupported, "denormalizer_spec.precompiled_charsmap"},
  };
  for (const auto& c : cases) ExpectRefused("tokenizer.model", c.bytes, c.code, c.what);
}

TEST_F(TokenizerFilesTest, BrokenLineFilesNameTheLine) {
  constexpr auto kBroken = absl::StatusCode::kInvalidArgument;
  constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;
  const std::string good = ReadKind("tiktoken_qwen/qwen.tiktoken");
  ExpectRefused("qwen.tiktoken", "IQ== 0\nIg==1\n", kBroken, "line 2: expected 1 to 1024 bytes in base64");
  ExpectRefused("qwen.tiktoken", "IQ== 0\nI*== 1\n", kBroken, "line 2: expected");
  ExpectRefused("qwen.tiktoken", "IQ== 0\nIg== x\n", kBroken, "line 2: expected");
  ExpectRefused("qwen.tiktoken", "IQ== -1\n", kBroken, "has id -1");
  ExpectRefused("qwen.tiktoken", "IQ== 0\nIg== 0\n", kBroken, "both have id 0");
  ExpectRefused("qwen.tiktoken", "IQ== 0\nIg== 1\n", kBroken, "not every single byte is a token");
  Write("tokenizer_config.json", R"({"tokenizer_class": "TikTokenTokenizer"})");
  ExpectRefused("qwen.tiktoken", good, kUnsupported, "tokenizer_class 'TikTokenTokenizer'");
  Write("tokenizer_config.json", R"({"tokenizer_class": "ChatGLM4Tokenizer"})");
  ExpectRefused("qwen.tiktoken", good, kBroken, "starts with the token '[gMASK]'");
  Write("tokenizer_config.json", R"({"tokenizer_class": "ChatGLM5Tokenizer"})");
  ExpectRefused("tokenizer.model", SmallModel(1), kUnsupported, "tokenizer_class 'ChatGLM5Tokenizer'");
  std::filesystem::remove(dir_ + "/tokenizer.model");
  Write("tokenizer_config.json", R"({"tokenizer_class": "BartTokenizer"})");
  Write("merges.txt", "#version: 0.2\na b\n");
  ExpectRefused("vocab.json", R"({"a": 0, "b": 1})", kUnsupported, "tokenizer_class 'BartTokenizer'");
  Write("tokenizer_config.json", "{}");
  ExpectRefused("vocab.json", R"({"a": 0, "b": 1})", kBroken, "merges[0] needs the token 'ab'");
  Write("merges.txt", "a b c\n");
  ExpectRefused("vocab.json", R"({"a": 0, "b": 1})", kBroken, "model.merges[0]: expected two tokens");
  ExpectRefused("vocab.json", "[]", kBroken, "model.vocab: expected an object");
  Write("added_tokens.json", R"({"x": -4})");
  EXPECT_THAT(std::string(Tokenizer::Load(dir_).status().message()), HasSubstr("added_tokens.json: x: -4 is outside"));
}

// Changes up to three places, half of them near the end, where the specs and the charsmap are. Every draw has its own
// statement: inside one expression their order is the compiler's.
void Mutate(std::mt19937* rng, std::string* bytes) {
  const int edits = 1 + static_cast<int>((*rng)() % 3);
  for (int i = 0; i < edits; ++i) {
    const bool anywhere = (*rng)() % 2 == 0;
    const size_t from_end = (*rng)() % (anywhere ? bytes->size() : std::min<size_t>(bytes->size(), 900));
    const size_t at = bytes->size() - 1 - from_end;
    const int kind = static_cast<int>((*rng)() % 3);
    if (kind == 0) {
      (*bytes)[at] = static_cast<char>((*rng)());
    } else if (kind == 1) {
      bytes->erase(at, (*rng)() % 20);
    } else {
      const size_t source = (*rng)() % bytes->size();
      const size_t count = (*rng)() % 30;
      bytes->insert(at, bytes->substr(source, count));
    }
  }
}

// Loads what a few changed bytes make of a good file, and uses it.
TEST_F(TokenizerFilesTest, NoMutatedByteBringsTheProcessDown) {
  std::mt19937 rng(5);
  int loaded = 0;
  const std::pair<const char*, std::string> files[] = {
      {"tokenizer.model", SmallModel(1)},
      {"tokenizer.model", ReadKind("sp_unigram_unknown/tokenizer.model")},
      {"tokenizer.model", ReadKind("sp_bpe/tokenizer.model")},
      {"qwen.tiktoken", ReadKind("tiktoken_qwen/qwen.tiktoken")},
  };
  for (int round = 0; round < 1200; ++round) {
    auto [name, bytes] = files[round % std::size(files)];
    Mutate(&rng, &bytes);
    std::filesystem::remove(dir_ + "/tokenizer.model");
    std::filesystem::remove(dir_ + "/qwen.tiktoken");
    Write(name, bytes);
    const auto tokenizer = Tokenizer::Load(dir_);
    if (!tokenizer.ok()) {
      EXPECT_FALSE(tokenizer.status().message().empty());
      continue;
    }
    ++loaded;
    std::vector<int32_t> ids = {-1, 0, 5, 1 << 30};
    const absl::Status encoded =
        (*tokenizer)->Encode("<s>a  b \u00e9 \u2581\n12 then\u3000\ufb01<unk>\U0001F600", true, &ids);
    (*tokenizer)->Decode(ids, encoded.ok());
  }
  EXPECT_GE(loaded, 95) << "the mutations are too wild to test anything past the parser";
}

}  // namespace
}  // namespace quire::text
