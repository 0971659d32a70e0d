// A live request: one group of sequences. Sampling: 1..n, each one choice. Beam search: beam_width places, of which the
// running beams are active; the choices are made of finished beams at the end. Plain data of the core; engine thread
// only.
//
// Invariants (checked by engine/core_invariants.cc):
//   Q1  num_computed counts tokens whose keys have been planned; it chases num_known() and passes it only by drafts
//       in flight, by num_drafted - 1 at most.
//   Q2  `blocks` (or, swapped out, `host_blocks`) covers exactly num_computed tokens; its first num_unseen entries are
//       kNoBlock: no later token can see them.
//   Q3  seq >= 0 iff the ranks hold the sequence (or will after the steps in flight).
//   Q4  in_flight is the number of sampling items sent and not answered: 0, 1 or 2; of a beam 0 or 1, and 0 once its row
//       has come.
//   Q5  The beams of a group have equally many tokens: they go on together, when the rows of all of them are there.
//   Q6  A constrained sequence has at most one sample in flight, and none while it awaits its mask. In a running group,
//       one that has tokens to catch up on awaits none.
#ifndef QUIRE_COORDINATOR_REQUEST_SEQUENCE_GROUP_H_
#define QUIRE_COORDINATOR_REQUEST_SEQUENCE_GROUP_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/request/beam_search.h"
#include "coordinator/request/block_key.h"
#include "coordinator/request/crash_record.h"
#include "coordinator/request/planted.h"
#include "coordinator/request/request.h"
#include "coordinator/request/stop_checker.h"
#include "coordinator/spec/drafter.h"

namespace quire::request {

struct SequenceGroup;

inline void Fetch(const void* object, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const char*>(object) + at, 1);
}

// What a sequence has besides, as a beam.
struct Beam {
  bool answered = false;    // `row` has come
  BeamSearch::Row row;      // continuations of its tokens
  int32_t branch_of = -1;   // seq of the parent, from which the ranks have to make it
  bool owes_token = false;  // the ranks have it without its last token
  std::string text;
  std::vector<TokenLogprobs> logprobs;  // by token of output, if the client asked
};

// With thousands of sequences a step is a wait for memory: what a decode step touches comes first, in two cache lines
// (kHotBytes), here as in SequenceGroup.
struct alignas(64) Sequence {
  static constexpr int32_t kNotOnRanks = -1;
  static constexpr size_t kHotBytes = 128;

  SequenceGroup* group = nullptr;
  uint32_t index = 0;         // of the choice
  int32_t seq = kNotOnRanks;  // index in the ranks' sequence tables
  bool finished = false;
  bool awaits_mask = false;     // of its constraint: what may be drawn next is not known yet
  bool active = true;           // false: a place of a beam search that no beam has now
  int32_t in_flight = 0;        // samples
  int32_t num_drafted = 0;      // drafts in flight; with any, in_flight is 1 and the length is not known
  int64_t num_computed = 0;     // tokens
  int64_t num_charged = 0;      // tokens that the tenant was charged for
  int64_t num_published = 0;    // blocks of `blocks` that the prefix index was told of
  std::unique_ptr<Beam> beam;   // null = sampling
  std::vector<int32_t> output;  // committed ids
  std::vector<int32_t> blocks;  // block table
  std::unique_ptr<StopChecker> stop;
  std::unique_ptr<spec::Drafter> drafter;        // null before the first draft was thought of
  std::unique_ptr<OutputConstraint> constraint;  // null = free output
  // Seldom touched:
  std::vector<BlockKey> keys;        // chain keys of the first full blocks of committed tokens; never change
  std::vector<int32_t> host_blocks;  // instead of `blocks`, while the sequence is swapped out
  int64_t num_unseen = 0;            // blocks at the front that were let go
  int64_t first_prompt_row = 0;      // prompt position from which the ranks were told to bring log-probs; 0 = none

  // Hot lines are asked of memory now, for a walk that comes by soon.
  void FetchAhead() const { Fetch(this, kHotBytes); }
  int64_t num_known() const;  // prompt, committed, and sampled but not yet seen here
  int64_t num_remaining() const { return num_known() - num_computed; }
  // The next sample is wanted: max_tokens is not reached by what is committed or in flight.
  bool wants_sample() const;
  // Log-probs of prompt positions are wanted that have not come back: this sequence has to compute their rows.
  bool wants_prompt_rows() const;
  // Tokens at the front that need not be computed where the cache has them. One must be, for the logits of the next.
  int64_t num_skippable() const;
};

