// Differences of a step applied and checked: see the header for what holds.
#include "worker/runtime/sequence_table.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "proto/worker.pb.h"

namespace quire::worker {
namespace {

template <typename... Parts>
absl::Status Bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status CheckGroups(const char* field, int size, int group) {
  if (size % group == 0) return absl::OkStatus();
  return Bad(field, ": ", size, " numbers are not groups of ", group);
}

}  // namespace

SequenceTable::SequenceTable(const TableLimits& limits)
    : limits_(limits), holders_(limits.num_blocks, 0), touched_(limits.num_blocks) {}

absl::Status SequenceTable::Apply(const v1::Step& step) {
  forks_.clear();
  for (const absl::Status& s :
       {CheckGroups("branches", step.branches_size(), 2), CheckGroups("given", step.given_size(), 2),
        CheckGroups("forks", step.forks_size(), 3), CheckGroups("block_appends", step.block_appends_size(), 2),
        CheckGroups("block_replaces", step.block_replaces_size(), 3)}) {
    if (!s.ok()) return s;
  }
  for (const uint32_t seq : step.finished()) {
    if (absl::Status s = Finish(seq); !s.ok()) return s;
  }
  for (const v1::NewSequence& from : step.new_sequences()) {
    if (absl::Status s = Add(from); !s.ok()) return s;
  }
  for (int i = 0; i < step.branches_size(); i += 2) {
    if (absl::Status s = Branch(step.branches(i), step.branches(i + 1)); !s.ok()) return s;
  }
  for (int i = 0; i < step.given_size(); i += 2) {
    if (absl::Status s = Give(step.given(i), step.given(i + 1)); !s.ok()) return s;
  }
  for (int i = 0; i < step.forks_size(); i += 3) {
    if (absl::Status s = AddFork(step.forks(i), step.forks(i + 1), step.forks(i + 2)); !s.ok()) return s;
  }
  for (int i = 0; i < step.block_appends_size(); i += 2) {
    if (absl::Status s = AppendBlock(step.block_appends(i), step.block_appends(i + 1)); !s.ok()) return s;
  }
  for (int i = 0; i < step.block_replaces_size(); i += 3) {
    absl::Status s = ReplaceBlock(step.block_replaces(i), step.block_replaces(i + 1), step.block_replaces(i + 2));
    if (!s.ok()) return s;
  }
  return CheckMoves(step);
}

absl::Status SequenceTable::Finish(uint32_t seq) {
  Sequence* s = Find(seq);
  if (s == nullptr) return Bad("finished: sequence ", seq, " is unknown");
  for (const int32_t block : s->block_ids) Release(block);
  // Emptied rather than destroyed: the next sequence of this id reuses the arrays.
  s->live = false;
  s->token_ids.clear();
  s->block_ids.clear();
  s->seen = SeenTokens();
  return absl::OkStatus();
}

absl::Status SequenceTable::CheckFree(uint32_t seq) const {
  if (seq >= kMaxSequences) return Bad("sequence ", seq, " is over the limit of ", kMaxSequences, " sequences");
  if (seq < sequences_.size() && sequences_[seq].live) return Bad("sequence ", seq, " is live already");
  return absl::OkStatus();
}

absl::Status SequenceTable::CheckNew(const v1::NewSequence& from) const {
  const uint32_t seq = from.seq();
  const int size = from.token_ids_size();
  if (absl::Status s = CheckFree(seq); !s.ok()) return s;
  if (size < 1 || size > limits_.max_model_len) {
    return Bad("sequence ", seq, " has ", size, " tokens, must be 1 to ", limits_.max_model_len);
  }
  if (from.prompt_len() < 1 || from.prompt_len() > static_cast<uint32_t>(size)) {
    return Bad("sequence ", seq, ": prompt_len ", from.prompt_len(), " of ", size, " tokens");
  }
  const int64_t room = int64_t{from.block_ids_size()} * limits_.block_size;
  if (from.num_computed() >= static_cast<uint32_t>(size) || from.num_computed() > room) {
    return Bad("sequence ", seq, ": num_computed ", from.num_computed(), " of ", size, " tokens with room for ", room);
  }
  for (const uint32_t id : from.token_ids()) {
    if (id >= static_cast<uint32_t>(limits_.vocab_size)) {
      return Bad("sequence ", seq, " has token id ", id, ", the vocabulary ", limits_.vocab_size);
    }
  }
  // -1 on the wire is 2^32 - 1.
  const int unseen = std::min(UnseenFrom(static_cast<int32_t>(from.num_computed())), from.block_ids_size());
  std::vector<uint32_t> blocks;
  for (int i = 0; i < from.block_ids_size(); ++i) {
    const bool missing = i < unseen && static_cast<int32_t>(from.block_ids(i)) == kNoBlock;
    if (!missing) blocks.push_back(from.block_ids(i));
  }
  std::sort(blocks.begin(), blocks.end());
  if (!blocks.empty() && blocks.back() >= static_cast<uint32_t>(limits_.num_blocks)) {
    return Bad("sequence ", seq, " has block ", blocks.back(), " of ", limits_.num_blocks);
  }
  const auto twice = std::adjacent_find(blocks.begin(), blocks.end());
  if (twice != blocks.end()) return Bad("sequence ", seq, " has block ", *twice, " twice");
  return absl::OkStatus();
}

absl::Status SequenceTable::Add(const v1::NewSequence& from) {
  if (absl::Status s = CheckNew(from); !s.ok()) return s;
  absl::StatusOr<SamplingParams> sampling = ParseSamplingParams(from, limits_.vocab_size);
  if (!sampling.ok()) return sampling.status();
  Sequence* s = Place(from.seq());
  s->token_ids.assign(from.token_ids().begin(), from.token_ids().end());
  s->prompt_len = static_cast<int32_t>(from.prompt_len());
  s->num_computed = static_cast<int32_t>(from.num_computed());
  s->block_ids.assign(from.block_ids().begin(), from.block_ids().end());
  s->sampling = *std::move(sampling);
  for (const int32_t block : s->block_ids) Hold(block);
  if (s->sampling.has_penalties()) {
    const absl::Span<const int32_t> tokens(s->token_ids);
    s->seen.AddPrompt(tokens.first(s->prompt_len));
    for (const int32_t token : tokens.subspan(s->prompt_len)) s->seen.AddOutput(token);
  }
  return absl::OkStatus();
}

absl::Status SequenceTable::AddFork(uint32_t parent, uint32_t child, uint32_t choice) {
  if (Find(parent) == nullptr) return Bad("fork of sequence ", parent, ", which is unknown");
  if (absl::Status s = CheckFree(child); !s.ok()) return s;
  Copy(parent, child)->sampling.choice = choice;
  forks_.push_back({parent, child});
  return absl::OkStatus();
}

absl::Status SequenceTable::Branch(uint32_t parent, uint32_t child) {
  const Sequence* from = Find(parent);
  if (from == nullptr) return Bad("branch of sequence ", parent, ", which is unknown");
  if (!from->sampling.given_tokens) return Bad("branch of sequence ", parent, ", which draws its own tokens");
  if (absl::Status s = CheckFree(child); !s.ok()) return s;
  Copy(parent, child);
  return absl::OkStatus();
}

absl::Status SequenceTable::Give(uint32_t seq, uint32_t token) {
  Sequence* s = Find(seq);
  if (s == nullptr) return Bad("given: sequence ", seq, " is unknown");
  if (!s->sampling.given_tokens) return Bad("given: sequence ", seq, " draws its own tokens");
  if (token >= static_cast<uint32_t>(limits_.vocab_size)) {
    return Bad("given: token id ", token, " for sequence ", seq, ", the vocabulary ", limits_.vocab_size);
  }
  if (s->num_tokens() >= limits_.max_model_len) {
    return Bad("given: sequence ", seq, " has ", s->num_tokens(), " tokens, max_model_len is ", limits_.max_model_len);
  }
  AppendOutput(s, static_cast<int32_t>(token));
  return absl::OkStatus();
}

Sequence* SequenceTable::Copy(uint32_t parent, uint32_t child) {
  Sequence* to = Place(child);
  *to = *Find(parent);  // after Place, which may move the parent
  for (const int32_t block : to->block_ids) Hold(block);
  return to;
}

absl::Status SequenceTable::CheckFresh(uint32_t seq, uint32_t block) const {
  if (block >= static_cast<uint32_t>(limits_.num_blocks)) {
    return Bad("sequence ", seq, " gets block ", block, " of ", limits_.num_blocks);
  }
  if (holders_[block] != 0) {
    return Bad("sequence ", seq, " gets block ", block, ", which has ", holders_[block], " holders, must have 0");
  }
  return absl::OkStatus();
}

absl::Status SequenceTable::AppendBlock(uint32_t seq, uint32_t block) {
  Sequence* s = Find(seq);
  if (s == nullptr) return Bad("block_appends: sequence ", seq, " is unknown");
  if (absl::Status fresh = CheckFresh(seq, block); !fresh.ok()) return fresh;
  Hold(static_cast<int32_t>(block));
  s->block_ids.push_back(static_cast<int32_t>(block));
  return absl::OkStatus();
}

absl::Status SequenceTable::ReplaceBlock(uint32_t seq, uint32_t index, uint32_t block) {
  Sequence* s = Find(seq);
  if (s == nullptr) return Bad("block_replaces: sequence ", seq, " is unknown");
  if (index >= s->block_ids.size()) {
    return Bad("block_replaces: index ", index, " of sequence ", seq, ", which has ", s->block_ids.size(), " blocks");
  }
  if (absl::Status fresh = CheckFresh(seq, block); !fresh.ok()) return fresh;
  Release(s->block_ids[index]);
  Hold(static_cast<int32_t>(block));
  s->block_ids[index] = static_cast<int32_t>(block);
  return absl::OkStatus();
}

absl::Status SequenceTable::CheckMoves(const v1::Step& step) const {
  for (const uint32_t block : step.host_frees()) {
    if (block >= static_cast<uint32_t>(limits_.num_host_blocks)) {
      return Bad("host_frees: block ", block, " of ", limits_.num_host_blocks);
    }
  }
  const auto check = [](const char* field, const google::protobuf::RepeatedField<uint32_t>& pairs, int32_t first_limit,
                        int32_t second_limit) {
    if (absl::Status s = CheckGroups(field, pairs.size(), 2); !s.ok()) return s;
    for (int i = 0; i < pairs.size(); i += 2) {
      if (pairs[i] >= static_cast<uint32_t>(first_limit) || pairs[i + 1] >= static_cast<uint32_t>(second_limit)) {
        return Bad(field, ": block ", pairs[i], " of ", first_limit, " to block ", pairs[i + 1], " of ", second_limit);
      }
    }
    return absl::OkStatus();
  };
  for (const absl::Status& s : {check("swap_outs", step.swap_outs(), limits_.num_blocks, limits_.num_host_blocks),
                                check("block_copies", step.block_copies(), limits_.num_blocks, limits_.num_blocks),
                                check("swap_ins", step.swap_ins(), limits_.num_host_blocks, limits_.num_blocks)}) {
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

void SequenceTable::ShareTable(const Fork& fork) {
  const std::vector<int32_t>& blocks = Find(fork.parent)->block_ids;
  std::vector<int32_t>& child = Find(fork.child)->block_ids;
  for (const int32_t block : blocks) Hold(block);
  for (const int32_t block : child) Release(block);
  child = blocks;
}

void SequenceTable::TrimTable(Sequence* s) {
  const size_t keep = (s->num_computed + limits_.block_size - 1) / limits_.block_size;
  for (; s->block_ids.size() > keep; s->block_ids.pop_back()) Release(s->block_ids.back());
}

int32_t SequenceTable::UnseenFrom(int32_t position) const {
  const int32_t window = limits_.attention_window;
  return window == 0 || position < window ? 0 : (position - window + 1) / limits_.block_size;
}

void SequenceTable::LetGoOfUnseen(Sequence* s) {
  const int32_t end = std::min(UnseenFrom(s->num_computed), static_cast<int32_t>(s->block_ids.size()));
  // From the back: what is before a block that was let go of has been so too.
  for (int32_t i = end; i-- > 0 && s->block_ids[i] != kNoBlock;) Release(std::exchange(s->block_ids[i], kNoBlock));
}

void SequenceTable::AppendOutput(Sequence* sequence, int32_t token) {
  CHECK(token >= 0 && token < limits_.vocab_size) << token << " of " << limits_.vocab_size;
  sequence->token_ids.push_back(token);
  if (sequence->sampling.has_penalties()) sequence->seen.AddOutput(token);
}

Sequence* SequenceTable::Place(uint32_t seq) {
  if (seq >= sequences_.size()) sequences_.resize(seq + 1);
  sequences_[seq].live = true;
  return &sequences_[seq];
}

void SequenceTable::Hold(int32_t block) {
  if (block == kNoBlock) return;
  if (holders_[block]++ > 0) return;
  ++used_blocks_;
  num_touched_ += !touched_[block];
  touched_[block] = true;
}

void SequenceTable::Release(int32_t block) {
  if (block == kNoBlock) return;
  CHECK_GT(holders_[block], 0) << "block " << block;
  if (--holders_[block] == 0) --used_blocks_;
}

}  // namespace quire::worker
