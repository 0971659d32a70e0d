// Templates against what Jinja2 makes of them (testdata, written by tools/goldens/chat/make_chat_goldens.py).
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "coordinator/text/jinja/json_text.h"
#include "coordinator/text/jinja/template.h"

namespace quire::jinja {
namespace {

constexpr char kFolder[] = "coordinator/text/jinja/testdata/";

std::string ReadFile(const std::string& name) {
  std::ifstream file(kFolder + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Value ReadJson(const std::string& name) {
  const absl::StatusOr<Value> value = ParseJson(ReadFile(name));
  EXPECT_TRUE(value.ok()) << name << ": " << value.status();
  return value.ok() ? *value : Value();
}

// The script's clock.
Clock MakeClock() {
  return {absl::FromCivil(absl::CivilSecond(2025, 3, 9, 7, 5, 2), absl::UTCTimeZone()), absl::UTCTimeZone()};
}

absl::StatusOr<std::string> Render(const std::string& source, const Value& variables) {
  const absl::StatusOr<std::unique_ptr<const Template>> parsed = Template::Parse(source);
  if (!parsed.ok()) return parsed.status();
  return (*parsed)->Render(variables, MakeClock());
}

// `golden` has a text, or an error that ours must only be one, too.
void Check(const absl::StatusOr<std::string>& got, const Value& golden, const std::string& what) {
  const Value* text = golden.dict().Find("text");
  if (text == nullptr) {
    EXPECT_FALSE(got.ok()) << what << "\n  renders " << (got.ok() ? *got : "")
                           << "\n  and Jinja2 says: " << golden.dict().Find("error")->text();
    if (!got.ok()) {
      EXPECT_TRUE(absl::StrContains(got.status().message(), "line ")) << what << ": " << got.status();
    }
    return;
  }
  ASSERT_TRUE(got.ok()) << what << ": " << got.status();
  EXPECT_EQ(*got, text->text()) << what;
}

TEST(TemplateGoldenTest, TemplatesOfEveryStyleRenderAsJinja2) {
  const Value conversations = ReadJson("conversations.json"), goldens = ReadJson("goldens.json");
  std::set<std::string> templates, rendered;
  int texts = 0;
  for (const Value& golden : goldens.items()) {
    const std::string& name = golden.dict().Find("template")->text();
    const std::string& conversation = golden.dict().Find("conversation")->text();
    const Value* variables = conversations.dict().Find(conversation);
    ASSERT_NE(variables, nullptr) << conversation;
    Check(Render(ReadFile("templates/" + name), *variables), golden, absl::StrCat(name, " with ", conversation));
    templates.insert(name);
    if (golden.dict().Find("text") == nullptr) continue;
    rendered.insert(name);
    ++texts;
  }
  EXPECT_EQ(rendered, templates) << "a template that renders nothing shows nothing";
  EXPECT_GE(templates.size(), 40u);
  EXPECT_GE(texts, 500);
}

TEST(TemplateGoldenTest, SingleConstructsRenderOrFailAsInJinja2) {
  const Value snippets = ReadJson("snippets.json");
  int errors = 0;
  for (const Value& snippet : snippets.items()) {
    const std::string& source = snippet.dict().Find("source")->text();
    Check(Render(source, Value::Dict({})), snippet, source);
    errors += snippet.dict().Find("error") != nullptr ? 1 : 0;
  }
  EXPECT_GE(errors, 100);
}

}  // namespace
}  // namespace quire::jinja
