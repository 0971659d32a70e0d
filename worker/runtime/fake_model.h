// A model for tests whose logits are a hash of every token that it finds in the cache through the block table. A wrong
// slot, table, position or copy changes the tokens that come out, or is an error at once. Test code.
#ifndef QUIRE_WORKER_RUNTIME_FAKE_MODEL_H_
#define QUIRE_WORKER_RUNTIME_FAKE_MODEL_H_

#include <memory>
#include <vector>

#include "worker/model/model.h"

namespace quire::worker {

class FakeModel final : public Model {
 public:
  static constexpr int32_t kVocab = 61;
  static constexpr int32_t kMaxModelLen = 256;

  // Models of other `salt` mostly agree with that of 0. `window`: keys that a token sees at most; 0 = all.
  explicit FakeModel(uint64_t salt = 0, int32_t window = 0);
  const ModelFacts& facts() const override { return facts_; }
  kernels::KvCacheLayout CacheLayout(int64_t block_size) const override;
  absl::StatusOr<kernels::TensorView> Forward(const ForwardBatch& batch, const kernels::KvCacheView& cache) override;
  absl::StatusOr<kernels::TensorView> RowLogits(absl::Span<const int32_t> rows) override;
  int64_t last_collective_us() const override { return 0; }
  // Of the last Forward: differ as soon as any token so far does.
  const std::vector<float>& last_logits() const { return logits_; }

 private:
  const uint64_t salt_;
  ModelFacts facts_;
  ForwardBatch batch_;  // of the last Forward
  kernels::KvCacheView cache_;
  std::vector<float> logits_;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_FAKE_MODEL_H_
