// A replica of ranks as a pure function, for simulations: applies step plans like a worker's sequence table, checks
// every claim, and "computes" with hashes. Test only; single thread.
//
// Every slot of the cache remembers the hash of the token prefix that was written there, and computing a token first
// verifies the slots of all earlier positions: a block that is shared, freed, copied or reused wrongly shows at once.
// With an attention window only what the next token sees is verified, and the table lets go of the blocks before it.
// What a step reads must have been written by an earlier one: all items of a step look before any of them writes. The
// next token is a hash of (prefix, seed, choice, position), so a wrong replay shows too.
#ifndef QUIRE_COORDINATOR_ENGINE_SIM_REPLICA_H_
#define QUIRE_COORDINATOR_ENGINE_SIM_REPLICA_H_

#include <algorithm>
#include <cstdint>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "coordinator/scheduler/step_plan.h"

namespace quire::engine {

// The hash model. Token 0 is the end of sequence and comes with probability 1 / vocab.
uint64_t SimPrefixHash(uint64_t previous, int32_t token);
int32_t SimDraw(uint64_t prefix, uint64_t seed, uint32_t choice, int64_t position, int32_t vocab);
// Of the tokens whose bits are set; null = of all.
int32_t SimMaskedDraw(uint64_t prefix, uint64_t seed, uint32_t choice, int64_t position, int32_t vocab,
                      const std::vector<uint32_t>* mask);
float SimLogprob(uint64_t prefix, int32_t token);
// The `size` most probable tokens after a prefix with their log-probs, ties to the lowest id.
std::vector<std::pair<int32_t, float>> SimRow(uint64_t prefix, int32_t size, int32_t vocab);
// Of a prompt token after a prefix, with made-up alternatives.
TokenLogprobs SimPromptLogprobs(uint64_t prefix, int32_t token, uint32_t num_top);

class SimReplica {
 public:
  SimReplica(int64_t num_blocks, int64_t block_size, int32_t vocab, int64_t num_host_blocks = 0, int64_t window = 0);

  // Keys sequences by their seed to a salt of their tenant's: content that crosses from one tenant to another shows.
  void set_salts(const std::unordered_map<uint64_t, uint64_t>* salts) { salts_ = salts; }

  // Applies and computes. CHECK-fails on a plan that lies.
  StepResult Run(const StepPlan& plan);

  int64_t blocks_used() const;
  int64_t host_blocks_used() const { return static_cast<int64_t>(host_used_.size()); }
  int64_t num_sequences() const { return static_cast<int64_t>(sequences_.size()); }
  int64_t copies() const { return copies_; }

 private:
  struct Sequence {
    std::vector<int32_t> tokens;
    int64_t prompt_len = 0;
    int64_t num_computed = 0;
    std::vector<int32_t> blocks;
    RankSampling sampling;
  };

  Sequence& Get(uint32_t seq);
  void Apply(const StepPlan& plan);
  void SwapIn(const StepPlan& plan);
  uint64_t Salt(const Sequence& sequence) const;
  // The hash of the computed prefix, after a look at every slot of it.
  uint64_t VerifyPast(const Sequence& sequence);
  void Compute(Sequence* sequence, int64_t num_tokens, uint64_t prefix);
  void Score(const Sequence& sequence, int64_t num_tokens, StepResult* result);
  void Draw(uint32_t seq, StepResult* result);
  // A decode item with drafts: the plan's, or what a draft model would say that is right most of the time.
  void Verify(uint32_t seq, const std::vector<int32_t>& drafts, uint64_t prefix, StepResult* result);
  std::vector<int32_t> Propose(const Sequence& sequence, uint32_t count) const;
  uint64_t& Slot(const Sequence& sequence, int64_t position);
  // First position that the token behind the computed ones sees.
  int64_t FirstSeen(const Sequence& sequence) const {
    return window_ == 0 ? 0 : std::max<int64_t>(0, sequence.num_computed - window_ + 1);
  }
  void TakeMasks(const StepPlan& plan);
  void LetGoOfUnseen(Sequence* sequence);

  int64_t block_size_;
  int32_t vocab_;
  int64_t window_;
  const std::unordered_map<uint64_t, uint64_t>* salts_ = nullptr;
  std::vector<uint64_t> slots_;
  std::vector<uint64_t> host_slots_;
  std::set<int32_t> host_used_;
  std::unordered_map<uint32_t, Sequence> sequences_;
  std::unordered_map<uint32_t, TokenMask> masks_;  // of the step, of draws to come
  uint64_t last_step_ = 0;
  int64_t copies_ = 0;
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_SIM_REPLICA_H_
