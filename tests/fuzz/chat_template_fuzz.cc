// A chat template and what it is rendered with: the input is the template and a JSON object of its variables.
#include <glog/logging.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "coordinator/text/jinja/json_text.h"
#include "coordinator/text/jinja/template.h"
#include "coordinator/text/utf8.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

constexpr char kVariables[] =
    R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""}], "bos_token": "<s>",
        "add_generation_prompt": true, "tools": null})";

// Lower than the product's, so that inputs which reach them do not take all the time there is.
quire::jinja::Limits FuzzLimits() {
  quire::jinja::Limits limits;
  limits.steps = 50'000;
  limits.live_bytes = 16 << 20;
  limits.text_bytes = 1 << 20;
  return limits;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using quire::jinja::Template;
  const auto files = quire::fuzz::SplitInput(data, size, 2);
  const auto parsed = Template::Parse(files[0]);
  if (!parsed.ok()) {
    const absl::Status& status = parsed.status();
    CHECK(absl::IsInvalidArgument(status) || absl::IsUnimplemented(status)) << status;
    return 0;
  }
  const auto variables = quire::jinja::ParseJson(files[1].empty() ? kVariables : files[1]);
  if (!variables.ok()) {
    CHECK(absl::IsInvalidArgument(variables.status())) << variables.status();
    return 0;
  }
  if (!variables->is_dict()) return 0;
  const quire::jinja::Clock clock = {absl::FromCivil(absl::CivilSecond(2025, 3, 9), absl::UTCTimeZone()),
                                     absl::UTCTimeZone()};
  const absl::StatusOr<std::string> text = (*parsed)->Render(*variables, clock, FuzzLimits());
  if (!text.ok()) {
    const absl::Status& status = text.status();
    CHECK(absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status) || absl::IsUnimplemented(status))
        << status;
    return 0;
  }
  quire::fuzz::NoteAccepted();
  CHECK_EQ(quire::text::FindInvalidUtf8(*text), absl::string_view::npos);
  CHECK_LE(text->size(), static_cast<size_t>(FuzzLimits().text_bytes));
  const absl::StatusOr<std::string> again = (*parsed)->Render(*variables, clock, FuzzLimits());
  CHECK(again.ok() && *again == *text) << "two renderings differ";
  return 0;
}
