// Templates that would run, recurse, allocate or write for ever, and the words of errors.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/text/jinja/template.h"

namespace quire::jinja {
namespace {

absl::StatusOr<std::string> Render(const std::string& source, const Limits& limits = Limits()) {
  const absl::StatusOr<std::unique_ptr<const Template>> parsed = Template::Parse(source);
  if (!parsed.ok()) return parsed.status();
  return (*parsed)->Render(Value::Dict({}), {absl::UnixEpoch(), absl::UTCTimeZone()}, limits);
}

std::string Repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

void ExpectLimit(const std::string& source, const std::string& words, const Limits& limits = Limits()) {
  const absl::StatusOr<std::string> got = Render(source, limits);
  EXPECT_TRUE(absl::IsResourceExhausted(got.status())) << source.substr(0, 200) << ": " << got.status();
  EXPECT_TRUE(absl::StrContains(got.status().message(), words)) << source.substr(0, 200) << ": " << got.status();
}

TEST(TemplateLimitsTest, LoopsInLoopsEndAtTheLimitOnSteps) {
  ExpectLimit("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "steps");
  ExpectLimit("{% for a in range(100000) %}{% set x = 'y' * 100000 %}{{ x in x }}{% endfor %}", "steps");
  ExpectLimit("{% set x = range(100000)|list %}{% for a in x %}{{ a in x }}{% endfor %}", "steps");
  ExpectLimit("{% for a in range(99999) %}{% set l = range(99999)|sort(reverse=true) %}{% endfor %}", "steps");
}

TEST(TemplateLimitsTest, RecursionEndsAtTheLimitOnNesting) {
  ExpectLimit("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested deeper");
  ExpectLimit("{% macro a(n) %}{{ b(n) }}{% endmacro %}{% macro b(n) %}{{ a(n + 1) }}{% endmacro %}{{ a(0) }}",
              "nested deeper");
  ExpectLimit("{% macro m(x=m()) %}{% endmacro %}{{ m() }}", "nested deeper");
  ExpectLimit("{% macro m() %}{{ caller is defined }}{% call m() %}{% endcall %}{% endmacro %}{{ m() }}",
              "nested deeper");
  ExpectLimit("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}", "nested deeper");
}

TEST(TemplateLimitsTest, WhatAnHonestTemplateNestsIsFine) {
  const std::string macro = "{% macro m(n) %}{% if n > 0 %}<{{ m(n - 1) }}>{% endif %}{% endmacro %}";
  EXPECT_EQ(*Render(macro + "{{ m(40) }}"), Repeat("<", 40) + Repeat(">", 40));
  EXPECT_EQ(*Render("{{ " + Repeat("(", 60) + "1" + Repeat(")", 60) + " }}"), "1");
  EXPECT_EQ(*Render("{{ 1" + Repeat(" + 1", 300) + " }}"), "301");
}

TEST(TemplateLimitsTest, TextsAndValuesEndAtTheirLimits) {
  Limits small;
  small.text_bytes = 1000;
  ExpectLimit("{% for a in range(2000) %}x{% endfor %}", "longer than 1000", small);
  ExpectLimit("{% set x %}{% for a in range(2000) %}x{% endfor %}{% endset %}", "longer than 1000", small);
  ExpectLimit("{{ ('x' * 600) + ('y' * 600) }}", "1200 bytes", small);
  ExpectLimit("{{ 'x' * 100000000000 }}", "too long");
  ExpectLimit("{{ [0] * 100000000000 }}", "too long");
  ExpectLimit("{{ 'x'.ljust(100000000) }}", "width");
  ExpectLimit("{{ 'x'.center(99999999) }}", "width");
  EXPECT_FALSE(Render("{{ '%99999999s' % 'x' }}").ok());
  EXPECT_FALSE(Render("{{ '{:99999999}'.format('x') }}").ok());
  ExpectLimit("{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(40) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
              "over the limit");
  Limits tight;
  tight.live_bytes = 100'000;
  ExpectLimit("{% set ns = namespace(x=[]) %}{% for a in range(99999) %}{% set ns.x = ns.x + [a] %}{% endfor %}",
              "values take more", tight);
  ExpectLimit("{% set x = range(99999)|list %}{{ x|length }}", "values take more", tight);
}

TEST(TemplateLimitsTest, MemoryIsGivenBackWhenValuesGo) {
  Limits tight;
  tight.live_bytes = 300'000;
  // 2000 x 100 kB pass through, two at a time.
  const absl::StatusOr<std::string> got =
      Render("{% for a in range(2000) %}{% set x = 'y' * 100000 %}{% endfor %}done", tight);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, "done");
}

TEST(TemplateLimitsTest, ValuesThatHoldThemselvesOrNestWithoutEndAreHarmless) {
  EXPECT_EQ(*Render("{% set ns = namespace() %}{% set ns.self = ns %}{% set ns.list = [ns, [ns]] %}{{ ns.self.self is "
                    "defined }}"),
            "True");
  EXPECT_EQ(*Render("{% set ns = namespace() %}{% for i in [1, 2] %}{% set ns.l = loop %}{% macro m() %}{{ m }}"
                    "{% endmacro %}{% set ns.m = m %}{% endfor %}{{ ns.l.index }}"),
            "2");
  const std::string grow = "{% set ns = namespace(x=0) %}{% for i in range(100000) %}{% set ns.x = ";
  ExpectLimit(grow + "[ns.x] %}{% endfor %}", "nested deeper");
  ExpectLimit(grow + "{'k': ns.x} %}{% endfor %}", "nested deeper");
  ExpectLimit(grow + "[ns.x]|reverse %}{% endfor %}", "nested deeper");
  ExpectLimit(grow + "[ns.x].index %}{% endfor %}", "nested deeper");
  ExpectLimit(
      "{% set ns = namespace(x=0) %}{% for i in range(100000) %}{% for j in [ns.x] %}{% set ns.x = loop %}"
      "{% endfor %}{% endfor %}",
      "nested deeper");
  // 2^100 leaves, if all were visited.
  const std::string twins =
      "{% set ns = namespace(x=1, y=1) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}"
      "{% set ns.y = [ns.y, ns.y] %}{% endfor %}";
  ExpectLimit(twins + "{{ ns.x == ns.y }}", "steps");
  ExpectLimit(twins + "{{ ns.x < ns.y }}", "steps");
  ExpectLimit(twins + "{{ ns.x }}", "");
  ExpectLimit(twins + "{{ ns.x|tojson }}", "");
}

TEST(TemplateLimitsTest, ParsersDepthIsBounded) {
  for (const char* open : {"(", "[", "{1:", "-", "not ", "x[", "f(", "x is in "}) {
    const absl::StatusOr<std::string> got = Render("{{ " + Repeat(open, 100'000));
    EXPECT_FALSE(got.ok()) << open;
  }
  for (const char* more : {" + 1", " ~ 1", "|string", ".x", " and 1", " if 1 else 1", " == 1", "(1)"}) {
    const absl::StatusOr<std::string> got = Render("{{ 1" + Repeat(more, 50'000) + " }}");
    if (got.ok()) continue;  // a flat list
    EXPECT_TRUE(absl::StrContains(got.status().message(), "line ")) << more << ": " << got.status();
  }
  EXPECT_FALSE(Render(Repeat("{% if 1 %}", 10'000) + Repeat("{% endif %}", 10'000)).ok());
  EXPECT_FALSE(Render(Repeat("{% for x in y %}", 10'000)).ok());
  EXPECT_FALSE(Render(std::string(kTemplateBytesMax + 1, 'x')).ok());
  EXPECT_FALSE(Render("\xff").ok());
}

// A name was taken byte by byte, and a character at the end of the template read beyond it.
TEST(TemplateLimitsTest, NamesAreMadeOfWholeCharacters) {
  EXPECT_EQ(*Render("{% set été_1 = 5 %}{{ été_1 }}"), "5");
  EXPECT_EQ(*Render("{{ nöpe is defined }}"), "False");
  for (const char* source : {"{{ x\xc3\xa9", "{{ 'a' \xc3\xa9", "{{ \xe2\x98\x83 }}", "{{ a\xe2\x98\x83 }}"}) {
    EXPECT_FALSE(Render(source).ok()) << source;
  }
}

TEST(TemplateLimitsTest, ErrorsNameLineAndConstruct) {
  const struct {
    const char* source;
    const char* line;
    const char* words;
  } kCases[] = {
      {"a\n{{ 1|nope }}", "line 2", "filter 'nope'"},
      {"a\n\n{% if x is nope %}{% endif %}{{ 1 is nope }}", "line 3", "test 'nope'"},
      {"\n\n\n{{ messages[0].role }}", "line 4", "'messages' is undefined"},
      {"{% set x = {} %}\n{{ x.y.z }}", "line 2", "'y' of a dict is undefined"},
      {"\n{{ 'a' + 1 }}", "line 2", "'+' is not defined for str and int"},
      {"\n{% for x in [1] %}\n{{ x.append(1) }}{% endfor %}", "line 3", "'append' of a int is undefined"},
      {"{% set l = [] %}\n{{ l.append(1) }}", "line 2", "would change it"},
      {"\n\n{% endfor %}", "line 3", "endfor"},
      {"x\n{% if true %}\n\n", "line", "endif"},
      {"\n{{ raise_exception('Turns must alternate') }}", "line 2", "Turns must alternate"},
      {"\n{% include 'x' %}", "line 2", "include"},
      {"\n{{ \"abc }}", "line 2", "string"},
      {"{% macro m(a) %}{% endmacro %}\n{{ m(1, 2) }}", "line 2", "macro 'm'"},
  };
  for (const auto& test : kCases) {
    const absl::StatusOr<std::string> got = Render(test.source);
    ASSERT_FALSE(got.ok()) << test.source;
    EXPECT_TRUE(absl::StrContains(got.status().message(), test.line)) << test.source << ": " << got.status();
    EXPECT_TRUE(absl::StrContains(got.status().message(), test.words)) << test.source << ": " << got.status();
  }
}

TEST(TemplateLimitsTest, NothingButTheDataCanBeReached) {
  for (const char* name : {"__class__", "__init__", "__globals__", "mro", "__subclasses__", "func_code", "_private"}) {
    EXPECT_EQ(*Render(absl::StrCat("{{ ''.", name, " is defined }}{{ []['", name, "'] is defined }}{{ range.", name,
                                   " is defined }}{{ (1)|attr('", name, "') is defined }}")),
              "FalseFalseFalseFalse")
        << name;
    EXPECT_FALSE(Render(absl::StrCat("{{ '{0.", name, ".x}'.format('') }}")).ok()) << name;
  }
}

}  // namespace
}  // namespace quire::jinja
