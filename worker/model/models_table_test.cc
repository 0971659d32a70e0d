// What docs/models.md says of every checkpoint is what is measured here.
//
//   bazel run //worker/model:models_table_test -- --write="$PWD/docs/models.md"
//
// measures and writes the table anew. A cell says how far a bound holds, not the figure, which differs between machines.
#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "worker/model/golden_cases.h"
#include "worker/model/hf_config.h"
#include "worker/model/model_fixture.h"

namespace quire::worker {
namespace {

using ::testing::HasSubstr;

constexpr char kDocument[] = "docs/models.md";
constexpr char kBegin[] =
    "<!-- measured: bazel run //worker/model:models_table_test -- --write=$PWD/docs/models.md -->\n";
constexpr char kEnd[] = "<!-- end of what is measured -->\n";

std::string ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  CHECK(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string Within(float difference) {
  static_assert(kGoldenTolerance == 1e-4f, "as the text has it");
  return difference < kGoldenTolerance ? "< 1e-4" : absl::StrCat("**", difference, "**");
}

// The largest difference over all prompts and the given chunk sizes.
float Difference(ModelFixture* fixture, const Golden& golden, const std::vector<size_t>& chunks) {
  float worst = 0;
  for (const int length : kGoldenLengths) {
    for (const size_t chunk : chunks) {
      const LogitRows rows = Prefill(fixture, 0, Prompt(golden, length), chunk);
      worst = std::max(worst, MaxDifference(rows, golden.at(absl::StrCat("logits_", length))));
    }
  }
  return worst;
}

// Of all greedy tokens, how many are the library's before the first that is not.
int GreedyAgreement(ModelFixture* fixture, const Golden& golden) {
  int equal = 0;
  for (const int length : kGreedyLengths) {
    fixture->Restart(1);
    const std::vector<int32_t> ours = fixture->Greedy(1, Prompt(golden, length), kGreedyTokens);
    const std::vector<int32_t> theirs = ToIds(golden.at(absl::StrCat("greedy_", length)));
    equal += std::mismatch(ours.begin(), ours.end(), theirs.begin()).first - ours.begin();
  }
  return equal;
}

// The degrees that fit the heads, with "=" where every bit is that of one rank.
std::string Degrees(const FixtureOptions& one_rank, const Golden& golden, const LogitRows& alone) {
  std::string text = "1";
  for (const int world_size : {2, 4}) {
    FixtureOptions options = one_rank;
    options.world_size = world_size;
    auto group = ModelFixture::Load(options);
    if (!group.ok()) continue;  // the degree does not fit
    const bool is_equal = Prefill(group->get(), 0, Prompt(golden, 200), 64) == alone;
    absl::StrAppend(&text, is_equal ? " = " : " **/=** ", world_size);
  }
  return text;
}

std::string MeasuredRow(const GoldenCase& one) {
  const Golden golden = ReadGolden(GoldenDir(one.golden) + "/golden.safetensors");
  const auto config = ReadHfConfig(GoldenDir(one.model));
  CHECK(config.ok()) << config.status();
  FixtureOptions options = OptionsOf(one, golden);
  auto fixture = MustLoad(options);
  const float whole = Difference(fixture.get(), golden, {256});
  const float chunked = Difference(fixture.get(), golden, {5, 16, 64});
  const float single = Difference(fixture.get(), golden, {1});
  const std::string degrees = Degrees(options, golden, Prefill(fixture.get(), 0, Prompt(golden, 200), 64));
  const int greedy = GreedyAgreement(fixture.get(), golden), wanted = kGreedyTokens * std::size(kGreedyLengths);
  options.dtype = "bfloat16";
  const LogitRows half = Prefill(MustLoad(options).get(), 0, Prompt(golden, 24), 24);
  const float cosine = MinCosine(half, golden.at("logits_24"));
  return absl::StrCat(
      "| `", one.model, "` | `", config->architectures.at(0), "` | ", Within(whole), " | ", Within(chunked), " | ",
      Within(single), " | ", greedy == wanted ? absl::StrCat(greedy) : absl::StrCat("**", greedy, "** of ", wanted),
      " | ", degrees, " | ",
      cosine > kGoldenCosine ? absl::StrCat("> ", kGoldenCosine) : absl::StrCat("**", cosine, "**"), " |\n");
}

std::string MeasuredTable() {
  std::string table =
      "| checkpoint | architecture | whole | in chunks | one by one | greedy tokens equal | ranks equal | bfloat16 |\n"
      "|---|---|---|---|---|---|---|---|\n";
  for (const GoldenCase& one : GoldenCases()) table += MeasuredRow(one);
  return table;
}

// The document around the table: what comes before it, the table, what comes after.
std::vector<std::string> Parts(const std::string& document) {
  const size_t begin = document.find(kBegin), end = document.find(kEnd);
  CHECK(begin != std::string::npos && end != std::string::npos && begin < end) << kDocument << " has no measured table";
  const size_t table = begin + std::strlen(kBegin);
  return {document.substr(0, table), document.substr(table, end - table), document.substr(end)};
}

TEST(ModelsTableTest, TheDocumentSaysWhatIsMeasured) {
  const std::vector<std::string> said = absl::StrSplit(Parts(ReadText(kDocument))[1], '\n');
  const std::vector<std::string> measured = absl::StrSplit(MeasuredTable(), '\n');
  const std::set<std::string> all_said(said.begin(), said.end()), all_measured(measured.begin(), measured.end());
  for (const std::string& row : measured) EXPECT_TRUE(all_said.count(row)) << "measured, but not in the table: " << row;
  for (const std::string& row : said) EXPECT_TRUE(all_measured.count(row)) << "in the table, but not measured: " << row;
  EXPECT_EQ(said.size(), measured.size()) << "a row twice";
}

TEST(ModelsTableTest, NothingFallsShort) {
  EXPECT_THAT(Parts(ReadText(kDocument))[1], ::testing::Not(HasSubstr("**"))) << "a bound is broken";
}

// In both directions: the tables of families name the checkpoints that there are.
TEST(ModelsTableTest, EveryCheckpointBelongsToAFamily) {
  const std::vector<std::string> parts = Parts(ReadText(kDocument));
  std::set<std::string> models;
  for (const GoldenCase& one : GoldenCases()) {
    models.insert(one.model);
    EXPECT_THAT(parts[0] + parts[2], HasSubstr(absl::StrCat("`", one.model, "`"))) << "no family names it";
  }
  for (absl::string_view line : absl::StrSplit(parts[0], '\n')) {
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (cells.size() != 6 || absl::StrContains(cells[3], "checkpoints") || absl::StrContains(cells[3], "---")) continue;
    const std::vector<std::string> quoted = absl::StrSplit(cells[3], '`');
    for (size_t i = 1; i < quoted.size(); i += 2) EXPECT_TRUE(models.count(quoted[i])) << "no checkpoint " << quoted[i];
  }
}

void WriteTable(const std::string& path) {
  const std::vector<std::string> parts = Parts(ReadText(path));
  std::ofstream(path, std::ios::binary) << parts[0] << MeasuredTable() << parts[2];
}

}  // namespace
}  // namespace quire::worker

int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  FLAGS_minloglevel = google::ERROR;
  if (argc == 2 && absl::StartsWith(argv[1], "--write=")) {
    quire::worker::WriteTable(argv[1] + std::strlen("--write="));
    return 0;
  }
  CHECK_EQ(argc, 1) << "the only argument is --write=FILE";
  return RUN_ALL_TESTS();
}
