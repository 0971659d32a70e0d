// What a rank knows of every live sequence, and the differences of a step applied to it. Nothing that a plan says is
// believed: each claim is checked against the table before it counts.
//
// Thread rule: compute thread.
// Invariants:
//   T1  An error leaves the process sound and the table in an undefined but safe state: the session ends, a new one
//       starts empty.
//   T2  used_blocks() = number of blocks with at least one holder; a block shared by several tables counts once.
//       cached_blocks() = number of blocks without a holder that once had one.
//   T3  Every block id in a table is in [0, num_blocks) and occurs in that table once. Only of blocks that no token to come
//       can see, by the model's attention window, kNoBlock stands there.
//   T4  A block that comes by append or replace, to be written, has no other holder.
#ifndef QUIRE_WORKER_RUNTIME_SEQUENCE_TABLE_H_
#define QUIRE_WORKER_RUNTIME_SEQUENCE_TABLE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/sampling/sampling_params.h"
#include "worker/sampling/seen_tokens.h"

namespace quire::worker::v1 {
class NewSequence;
class Step;
}  // namespace quire::worker::v1

namespace quire::worker {

// In a table, in the place of a block that is out of the attention window.
inline constexpr int32_t kNoBlock = -1;

struct Sequence {
  bool live = false;
  std::vector<int32_t> token_ids;  // prompt, then output; the last one may wait to be computed
  int32_t prompt_len = 0;
  int32_t num_computed = 0;  // tokens whose keys are in the blocks
  std::vector<int32_t> block_ids;
  SamplingParams sampling;
  SeenTokens seen;  // kept up only if the sampling has penalties

  int32_t num_tokens() const { return static_cast<int32_t>(token_ids.size()); }
  int32_t num_output() const { return num_tokens() - prompt_len; }
};

struct TableLimits {
  int32_t vocab_size = 0;
  int32_t max_model_len = 0;  // tokens
  int32_t block_size = 16;    // tokens
  int32_t num_blocks = 0;
  int32_t num_host_blocks = 0;
  int32_t attention_window = 0;  // keys that any layer sees at most, the query's own included; 0 = all
};

struct Fork {
  uint32_t parent = 0;
  uint32_t child = 0;
};

class SequenceTable final {
 public:
  // Sequence ids are indexes: a plan cannot make the table larger than this.
  static constexpr uint32_t kMaxSequences = 1 << 16;

  explicit SequenceTable(const TableLimits& limits);

  // Applies finished, new, branches, given, forks, block_appends, block_replaces, in this order, and checks the block
  // ids of swaps and copies.
  // Errors: INVALID_ARGUMENT with the ids and both numbers.
  absl::Status Apply(const v1::Step& step);

  // The live sequence of that id; null if there is none. Valid until the next Apply.
  Sequence* Find(uint32_t seq) { return seq < sequences_.size() && sequences_[seq].live ? &sequences_[seq] : nullptr; }

  // Makes the child's table the parent's as it stands now, appended and replaced blocks of this step included.
  // Requires: both live.
  void ShareTable(const Fork& fork);

  // Lets go of the blocks beyond its computed tokens: what rejected drafts were written to.
  void TrimTable(Sequence* sequence);

  // Lets go of the blocks that the token behind the computed ones cannot see, as the coordinator does when it plans that
  // token.
  void LetGoOfUnseen(Sequence* sequence);

  // Appends a token that was drawn.
  void AppendOutput(Sequence* sequence, int32_t token);

  // The forks of the step applied last, in its order.
  absl::Span<const Fork> forks() const { return forks_; }
  int32_t used_blocks() const { return used_blocks_; }
  int32_t cached_blocks() const { return num_touched_ - used_blocks_; }
  const TableLimits& limits() const { return limits_; }

 private:
  absl::Status Finish(uint32_t seq);
  absl::Status Add(const v1::NewSequence& from);
  absl::Status CheckNew(const v1::NewSequence& from) const;
  absl::Status AddFork(uint32_t parent, uint32_t child, uint32_t choice);
  absl::Status Branch(uint32_t parent, uint32_t child);
  absl::Status Give(uint32_t seq, uint32_t token);
  // Makes `child` a copy of `parent`. Requires: the parent is live, the child is free.
  Sequence* Copy(uint32_t parent, uint32_t child);
  absl::Status AppendBlock(uint32_t seq, uint32_t block);
  absl::Status ReplaceBlock(uint32_t seq, uint32_t index, uint32_t block);
  absl::Status CheckMoves(const v1::Step& step) const;
  absl::Status CheckFresh(uint32_t seq, uint32_t block) const;
  absl::Status CheckFree(uint32_t seq) const;
  Sequence* Place(uint32_t seq);
  // Blocks at the front of a table that the token at `position` and later ones cannot see.
  int32_t UnseenFrom(int32_t position) const;
  void Hold(int32_t block);
  void Release(int32_t block);

  const TableLimits limits_;
  std::vector<Sequence> sequences_;
  std::vector<int32_t> holders_;  // by block
  std::vector<Fork> forks_;
  int32_t used_blocks_ = 0;
  std::vector<bool> touched_;  // by block: had a holder
  int32_t num_touched_ = 0;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_SEQUENCE_TABLE_H_
