#include "worker/runtime/token_masks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/worker.pb.h"

namespace quire::worker {
namespace {

template <typename... Parts>
absl::Status Bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

}  // namespace

absl::Status TokenMasks::Build(const v1::Step& step, const BatchInput& batch) {
  num_masks_ = step.masks_size();
  if (num_masks_ == 0) return absl::OkStatus();
  const absl::Span<const BatchInput::Draw> draws = batch.draws();
  uint32_t most = 0;
  for (const BatchInput::Draw& draw : draws) most = std::max(most, draw.seq);
  draws_of_.assign(size_t{most} + 1, -1);
  for (size_t i = 0; i < draws.size(); ++i) draws_of_[draws[i].seq] = static_cast<int32_t>(i);
  mask_of_.assign(draws.size(), -1);
  words_.resize(static_cast<size_t>(num_masks_) * words_per_mask());
  for (int i = 0; i < num_masks_; ++i) {
    const v1::TokenMask& mask = step.masks(i);
    const int32_t draw = mask.seq() <= most && !draws.empty() ? draws_of_[mask.seq()] : -1;
    if (draw < 0) return Bad("sequence ", mask.seq(), " has a mask but draws nothing");
    if (draws[draw].num_drafts > 0) return Bad("sequence ", mask.seq(), " has a mask and drafts");
    if (mask_of_[draw] >= 0) return Bad("sequence ", mask.seq(), " has two masks");
    mask_of_[draw] = i;
    if (absl::Status s = Fill(mask, words_.data() + static_cast<size_t>(i) * words_per_mask()); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status TokenMasks::Fill(const v1::TokenMask& from, uint32_t* words) const {
  const size_t count = words_per_mask();
  if (from.words().empty()) {
    std::fill_n(words, count, 0);
    for (const uint32_t id : from.allowed_ids()) {
      if (id >= static_cast<uint32_t>(vocab_size_)) {
        return Bad("mask of sequence ", from.seq(), ": token ", id, ", the vocabulary has ", vocab_size_);
      }
      words[id / 32] |= uint32_t{1} << (id % 32);
    }
  } else {
    if (!from.allowed_ids().empty()) return Bad("mask of sequence ", from.seq(), " has both words and allowed_ids");
    if (static_cast<size_t>(from.words_size()) != count) {
      return Bad("mask of sequence ", from.seq(), " has ", from.words_size(), " words, must be ", count);
    }
    std::copy(from.words().begin(), from.words().end(), words);
    if (vocab_size_ % 32 != 0) words[count - 1] &= (uint32_t{1} << (vocab_size_ % 32)) - 1;
  }
  const bool any = std::any_of(words, words + count, [](uint32_t word) { return word != 0; });
  return any ? absl::OkStatus() : Bad("mask of sequence ", from.seq(), " allows no token");
}

absl::Span<const uint32_t> TokenMasks::ForDraw(size_t i) const {
  if (num_masks_ == 0 || mask_of_[i] < 0) return {};
  return absl::MakeConstSpan(words_).subspan(static_cast<size_t>(mask_of_[i]) * words_per_mask(), words_per_mask());
}

}  // namespace quire::worker
