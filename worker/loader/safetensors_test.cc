#include "worker/loader/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace quire::worker {
namespace {

using ::testing::HasSubstr;

std::string FileOf(const std::string& json, int64_t data_bytes) {
  const uint64_t size = json.size();
  std::string file(reinterpret_cast<const char*>(&size), sizeof(size));
  return absl::StrCat(file, json, std::string(data_bytes, '\1'));
}

std::string TensorJson(const std::string& name, const std::string& dtype, const std::string& shape, int64_t begin,
                       int64_t end) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":[", shape, "],\"data_offsets\":[", begin,
                      ",", end, "]}");
}

TEST(SafetensorsTest, ReadsEveryKindOfTensor) {
  const std::string json = absl::StrCat(
      "{\"__metadata__\":{\"format\":\"pt\"},", TensorJson("b", "BF16", "3,4", 4, 28), ",",
      TensorJson("scalar", "F32", "", 0, 4), ",", TensorJson("empty", "I64", "0,7", 28, 28), ",",
      TensorJson("nibbles", "F4", "2,3", 28, 31), ",", TensorJson("mask", "U8", "1,1,2,2", 31, 35), "}   ");
  auto header = ParseSafetensorsHeader("f", FileOf(json, 35));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->data_begin, 8 + static_cast<int64_t>(json.size()));
  std::vector<std::string> described;
  for (const auto& entry : header->entries) described.push_back(entry.name + " " + DescribeEntry(entry));
  EXPECT_THAT(described, ::testing::ElementsAre("scalar F32[]", "b BF16[3,4]", "empty I64[0,7]", "nibbles F4[2,3]",
                                                "mask U8[1,1,2,2]"));
  EXPECT_EQ(header->entries[1].type->dtype, kernels::DType::kBF16);
  EXPECT_FALSE(header->entries[4].type->dtype.has_value());
}

struct BadCase {
  const char* what;
  std::string file;
  std::vector<std::string> message;  // all of these are in it
};

std::string Deep(int levels) { return std::string(levels, '[') + std::string(levels, ']'); }

std::string ManyTensors(int64_t count) {
  std::string json = "{";
  for (int64_t i = 0; i < count; ++i) {
    absl::StrAppend(&json, i == 0 ? "" : ",", TensorJson(absl::StrCat(i), "U8", "0", 0, 0));
  }
  return json + "}";
}

