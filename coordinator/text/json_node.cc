#include "coordinator/text/json_node.h"

#include <glog/logging.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quire::text {

using nlohmann::json;

absl::StatusOr<std::string> ReadBoundedFile(const std::string& path, int64_t bytes_max) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    const auto code =
        errno == ENOENT || errno == ENOTDIR ? absl::StatusCode::kNotFound : absl::StatusCode::kInvalidArgument;
    return absl::Status(code, absl::StrCat(path, ": cannot be read (errno ", errno, ")"));
  }
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  if (info.st_size > bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", info.st_size, " bytes, over the limit of ", bytes_max));
  }
  std::ifstream stream(path, std::ios::binary);
  std::string text(static_cast<size_t>(info.st_size), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read whole"));
  return text;
}

absl::StatusOr<std::unique_ptr<const json>> ReadJsonFile(const std::string& path, int64_t bytes_max) {
  const absl::StatusOr<std::string> text = ReadBoundedFile(path, bytes_max);
  if (!text.ok()) return text.status();

  bool too_deep = false;
  const auto watch_depth = [&too_deep](int depth, json::parse_event_t event, json&) {
    const bool opens = event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth >= kJsonDepthMax) too_deep = true;
    return !too_deep;  // what lies deeper is skipped without being stored
  };
  // The parser throws; no exception may leave our functions.
  try {
    auto value = std::make_unique<const json>(json::parse(*text, watch_depth));
    if (too_deep) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": nested deeper than ", kJsonDepthMax, " levels"));
    }
    return value;
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not valid JSON: ", error.what()));
  }
}

JsonNode::JsonNode(const json* value, std::string file, absl::Status* status)
    : JsonNode(value, std::move(file), "", status) {}

JsonNode::JsonNode(const json* value, std::string file, std::string path, absl::Status* status)
    : value_(value), file_(std::move(file)), path_(std::move(path)), status_(status) {}

bool JsonNode::is_null() const { return value_ == nullptr || value_->is_null(); }
bool JsonNode::is_string() const { return value_ != nullptr && value_->is_string(); }
bool JsonNode::is_array() const { return value_ != nullptr && value_->is_array(); }
bool JsonNode::is_object() const { return value_ != nullptr && value_->is_object(); }

const json& JsonNode::value() const {
  CHECK(value_ != nullptr) << file_ << ": " << path_;
  return *value_;
}

JsonNode JsonNode::At(absl::string_view key) const {
  const json* member = nullptr;
  if (is_object()) {
    const auto it = value_->find(std::string(key));
    if (it != value_->end()) member = &*it;
  } else if (!is_null()) {
    FailType("an object");
  }
  return JsonNode(member, file_, absl::StrCat(path_, path_.empty() ? "" : ".", key), status_);
}

JsonNode JsonNode::At(size_t index) const {
  const json* element = is_array() && index < value_->size() ? &(*value_)[index] : nullptr;
  return JsonNode(element, file_, absl::StrCat(path_, "[", index, "]"), status_);
}

size_t JsonNode::ArraySize() const {
  if (is_array()) return value_->size();
  FailType("an array");
  return 0;
}

std::string JsonNode::String() const {
  if (is_string()) return value_->get<std::string>();
  FailType("a string");
  return "";
}

bool JsonNode::BoolOr(bool otherwise) const {
  if (is_null()) return otherwise;
  if (value_->is_boolean()) return value_->get<bool>();
  FailType("true or false");
  return otherwise;
}

int64_t JsonNode::Int(int64_t low, int64_t high) const {
  if (is_null() || !value_->is_number_integer()) {
    FailType("an integer");
    return low;
  }
  // A number over the signed range wraps to a negative one here, which no caller's range admits.
  const auto number = value_->get<int64_t>();
  if (number >= low && number <= high) return number;
  Fail(absl::StrCat(value_->dump(), " is outside ", low, " to ", high));
  return low;
}

std::string JsonNode::Type() const { return At("type").String(); }

void JsonNode::Record(absl::StatusCode code, absl::string_view what) const {
  if (!status_->ok()) return;
  *status_ = absl::Status(code, absl::StrCat(file_, ": ", path_.empty() ? "" : absl::StrCat(path_, ": "), what));
}

void JsonNode::Fail(absl::string_view what) const { Record(absl::StatusCode::kInvalidArgument, what); }
void JsonNode::FailUnimplemented(absl::string_view what) const { Record(absl::StatusCode::kUnimplemented, what); }
void JsonNode::Fail(const absl::Status& cause) const { Record(cause.code(), cause.message()); }

void JsonNode::FailType(absl::string_view expected) const {
  Fail(absl::StrCat("expected ", expected, ", found ", value_ == nullptr ? "nothing" : value_->type_name()));
}

}  // namespace quire::text
