// The members of one JSON object by name and type; the first error counts.
//
// One thread.
//   1  null is the same as absent.
//   2  Names in errors are paths as the client wrote them: "messages[2].role".
#ifndef QUIRE_COORDINATOR_OPENAI_FIELDS_H_
#define QUIRE_COORDINATOR_OPENAI_FIELDS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/openai/bounded_json.h"

namespace quire::openai {

// Entries of any list but token ids: what one becomes takes many times its JSON.
inline constexpr size_t kListMax = 4096;

class Fields {
 public:
  // `path` comes before names in errors: "" or "messages[2].". Errors go to *status, which outlives this. Requires:
  // `object` is an object and outlives this.
  Fields(const Json& object, std::string path, absl::Status* status);

  // The value; nothing where it is absent or of another type, which is an error. Int: from `low` to `high`, and a number
  // with a fraction of zero counts. String: null or the text.
  const Json* Find(absl::string_view name);
  std::optional<bool> Bool(absl::string_view name);
  std::optional<float> Float(absl::string_view name);
  std::optional<int64_t> Int(absl::string_view name, int64_t low, int64_t high);
  const std::string* String(absl::string_view name);
  const Json* Object(absl::string_view name);
  const Json* Array(absl::string_view name);  // at most kListMax entries
  // A string, or a list of at most kListMax of them.
  std::vector<std::string> Strings(absl::string_view name);
  std::vector<uint32_t> Ids(absl::string_view name);

  // Notes that the member is known and has no effect.
  void Ignore(absl::string_view name) { Find(name); }
  // An error if the member is there. `what` follows the name.
  void Refuse(absl::string_view name, absl::string_view what);
  // The same, unless it is `harmless`: the value that asks for nothing.
  void RefuseUnless(absl::string_view name, bool harmless, absl::string_view what);

  void Fail(absl::string_view name, absl::string_view what);
  bool ok() const { return status_->ok(); }
  const absl::Status& status() const { return *status_; }
  absl::Status* mutable_status() { return status_; }  // for the members of a member
  std::string Path(absl::string_view name) const { return path_ + std::string(name); }

  // Members that nobody asked for.
  size_t CountUnknown() const { return members_.size() - asked_.size(); }

 private:
  std::map<absl::string_view, const Json*> members_;
  std::set<absl::string_view> asked_;
  const std::string path_;
  absl::Status* const status_;
};

// A list of token ids, as a prompt or a field of its own. Requires: `list` is an array.
absl::Status ReadIds(const Json& list, absl::string_view path, std::vector<uint32_t>* out);

// "a string", "a number", ... with the article.
const char* TypeOf(const Json& value);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_FIELDS_H_
