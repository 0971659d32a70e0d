// Reads the keys of one JSON object of a model's files, each within its limits. Any thread, one at a time.
//
// Invariants:
//   JR1  The first complaint is kept and names the file, the key, the value and what it must be; later reads go on, so
//        that a list of reads needs one check at its end.
//   JR2  A key that is absent, null or complained of leaves its output alone.
#ifndef QUIRE_WORKER_LOADER_JSON_READER_H_
#define QUIRE_WORKER_LOADER_JSON_READER_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quire::worker {

class JsonReader {
 public:
  // Names of one key; the first that is there and not null counts.
  using Keys = std::initializer_list<const char*>;

  // `prefix` stands before keys in complaints: the way to this object. Requires: file and object outlive the reader.
  JsonReader(absl::string_view file, const nlohmann::json& object, std::string prefix = "")
      : file_(file), object_(object), prefix_(std::move(prefix)) {}

  const absl::Status& status() const { return status_; }

  // The value, and under which name; null if there is none.
  const nlohmann::json* Find(Keys keys, std::string* key) const;

  // Errors: INVALID_ARGUMENT another type, or a number outside [min, max].
  void Int(Keys keys, int64_t min, int64_t max, std::optional<int64_t>* out);
  void Double(Keys keys, double min, double max, std::optional<double>* out);
  void Bool(Keys keys, std::optional<bool>* out);
  void String(Keys keys, std::optional<std::string>* out);
  void Doubles(Keys keys, double min, double max, size_t most, std::vector<double>* out);
  // Null where absent or not an object.
  const nlohmann::json* Object(Keys keys);

  // Complaints.
  void Wrong(absl::string_view key, const nlohmann::json& value, absl::string_view wanted);
  void Unimplemented(absl::string_view what);
  void Invalid(absl::string_view what);
  void Fail(absl::Status status);

  // A value as a message may show it.
  static std::string Shown(const nlohmann::json& value);

 private:
  const absl::string_view file_;
  const nlohmann::json& object_;
  const std::string prefix_;
  absl::Status status_;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_JSON_READER_H_
