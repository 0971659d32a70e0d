// Lines, ids and the journal.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tools/batch/batch_line.h"
#include "tools/batch/journal.h"
#include "tools/batch/line_reader.h"

namespace quire::batch {
namespace {

using nlohmann::json;

std::string TempFile(const std::string& name) { return absl::StrCat(testing::TempDir(), "/", name); }

void WriteFile(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string Line(const std::string& id) { return OutputLine(id, {200, "r", "{}", "", ""}); }

TEST(BatchLine, KeepsTheOrderOfTheBody) {
  const auto line = ParseBatchLine(
      R"({"body":{"z":1,"a":{"y":[1.5,"\u00e9\n"],"b":null}},"custom_id":"c 1","method":"POST","url":"/v1/completions"})");
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->custom_id, "c 1");
  EXPECT_EQ(line->url, "/v1/completions");
  EXPECT_EQ(line->body, "{\"z\":1,\"a\":{\"y\":[1.5,\"\xC3\xA9\\n\"],\"b\":null}}");
}

TEST(BatchLine, RefusesWhatIsNotOne) {
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  const struct {
    std::string text, complaint;
  } cases[] = {
      {"", "is not JSON"},
      {"[]", "is not a JSON object"},
      {"{} {}", "is not JSON"},
      {R"({"method":"POST","url":"/v1/completions","body":{}})", "custom_id must be a string"},
      {R"({"custom_id":7,"method":"POST","url":"/v1/completions","body":{}})", "custom_id must be a string"},
      {R"({"custom_id":"","method":"POST","url":"/v1/completions","body":{}})", "1 to 512 bytes, got 0"},
      {absl::StrCat(R"({"custom_id":")", std::string(513, 'x'), R"(","method":"POST"})"), "1 to 512 bytes, got 513"},
      {R"({"custom_id":"a","method":"GET","url":"/v1/completions","body":{}})", "method must be"},
      {R"({"custom_id":"a","method":"POST","url":"/v1/files","body":{}})", "url must be"},
      {R"({"custom_id":"a","method":"POST","url":"/v1/completions","body":[]})", "body must be a JSON object"},
      {R"({"custom_id":"a","method":"POST","url":"/v1/completions","body":{"stream":true}})", "body.stream must be"},
      {absl::StrCat(R"({"custom_id":"a","method":"POST","url":"/v1/completions","body":{"x":)", deep, "}}"), "deeper"},
      {"{\"custom_id\":\"\xff\"}", "is not JSON"},
  };
  for (const auto& c : cases) {
    const auto line = ParseBatchLine(c.text);
    ASSERT_FALSE(line.ok()) << c.text.substr(0, 200);
    EXPECT_TRUE(absl::StrContains(line.status().message(), c.complaint)) << line.status() << " wants " << c.complaint;
  }
}

TEST(BatchLine, OutputIsOneLineOfOpenAisShape) {
  const std::string text = OutputLine("a\n\"b", {200, "req-1", "{\n  \"x\": 1\r\n}\n", "", ""});
  EXPECT_EQ(text.find('\n'), text.size() - 1) << "L1";
  const json line = json::parse(text);
  EXPECT_EQ(line["custom_id"], "a\n\"b");
  EXPECT_EQ(line["response"], json::parse(R"({"status_code":200,"request_id":"req-1","body":{"x":1}})"));
  EXPECT_TRUE(line["error"].is_null());
  EXPECT_TRUE(absl::StartsWith(line["id"].get<std::string>(), "batch_req_"));
  EXPECT_EQ(*CustomIdOfOutput(text), "a\n\"b");
  const json broken = json::parse(OutputLine("a", {502, "", "<html>\n\xff", "", ""}));
  EXPECT_EQ(broken["response"]["status_code"], 502);
  EXPECT_TRUE(broken["response"]["body"].is_string());
  const json none = json::parse(OutputLine("a", {0, "", "", "request_timeout", "POST: timeout"}));
  EXPECT_TRUE(none["response"].is_null());
  EXPECT_EQ(none["error"], json::parse(R"({"code":"request_timeout","message":"POST: timeout"})"));
}

TEST(BatchLine, Usage) {
  const TokenUsage usage = UsageOf(R"({"usage":{"prompt_tokens":3,"completion_tokens":5}})");
  EXPECT_EQ(usage.prompt, 3);
  EXPECT_EQ(usage.completion, 5);
  EXPECT_EQ(UsageOf(R"({"usage":null})").prompt, 0);
  EXPECT_EQ(UsageOf("x").completion, 0);
}

TEST(LineReader, LinesOfAllLengthsAndATornOne) {
  const std::string path = TempFile("lines");
  std::string text = "first\n\n   \n";
  text += std::string((1 << 18) - text.size(), 'x') + "\n";  // ends where a block of reading does
  text += std::string(700'000, 'y') + "\nlast";
  WriteFile(path, text);
  auto reader = *LineReader::Open(path);
  std::string line;
  EXPECT_TRUE(*reader->Next(&line));
  EXPECT_EQ(line, "first");
  EXPECT_TRUE(*reader->Next(&line));
  EXPECT_EQ(reader->line_number(), 4) << "empty lines are counted and skipped";
  EXPECT_EQ(reader->line_begin(), 11);
  EXPECT_TRUE(*reader->Next(&line));
  EXPECT_EQ(line, std::string(700'000, 'y'));
  EXPECT_TRUE(reader->complete());
  EXPECT_TRUE(*reader->Next(&line));
  EXPECT_EQ(line, "last");
  EXPECT_FALSE(reader->complete());
  EXPECT_EQ(reader->line_begin(), static_cast<int64_t>(text.size()) - 4);
  EXPECT_FALSE(*reader->Next(&line));
  EXPECT_FALSE(LineReader::Open(TempFile("none")).ok());
}

TEST(LineReader, TheLengthOfALineIsBounded) {
  const std::string path = TempFile("long");
  WriteFile(path, "a\n" + std::string(kLineBytesMax + 1, 'x'));
  auto reader = *LineReader::Open(path);
  std::string line;
  EXPECT_TRUE(*reader->Next(&line));
  const auto next = reader->Next(&line);
  ASSERT_FALSE(next.ok());
  EXPECT_TRUE(absl::StrContains(next.status().message(), "long:2: ")) << next.status();
}

TEST(Journal, ATornLineIsCutAwayWhereverItWasTorn) {
  const std::string path = TempFile("torn");
  const std::string whole = Line("a") + Line("b");
  for (size_t cut = 0; cut <= whole.size(); ++cut) {
    WriteFile(path, whole.substr(0, cut));
    IdSet done;
    auto journal = Journal::Open(path, absl::Seconds(1), &done);
    ASSERT_TRUE(journal.ok()) << cut << " " << journal.status();
    const size_t lines = cut == whole.size() ? 2 : cut >= Line("a").size() ? 1 : 0;
    EXPECT_EQ(done.size(), lines) << cut;
    EXPECT_EQ(done.Contains("a"), lines >= 1);
    ASSERT_TRUE((*journal)->Append(Line("c")).ok());
    EXPECT_EQ(ReadFile(path), (lines == 2 ? whole : lines == 1 ? Line("a") : "") + Line("c")) << cut;
  }
}

TEST(Journal, ZerosThatAPowerCutLeftAreCutAway) {
  const std::string path = TempFile("zeros");
  WriteFile(path, Line("a") + std::string(4096, '\0'));
  IdSet done;
  ASSERT_TRUE(Journal::Open(path, absl::Seconds(1), &done).ok());
  EXPECT_EQ(ReadFile(path), Line("a"));
}

TEST(Journal, AnotherFileIsRefusedAndLeftAsItIs) {
  const std::string path = TempFile("other");
  for (const std::string& text : {std::string("my thesis\nchapter 1\n"), Line("a") + Line("a"), Line("a") + "{}\n"}) {
    WriteFile(path, text);
    IdSet done;
    const auto journal = Journal::Open(path, absl::Seconds(1), &done);
    EXPECT_EQ(journal.status().code(), absl::StatusCode::kFailedPrecondition) << journal.status();
    EXPECT_EQ(ReadFile(path), text);
  }
}

TEST(Journal, OneWriterAtATime) {
  const std::string path = TempFile("locked");
  WriteFile(path, "");
  IdSet done;
  {
    const auto first = Journal::Open(path, absl::Seconds(1), &done);
    ASSERT_TRUE(first.ok());
    EXPECT_FALSE(Journal::Open(path, absl::Seconds(1), &done).ok());
  }
  EXPECT_TRUE(Journal::Open(path, absl::Seconds(1), &done).ok());
}

TEST(Journal, ADiskThatIsFullIsTold) {
  IdSet done;
  auto journal = Journal::Open("/dev/full", absl::Seconds(1), &done);
  if (!journal.ok()) GTEST_SKIP() << journal.status();  // cannot be cut to size
  EXPECT_FALSE((*journal)->Append(Line("a")).ok());
}

}  // namespace
}  // namespace quire::batch
