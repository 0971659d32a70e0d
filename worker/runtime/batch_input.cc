// From items to flat arrays: see the header for the order of draws.
#include "worker/runtime/batch_input.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/protocol.h"
#include "proto/worker.pb.h"

namespace quire::worker {
namespace {

template <typename... Parts>
absl::Status Bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

}  // namespace

absl::Status BatchInput::TakeDrafts(const v1::Step& step, bool drafts_follow, const TableLimits& table) {
  num_drafts_.assign(step.decode_size(), 0);
  drafts_.clear();
  if (step.drafts_size() % 2 != 0) return Bad("drafts: ", step.drafts_size(), " numbers are not pairs");
  int64_t total = 0, next_item = 0;
  for (int i = 0; i < step.drafts_size(); i += 2) {
    const uint32_t item = step.drafts(i), count = step.drafts(i + 1);
    if (item < next_item || item >= static_cast<uint32_t>(step.decode_size())) {
      return Bad("drafts of decode item ", item, ", must be ", next_item, " to ", step.decode_size() - 1);
    }
    if (count < 1 || count > proto::kMaxDrafts) {
      return Bad(count, " drafts of decode item ", item, ", must be 1 to ", proto::kMaxDrafts);
    }
    next_item = int64_t{item} + 1;
    total += count;
    num_drafts_[item] = static_cast<int32_t>(count);
  }
  const int64_t wanted = drafts_follow ? 0 : total;
  if (step.draft_ids_size() != wanted) return Bad(step.draft_ids_size(), " draft_ids, must be ", wanted);
  if (drafts_follow) drafts_.assign(total, 0);
  for (const uint32_t id : step.draft_ids()) {
    if (id >= static_cast<uint32_t>(table.vocab_size)) return Bad("draft ", id, ", the vocabulary ", table.vocab_size);
    drafts_.push_back(static_cast<int32_t>(id));
  }
  return absl::OkStatus();
}

void BatchInput::FillDrafts(absl::Span<const int32_t> drafts) {
  CHECK_EQ(drafts.size(), drafts_.size());
  drafts_.assign(drafts.begin(), drafts.end());
  for (size_t i = 0; i < items_.size(); ++i) {
    const Item& item = items_[i];
    std::copy_n(drafts_.begin() + item.first_draft, item.num_drafts,
                token_ids_.begin() + query_start_[i + 1] - item.num_drafts);
  }
}

absl::Status BatchInput::Build(const v1::Step& step, bool drafts_follow, SequenceTable* table) {
  ++build_;
  writers_.resize(table->limits().num_blocks);
  items_.clear();
  draws_.clear();
  drawing_forks_.clear();
  token_ids_.clear();
  positions_.clear();
  slot_mapping_.clear();
  logit_rows_.clear();
  query_start_.assign(1, 0);
  context_len_.clear();
  if (step.prefill_size() % 3 != 0) return Bad("prefill: ", step.prefill_size(), " numbers are not groups of 3");
  const int num_items = step.decode_size() + step.prefill_size() / 3;
  if (num_items > limits_.max_num_seqs) return Bad(num_items, " items, max_num_seqs is ", limits_.max_num_seqs);
  if (absl::Status s = TakeDrafts(step, drafts_follow, table->limits()); !s.ok()) return s;
  for (int i = 0; i < step.decode_size(); ++i) {
    const int32_t drafts = num_drafts_[i];
    if (absl::Status s = AddItem(step.decode(i), 1 + drafts, drafts, /*sample=*/true, table); !s.ok()) return s;
  }
  for (int i = 0; i < step.prefill_size(); i += 3) {
    const uint32_t seq = step.prefill(i);
    const bool sample = step.prefill(i + 2) != 0;
    const uint32_t n = step.prefill(i + 1);
    if (n < 1 || n > static_cast<uint32_t>(limits_.max_num_batched_tokens)) {
      return Bad("prefill of ", n, " tokens of sequence ", seq, ", must be 1 to ", limits_.max_num_batched_tokens);
    }
    if (absl::Status s = AddItem(seq, static_cast<int32_t>(n), 0, sample, table); !s.ok()) return s;
    if (absl::Status s = AddChildren(seq, sample, table); !s.ok()) return s;
  }
  for (const Fork& fork : drawing_forks_) {
    if (item_stamp_.size() > fork.child && item_stamp_[fork.child] == build_) {
      return Bad("sequence ", fork.child, " has an item in the step of its fork from ", fork.parent);
    }
  }
  FillTables(table);
  return absl::OkStatus();
}

absl::Status BatchInput::CheckItem(const Item& item, const Sequence* s, bool sample, const TableLimits& table) {
  const uint32_t seq = item.seq;
  const int32_t num_tokens = item.num_tokens;
  if (s == nullptr) return Bad("sequence ", seq, " has an item but is unknown");
  const int64_t end = int64_t{s->num_computed} + num_tokens;
  const int64_t known = int64_t{s->num_tokens()} + item.num_drafts;
  if (end > known || (sample && end != known)) {
    return Bad("sequence ", seq, ": ", num_tokens, " tokens after ", s->num_computed, sample ? " and a draw" : "",
               ", but it has ", s->num_tokens(), " and ", item.num_drafts, " drafts");
  }
  if (item.num_drafts > 0 && s->sampling.given_tokens) {
    return Bad("sequence ", seq, " has drafts, but its tokens are given");
  }
  const int64_t room = static_cast<int64_t>(s->block_ids.size()) * table.block_size;
  if (end > room) {
    return Bad("sequence ", seq, " computes up to token ", end, ", its ", s->block_ids.size(), " blocks hold ", room);
  }
  if (end > table.max_model_len) {
    return Bad("sequence ", seq, " computes up to token ", end, ", max_model_len is ", table.max_model_len);
  }
  const int64_t total = static_cast<int64_t>(token_ids_.size()) + num_tokens;
  if (total > limits_.max_num_batched_tokens) {
    return Bad("the step has ", total, " tokens or more, max_num_batched_tokens is ", limits_.max_num_batched_tokens);
  }
  if (seq >= item_stamp_.size()) item_stamp_.resize(seq + 1, 0);
  if (item_stamp_[seq] == build_) return Bad("sequence ", seq, " has two items");
  item_stamp_[seq] = build_;
  return absl::OkStatus();
}

absl::Status BatchInput::AddItem(uint32_t seq, int32_t num_tokens, int32_t num_drafts, bool sample,
                                 SequenceTable* table) {
  const Sequence* s = table->Find(seq);
  Item item;
  item.seq = seq;
  item.num_tokens = num_tokens;
  item.num_drafts = num_drafts;
  item.first_draft = items_.empty() ? 0 : items_.back().first_draft + items_.back().num_drafts;
  item.first_draw = static_cast<int32_t>(draws_.size());
  const int32_t block_size = table->limits().block_size;
  if (absl::Status c = CheckItem(item, s, sample, table->limits()); !c.ok()) return c;
  if (absl::Status c = ClaimBlocks(seq, *s, num_tokens, block_size); !c.ok()) return c;
  for (int32_t position = s->num_computed; position < s->num_computed + num_tokens; ++position) {
    const int32_t draft = position - s->num_tokens();
    token_ids_.push_back(draft < 0 ? s->token_ids[position] : drafts_[item.first_draft + draft]);
    positions_.push_back(position);
    slot_mapping_.push_back(int64_t{s->block_ids[position / block_size]} * block_size + position % block_size);
  }
  items_.push_back(item);
  query_start_.push_back(static_cast<int32_t>(token_ids_.size()));
  context_len_.push_back(s->num_computed + num_tokens);
  if (!sample) return absl::OkStatus();
  const int32_t last_row = static_cast<int32_t>(token_ids_.size()) - 1;
  for (int32_t i = 0; i <= num_drafts; ++i) {
    if (absl::Status c = AddDraw(seq, i, last_row - num_drafts + i); !c.ok()) return c;
  }
  return absl::OkStatus();
}

absl::Status BatchInput::ClaimBlocks(uint32_t seq, const Sequence& s, int32_t num_tokens, int32_t block_size) {
  const int32_t first = s.num_computed / block_size;
  const int32_t last = (s.num_computed + num_tokens - 1) / block_size;
  for (int32_t i = first; i <= last; ++i) {
    Writer& writer = writers_[s.block_ids[i]];
    if (writer.build == build_) {
      return Bad("block ", s.block_ids[i], " is written by sequences ", writer.seq, " and ", seq, " in one step");
    }
    writer = {build_, seq};
  }
  return absl::OkStatus();
}

absl::Status BatchInput::AddChildren(uint32_t parent, bool sample, SequenceTable* table) {
  for (const Fork& fork : table->forks()) {
    if (fork.parent != parent) continue;
    if (!sample) return Bad("sequence ", fork.child, " forks from ", parent, " in the middle of its prefill");
    drawing_forks_.push_back(fork);
    table->ShareTable(fork);
    if (absl::Status s = AddDraw(fork.child, 0, static_cast<int32_t>(token_ids_.size()) - 1); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status BatchInput::AddDraw(uint32_t seq, int32_t num_drafts, int32_t row) {
  const int32_t most = limits_.max_logit_rows > 0 ? limits_.max_logit_rows : limits_.max_num_seqs;
  if (draws_.size() >= static_cast<size_t>(most)) {
    return Bad(draws_.size() + 1, " draws or more, max_logit_rows is ", most);
  }
  draws_.push_back({seq, num_drafts});
  logit_rows_.push_back(row);
  return absl::OkStatus();
}

void BatchInput::FillTables(SequenceTable* table) {
  const int32_t block_size = table->limits().block_size;
  max_blocks_ = 0;
  for (const int32_t context : context_len_) {
    max_blocks_ = std::max<int64_t>(max_blocks_, (context + block_size - 1) / block_size);
  }
  block_tables_.resize(items_.size() * max_blocks_);
  for (size_t i = 0; i < items_.size(); ++i) {
    const std::vector<int32_t>& blocks = table->Find(items_[i].seq)->block_ids;
    const int64_t used = (context_len_[i] + block_size - 1) / block_size;
    int32_t* row = block_tables_.data() + i * max_blocks_;
    std::copy_n(blocks.begin(), used, row);
    std::fill(row + used, row + max_blocks_, 0);
  }
}

ForwardBatch BatchInput::forward_batch() const {
  ForwardBatch batch;
  batch.token_ids = token_ids_;
  batch.positions = positions_;
  batch.slot_mapping = slot_mapping_;
  batch.attend.query_start = query_start_;
  batch.attend.context_len = context_len_;
  batch.attend.block_tables = block_tables_;
  batch.attend.max_blocks = max_blocks_;
  batch.logit_rows = logit_rows_;
  return batch;
}

}  // namespace quire::worker