std::vector<BadCase> BadCases() {
  const std::string a = TensorJson("a", "F32", "2,2", 0, 16);
  std::string huge_header = FileOf("{}", 0);
  huge_header[4] = 1;
  return {
      {"empty file", "", {"truncated", "0 bytes"}},
      {"seven bytes", "1234567", {"truncated", "7 bytes"}},
      {"length beyond the limit", huge_header, {"4294967298", "100000000"}},
      {"length beyond the file", FileOf("{}", 0).substr(0, 9), {"header of 2 bytes", "1 bytes follow"}},
      {"no object", FileOf("[1]", 0), {"does not start with '{'"}},
      {"space first", FileOf(" {}", 0), {"does not start with '{'"}},
      {"no JSON", FileOf("{\"a\":", 0), {"not valid JSON"}},
      {"more after the object", FileOf("{}{}", 0), {"not valid JSON"}},
      {"bad UTF-8", FileOf("{\"\xff\":1}", 0), {"not valid JSON"}},
      {"data missing", FileOf("{" + a + "}", 15), {"'a'", "[0, 16]", "past the end", "15 bytes"}},
      {"data left over", FileOf("{" + a + "}", 17), {"end at byte 16", "17 bytes"}},
      {"offsets backwards", FileOf("{" + TensorJson("a", "U8", "2", 4, 2) + "}", 4), {"'a'", "[4, 2]", "end before"}},
      {"overlap",
       FileOf("{" + a + "," + TensorJson("b", "F32", "4", 8, 24) + "}", 24),
       {"'b'", "begins at 8", "overlapping tensor 'a'", "16"}},
      {"same place twice", FileOf("{" + a + "," + TensorJson("b", "F32", "4", 0, 16) + "}", 16), {"'b'", "overlap"}},
      {"hole", FileOf("{" + a + "," + TensorJson("b", "F32", "1", 20, 24) + "}", 24), {"'b'", "hole", "16"}},
      {"hole at the start", FileOf("{" + TensorJson("b", "F32", "1", 4, 8) + "}", 8), {"'b'", "hole", "0"}},
      {"shape and offsets differ",
       FileOf("{" + TensorJson("a", "F32", "2,3", 0, 16) + "}", 16),
       {"'a'", "hold 16 bytes", "F32[2,3] needs 24"}},
      {"shape overflows",
       FileOf("{" + TensorJson("a", "F32", "4294967296,4294967296", 0, 0) + "}", 0),
       {"'a'", "64 bits"}},
      {"half a byte", FileOf("{" + TensorJson("a", "F4", "3", 0, 1) + "}", 1), {"'a'", "whole number of bytes"}},
      {"unknown type", FileOf("{" + TensorJson("a", "F31", "1", 0, 4) + "}", 4), {"'a'", "dtype 'F31'"}},
      {"negative size", FileOf("{" + TensorJson("a", "F32", "-1", 0, 4) + "}", 4), {"'a'", "-1", "shape"}},
      {"fraction", FileOf("{" + TensorJson("a", "F32", "1.5", 0, 4) + "}", 4), {"'a'", "1.5"}},
      {"number beyond 64 bits",
       FileOf("{" + TensorJson("a", "F32", "99999999999999999999", 0, 4) + "}", 4),
       {"'a'", "99999999999999999999"}},
      {"number beyond 63 bits",
       FileOf("{" + TensorJson("a", "F32", "18446744073709551615", 0, 4) + "}", 4),
       {"'a'", "18446744073709551615", "out of range"}},
      {"nine axes", FileOf("{" + TensorJson("a", "U8", "1,1,1,1,1,1,1,1,1", 0, 1) + "}", 1), {"'a'", "more than 8"}},
      {"three offsets",
       FileOf("{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1,1]}}", 1),
       {"'a'", "more than 2"}},
      {"one offset", FileOf("{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0]}}", 1), {"'a'", "1 numbers"}},
      {"no shape", FileOf("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1), {"'a'", "'shape' is missing"}},
      {"no dtype", FileOf("{\"a\":{\"shape\":[],\"data_offsets\":[0,1]}}", 1), {"'a'", "'dtype' is missing"}},
      {"unknown key", FileOf("{\"a\":{\"dtyp\":\"U8\"}}", 1), {"'a'", "'dtyp'"}},
      {"key twice", FileOf("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\"}}", 1), {"'a'", "'dtype' occurs twice"}},
      {"tensor twice", FileOf("{" + a + "," + a + "}", 16), {"tensor 'a' occurs twice"}},
      {"tensor is a number", FileOf("{\"a\":7}", 0), {"'a'", "unexpected 7"}},
      {"shape is a string", FileOf("{\"a\":{\"shape\":\"x\"}}", 0), {"'a'", "'x'", "'shape'"}},
      {"deep nesting", FileOf("{\"a\":" + Deep(100000) + "}", 0), {"'a'", "an array"}},
      {"deep shape", FileOf("{\"a\":{\"shape\":" + Deep(100000) + "}}", 0), {"'a'", "an array", "'shape'"}},
      {"metadata is no text", FileOf("{\"__metadata__\":{\"x\":{}}}", 0), {"__metadata__", "an object"}},
      {"name too long", FileOf("{\"" + std::string(257, 'n') + "\":{}}", 0), {"257", "256"}},
      {"too many tensors", FileOf(ManyTensors(65537), 0), {"more than 65536 tensors"}},
  };
}

TEST(SafetensorsTest, BadFilesGetOneMessageWithBothValues) {
  for (const BadCase& bad : BadCases()) {
    SCOPED_TRACE(bad.what);
    auto header = ParseSafetensorsHeader("dir/the_file", bad.file);
    ASSERT_TRUE(absl::IsInvalidArgument(header.status())) << header.status();
    const std::string message(header.status().message());
    EXPECT_THAT(message, HasSubstr("dir/the_file: "));
    EXPECT_LT(message.size(), 700u);
    for (const std::string& part : bad.message) EXPECT_THAT(message, HasSubstr(part));
  }
}

TEST(SafetensorsTest, AsManyTensorsAsTheLimitAreRead) {
  auto header = ParseSafetensorsHeader("f", FileOf(ManyTensors(65536), 0));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->entries.size(), 65536u);
}

TEST(SafetensorsTest, ErrorsAreSafeToPrint) {
  const std::string file = FileOf("{\"evil\\u0000\\u001b[2J\\n\xc3\xa9\":{\"dtype\":\"\\u0007\"}}", 0);
  auto header = ParseSafetensorsHeader("f", file);
  ASSERT_FALSE(header.ok());
  for (const char c : header.status().message()) EXPECT_TRUE(c >= 32 && c < 127) << static_cast<int>(c);
}

// Mutations of a good file: a parse either fails with a message or keeps S1 to S3.
TEST(SafetensorsTest, MutatedHeadersNeverBreakTheInvariants) {
  const std::string json =
      absl::StrCat("{\"__metadata__\":{\"format\":\"pt\"},", TensorJson("w", "F32", "4,4", 0, 64), ",",
                   TensorJson("x.bias", "BF16", "8", 64, 80), ",", TensorJson("y", "F4", "2,2", 80, 82), "}");
  const std::string good = FileOf(json, 82);
  static constexpr const char* kPieces[] = {"{",
                                            "}",
                                            "[",
                                            "]",
                                            ",",
                                            ":",
                                            "\"",
                                            "\\",
                                            "-",
                                            "1e9",
                                            "0",
                                            "64",
                                            "F64",
                                            "F32",
                                            "null",
                                            "true",
                                            "1.5",
                                            "\\u0000",
                                            "shape",
                                            "dtype",
                                            "w",
                                            "\xff",
                                            "99999999999999999999",
                                            "data_offsets"};
  std::mt19937_64 random(20240607);
  int num_accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string file = good;
    const int num_edits = 1 + random() % 4;
    for (int edit = 0; edit < num_edits; ++edit) {
      // Mostly in the header's text; a byte of its length now and then.
      const bool in_length = random() % 16 == 0;
      const size_t at = random() % (in_length ? std::min<size_t>(8, file.size()) : file.size());
      const std::string piece = kPieces[random() % std::size(kPieces)];
      switch (random() % 5) {
        case 0:
          file[at] = static_cast<char>(random());
          break;
        case 1:
          file.insert(at, piece);
          break;
        case 2:
          file.erase(at, 1 + random() % 8);
          break;
        case 3:
          file.replace(at, std::min(piece.size(), file.size() - at), piece);
          break;
        case 4:
          file.resize(at);
          break;
      }
      if (file.empty()) file = good;
      if (random() % 2 == 0 && file.size() >= 8) {  // often let the length fit, so that the edits reach the parser
        const size_t close = file.rfind('}');
        const uint64_t length = close == std::string::npos || close < 8 ? file.size() - 8 : close + 1 - 8;
        std::memcpy(&file[0], &length, 8);
      }
    }
    auto header = ParseSafetensorsHeader("f", file);
    if (!header.ok()) {
      ASSERT_TRUE(absl::IsInvalidArgument(header.status())) << header.status();
      continue;
    }
    ++num_accepted;
    int64_t next = 0;
    for (const SafetensorsEntry& entry : header->entries) {
      ASSERT_EQ(entry.begin, next);
      int64_t bits = entry.type->bits;
      for (const int64_t dim : entry.shape) bits *= dim;
      ASSERT_EQ(8 * (entry.end - entry.begin), bits);
      next = entry.end;
    }
    ASSERT_EQ(header->data_begin + next, static_cast<int64_t>(file.size()));
  }
  EXPECT_GT(num_accepted, 10) << "the mutations are too wild to test anything past the parser";
}

}  // namespace
}  // namespace quire::worker
