// Runs one fuzz target without libFuzzer: every file of its corpus, then seeded changes of them. What it calls CHECKs.
//
// Files named good_* must be accepted by the parser; regression_* are inputs of faults that were mended.
#include <glog/logging.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "tests/fuzz/fuzz_target.h"

namespace quire::fuzz {
namespace {

constexpr int kNumChanged = FUZZ_NUM_CHANGED;
constexpr uint64_t kSeed = 20260607;
constexpr size_t kInputBytesMax = 1 << 16;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  EXPECT_TRUE(stream.good()) << path;
  return {std::istreambuf_iterator<char>(stream), {}};
}

// By name, so that the order is the same everywhere.
std::map<std::string, std::string> ReadCorpus() {
  std::map<std::string, std::string> corpus;
  for (const auto& entry : std::filesystem::directory_iterator(FUZZ_CORPUS)) {
    corpus[entry.path().filename().string()] = ReadFile(entry.path());
  }
  return corpus;
}

// A word as libFuzzer's dictionaries write it: \\, \" and \xHH with exactly two digits.
std::string Unescaped(absl::string_view text) {
  std::string word;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      word.push_back(text[i]);
    } else if (text[++i] == 'x') {
      word += absl::HexStringToBytes(text.substr(i + 1, 2));
      i += 2;
    } else {
      word.push_back(text[i]);
    }
  }
  return word;
}

// The words of a libFuzzer dictionary.
std::vector<std::string> ReadDictionary() {
  std::vector<std::string> words;
  const std::string text = ReadFile(FUZZ_DICTIONARY);
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const size_t begin = line.find('"');
    if (absl::StartsWith(line, "#") || begin == absl::string_view::npos) continue;
    words.push_back(Unescaped(line.substr(begin + 1, line.rfind('"') - begin - 1)));
  }
  return words;
}

void RunTarget(const std::string& input) {
  // A copy of exactly its size: a sanitizer sees a read behind it.
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  EXPECT_EQ(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()), 0);
}

class Changer {
 public:
  Changer(std::vector<std::string> inputs, std::vector<std::string> words)
      : inputs_(std::move(inputs)), words_(std::move(words)) {}

  std::string Next() {
    std::string input = Pick(inputs_);
    const size_t edits = 1 + Below(4);
    for (size_t i = 0; i < edits; ++i) Edit(&input);
    return input;
  }

 private:
  size_t Below(size_t end) { return end == 0 ? 0 : random_() % end; }
  const std::string& Pick(const std::vector<std::string>& from) { return from[Below(from.size())]; }

  void Edit(std::string* input) {
    const size_t kind = Below(7);
    const size_t at = Below(input->size() + 1);
    const size_t count = 1 + Below(16);
    const size_t rest = input->size() - at;
    if (kind == 0 && rest > 0) {
      (*input)[at] = static_cast<char>(random_());
    } else if (kind == 1) {
      input->erase(at, count);
    } else if (kind == 2) {
      input->insert(at, Pick(words_));
    } else if (kind == 3) {
      input->replace(at, std::min(count, rest), Pick(words_));
    } else if (kind == 4 && input->size() < kInputBytesMax) {
      const size_t source = Below(input->size());
      input->insert(at, input->substr(source, count * 4));
    } else if (kind == 5) {
      const std::string& other = Pick(inputs_);
      const size_t source = Below(other.size());
      input->replace(at, std::min(count * 4, rest), other.substr(source, count * 4));
    } else if (kind == 6 && rest > 0) {
      (*input)[at] = static_cast<char>((*input)[at] ^ (1 << Below(8)));
    }
  }

  const std::vector<std::string> inputs_;
  const std::vector<std::string> words_;
  std::mt19937_64 random_{kSeed};
};

TEST(FuzzCorpusTest, EveryFileRunsAndTheGoodOnesAreAccepted) {
  int good = 0;
  for (const auto& [name, input] : ReadCorpus()) {
    const int64_t before = NumAccepted();
    RunTarget(input);
    if (!absl::StartsWith(name, "good_")) continue;
    ++good;
    EXPECT_EQ(NumAccepted(), before + 1) << name << " is refused";
  }
  EXPECT_GE(good, 2) << "a target that accepts nothing tests nothing";
}

TEST(FuzzCorpusTest, SeededChangesRun) {
  std::vector<std::string> inputs;
  for (auto& [name, input] : ReadCorpus()) inputs.push_back(std::move(input));
  ASSERT_FALSE(inputs.empty());
  Changer changer(std::move(inputs), ReadDictionary());
  const int64_t before = NumAccepted();
  for (int i = 0; i < kNumChanged; ++i) RunTarget(changer.Next());
  EXPECT_GE(NumAccepted() - before, kNumChanged / 500) << "the changes are too wild to test anything past the parser";
  EXPECT_LT(NumAccepted() - before, kNumChanged) << "the changes change nothing";
}

// The test of the test: a fault behind two conditions on the bytes is found by these changes.
TEST(FuzzCorpusTest, TheChangesReachWhatTheyShould) {
  Changer changer({"{\"a\": 1}", "xyz"}, {"null", "\"b\""});
  bool crossed = false, worded = false, shortened = false;
  for (int i = 0; i < 1000; ++i) {
    const std::string input = changer.Next();
    crossed = crossed || (absl::StrContains(input, "{\"a") && absl::StrContains(input, "yz"));
    worded = worded || absl::StrContains(input, "{\"b\"") || absl::StrContains(input, ": null");
    shortened = shortened || input.size() < 3;
  }
  EXPECT_TRUE(crossed && worded && shortened) << crossed << worded << shortened;
}

}  // namespace
}  // namespace quire::fuzz
