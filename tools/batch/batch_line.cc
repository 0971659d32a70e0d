#include "tools/batch/batch_line.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tools/batch/id_set.h"

namespace quire::batch {
namespace {

using Json = nlohmann::ordered_json;

// Deeper nesting would overflow the stack when it is written again.
constexpr int kDepthMax = 128;
constexpr const char* kUrls[] = {"/v1/chat/completions", "/v1/completions"};

// Errors: kInvalidArgument.
absl::StatusOr<Json> ParseObject(absl::string_view text) {
  bool too_deep = false;
  const auto callback = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kDepthMax;
    return !too_deep;
  };
  Json json = Json::parse(text.begin(), text.end(), callback, /*allow_exceptions=*/false);
  if (too_deep) return absl::InvalidArgumentError(absl::StrCat("is nested deeper than ", kDepthMax));
  if (json.is_discarded()) return absl::InvalidArgumentError("is not JSON");
  if (!json.is_object()) return absl::InvalidArgumentError("is not a JSON object");
  return json;
}

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

absl::StatusOr<std::string> TakeString(const Json& line, const char* name) {
  const auto it = line.find(name);
  if (it == line.end() || !it->is_string()) return absl::InvalidArgumentError(absl::StrCat(name, " must be a string"));
  return it->get<std::string>();
}

absl::StatusOr<std::string> TakeCustomId(const Json& line) {
  absl::StatusOr<std::string> id = TakeString(line, "custom_id");
  if (!id.ok()) return id;
  if (id->empty() || id->size() > kCustomIdBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("custom_id must have 1 to ", kCustomIdBytesMax, " bytes, got ", id->size()));
  }
  return id;
}

// An answer as it came, on one line. Line ends inside JSON stand between its tokens only.
std::string BodyOnOneLine(const std::string& body) {
  if (!Json::accept(body)) return Dump(Json(body));
  std::string text = body;
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

}  // namespace

absl::StatusOr<BatchLine> ParseBatchLine(absl::string_view text) {
  const absl::StatusOr<Json> line = ParseObject(text);
  if (!line.ok()) return line.status();
  BatchLine out;
  absl::StatusOr<std::string> id = TakeCustomId(*line);
  if (!id.ok()) return id.status();
  out.custom_id = *std::move(id);
  const absl::StatusOr<std::string> method = TakeString(*line, "method");
  if (!method.ok() || *method != "POST") return absl::InvalidArgumentError("method must be \"POST\"");
  absl::StatusOr<std::string> url = TakeString(*line, "url");
  if (!url.ok()) return url.status();
  if (std::find(std::begin(kUrls), std::end(kUrls), *url) == std::end(kUrls)) {
    return absl::InvalidArgumentError("url must be /v1/chat/completions or /v1/completions");
  }
  out.url = *std::move(url);
  const auto body = line->find("body");
  if (body == line->end() || !body->is_object()) return absl::InvalidArgumentError("body must be a JSON object");
  const auto stream = body->find("stream");
  if (stream != body->end() && *stream != false && !stream->is_null()) {
    return absl::InvalidArgumentError("body.stream must be false: a batch has whole answers");
  }
  out.body = Dump(*body);
  return out;
}

absl::StatusOr<std::string> CustomIdOfOutput(absl::string_view text) {
  const absl::StatusOr<Json> line = ParseObject(text);
  if (!line.ok()) return line.status();
  return TakeCustomId(*line);
}

std::string OutputLine(const std::string& custom_id, const Outcome& outcome) {
  std::string response = "null", error = "null";
  if (outcome.status != 0) {
    response = absl::StrCat("{\"status_code\":", outcome.status, ",\"request_id\":", Dump(Json(outcome.request_id)),
                            ",\"body\":", BodyOnOneLine(outcome.body), "}");
  } else {
    error = Dump(Json{{"code", outcome.error_code}, {"message", outcome.error_message}});
  }
  return absl::StrCat("{\"id\":\"batch_req_", IdHash(custom_id).Hex(), "\",\"custom_id\":", Dump(Json(custom_id)),
                      ",\"response\":", response, ",\"error\":", error, "}\n");
}

TokenUsage UsageOf(const std::string& body) {
  const absl::StatusOr<Json> json = ParseObject(body);
  if (!json.ok()) return {};
  const auto usage = json->find("usage");
  if (usage == json->end() || !usage->is_object()) return {};
  const auto count = [&usage](const char* name) -> int64_t {
    const auto it = usage->find(name);
    return it != usage->end() && it->is_number_integer() ? it->get<int64_t>() : 0;
  };
  return {count("prompt_tokens"), count("completion_tokens")};
}

}  // namespace quire::batch
