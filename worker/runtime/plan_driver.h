// A coordinator in miniature for tests: plans steps for some requests, in any mixture of chunks, preemptions and
// forks, and collects what each sequence drew. Test code.
#ifndef QUIRE_WORKER_RUNTIME_PLAN_DRIVER_H_
#define QUIRE_WORKER_RUNTIME_PLAN_DRIVER_H_

#include <cstdint>
#include <random>
#include <vector>

#include "proto/worker.pb.h"
#include "worker/runtime/model_runner.h"

namespace quire::worker {

struct TestRequest {
  std::vector<int32_t> prompt;
  v1::NewSequence sampling;  // only its sampling fields are read
  int num_choices = 1;       // drawn from one prefill by forks
  int max_tokens = 8;        // of each choice
};

struct TestOutput {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;         // of the drawn tokens; the top ones follow each
  std::vector<float> prompt_logprobs;  // of the first choice: from the prompt's second token on
  std::vector<uint32_t> prompt_top_ids;
  std::vector<float> prompt_top_values;
  bool operator==(const TestOutput& o) const {
    return tokens == o.tokens && logprobs == o.logprobs && prompt_logprobs == o.prompt_logprobs &&
           prompt_top_ids == o.prompt_top_ids && prompt_top_values == o.prompt_top_values;
  }
};

struct TestSchedule {
  uint32_t seed = 1;
  int max_chunk = 1 << 20;    // tokens of one prefill item
  double preempt_chance = 0;  // per step
  int max_running = 64;
  // With outputs to draft from: decode items carry drafts, right or wrong by chance.
  const std::vector<std::vector<TestOutput>>* oracle = nullptr;
  bool draft_model = false;  // the runner has one: it drafts itself
};

// Default sampling fields: greedy, no log-probs.
v1::NewSequence GreedySampling();

class PlanDriver final {
 public:
  PlanDriver(ModelRunner* runner, const TableLimits& limits, uint32_t seed);

  // Runs all requests together and returns each one's choices. CHECK-fails where the runner errs or miscounts blocks.
  std::vector<std::vector<TestOutput>> Run(const std::vector<TestRequest>& requests, const TestSchedule& schedule);

  int preemptions() const { return preemptions_; }
  int drafted() const { return drafted_; }
  int accepted() const { return accepted_; }

 private:
  struct Live {
    int request = 0;
    int choice = 0;
    uint32_t seq = 0;
    bool running = false;
    int computed = 0;
    std::vector<int32_t> tokens;
    std::vector<int32_t> blocks;
    int prompt_len = 0;
    int first_row = 0;           // of the prompt positions that this run of it wants; 0 = none
    bool forks_pending = false;  // the other choices fork at the end of this prefill
  };

  void Preempt(Live* s);
  void LetGo(int32_t block);
  void LetGoOfUnseen(Live* s);
  void Release(Live* s);
  void Finish(Live* s);
  void Admit(Live* s);
  void AddItem(size_t index, int max_chunk);
  void ExpectPromptRows(size_t index, int num_tokens);
  void EnsureBlocks(Live* s, int tokens);
  void TakeOwnLastBlock(Live* s);
  void Execute();
  void TakePromptRows(const v1::Done& done);
  // Drafts for a decode item: what the oracle says, with mistakes.
  std::vector<int32_t> DraftsFor(const Live& s);
  void Draw(Live* s, const v1::Done& done, int* token, int* logprob);
  // The answer to a decode item with drafts: the blocks beyond the accepted ones are free.
  void Shrink(Live* s, int accepted);
  int32_t TakeBlock();
  uint32_t TakeSeq();
  bool IsDone(const Live& s) const;

  ModelRunner* const runner_;
  const TableLimits limits_;
  std::mt19937 random_;
  std::vector<int32_t> free_blocks_;
  std::vector<int> holders_;
  std::vector<uint32_t> free_seqs_;
  const std::vector<TestRequest>* requests_ = nullptr;
  std::vector<Live> live_;
  std::vector<std::vector<TestOutput>> outputs_;
  v1::Step step_;
  std::vector<size_t> drawing_;  // indexes of live_ in reply order
  struct PromptRowsItem {
    int request = 0;
    int num_rows = 0;
  };
  std::vector<PromptRowsItem> prompt_rows_;  // of the step, in reply order
  const std::vector<std::vector<TestOutput>>* oracle_ = nullptr;
  bool draft_model_ = false;
  std::vector<int> drafts_;  // by drawing item
  int preemptions_ = 0;
  int drafted_ = 0;
  int accepted_ = 0;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_PLAN_DRIVER_H_
