// Reading JSON files that may be broken or hostile: bounded parsing, and values whose errors name file and key.
//
// One thread per reader.
//   I1  The first error of a reader is kept and later ones are dropped; getters then give harmless defaults, so that a
//       parser can read all fields it wants and ask for the status once.
//   I2  Files over the size limit and values nested deeper than kJsonDepthMax are refused before they cost memory.
#ifndef QUIRE_COORDINATOR_TEXT_JSON_NODE_H_
#define QUIRE_COORDINATOR_TEXT_JSON_NODE_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::text {

constexpr int kJsonDepthMax = 64;

// Errors: kNotFound when there is no such file, kInvalidArgument when it is too large or cannot be read.
absl::StatusOr<std::string> ReadBoundedFile(const std::string& path, int64_t bytes_max);

// Errors: those of ReadBoundedFile; kInvalidArgument when it is not JSON.
absl::StatusOr<std::unique_ptr<const nlohmann::json>> ReadJsonFile(const std::string& path, int64_t bytes_max);

class JsonNode final {
 public:
  // `status` collects the first error; it and the value must outlive the node and all nodes made from it.
  JsonNode(const nlohmann::json* value, std::string file, absl::Status* status);

  // True when the key is missing or its value is null.
  bool is_null() const;
  bool is_string() const;
  bool is_array() const;
  bool is_object() const;
  // The value. Requires: !is_null().
  const nlohmann::json& value() const;

  // A member or element; a null node when there is none.
  JsonNode At(absl::string_view key) const;
  JsonNode At(size_t index) const;
  // Elements of an array; 0 and an error when it is not one.
  size_t ArraySize() const;

  std::string String() const;
  bool BoolOr(bool otherwise) const;
  int64_t Int(int64_t low, int64_t high) const;
  // The value of the member "type"; empty and an error when it is missing.
  std::string Type() const;

  // Records an error at this node.
  void Fail(absl::string_view what) const;
  void FailUnimplemented(absl::string_view what) const;
  void Fail(const absl::Status& cause) const;
  bool ok() const { return status_->ok(); }

 private:
  JsonNode(const nlohmann::json* value, std::string file, std::string path, absl::Status* status);
  void Record(absl::StatusCode code, absl::string_view what) const;
  void FailType(absl::string_view expected) const;

  const nlohmann::json* value_;  // null: not there
  std::string file_;
  std::string path_;
  absl::Status* status_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_JSON_NODE_H_
