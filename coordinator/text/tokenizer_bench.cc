// Speed of the tokenizer: MB/s of text encoded and tokens/s decoded on one core.
//
//   bazel run -c opt //coordinator/text:tokenizer_bench -- --json=FILE
//
// Reads coordinator/text/testdata, or the model directories given by --model=DIR. Cases: English-like text, the
// goldens' mixed lines, and the inputs that break quadratic tokenizers (one letter, spaces, marks, one script without
// spaces).
#include <benchmark/benchmark.h>
#include <glog/logging.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "coordinator/text/incremental_decoder.h"
#include "coordinator/text/tokenizer.h"

namespace quire::text {
namespace {

constexpr char kTestdata[] = "coordinator/text/testdata";
constexpr size_t kTextBytes = 1 << 20;

struct Text {
  std::string name;
  std::string text;
};

std::string Repeat(const std::string& unit) {
  std::string text;
  while (text.size() < kTextBytes) text += unit;
  return text;
}

std::vector<Text> MakeTexts() {
  std::ifstream stream(absl::StrCat(kTestdata, "/lines.jsonl"));
  CHECK(stream.good()) << "run from the repository root";
  std::string mixed, english;
  for (std::string line; std::getline(stream, line);) {
    const std::string text = nlohmann::json::parse(line);
    mixed += text + "\n";
    bool ascii = text.size() > 12;
    for (char c : text) ascii = ascii && c > 0;
    if (ascii) english += text + " ";
  }
  return {{"english", Repeat(english)},
          {"mixed", Repeat(mixed)},
          {"one_letter", Repeat("a")},
          {"spaces", Repeat(" ")},
          {"spaces_in_words", "x" + Repeat(" ") + "x"},
          {"newlines", Repeat("\n")},
          {"han", Repeat("你好世界这是一个小文本河流大海")},
          {"marks", Repeat("\u0301\u0323")},
          {"emoji", Repeat("\U0001F600")}};
}

void Register(const std::string& name, const Tokenizer* tokenizer, const std::vector<Text>& texts) {
  for (const Text& text : texts) {
    benchmark::RegisterBenchmark(absl::StrCat("encode/", name, "/", text.name).c_str(), [tokenizer, &text](
                                                                                            benchmark::State& state) {
      std::vector<int32_t> ids;
      for (auto _ : state) {
        ids.clear();
        const absl::Status status = tokenizer->Encode(text.text, false, &ids);
        if (!status.ok()) state.SkipWithError(status.ToString().c_str());
      }
      state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.text.size()));
      state.counters["tokens"] = static_cast<double>(ids.size());
    })->Unit(benchmark::kMillisecond);
  }
  benchmark::RegisterBenchmark(absl::StrCat("decode/", name, "/mixed").c_str(), [tokenizer,
                                                                                 &texts](benchmark::State& state) {
    std::vector<int32_t> ids;
    CHECK(tokenizer->Encode(texts[1].text, false, &ids).ok());
    std::string text;
    for (auto _ : state) {
      text.clear();
      IncrementalDecoder decoder(tokenizer, {});
      for (int32_t id : ids) decoder.Append(id, &text);
      decoder.Finish(&text);
    }
    state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(ids.size()));
  })->Unit(benchmark::kMillisecond);
}

int Main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  std::vector<std::string> arguments = {argv[0]};
  std::vector<std::string> models;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--json=")) {
      arguments.push_back(absl::StrCat("--benchmark_out=", argument));
      arguments.push_back("--benchmark_out_format=json");
    } else if (absl::ConsumePrefix(&argument, "--model=")) {
      models.emplace_back(argument);
    } else {
      arguments.emplace_back(argument);
    }
  }
  if (models.empty()) {
    for (const char* name : {"byte_level", "byte_fallback", "kinds/sp_unigram", "kinds/sp_bpe", "kinds/unigram_json",
                             "kinds/vocab_merges", "kinds/tiktoken_qwen"}) {
      models.push_back(absl::StrCat(kTestdata, "/", name));
    }
  }
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  int count = static_cast<int>(pointers.size());
  benchmark::Initialize(&count, pointers.data());
  if (benchmark::ReportUnrecognizedArguments(count, pointers.data())) return 2;

  const std::vector<Text> texts = MakeTexts();
  std::vector<std::unique_ptr<const Tokenizer>> tokenizers;
  for (const std::string& model : models) {
    absl::StatusOr<std::unique_ptr<const Tokenizer>> tokenizer = Tokenizer::Load(model);
    if (!tokenizer.ok()) {
      std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
      return 1;
    }
    tokenizers.push_back(*std::move(tokenizer));
    Register(model.substr(model.rfind('/') + 1), tokenizers.back().get(), texts);
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace quire::text

int main(int argc, char** argv) { return quire::text::Main(argc, argv); }
