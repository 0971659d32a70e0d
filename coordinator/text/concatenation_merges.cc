#include "coordinator/text/concatenation_merges.h"

#include "coordinator/text/utf8.h"

namespace quire::text {

std::vector<BpeMerge> ConcatenationMerges(const std::vector<MergeResult>& results,
                                          absl::FunctionRef<int32_t(absl::string_view)> find) {
  std::vector<BpeMerge> merges;
  for (const MergeResult& result : results) {
    const absl::string_view text = result.text;
    size_t last_char = 0;  // where the character before the cut starts
    for (size_t cut = text.empty() ? 0 : CharLength(text[0]); cut < text.size(); cut += CharLength(text[cut])) {
      const int32_t left = find(text.substr(0, cut));
      const int32_t right = left < 0 ? -1 : find(text.substr(cut));
      if (right >= 0) {
        const int32_t last_of_left = find(text.substr(last_char, cut - last_char));
        const int32_t first_of_right = find(text.substr(cut, CharLength(text[cut])));
        merges.push_back({left, right, result.id, last_of_left, first_of_right, result.rank});
      }
      last_char = cut;
    }
  }
  return merges;
}

}  // namespace quire::text
