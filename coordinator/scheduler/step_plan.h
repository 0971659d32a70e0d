// One step as data: what the ranks shall do and what came back. Leaf: plain data that scheduler, engine and cluster
// share; any thread.
#ifndef QUIRE_COORDINATOR_SCHEDULER_STEP_PLAN_H_
#define QUIRE_COORDINATOR_SCHEDULER_STEP_PLAN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace quire {

// In the place of a block that no later token can see.
inline constexpr int32_t kNoBlock = -1;

// Prompt positions whose log-probs a sequence wants: from `first` (>= 1) to the end of the prompt.
struct PromptRows {
  uint32_t first = 1;
  uint32_t num_top = 0;  // alternatives of each
};

// What the ranks must know of a sequence's sampling. Sent once per admission (and again after a recompute preemption).
struct RankSampling {
  uint64_t seed = 0;
  uint32_t choice = 0;
  float temperature = 1.0f;
  float top_p = 1.0f;
  uint32_t top_k = 0;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  uint32_t min_tokens = 0;
  int32_t num_logprobs = -1;
  std::vector<int32_t> banned_until_min;
  std::vector<std::pair<int32_t, float>> logit_bias;
  bool given_tokens = false;  // its next tokens come with the plan
  std::optional<PromptRows> prompt_rows;
  std::vector<std::vector<int32_t>> bad_words;
  std::vector<int32_t> allowed_token_ids;
};

struct NewSequence {
  uint32_t seq = 0;                // index in the ranks' sequence tables
  std::vector<int32_t> token_ids;  // prompt, then committed output
  uint32_t prompt_len = 0;
  uint32_t num_computed = 0;       // tokens whose keys are in `block_ids` already
  std::vector<int32_t> block_ids;  // kNoBlock: out of the attention window
  RankSampling sampling;
};

struct PrefillItem {
  uint32_t seq = 0;
  uint32_t num_tokens = 0;
  bool sample = false;  // the last known token is in this chunk: draw the next one
};

// Which tokens may be drawn: bit id % 32 of word id / 32. Shared by those who plan it and those who send it.
using TokenMask = std::shared_ptr<const std::vector<uint32_t>>;

// What a sequence that draws in this step may draw.
struct MaskItem {
  uint32_t seq = 0;
  TokenMask mask;
};

// The child shares the parent's tokens and its blocks as they are after this step's appends. The parent has
// then its children as listed.
struct ForkItem {
  uint32_t parent = 0;
  uint32_t child = 0;
  uint32_t choice = 0;
};

// The child begins as a copy of the parent as the last step left it (beam search).
struct BranchItem {
  uint32_t parent = 0;
  uint32_t child = 0;
};

// The next token of a sequence that draws none itself.
struct GivenToken {
  uint32_t seq = 0;
  int32_t token = 0;
};

struct BlockAppend {
  uint32_t seq = 0;
  int32_t block = 0;
};

struct BlockReplace {
  uint32_t seq = 0;
  uint32_t index = 0;  // in the sequence's table
  int32_t block = 0;
};

// A decode item with drafts: it computes its pending token and `count` drafted ones in one pass and draws from each row
// until a draw differs from the draft, so it brings 1 to count + 1 tokens. Afterwards the sequence has computed as many
// tokens more, and its table covers exactly those: the ranks let go of the blocks beyond, as KvManager::Shrink does.
struct DraftItem {
  uint32_t item = 0;  // index in `decode`
  uint32_t count = 0;
};

