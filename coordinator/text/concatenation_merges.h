// Merges for vocabularies that list none: there any two neighbours merge whose concatenation is a token
// (sentencepiece's BPE, tiktoken).
//
// Pure function, any thread.
#ifndef QUIRE_COORDINATOR_TEXT_CONCATENATION_MERGES_H_
#define QUIRE_COORDINATOR_TEXT_CONCATENATION_MERGES_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/bpe_merges.h"

namespace quire::text {

struct MergeResult {
  absl::string_view text;  // well-formed UTF-8
  int32_t id = 0;
  int32_t rank = 0;  // the lowest merges first, the leftmost of several
};

// The merges that lead to the tokens: each token cut at each character. `find` gives the symbol of a token or a single
// character, -1 when there is none.
std::vector<BpeMerge> ConcatenationMerges(const std::vector<MergeResult>& results,
                                          absl::FunctionRef<int32_t(absl::string_view)> find);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_CONCATENATION_MERGES_H_
