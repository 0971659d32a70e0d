#include "coordinator/openai/bounded_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace quire::openai {
namespace {

// Builds the tree from the parser's events, finished containers only, from the inside out. The library's own way looks
// through all members to add one, and copies them when an object grows: a body of many keys would take minutes.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Take(Json()); }
  bool boolean(bool value) override { return Take(Json(value)); }
  bool number_integer(number_integer_t value) override { return Take(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return Take(Json(value)); }
  bool number_float(number_float_t value, const string_t& text) override {
    // The parser's way to give an integer of more than 64 bits.
    if (text.find_first_of(".eE") == std::string::npos) return Fail("holds an integer that 64 bits do not hold");
    return Take(Json(value));
  }
  bool string(string_t& value) override { return Take(Json(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(); }
  bool start_array(std::size_t) override { return Open(); }
  bool key(string_t& value) override {
    open_.back().keys.push_back(std::move(value));
    return true;
  }

  bool end_object() override {
    Container done = std::move(open_.back());
    open_.pop_back();
    if (!KeysAreUnique(done.keys)) return false;
    Json object = Json::object();
    auto& members = static_cast<Json::object_t::Container&>(object.get_ref<Json::object_t&>());
    members.reserve(done.keys.size());
    for (size_t i = 0; i < done.keys.size(); ++i) {
      members.emplace_back(std::move(done.keys[i]), std::move(done.values[i]));
    }
    return Put(std::move(object));
  }

  bool end_array() override {
    Json array(Json::array_t(std::move(open_.back().values)));
    open_.pop_back();
    return Put(std::move(array));
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("is not valid JSON at byte ", position));
  }

  const std::string& error() const { return error_; }
  Json result() { return std::move(result_); }

 private:
  struct Container {
    std::vector<std::string> keys;
    std::vector<Json> values;
  };

  bool Fail(std::string what) {
    if (error_.empty()) error_ = std::move(what);
    return false;
  }

  bool Count() {
    return ++num_values_ <= kJsonValuesMax || Fail(absl::StrCat("holds more than ", kJsonValuesMax, " values"));
  }

  bool Take(Json value) { return Count() && Put(std::move(value)); }

  bool Put(Json value) {
    if (open_.empty()) {
      result_ = std::move(value);
    } else {
      open_.back().values.push_back(std::move(value));
    }
    return true;
  }

  bool Open() {
    if (open_.size() >= kJsonDepthMax) return Fail(absl::StrCat("is nested deeper than ", kJsonDepthMax, " levels"));
    if (!Count()) return false;
    open_.emplace_back();
    return true;
  }

  bool KeysAreUnique(const std::vector<std::string>& keys) {
    std::vector<absl::string_view> sorted(keys.begin(), keys.end());
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice == sorted.end()) return true;
    return Fail(absl::StrCat("has the key '", absl::CHexEscape(twice->substr(0, 64)), "' twice in one object"));
  }

  std::vector<Container> open_;
  size_t num_values_ = 0;
  Json result_;
  std::string error_;
};

}  // namespace

absl::Status ParseBoundedJson(absl::string_view text, Json* out) {
  Builder builder;
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::InvalidArgumentError(absl::StrCat("The body ", builder.error(), "."));
  }
  *out = builder.result();
  if (!out->is_object()) return absl::InvalidArgumentError("The body must be a JSON object.");
  return absl::OkStatus();
}

}  // namespace quire::openai
