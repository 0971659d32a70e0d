// The model's own tokens: string to id and id to string. Added tokens live in added_tokens.h.
//
// Immutable after Build, any thread.
//   I1  Ids are in [0, kTokenIdMax]; each id and each string occurs at most once. Ids may have holes.
#ifndef QUIRE_COORDINATOR_TEXT_VOCABULARY_H_
#define QUIRE_COORDINATOR_TEXT_VOCABULARY_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace quire::text {

// Tables are indexed by id, so a file with a lying id must not be able to ask for all memory. Real ones end at 2^18.
constexpr int32_t kTokenIdMax = (1 << 22) - 1;

// Ids below the largest that may be without a token: else a file of a hundred bytes asks for tables of half a gigabyte.
constexpr int32_t kTokenIdHolesMax = 1 << 18;

// Errors: kInvalidArgument with the numbers where more than kTokenIdHolesMax of the ids below `end_id` have no token.
absl::Status CheckTokenIdHoles(int64_t end_id, int64_t num_tokens);

// Tokens of files without a list of merges: what they merge from is found by cutting them everywhere.
constexpr size_t kCutTokenBytesMax = 1024;

class Vocabulary final {
 public:
  // Errors: kInvalidArgument naming the token whose id is out of range or taken.
  static absl::StatusOr<Vocabulary> Build(std::vector<std::pair<std::string, int32_t>> tokens);

  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  absl::optional<int32_t> Find(absl::string_view token) const {
    const auto it = ids_.find(token);
    return it == ids_.end() ? absl::nullopt : absl::optional<int32_t>(it->second);
  }
  // True when the id belongs to a token.
  bool Contains(int32_t id) const { return id >= 0 && id < end_id() && present_[id]; }
  // The token's string. Requires: Contains(id).
  const std::string& Text(int32_t id) const;
  int64_t num_tokens() const { return static_cast<int64_t>(ids_.size()); }
  // One past the largest id.
  int32_t end_id() const { return static_cast<int32_t>(texts_.size()); }

 private:
  Vocabulary() = default;

  std::vector<std::string> texts_;  // by id; keys of ids_ point into it, so it never grows after Build
  std::vector<bool> present_;       // by id
  absl::flat_hash_map<absl::string_view, int32_t> ids_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_VOCABULARY_H_
