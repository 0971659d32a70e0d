#include "coordinator/openai/tool_calls.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/openai/bounded_json.h"

namespace quire::openai {
namespace {

constexpr char kOpen[] = "<tool_call>";
constexpr char kClose[] = "</tool_call>";
constexpr size_t kOpenBytes = sizeof(kOpen) - 1;
constexpr size_t kCloseBytes = sizeof(kClose) - 1;
constexpr size_t kClosesMax = 8;  // tried for one call: a tag may stand inside of a string, but each try reads it all

// How much of the end of `text` could be the beginning of `tag`.
size_t BegunTag(absl::string_view text, absl::string_view tag) {
  for (size_t size = std::min(text.size(), tag.size() - 1); size > 0; --size) {
    if (absl::EndsWith(text, tag.substr(0, size))) return size;
  }
  return 0;
}

size_t WithoutBlanksAtEnd(absl::string_view text) { return absl::StripTrailingAsciiWhitespace(text).size(); }

// `member` holds the arguments.
std::optional<FoundCall> ReadCall(const Json& json, const char* member) {
  if (!json.is_object()) return std::nullopt;
  const auto name = json.find("name");
  if (name == json.end() || !name->is_string() || name->get_ref<const std::string&>().empty()) return std::nullopt;
  FoundCall call;
  call.name = name->get_ref<const std::string&>();
  const auto arguments = json.find(member);
  if (arguments == json.end()) {
    call.arguments = "{}";
  } else if (arguments->is_object()) {
    call.arguments = arguments->dump();
  } else {
    return std::nullopt;
  }
  return call;
}

std::optional<FoundCall> ReadTaggedCall(absl::string_view text) {
  Json json;
  return ParseBoundedJson(text, &json).ok() ? ReadCall(json, "arguments") : std::nullopt;
}

}  // namespace

ParsedText ToolCallParser::Add(absl::string_view text, bool at_end) {
  ParsedText out;
  if (where_ == ToolOutput::kNone) out.content = std::string(text);
  if (where_ == ToolOutput::kArguments) out.arguments = std::string(text);
  if (where_ == ToolOutput::kNone || where_ == ToolOutput::kArguments) return out;
  held_.append(text.data(), text.size());
  if (where_ == ToolOutput::kList) return AddToList(at_end);
  while (Step(at_end, &out)) {
  }
  return out;
}

ParsedText ToolCallParser::AddToList(bool at_end) {
  ParsedText out;
  if (gave_up_ || held_.size() > kToolCallBytesMax) {
    gave_up_ = true;
    Pass(held_.size(), &out);
  }
  if (!at_end || gave_up_) return out;
  // The parser takes objects alone.
  Json json;
  bool good = ParseBoundedJson(absl::StrCat("{\"calls\":", held_, "}"), &json).ok() && json.size() == 1 &&
              json["calls"].is_array() && !json["calls"].empty() && json["calls"].size() <= kToolCallsMax;
  for (size_t i = 0; good && i < json["calls"].size(); ++i) {
    std::optional<FoundCall> call = ReadCall(json["calls"][i], "parameters");
    good = call.has_value();
    if (good) out.calls.push_back(*std::move(call));
  }
  if (!good) {
    out.calls.clear();
    out.content = std::move(held_);
  }
  held_.clear();
  return out;
}

bool ToolCallParser::Step(bool at_end, ParsedText* out) { return inside_ ? Inside(at_end, out) : Outside(at_end, out); }

void ToolCallParser::Pass(size_t size, ParsedText* out) {
  out->content.append(held_, 0, size);
  held_.erase(0, size);
}

bool ToolCallParser::Outside(bool at_end, ParsedText* out) {
  const size_t open = num_calls_ < kToolCallsMax ? held_.find(kOpen) : std::string::npos;
  if (open == std::string::npos && at_end) {
    if (num_calls_ > 0) held_.resize(WithoutBlanksAtEnd(held_));
    Pass(held_.size(), out);
    return false;
  }
  // Blanks before a call are kept with it until it is known to be one; not without end.
  const size_t text = open != std::string::npos ? open : held_.size() - BegunTag(held_, kOpen);
  const size_t most = text > kToolCallBytesMax ? text - kToolCallBytesMax : 0;
  const size_t passed = std::max(most, WithoutBlanksAtEnd(absl::string_view(held_).substr(0, text)));
  Pass(passed, out);
  if (open == std::string::npos) return false;
  inside_ = true;
  begin_ = searched_ = open - passed + kOpenBytes;
  num_closes_ = 0;
  return true;
}

bool ToolCallParser::Inside(bool at_end, ParsedText* out) {
  const size_t limit = begin_ + kToolCallBytesMax;
  while (num_closes_ < kClosesMax) {
    const size_t close = held_.find(kClose, searched_);
    if (close == std::string::npos || close > limit) break;
    std::optional<FoundCall> call = ReadTaggedCall(absl::string_view(held_).substr(begin_, close - begin_));
    if (call.has_value()) {
      out->calls.push_back(*std::move(call));
      ++num_calls_;
      held_.erase(0, close + kCloseBytes);
      inside_ = false;
      return true;
    }
    ++num_closes_;
    searched_ = close + kCloseBytes;
  }
  if (!at_end && num_closes_ < kClosesMax && held_.size() < limit + kCloseBytes) {
    searched_ = std::max(searched_, held_.size() - std::min(held_.size(), kCloseBytes - 1));
    return false;
  }
  // No call after all.
  Pass(begin_, out);
  inside_ = false;
  return true;
}

}  // namespace quire::openai
