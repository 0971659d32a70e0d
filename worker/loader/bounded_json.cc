#include "worker/loader/bounded_json.h"

#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace quire::worker {
namespace {

using nlohmann::json;
constexpr int kDepthMax = 16;

// Watches a parse: the library keeps the last of two equal keys without a word, which lets a file say two things.
struct Watcher {
  std::vector<std::unordered_set<std::string>> keys;
  std::string duplicate;
  bool too_deep = false;

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
        keys.emplace_back();
        [[fallthrough]];
      case json::parse_event_t::array_start:
        too_deep = too_deep || depth >= kDepthMax;
        return depth < kDepthMax;
      case json::parse_event_t::key:
        if (!keys.back().insert(parsed.get_ref<const std::string&>()).second) {
          duplicate = parsed.get_ref<const std::string&>();
        }
        return true;
      case json::parse_event_t::object_end:
        keys.pop_back();
        return true;
      default:
        return true;
    }
  }
};

}  // namespace

absl::Status ParseBoundedJson(absl::string_view file, absl::string_view text, json* out) {
  Watcher watcher;
  *out = json::parse(text.begin(), text.end(), std::ref(watcher), /*allow_exceptions=*/false);
  if (watcher.too_deep) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": nested deeper than ", kDepthMax, " levels"));
  }
  if (out->is_discarded()) return absl::InvalidArgumentError(absl::StrCat(file, ": not valid JSON"));
  if (!out->is_object()) return absl::InvalidArgumentError(absl::StrCat(file, ": not a JSON object"));
  if (!watcher.duplicate.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": key '", Printable(watcher.duplicate), "' occurs twice"));
  }
  return absl::OkStatus();
}

std::string Printable(absl::string_view text) {
  constexpr size_t kPrintedMax = 256;
  const bool cut = text.size() > kPrintedMax;
  return absl::StrCat(absl::CHexEscape(text.substr(0, kPrintedMax)), cut ? "..." : "");
}

}  // namespace quire::worker