// Order of application on a rank: host_frees, finished, new, branches, given, forks, block_appends, block_replaces,
// swap_outs, block_copies, swap_ins, then compute. Items in batch order: `decode`, then `prefill`.
struct StepPlan {
  uint64_t epoch = 0;
  uint64_t step = 0;
  uint32_t deadline_ms = 0;
  std::vector<int32_t> host_frees;  // host blocks that nobody needs any more
  std::vector<uint32_t> finished;
  std::vector<NewSequence> new_sequences;
  std::vector<BranchItem> branches;
  std::vector<GivenToken> given;
  std::vector<ForkItem> forks;
  std::vector<BlockAppend> block_appends;
  std::vector<BlockReplace> block_replaces;
  std::vector<std::pair<int32_t, int32_t>> swap_outs;     // device, host
  std::vector<std::pair<int32_t, int32_t>> block_copies;  // source, destination
  std::vector<std::pair<int32_t, int32_t>> swap_ins;      // host, device
  std::vector<uint32_t> decode;
  std::vector<PrefillItem> prefill;
  std::vector<DraftItem> drafts;   // ascending by item
  std::vector<int32_t> draft_ids;  // of all `drafts`, in order; empty = the ranks' draft model proposes them
  std::vector<MaskItem> masks;     // of sequences that draw and may not draw everything

  // Tokens drawn by this step at least: one per decode item and sampling prefill item, and one per fork, whose child draws from
  // its parent's row.
  int64_t num_samples() const {
    int64_t n = static_cast<int64_t>(decode.size() + forks.size());
    for (const PrefillItem& p : prefill) n += p.sample;
    return n;
  }

  // Empties the lists and keeps their memory.
  void Clear() {
    host_frees.clear();
    finished.clear();
    new_sequences.clear();
    branches.clear();
    given.clear();
    forks.clear();
    block_appends.clear();
    block_replaces.clear();
    swap_outs.clear();
    block_copies.clear();
    swap_ins.clear();
    decode.clear();
    prefill.clear();
    drafts.clear();
    draft_ids.clear();
    masks.clear();
  }

  int64_t num_drafts() const {
    int64_t n = 0;
    for (const DraftItem& d : drafts) n += d.count;
    return n;
  }

  // Tokens computed by this step.
  int64_t num_tokens() const {
    int64_t n = static_cast<int64_t>(decode.size()) + num_drafts();
    for (const PrefillItem& p : prefill) n += p.num_tokens;
    return n;
  }
};

struct TokenLogprobs {
  float sampled = 0.0f;
  std::vector<std::pair<int32_t, float>> top;
};

struct RankUsage {
  uint32_t device_blocks_total = 0;
  uint32_t device_blocks_used = 0;
  uint32_t device_blocks_cached = 0;
  uint32_t host_blocks_total = 0;
  uint32_t host_blocks_used = 0;
  uint32_t exec_us = 0;
  uint32_t collective_us = 0;
  uint32_t wait_us = 0;
  uint32_t swap_us = 0;
};

// What all ranks together answered to one step.
struct StepResult {
  uint64_t epoch = 0;
  uint64_t step = 0;
  std::vector<int32_t> tokens;          // by sampling item, in batch order: one, or with drafts 1 + those accepted
  std::vector<TokenLogprobs> logprobs;  // one per token of the items that asked (num_logprobs >= 0), in batch order
  std::vector<uint32_t> accepted;       // by item of plan.drafts: 0 to count
  // One for every prefill item that computed wanted prompt positions, in batch order.
  std::vector<std::vector<TokenLogprobs>> prompt_logprobs;
  std::vector<RankUsage> ranks;  // by rank
};

// What a replica says of itself when it has formed: the only things that the coordinator knows of a model.
struct ReplicaInfo {
  uint64_t epoch = 0;
  int32_t vocab_size = 0;
  int32_t max_model_len = 0;  // tokens
  std::vector<int32_t> eos_token_ids;
  int64_t device_blocks = 0;
  int64_t host_blocks = 0;
  int32_t block_size = 16;  // tokens
  // Keys that any layer sees at most, the query's own included; 0 = all. A block that is wholly behind the window of the
  // next token is let go of by both sides as soon as a step has computed up to there.
  int32_t attention_window = 0;
};

}  // namespace quire

#endif  // QUIRE_COORDINATOR_SCHEDULER_STEP_PLAN_H_
