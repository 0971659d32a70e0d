// The hash model and its cache. See sim_replica.h.
#include "coordinator/engine/sim_replica.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <set>

namespace quire::engine {
namespace {

uint64_t Mix(uint64_t x) {  // splitmix64's finaliser
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t SimPrefixHash(uint64_t previous, int32_t token) {
  return Mix(previous * 31 + static_cast<uint64_t>(token) + 1);
}

int32_t SimDraw(uint64_t prefix, uint64_t seed, uint32_t choice, int64_t position, int32_t vocab) {
  const uint64_t h = Mix(prefix ^ Mix(seed ^ Mix((uint64_t{choice} << 32) ^ static_cast<uint64_t>(position))));
  return static_cast<int32_t>(h % static_cast<uint64_t>(vocab));
}

int32_t SimMaskedDraw(uint64_t prefix, uint64_t seed, uint32_t choice, int64_t position, int32_t vocab,
                      const std::vector<uint32_t>* mask) {
  if (mask == nullptr) return SimDraw(prefix, seed, choice, position, vocab);
  std::vector<int32_t> allowed;
  for (int32_t token = 0; token < vocab; ++token) {
    if ((*mask)[token / 32] >> (token % 32) & 1) allowed.push_back(token);
  }
  CHECK(!allowed.empty()) << "a mask allows nothing";
  return allowed[SimDraw(prefix, seed, choice, position, static_cast<int32_t>(allowed.size()))];
}

float SimLogprob(uint64_t prefix, int32_t token) {
  return -static_cast<float>(Mix(prefix + static_cast<uint64_t>(token)) % 10000) / 1000.0f;
}

std::vector<std::pair<int32_t, float>> SimRow(uint64_t prefix, int32_t size, int32_t vocab) {
  std::vector<std::pair<int32_t, float>> row;
  if (size <= 0) return row;
  for (int32_t token = 0; token < vocab; ++token) row.emplace_back(token, SimLogprob(prefix, token));
  std::stable_sort(row.begin(), row.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  row.resize(std::min<size_t>(row.size(), static_cast<size_t>(size)));
  return row;
}

TokenLogprobs SimPromptLogprobs(uint64_t prefix, int32_t token, uint32_t num_top) {
  TokenLogprobs row;
  row.sampled = SimLogprob(prefix, token);
  for (uint32_t k = 0; k < num_top; ++k) {
    const auto id = static_cast<int32_t>(k);
    row.top.emplace_back(id, SimLogprob(prefix, id));
  }
  return row;
}

SimReplica::SimReplica(int64_t num_blocks, int64_t block_size, int32_t vocab, int64_t num_host_blocks, int64_t window)
    : block_size_(block_size),
      vocab_(vocab),
      window_(window),
      slots_(num_blocks * block_size, 0),
      host_slots_(num_host_blocks * block_size, 0) {}

SimReplica::Sequence& SimReplica::Get(uint32_t seq) {
  const auto it = sequences_.find(seq);
  CHECK(it != sequences_.end()) << "the plan names unknown sequence " << seq;
  return it->second;
}

uint64_t& SimReplica::Slot(const Sequence& s, int64_t position) {
  CHECK_LT(position / block_size_, static_cast<int64_t>(s.blocks.size()))
      << "the table is too short for position " << position;
  const int64_t slot = s.blocks[position / block_size_] * block_size_ + position % block_size_;
  CHECK(slot >= 0 && slot < static_cast<int64_t>(slots_.size())) << "slot " << slot;
  return slots_[slot];
}

void SimReplica::Apply(const StepPlan& plan) {
  CHECK_EQ(plan.step, last_step_ + 1) << "steps out of order";
  last_step_ = plan.step;
  for (int32_t host : plan.host_frees) CHECK_EQ(host_used_.erase(host), 1u) << "host block " << host << " is free";
  for (uint32_t seq : plan.finished)
    CHECK_EQ(sequences_.erase(seq), 1u) << "finished sequence " << seq << " is unknown";
  for (const NewSequence& fresh : plan.new_sequences) {
    Sequence s;
    s.tokens = fresh.token_ids;
    s.prompt_len = fresh.prompt_len;
    s.num_computed = fresh.num_computed;
    s.blocks = fresh.block_ids;
    s.sampling = fresh.sampling;
    for (size_t i = 0; i < s.blocks.size(); ++i) {
      CHECK(s.blocks[i] != kNoBlock || static_cast<int64_t>(i + 1) * block_size_ <= FirstSeen(s))
          << "sequence " << fresh.seq << " lacks block " << i;
    }
    CHECK(sequences_.emplace(fresh.seq, std::move(s)).second) << "sequence " << fresh.seq << " exists already";
  }
  for (const BranchItem& branch : plan.branches) {
    CHECK(Get(branch.parent).sampling.given_tokens) << "sequence " << branch.parent << " draws its own tokens";
    Sequence child = Get(branch.parent);
    CHECK(sequences_.emplace(branch.child, std::move(child)).second)
        << "sequence " << branch.child << " exists already";
  }
  for (const GivenToken& given : plan.given) {
    CHECK(Get(given.seq).sampling.given_tokens) << "sequence " << given.seq << " draws its own tokens";
    Get(given.seq).tokens.push_back(given.token);
  }
  std::map<int32_t, int> holders;
  for (const auto& [seq, s] : sequences_) {
    for (int32_t block : s.blocks) {
      if (block != kNoBlock) ++holders[block];
    }
  }
  for (const BlockAppend& a : plan.block_appends) {
    CHECK_EQ(holders[a.block]++, 0) << "sequence " << a.seq << " gets block " << a.block << ", which is held";
    Get(a.seq).blocks.push_back(a.block);
  }
  for (const BlockReplace& r : plan.block_replaces) {
    CHECK_EQ(holders[r.block]++, 0) << "sequence " << r.seq << " gets block " << r.block << ", which is held";
    --holders[Get(r.seq).blocks.at(r.index)];
    Get(r.seq).blocks[r.index] = r.block;
  }
  for (const auto& [device, host] : plan.swap_outs) {
    CHECK_LT(host, static_cast<int64_t>(host_slots_.size()) / block_size_) << "host block out of range";
    CHECK(host_used_.insert(host).second) << "host block " << host << " is in use";
    std::copy_n(slots_.begin() + device * block_size_, block_size_, host_slots_.begin() + host * block_size_);
  }
  for (const auto& [from, to] : plan.block_copies) {
    std::copy_n(slots_.begin() + from * block_size_, block_size_, slots_.begin() + to * block_size_);
    ++copies_;
  }
}

void SimReplica::SwapIn(const StepPlan& plan) {
  for (const auto& [host, device] : plan.swap_ins) {
    CHECK(host_used_.count(host)) << "host block " << host << " holds nothing";
    std::copy_n(host_slots_.begin() + host * block_size_, block_size_, slots_.begin() + device * block_size_);
  }
}

uint64_t SimReplica::Salt(const Sequence& s) const {
  if (salts_ == nullptr) return 0;
  const auto it = salts_->find(s.sampling.seed);
  return it == salts_->end() ? 0 : it->second;
}

uint64_t SimReplica::VerifyPast(const Sequence& s) {
  uint64_t prefix = Salt(s);
  for (int64_t p = 0; p < s.num_computed; ++p) {
    prefix = SimPrefixHash(prefix, s.tokens[p]);
    if (p >= FirstSeen(s)) CHECK_EQ(Slot(s, p), prefix) << "the cache lost position " << p;
  }
  return prefix;
}

void SimReplica::Compute(Sequence* s, int64_t num_tokens, uint64_t prefix) {
  CHECK_LE(s->num_computed + num_tokens, static_cast<int64_t>(s->tokens.size())) << "computes unknown tokens";
  for (int64_t i = 0; i < num_tokens; ++i) {
    const int64_t p = s->num_computed++;
    prefix = SimPrefixHash(prefix, s->tokens[p]);
    Slot(*s, p) = prefix;
  }
}

// Of the tokens that were computed last. Row p is about token p + 1.
void SimReplica::Score(const Sequence& s, int64_t num_tokens, StepResult* result) {
  if (!s.sampling.prompt_rows.has_value()) return;
  const int64_t begin = std::max<int64_t>(s.sampling.prompt_rows->first, s.num_computed - num_tokens + 1);
  const int64_t end = std::min(s.prompt_len, s.num_computed + 1);
  if (begin >= end) return;
  std::vector<TokenLogprobs>& rows = result->prompt_logprobs.emplace_back();
  for (int64_t p = begin; p < end; ++p) {
    rows.push_back(SimPromptLogprobs(Slot(s, p - 1), s.tokens[p], s.sampling.prompt_rows->num_top));
  }
}

void SimReplica::Draw(uint32_t seq, StepResult* result) {
  Sequence* s = &Get(seq);
  const auto mask = masks_.extract(seq);
  const int64_t position = static_cast<int64_t>(s->tokens.size()) - s->prompt_len;
  CHECK_EQ(s->num_computed, static_cast<int64_t>(s->tokens.size())) << "draws before all tokens are computed";
  const uint64_t prefix = Slot(*s, s->num_computed - 1);
  const int32_t token = SimMaskedDraw(prefix, s->sampling.seed, s->sampling.choice, position, vocab_,
                                      mask.empty() ? nullptr : mask.mapped().get());
  if (!s->sampling.given_tokens) s->tokens.push_back(token);
  result->tokens.push_back(token);
  if (s->sampling.num_logprobs < 0) return;
  result->logprobs.push_back({SimLogprob(prefix, token), SimRow(prefix, s->sampling.num_logprobs, vocab_)});
}

std::vector<int32_t> SimReplica::Propose(const Sequence& s, uint32_t count) const {
  uint64_t prefix = Salt(s);
  for (int32_t token : s.tokens) prefix = SimPrefixHash(prefix, token);
  std::vector<int32_t> drafts;
  for (int64_t position = static_cast<int64_t>(s.tokens.size()) - s.prompt_len; drafts.size() < count; ++position) {
    const int32_t right = SimDraw(prefix, s.sampling.seed, s.sampling.choice, position, vocab_);
    drafts.push_back(Mix(prefix) % 10 < 8 ? right : (right + 1) % vocab_);
    prefix = SimPrefixHash(prefix, drafts.back());
  }
  return drafts;
}

void SimReplica::Verify(uint32_t seq, const std::vector<int32_t>& drafts, uint64_t prefix, StepResult* result) {
  Sequence* s = &Get(seq);
  CHECK_EQ(masks_.count(seq), 0u) << "drafts of a constrained sequence";
  const size_t known = s->tokens.size();
  s->tokens.insert(s->tokens.end(), drafts.begin(), drafts.end());
  Compute(s, static_cast<int64_t>(1 + drafts.size()), prefix);
  s->tokens.resize(known);
  for (size_t row = 0;; ++row) {
    s->num_computed = static_cast<int64_t>(known + row);
    Draw(seq, result);
    if (row < drafts.size() && s->tokens.back() == drafts[row]) continue;
    result->accepted.push_back(static_cast<uint32_t>(row));
    break;
  }
  s->blocks.resize((s->num_computed + block_size_ - 1) / block_size_);
}

void SimReplica::LetGoOfUnseen(Sequence* s) {
  const auto end = std::min<size_t>(static_cast<size_t>(FirstSeen(*s) / block_size_), s->blocks.size());
  std::fill_n(s->blocks.begin(), end, kNoBlock);
}

void SimReplica::TakeMasks(const StepPlan& plan) {
  masks_.clear();
  for (const MaskItem& item : plan.masks) {
    CHECK(masks_.emplace(item.seq, item.mask).second) << item.seq << " has two masks";
  }
}

StepResult SimReplica::Run(const StepPlan& plan) {
  Apply(plan);
  SwapIn(plan);
  StepResult result;
  result.epoch = plan.epoch;
  result.step = plan.step;
  TakeMasks(plan);
  std::set<int32_t> written;
  std::unordered_map<uint32_t, uint64_t> past;
  for (uint32_t seq : plan.decode) CHECK(past.emplace(seq, VerifyPast(Get(seq))).second) << seq << " has two items";
  for (const PrefillItem& item : plan.prefill) {
    CHECK(past.emplace(item.seq, VerifyPast(Get(item.seq))).second) << item.seq << " has two items";
  }
  const auto claim = [&](uint32_t seq, int64_t num_tokens) {
    Sequence& s = Get(seq);
    const int64_t first = s.num_computed / block_size_;
    const int64_t last = (s.num_computed + num_tokens - 1) / block_size_;
    for (int64_t b = first; b <= last; ++b) {
      CHECK(written.insert(s.blocks.at(b)).second)
          << "block " << s.blocks[b] << " has two writers in step " << plan.step;
    }
  };
  size_t next_draft = 0;
  auto draft_id = plan.draft_ids.begin();
  for (size_t i = 0; i < plan.decode.size(); ++i) {
    Sequence& s = Get(plan.decode[i]);
    const bool drafted = next_draft < plan.drafts.size() && plan.drafts[next_draft].item == i;
    const uint32_t count = drafted ? plan.drafts[next_draft++].count : 0;
    claim(plan.decode[i], 1 + count);
    if (!drafted) {
      Compute(&s, 1, past.at(plan.decode[i]));
      Draw(plan.decode[i], &result);
      continue;
    }
    const bool given = !plan.draft_ids.empty();
    Verify(plan.decode[i], given ? std::vector<int32_t>(draft_id, draft_id + count) : Propose(s, count),
           past.at(plan.decode[i]), &result);
    if (given) draft_id += count;
  }
  CHECK_EQ(next_draft, plan.drafts.size()) << "drafts out of order";
  CHECK(draft_id == plan.draft_ids.end());
  for (const PrefillItem& item : plan.prefill) {
    claim(item.seq, item.num_tokens);
    Compute(&Get(item.seq), item.num_tokens, past.at(item.seq));
    Score(Get(item.seq), item.num_tokens, &result);
    if (!item.sample) continue;
    const Sequence before = Get(item.seq);
    Draw(item.seq, &result);
    for (const ForkItem& fork : plan.forks) {
      if (fork.parent != item.seq) continue;
      Sequence child = before;
      child.sampling.choice = fork.choice;
      CHECK(sequences_.emplace(fork.child, std::move(child)).second) << "child " << fork.child << " exists already";
      Draw(fork.child, &result);
    }
  }
  CHECK(masks_.empty()) << "a mask for a sequence that draws nothing";
  for (uint32_t seq : plan.decode) LetGoOfUnseen(&Get(seq));
  for (const PrefillItem& item : plan.prefill) LetGoOfUnseen(&Get(item.seq));
  for (const ForkItem& fork : plan.forks) LetGoOfUnseen(&Get(fork.child));
  int64_t num_tokens = plan.num_samples();
  for (uint32_t accepted : result.accepted) num_tokens += accepted;
  CHECK_EQ(static_cast<int64_t>(result.tokens.size()), num_tokens) << "a fork without its parent's item";
  RankUsage usage;
  usage.device_blocks_total = static_cast<uint32_t>(slots_.size() / block_size_);
  usage.device_blocks_used = static_cast<uint32_t>(blocks_used());
  result.ranks.assign(1, usage);
  return result;
}

int64_t SimReplica::blocks_used() const {
  std::set<int32_t> blocks;
  for (const auto& [seq, s] : sequences_) blocks.insert(s.blocks.begin(), s.blocks.end());
  blocks.erase(kNoBlock);
  return static_cast<int64_t>(blocks.size());
}

}  // namespace quire::engine