struct alignas(64) SequenceGroup {
  static constexpr size_t kHotBytes = 256;

  std::vector<Sequence> sequences;     // by choice or place; fixed size, so that pointers stay valid
  std::unique_ptr<BeamSearch> search;  // null = sampling
  double* service = nullptr;           // of its tenant (scheduler/tenant_counters.h), while a scheduler has the group
  uint64_t planned_step = 0;           // last step that has an item of this group
  int64_t steps_since_resume = 0;      // decoded since it was last admitted
  int32_t num_preemptions = 0;         // for want of blocks
  bool forked = false;                 // all choices exist; before, sequences[0] stands for all of them; beams: true
  bool ended = false;                  // OnEnd is out; kept only while samples are in flight
  bool constrained = false;            // every sequence has a constraint
  bool prepares = false;               // no scheduler has it yet: it awaits its first masks
  uint64_t id = 0;                     // ascending with arrival
  int64_t cached_tokens = 0;           // of the prompt, found in the prefix cache at first admission
  absl::Time first_token = absl::InfiniteFuture();
  absl::Time last_token = absl::InfiniteFuture();
  Request request;  // what of it is hot comes first there
  // Seldom touched:
  std::vector<Sequence*> beams;  // the running ones, best first
  CrashRecord crashes;           // replica losses while running
  int64_t num_prompt_rows = 0;   // prompt positions, but the first, whose log-probs have come back
  int64_t request_bytes = 0;     // memory that the request takes
  int64_t num_held_blocks = 0;   // of its shared prefix (KvManager::Hold)
  absl::Time arrival;
  absl::Time first_scheduled = absl::InfiniteFuture();

  void FetchAhead() const { Fetch(this, kHotBytes); }
  int64_t prompt_len() const { return static_cast<int64_t>(request.prompt_ids.size()); }
  // Top log-probs that the ranks return for each draw: -1 = none.
  int32_t rank_logprobs() const {
    if (search != nullptr) return search->row_size();
    const SamplingParams& p = request.params;
    return p.logprobs < 0 && p.best_of > p.n ? 0 : p.logprobs;  // the best are chosen by the drawn tokens' own
  }
  // Sequences that (will) live on the ranks: unfinished choices, or the leader alone before the fork; running beams.
  template <typename F>
  void ForEachLive(F&& f) {
    const size_t count = forked ? sequences.size() : 1;
    for (size_t i = 0; i < count; ++i) {
      if (!sequences[i].finished && sequences[i].active) f(sequences[i]);
    }
  }
  // Unfinished choices, or all beams there may be: places that the group takes under max_num_seqs.
  int64_t num_unfinished() const {
    int64_t n = 0;
    for (const Sequence& s : sequences) n += !s.finished;
    return n;
  }
  // Committed tokens of the choice that has the most.
  int64_t longest_output() const {
    size_t n = 0;
    for (const Sequence& s : sequences) n = std::max(n, s.output.size());
    return static_cast<int64_t>(n);
  }
  // Under suspicion of ending its ranks: nothing else may run beside it.
  bool runs_alone() const { return crashes.RunsAlone(longest_output()); }
  // What may be drawn next is not known of a choice that goes on.
  bool awaits_mask() const {
    if (!constrained) return false;
    return std::any_of(sequences.begin(), sequences.end(), [](const Sequence& s) { return s.awaits_mask; });
  }
  int64_t num_in_flight() const {
    int64_t n = 0;
    for (const Sequence& s : sequences) n += s.in_flight;
    return n;
  }
};

inline int64_t Sequence::num_known() const {
  return group->prompt_len() + static_cast<int64_t>(output.size()) + in_flight;
}

inline bool Sequence::wants_prompt_rows() const {
  // The leader computes the prompt for all.
  return index == 0 && group->request.params.prompt_logprobs >= 0 && group->num_prompt_rows + 1 < group->prompt_len();
}

inline int64_t Sequence::num_skippable() const {
  return wants_prompt_rows() && !Planted(Defect::kPromptRowsSkipped) ? group->num_prompt_rows : num_known() - 1;
}

inline bool Sequence::wants_sample() const {
  if (beam != nullptr) return in_flight == 0 && !beam->answered;
  if (awaits_mask || (group->constrained && in_flight > 0)) return false;
  return !finished && output.size() + in_flight < group->request.params.max_tokens;
}

}  // namespace quire::request

#endif  // QUIRE_COORDINATOR_REQUEST_SEQUENCE_GROUP_H_
