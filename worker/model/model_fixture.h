// A loaded tensor-parallel group inside one test process, with a paged cache and sequences that grow by steps.
#ifndef QUIRE_WORKER_MODEL_MODEL_FIXTURE_H_
#define QUIRE_WORKER_MODEL_MODEL_FIXTURE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "worker/model/fake_communicator.h"
#include "worker/model/model.h"

namespace quire::worker {

struct FixtureOptions {
  std::string model_dir;
  std::string dtype = "auto";
  int world_size = 1;
  bool expert_parallel = false;
  bool reference = false;  // the CPU backend's oracle instead of its fast kernels
  int num_threads = 1;     // of each rank's backend
  // Another backend than the CPU's; its memory is the test's as well.
  std::function<absl::StatusOr<std::unique_ptr<kernels::Backend>>()> make_backend;
  int64_t block_size = 16;
  int64_t max_model_len = 0;
  int max_logit_rows = 512;  // of a step
  int slice_rows = 0;  // > 0: every step's rows are asked for again so many at a time, and must have the same bits
};

// New tokens of one sequence in a step, and which of them the logits are wanted of.
struct SequenceChunk {
  enum Rows { kAllRows, kLastRow, kNoRow };
  int sequence_id = 0;
  std::vector<int32_t> token_ids;
  Rows rows = kAllRows;
};

using LogitRows = std::vector<std::vector<float>>;

class ModelFixture {
 public:
  static constexpr int kMaxTokensPerStep = 512;
  static constexpr int kMaxBlocksPerSequence = 32;
  static constexpr int kMaxSequences = 8;

  static absl::StatusOr<std::unique_ptr<ModelFixture>> Load(const FixtureOptions& options);

  // One step of all ranks, each on its thread. CHECK-fails unless all ranks return the same bits. Returns the wanted
  // rows in batch order.
  LogitRows Step(const std::vector<SequenceChunk>& chunks);

  // Forgets what a sequence has computed.
  void Restart(int sequence_id) { lengths_.erase(sequence_id); }

  // Greedy tokens after the prompt.
  std::vector<int32_t> Greedy(int sequence_id, const std::vector<int32_t>& prompt, int num_tokens);

  const ModelFacts& facts() const { return ranks_[0]->model->facts(); }
  Model& model(int rank) { return *ranks_[rank]->model; }
  int64_t num_collectives(int rank) const { return ranks_[rank]->comm->num_calls(); }

 private:
  struct Rank {
    std::unique_ptr<kernels::Backend> backend;
    std::unique_ptr<FakeCommunicator> comm;
    std::unique_ptr<Model> model;
    std::unique_ptr<kernels::Buffer> cache_buffer;
    kernels::KvCacheView cache;
  };

  ModelFixture() = default;
  int32_t BlockOf(int sequence_id, int64_t index) const;
  // Leading blocks of which no layer sees a key from the position on: a step's table does not name them.
  int64_t NumUnseenBlocks(int64_t position) const;

  void CheckSlices(Rank* rank, const std::vector<int32_t>& rows, const std::vector<float>& whole) const;

  int64_t block_size_ = 0;
  int slice_rows_ = 0;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::map<int, int64_t> lengths_;  // computed tokens by sequence
};

// A golden file: tensors of any type as numbers.
std::map<std::string, std::vector<float>> ReadGolden(const std::string& path);

int32_t ArgMax(const std::vector<float>& row);
std::vector<int32_t> ToIds(const std::vector<float>& values);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_MODEL_FIXTURE_H_
