#include "coordinator/openai/fields.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"

namespace quire::openai {
namespace {

absl::Status Invalid(absl::string_view path, absl::string_view what) {
  return frontend::FieldError(absl::StatusCode::kInvalidArgument, path, what);
}

// An integer, written as one or with a fraction of zero; nothing if it is none or int64 does not hold it.
std::optional<int64_t> AsInt(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  constexpr double kExact = 9007199254740992.0;  // 2^53
  const auto number = value.get<double>();
  if (!(std::abs(number) <= kExact) || number != std::floor(number)) return std::nullopt;
  return static_cast<int64_t>(number);
}

}  // namespace

const char* TypeOf(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::number_float:
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return "a number";
    default:
      return "no JSON value";
  }
}

absl::Status ReadIds(const Json& list, absl::string_view path, std::vector<uint32_t>* out) {
  out->reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const std::optional<int64_t> id = AsInt(list[i]);
    if (!id.has_value() || *id < 0 || *id > std::numeric_limits<uint32_t>::max()) {
      const std::string got = list[i].is_number() ? list[i].dump() : TypeOf(list[i]);
      return Invalid(absl::StrCat(path, "[", i, "]"), absl::StrCat("must be a token id, got ", got, "."));
    }
    out->push_back(static_cast<uint32_t>(*id));
  }
  return absl::OkStatus();
}

Fields::Fields(const Json& object, std::string path, absl::Status* status) : path_(std::move(path)), status_(status) {
  for (const auto& member : object.get_ref<const Json::object_t&>()) members_.emplace(member.first, &member.second);
}

const Json* Fields::Find(absl::string_view name) {
  const auto it = members_.find(name);
  if (it == members_.end()) return nullptr;
  asked_.insert(it->first);
  return it->second->is_null() ? nullptr : it->second;
}

std::optional<bool> Fields::Bool(absl::string_view name) {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  Fail(name, absl::StrCat("must be true or false, got ", TypeOf(*value), "."));
  return std::nullopt;
}

std::optional<float> Fields::Float(absl::string_view name) {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    Fail(name, absl::StrCat("must be a number, got ", TypeOf(*value), "."));
    return std::nullopt;
  }
  const auto number = value->get<double>();
  constexpr float kMost = std::numeric_limits<float>::max();
  if (std::abs(number) <= kMost) return static_cast<float>(number);
  return std::copysign(std::numeric_limits<float>::infinity(), static_cast<float>(number > 0 ? 1 : -1));
}

std::optional<int64_t> Fields::Int(absl::string_view name, int64_t low, int64_t high) {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> number = AsInt(*value);
  if (number.has_value() && *number >= low && *number <= high) return number;
  const std::string got = value->is_number() ? value->dump() : TypeOf(*value);
  Fail(name, absl::StrCat("must be an integer from ", low, " to ", high, ", got ", got, "."));
  return std::nullopt;
}

const std::string* Fields::String(absl::string_view name) {
  const Json* value = Find(name);
  if (value == nullptr) return nullptr;
  if (value->is_string()) return &value->get_ref<const std::string&>();
  Fail(name, absl::StrCat("must be a string, got ", TypeOf(*value), "."));
  return nullptr;
}

const Json* Fields::Object(absl::string_view name) {
  const Json* value = Find(name);
  if (value == nullptr || value->is_object()) return value;
  Fail(name, absl::StrCat("must be an object, got ", TypeOf(*value), "."));
  return nullptr;
}

const Json* Fields::Array(absl::string_view name) {
  const Json* value = Find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) {
    Fail(name, absl::StrCat("must be a list, got ", TypeOf(*value), "."));
    return nullptr;
  }
  if (value->size() <= kListMax) return value;
  Fail(name, absl::StrCat("may hold at most ", kListMax, " entries, got ", value->size(), "."));
  return nullptr;
}

std::vector<std::string> Fields::Strings(absl::string_view name) {
  std::vector<std::string> out;
  const Json* value = Find(name);
  if (value == nullptr) return out;
  if (value->is_string()) {
    out.push_back(value->get_ref<const std::string&>());
    return out;
  }
  if (Array(name) == nullptr) return out;
  for (size_t i = 0; i < value->size(); ++i) {
    const Json& entry = (*value)[i];
    if (!entry.is_string()) {
      Fail(absl::StrCat(name, "[", i, "]"), absl::StrCat("must be a string, got ", TypeOf(entry), "."));
      break;
    }
    out.push_back(entry.get_ref<const std::string&>());
  }
  return out;
}

std::vector<uint32_t> Fields::Ids(absl::string_view name) {
  std::vector<uint32_t> out;
  const Json* value = Find(name);
  if (value == nullptr) return out;
  if (!value->is_array()) {
    Fail(name, absl::StrCat("must be a list of token ids, got ", TypeOf(*value), "."));
    return out;
  }
  const absl::Status status = ReadIds(*value, Path(name), &out);
  if (!status.ok() && ok()) *status_ = status;
  return out;
}

void Fields::Refuse(absl::string_view name, absl::string_view what) { RefuseUnless(name, /*harmless=*/false, what); }

void Fields::RefuseUnless(absl::string_view name, bool harmless, absl::string_view what) {
  if (Find(name) != nullptr && !harmless) Fail(name, what);
}

void Fields::Fail(absl::string_view name, absl::string_view what) {
  if (ok()) *status_ = Invalid(Path(name), what);
}

}  // namespace quire::openai
