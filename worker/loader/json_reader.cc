#include "worker/loader/json_reader.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/loader/bounded_json.h"

namespace quire::worker {

using nlohmann::json;

const json* JsonReader::Find(Keys keys, std::string* key) const {
  for (const char* name : keys) {
    const auto found = object_.find(name);
    if (found == object_.end() || found->is_null()) continue;
    *key = absl::StrCat(prefix_, name);
    return &*found;
  }
  return nullptr;
}

void JsonReader::Int(Keys keys, int64_t min, int64_t max, std::optional<int64_t>* out) {
  std::string key;
  const json* value = Find(keys, &key);
  if (value == nullptr) return;
  // A number above INT64_MAX reads as a huge one, not as a negative one.
  const bool too_large = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (!value->is_number_integer()) {
    Wrong(key, *value, "an integer");
  } else if (too_large || value->get<int64_t>() < min || value->get<int64_t>() > max) {
    Wrong(key, *value, absl::StrCat("in [", min, ", ", max, "]"));
  } else {
    *out = value->get<int64_t>();
  }
}

void JsonReader::Double(Keys keys, double min, double max, std::optional<double>* out) {
  std::string key;
  const json* value = Find(keys, &key);
  if (value == nullptr) return;
  if (!value->is_number()) {
    Wrong(key, *value, "a number");
  } else if (const double number = value->get<double>(); !(number >= min && number <= max)) {
    Wrong(key, *value, absl::StrCat("in [", min, ", ", max, "]"));
  } else {
    *out = number;
  }
}

void JsonReader::Bool(Keys keys, std::optional<bool>* out) {
  std::string key;
  const json* value = Find(keys, &key);
  if (value == nullptr) return;
  if (!value->is_boolean()) return Wrong(key, *value, "true or false");
  *out = value->get<bool>();
}

void JsonReader::String(Keys keys, std::optional<std::string>* out) {
  std::string key;
  const json* value = Find(keys, &key);
  if (value == nullptr) return;
  if (!value->is_string()) return Wrong(key, *value, "a string");
  *out = value->get<std::string>();
}

void JsonReader::Doubles(Keys keys, double min, double max, size_t most, std::vector<double>* out) {
  std::string key;
  const json* value = Find(keys, &key);
  if (value == nullptr) return;
  const auto is_wrong = [&](const json& item) {
    return !item.is_number() || !(item.get<double>() >= min && item.get<double>() <= max);
  };
  if (!value->is_array() || value->size() > most || std::any_of(value->begin(), value->end(), is_wrong)) {
    return Wrong(key, *value, absl::StrCat("a list of at most ", most, " numbers in [", min, ", ", max, "]"));
  }
  *out = value->get<std::vector<double>>();
}

const json* JsonReader::Object(Keys keys) {
  std::string key;
  const json* value = Find(keys, &key);
  if (value == nullptr || value->is_object()) return value;
  Wrong(key, *value, "an object");
  return nullptr;
}

void JsonReader::Wrong(absl::string_view key, const json& value, absl::string_view wanted) {
  Fail(absl::InvalidArgumentError(absl::StrCat(file_, ": '", key, "' is ", Shown(value), ", must be ", wanted)));
}

void JsonReader::Unimplemented(absl::string_view what) {
  Fail(absl::UnimplementedError(absl::StrCat(file_, ": ", what, " is not supported")));
}

void JsonReader::Invalid(absl::string_view what) { Fail(absl::InvalidArgumentError(absl::StrCat(file_, ": ", what))); }

void JsonReader::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

std::string JsonReader::Shown(const json& value) {
  return Printable(value.dump(-1, ' ', true, json::error_handler_t::replace));
}

}  // namespace quire::worker
