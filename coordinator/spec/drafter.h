// The speculation of one sequence: what it drafts from and how well that went. Plain state, engine thread only; owned
// by the sequence, driven by scheduler/draft_planner.h. Its content is a function of the committed tokens and of the
// answers so far, and never matters to which tokens come out.
#ifndef QUIRE_COORDINATOR_SPEC_DRAFTER_H_
#define QUIRE_COORDINATOR_SPEC_DRAFTER_H_

#include <cstdint>
#include <vector>

#include "coordinator/spec/draft_rate.h"
#include "coordinator/spec/ngram_index.h"

namespace quire::spec {

enum class Method : uint8_t { kNone, kNgram, kDraftModel };

// Most drafts of one item; the ranks refuse more (proto/protocol.h).
constexpr int kMaxDrafts = 16;
// Longest run of tokens that is looked up.
constexpr int kMaxLookup = 32;

struct SpecOptions {
  Method method = Method::kNone;
  int num_speculative_tokens = 4;  // 1 to kMaxDrafts
  int prompt_lookup_min = 2;       // tokens that must match; 1 to prompt_lookup_max
  int prompt_lookup_max = 5;       // tokens that are compared at most; to kMaxLookup
};

struct Drafter {
  explicit Drafter(const SpecOptions& options) : index(options.prompt_lookup_min, options.prompt_lookup_max) {}

  // Tells the index of tokens that it has not seen, a bounded number in one call. False: it is not up to date yet.
  bool CatchUp(const std::vector<int32_t>& prompt, const std::vector<int32_t>& output) {
    constexpr int kMost = 8192;
    const int64_t prompt_len = static_cast<int64_t>(prompt.size());
    const int64_t known = prompt_len + static_cast<int64_t>(output.size());
    for (int i = 0; i < kMost && index.size() < known; ++i) {
      const int64_t at = index.size();
      index.Append(at < prompt_len ? prompt[at] : output[at - prompt_len]);
    }
    return index.size() == known;
  }

  NgramIndex index;
  DraftRate rate;
};

}  // namespace quire::spec

#endif  // QUIRE_COORDINATOR_SPEC_DRAFTER_H_
