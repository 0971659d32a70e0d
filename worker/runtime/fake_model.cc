// One slot of the cache holds the token and its position: 8 bytes, the K and V of one head of size 1.
#include "worker/runtime/fake_model.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace quire::worker {
namespace {

struct Slot {
  int32_t token_plus_one = 0;  // 0 = never written
  int32_t position = 0;
};
static_assert(sizeof(Slot) == 8, "K and V of one f32");

uint64_t Mix(uint64_t h, uint64_t value) {
  h = (h ^ value) * 0x9e3779b97f4a7c15u;
  return h ^ (h >> 29);
}

}  // namespace

FakeModel::FakeModel(uint64_t salt, int32_t window) : salt_(salt) {
  facts_.attention_window = window;
  facts_.vocab_size = kVocab;
  facts_.max_model_len = kMaxModelLen;
  facts_.eos_token_ids = {1};
  facts_.model_type = "fake";
  facts_.dtype = "float32";
}

kernels::KvCacheLayout FakeModel::CacheLayout(int64_t block_size) const {
  kernels::KvCacheLayout layout;
  layout.num_layers = layout.num_kv_heads = layout.head_dim = 1;
  layout.block_size = block_size;
  return layout;
}

absl::StatusOr<kernels::TensorView> FakeModel::Forward(const ForwardBatch& batch, const kernels::KvCacheView& cache) {
  Slot* slots = static_cast<Slot*>(cache.base);
  for (size_t i = 0; i < batch.token_ids.size(); ++i) {
    slots[batch.slot_mapping[i]] = {batch.token_ids[i] + 1, batch.positions[i]};
  }
  batch_ = batch;
  cache_ = cache;
  return RowLogits(batch.logit_rows);
}

absl::StatusOr<kernels::TensorView> FakeModel::RowLogits(absl::Span<const int32_t> rows) {
  const ForwardBatch& batch = batch_;
  const kernels::KvCacheView& cache = cache_;
  const Slot* slots = static_cast<const Slot*>(cache.base);
  logits_.assign(rows.size() * kVocab, 0.0f);
  for (size_t row = 0; row < rows.size(); ++row) {
    const int32_t token_row = rows[row];
    const auto& starts = batch.attend.query_start;
    const int64_t seq = std::upper_bound(starts.begin(), starts.end(), token_row) - starts.begin() - 1;
    const int32_t visible = batch.attend.context_len[seq] - (starts[seq + 1] - 1 - token_row);
    uint64_t hash = 1;
    const int32_t window = facts_.attention_window;
    for (int32_t p = window == 0 ? 0 : std::max(0, visible - window); p < visible; ++p) {
      const int64_t block_size = cache.layout.block_size;
      const int32_t block = batch.attend.block_tables[seq * batch.attend.max_blocks + p / block_size];
      if (block < 0) return absl::InternalError(absl::StrCat("item ", seq, " has no block for position ", p));
      const Slot& slot = slots[block * block_size + p % block_size];
      if (slot.token_plus_one == 0 || slot.position != p) {
        return absl::InternalError(absl::StrCat("item ", seq, " finds position ", slot.position, " at ", p));
      }
      hash = Mix(hash, slot.token_plus_one);
    }
    if (salt_ != 0 && Mix(hash, salt_) % 4 == 0) hash = Mix(hash, salt_);
    for (int32_t v = 0; v < kVocab; ++v) {
      logits_[row * kVocab + v] = static_cast<float>(Mix(hash, v + 1000) % 4096) / 512.0f;
    }
  }
  return kernels::MakeView(logits_.data(), kernels::DType::kF32, {static_cast<int64_t>(rows.size()), kVocab});
}

}  // namespace quire::worker
