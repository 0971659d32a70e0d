#include "coordinator/frontend/generation_config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace quire::frontend {
namespace {

using Json = nlohmann::json;

std::string Shown(const Json& value) { return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 64); }

// The number at `key`, or nothing if it is absent, null or not in (or at the ends of) [low, high].
std::optional<double> ReadNumber(const Json& config, const char* key, double low, bool low_open, double high,
                                 std::vector<std::string>* warnings) {
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return std::nullopt;
  if (it->is_number()) {
    const double value = it->get<double>();
    // As the float that it becomes: 1e-60 is above 0 only as a double.
    const float stored = static_cast<float>(value);
    if (stored <= high && (low_open ? stored > low : stored >= low)) return value;
  }
  warnings->push_back(absl::StrCat("generation_config.json: ", key, " is ignored: it must be a number in ",
                                   low_open ? "(" : "[", low, ", ", high, "], got ", Shown(*it), "."));
  return std::nullopt;
}

// One string or a list of them; all or none.
std::vector<std::string> ReadStopStrings(const Json& config, std::vector<std::string>* warnings) {
  const auto it = config.find("stop_strings");
  if (it == config.end() || it->is_null()) return {};
  const Json list = it->is_array() ? *it : Json::array({*it});
  std::vector<std::string> stops;
  for (const Json& item : list) {
    const bool fits = item.is_string() && !item.get_ref<const std::string&>().empty() &&
                      item.get_ref<const std::string&>().size() <= kStopStringBytesMax;
    if (fits) stops.push_back(item.get<std::string>());
  }
  if (stops.size() == list.size() && stops.size() <= kStopStringsMax) return stops;
  warnings->push_back(absl::StrCat("generation_config.json: stop_strings is ignored: it must be at most ",
                                   kStopStringsMax, " strings of 1 to ", kStopStringBytesMax, " bytes, got ",
                                   Shown(*it), "."));
  return {};
}

std::optional<float> ToFloat(std::optional<double> value) {
  if (!value.has_value()) return std::nullopt;
  return static_cast<float>(*value);
}

}  // namespace

GenerationDefaults ParseGenerationConfig(const std::string& json, std::vector<std::string>* warnings) {
  GenerationDefaults defaults;
  if (json.empty()) return defaults;
  const Json config = Json::parse(json, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) {
    warnings->push_back("generation_config.json is ignored: it is not a JSON object.");
    return defaults;
  }
  defaults.temperature = ToFloat(ReadNumber(config, "temperature", 0, false, 2, warnings));
  defaults.top_p = ToFloat(ReadNumber(config, "top_p", 0, true, 1, warnings));
  defaults.min_p = ToFloat(ReadNumber(config, "min_p", 0, false, 1, warnings));
  defaults.repetition_penalty = ToFloat(ReadNumber(config, "repetition_penalty", 0, true, 1e6, warnings));
  // Hugging Face writes -1 as well as 0 for "all".
  if (const auto top_k = ReadNumber(config, "top_k", -1, false, 1e9, warnings)) {
    defaults.top_k = *top_k < 1 ? 0 : static_cast<uint32_t>(*top_k);
  }
  if (const auto limit = ReadNumber(config, "max_new_tokens", 1, false, 1e9, warnings)) {
    defaults.max_new_tokens = static_cast<uint32_t>(*limit);
  }
  if (const auto least = ReadNumber(config, "min_new_tokens", 0, false, 1e9, warnings)) {
    defaults.min_new_tokens = static_cast<uint32_t>(*least);
  }
  defaults.stop_strings = ReadStopStrings(config, warnings);
  return defaults;
}

}  // namespace quire::frontend
