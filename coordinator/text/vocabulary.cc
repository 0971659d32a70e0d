#include "coordinator/text/vocabulary.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace quire::text {

absl::Status CheckTokenIdHoles(int64_t end_id, int64_t num_tokens) {
  if (end_id - num_tokens <= kTokenIdHolesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the largest id is ", end_id - 1, ", and there are ", num_tokens,
                                                 " tokens: more than ", kTokenIdHolesMax, " ids would have none"));
}

absl::StatusOr<Vocabulary> Vocabulary::Build(std::vector<std::pair<std::string, int32_t>> tokens) {
  int32_t end_id = 0;
  for (const auto& [text, id] : tokens) {
    if (id < 0 || id > kTokenIdMax) {
      return absl::InvalidArgumentError(absl::StrCat("token '", text, "' has id ", id, ", outside 0 to ", kTokenIdMax));
    }
    end_id = std::max(end_id, id + 1);
  }
  if (absl::Status status = CheckTokenIdHoles(end_id, static_cast<int64_t>(tokens.size())); !status.ok()) return status;
  Vocabulary vocabulary;
  vocabulary.texts_.resize(end_id);
  vocabulary.present_.resize(end_id);
  vocabulary.ids_.reserve(tokens.size());
  for (auto& [text, id] : tokens) {
    if (vocabulary.present_[id]) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokens '", vocabulary.texts_[id], "' and '", text, "' both have id ", id));
    }
    vocabulary.present_[id] = true;
    vocabulary.texts_[id] = std::move(text);
    if (!vocabulary.ids_.emplace(vocabulary.texts_[id], id).second) {
      return absl::InvalidArgumentError(absl::StrCat("token '", vocabulary.texts_[id], "' occurs twice"));
    }
  }
  return vocabulary;
}

const std::string& Vocabulary::Text(int32_t id) const {
  CHECK(Contains(id)) << "token id " << id << " of " << end_id();
  return texts_[id];
}

}  // namespace quire::text
