// Plans by chance, within what the protocol allows: see the header.
#include "worker/runtime/plan_driver.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

namespace quire::worker {

v1::NewSequence GreedySampling() {
  v1::NewSequence s;
  s.set_top_p(1.0f);
  s.set_repetition_penalty(1.0f);
  s.set_num_logprobs(-1);
  return s;
}

PlanDriver::PlanDriver(ModelRunner* runner, const TableLimits& limits, uint32_t seed)
    : runner_(runner), limits_(limits), random_(seed), holders_(limits.num_blocks, 0) {
  for (int32_t b = 0; b < limits.num_blocks; ++b) free_blocks_.push_back(b);
  // Any block may come next: tables are never ascending by luck.
  std::shuffle(free_blocks_.begin(), free_blocks_.end(), random_);
  for (uint32_t s = 0; s < 256; ++s) free_seqs_.push_back(s * 3);
}

int32_t PlanDriver::TakeBlock() {
  CHECK(!free_blocks_.empty());
  const int32_t block = free_blocks_.back();
  free_blocks_.pop_back();
  holders_[block] = 1;
  return block;
}

uint32_t PlanDriver::TakeSeq() {
  CHECK(!free_seqs_.empty());
  const uint32_t seq = free_seqs_.back();
  free_seqs_.pop_back();
  return seq;
}

void PlanDriver::LetGo(int32_t block) {
  if (block != kNoBlock && --holders_[block] == 0) free_blocks_.insert(free_blocks_.begin(), block);
}

// What the token behind the computed ones cannot see.
void PlanDriver::LetGoOfUnseen(Live* s) {
  if (limits_.attention_window == 0) return;
  for (int i = 0; (i + 1) * limits_.block_size <= s->computed - limits_.attention_window + 1; ++i) {
    LetGo(std::exchange(s->blocks[i], kNoBlock));
  }
}

void PlanDriver::Release(Live* s) {
  step_.add_finished(s->seq);
  free_seqs_.insert(free_seqs_.begin(), s->seq);
  for (const int32_t block : s->blocks) LetGo(block);
  s->blocks.clear();
  s->computed = 0;
  s->running = false;
}

void PlanDriver::Preempt(Live* s) {
  ++preemptions_;
  Release(s);
}

void PlanDriver::Admit(Live* s) {
  s->seq = TakeSeq();
  s->running = true;
  v1::NewSequence* to = step_.add_new_sequences();
  *to = (*requests_)[s->request].sampling;
  to->set_seq(s->seq);
  to->set_choice(s->choice);
  to->mutable_token_ids()->Assign(s->tokens.begin(), s->tokens.end());
  to->set_prompt_len(s->prompt_len);
  const int scored = static_cast<int>(outputs_[s->request][0].prompt_logprobs.size());
  const bool wants_rows = to->has_prompt_rows() && s->choice == 0 && scored + 1 < s->prompt_len;
  s->first_row = wants_rows ? scored + 1 : 0;
  if (wants_rows) {
    to->mutable_prompt_rows()->set_first(s->first_row);
  } else {
    to->clear_prompt_rows();
  }
  // Some of the blocks come with the sequence, the others as it grows.
  if (random_() % 2 == 0) {
    s->blocks.push_back(TakeBlock());
    to->add_block_ids(s->blocks[0]);
  }
}

void PlanDriver::EnsureBlocks(Live* s, int tokens) {
  while (static_cast<int>(s->blocks.size()) * limits_.block_size < tokens) {
    s->blocks.push_back(TakeBlock());
    step_.add_block_appends(s->seq);
    step_.add_block_appends(s->blocks.back());
  }
}

// Copy-on-write: whoever writes a shared block takes a copy of it first.
void PlanDriver::TakeOwnLastBlock(Live* s) {
  const size_t index = s->computed / limits_.block_size;
  if (index >= s->blocks.size() || holders_[s->blocks[index]] == 1) return;
  const int32_t from = s->blocks[index], to = TakeBlock();
  --holders_[from];
  s->blocks[index] = to;
  for (const uint32_t v : {s->seq, static_cast<uint32_t>(index), static_cast<uint32_t>(to)}) {
    step_.add_block_replaces(v);
  }
  step_.add_block_copies(from);
  step_.add_block_copies(to);
}

std::vector<int32_t> PlanDriver::DraftsFor(const Live& s) {
  std::vector<int32_t> drafts;
  if (oracle_ == nullptr || random_() % 4 == 0) return drafts;
  const std::vector<int32_t>& truth = (*oracle_)[s.request][s.choice].tokens;
  const int out = static_cast<int>(s.tokens.size()) - s.prompt_len;
  const int most = std::min<int>(1 + random_() % 6, static_cast<int>(truth.size()) - out - 1);
  for (int i = 0; i < most; ++i) {
    const bool right = random_() % 5 != 0;
    drafts.push_back(right ? truth[out + i] : static_cast<int32_t>(random_() % limits_.vocab_size));
  }
  return drafts;
}

void PlanDriver::Shrink(Live* s, int accepted) {
  s->computed += accepted;
  const int keep = (s->computed + limits_.block_size - 1) / limits_.block_size;
  for (; static_cast<int>(s->blocks.size()) > keep; s->blocks.pop_back()) {
    LetGo(s->blocks.back());
  }
}

void PlanDriver::AddItem(size_t index, int max_chunk) {
  const int left = static_cast<int>(live_[index].tokens.size()) - live_[index].computed;
  const bool prefill = left > 1 || live_[index].forks_pending;
  const int n = std::min<int>(left, prefill ? 1 + random_() % max_chunk : 1);
  const std::vector<int32_t> drafts = prefill ? std::vector<int32_t>() : DraftsFor(live_[index]);
  TakeOwnLastBlock(&live_[index]);
  ExpectPromptRows(index, n);
  EnsureBlocks(&live_[index], live_[index].computed + n + static_cast<int>(drafts.size()));
  live_[index].computed += n;
  const uint32_t seq = live_[index].seq;
  const bool sample = n == left;
  if (!prefill) {
    if (!drafts.empty()) {
      step_.add_drafts(step_.decode_size());
      step_.add_drafts(static_cast<uint32_t>(drafts.size()));
    }
    for (const int32_t draft : drafts) {
      if (!draft_model_) step_.add_draft_ids(static_cast<uint32_t>(draft));
    }
    step_.add_decode(seq);
  } else {
    for (const uint32_t v : {seq, static_cast<uint32_t>(n), static_cast<uint32_t>(sample)}) step_.add_prefill(v);
  }
  if (!sample) return;
  drawing_.push_back(index);
  drafts_.push_back(static_cast<int>(drafts.size()));
  if (!live_[index].forks_pending) return;
  live_[index].forks_pending = false;
  for (int choice = 1; choice < (*requests_)[live_[index].request].num_choices; ++choice) {
    Live child = live_[index];
    child.choice = choice;
    child.seq = TakeSeq();
    for (const int32_t block : child.blocks) {
      if (block != kNoBlock) ++holders_[block];
    }
    for (const uint32_t v : {seq, child.seq, static_cast<uint32_t>(choice)}) step_.add_forks(v);
    drawing_.push_back(live_.size());
    drafts_.push_back(0);
    live_.push_back(std::move(child));
  }
}

void PlanDriver::ExpectPromptRows(size_t index, int num_tokens) {
  const Live& s = live_[index];
  if (s.first_row == 0) return;
  const int begin = std::max(s.first_row, s.computed + 1), end = std::min(s.prompt_len, s.computed + num_tokens + 1);
  if (begin < end) prompt_rows_.push_back({s.request, end - begin});
}

void PlanDriver::TakePromptRows(const v1::Done& done) {
  CHECK_EQ(static_cast<size_t>(done.prompt_logprobs_size()), prompt_rows_.size());
  for (size_t i = 0; i < prompt_rows_.size(); ++i) {
    const v1::PromptLogprobs& from = done.prompt_logprobs(static_cast<int>(i));
    CHECK_EQ(from.sampled_size(), prompt_rows_[i].num_rows);
    CHECK_EQ(from.top_ids_size(), from.top_values_size());
    TestOutput& to = outputs_[prompt_rows_[i].request][0];
    to.prompt_logprobs.insert(to.prompt_logprobs.end(), from.sampled().begin(), from.sampled().end());
    to.prompt_top_ids.insert(to.prompt_top_ids.end(), from.top_ids().begin(), from.top_ids().end());
    to.prompt_top_values.insert(to.prompt_top_values.end(), from.top_values().begin(), from.top_values().end());
  }
}

void PlanDriver::Draw(Live* s, const v1::Done& done, int* token, int* logprob) {
  TestOutput* output = &outputs_[s->request][s->choice];
  s->tokens.push_back(done.tokens((*token)++));
  output->tokens.push_back(s->tokens.back());
  if ((*requests_)[s->request].sampling.num_logprobs() < 0) return;
  const v1::Logprobs& from = done.logprobs((*logprob)++);
  output->logprobs.push_back(from.sampled());
  output->logprobs.insert(output->logprobs.end(), from.top_values().begin(), from.top_values().end());
}

void PlanDriver::Execute() {
  v1::Done done;
  const absl::Status status = runner_->Run(step_, &done);
  CHECK(status.ok()) << status << "\n" << step_.DebugString();
  int token = 0, logprob = 0, next = 0;
  for (size_t i = 0; i < drawing_.size(); ++i) {
    Live* s = &live_[drawing_[i]];
    const int accepted = drafts_[i] > 0 ? static_cast<int>(done.accepted(next++)) : 0;
    CHECK_LE(accepted, drafts_[i]);
    for (int t = 0; t <= accepted; ++t) Draw(s, done, &token, &logprob);
    if (drafts_[i] > 0) Shrink(s, accepted);
    drafted_ += drafts_[i];
    accepted_ += accepted;
  }
  CHECK_EQ(done.accepted_size(), next);
  CHECK_EQ(done.tokens_size(), token);
  for (Live& s : live_) LetGoOfUnseen(&s);
  CHECK_EQ(static_cast<size_t>(done.device_blocks_used()), limits_.num_blocks - free_blocks_.size());
  TakePromptRows(done);
  CHECK_EQ(done.logprobs_size(), logprob);
}

bool PlanDriver::IsDone(const Live& s) const {
  return static_cast<int>(s.tokens.size()) - s.prompt_len >= (*requests_)[s.request].max_tokens;
}

std::vector<std::vector<TestOutput>> PlanDriver::Run(const std::vector<TestRequest>& requests,
                                                     const TestSchedule& schedule) {
  random_.seed(schedule.seed);
  requests_ = &requests;
  oracle_ = schedule.oracle;
  draft_model_ = schedule.draft_model;
  outputs_.clear();
  live_.clear();
  for (size_t i = 0; i < requests.size(); ++i) {
    Live s;
    s.request = static_cast<int>(i);
    s.tokens = requests[i].prompt;
    s.prompt_len = static_cast<int>(s.tokens.size());
    s.forks_pending = requests[i].num_choices > 1;
    live_.push_back(std::move(s));
    outputs_.emplace_back(requests[i].num_choices);
  }
  for (;;) {
    step_.Clear();
    drawing_.clear();
    prompt_rows_.clear();
    drafts_.clear();
    for (Live& s : live_) {
      if (s.running && IsDone(s)) Release(&s);
    }
    live_.erase(std::remove_if(live_.begin(), live_.end(), [this](const Live& s) { return IsDone(s); }), live_.end());
    std::vector<size_t> running;
    for (size_t i = 0; i < live_.size(); ++i) {
      const bool preempt = live_[i].running && std::bernoulli_distribution(schedule.preempt_chance)(random_);
      if (preempt) Preempt(&live_[i]);
      if (!live_[i].running && !preempt && static_cast<int>(running.size()) < schedule.max_running &&
          random_() % 3 != 0) {
        Admit(&live_[i]);
      }
      if (live_[i].running) running.push_back(i);
    }
    // Decodes and prefills mix in any order of sequences; the protocol puts decodes first.
    std::shuffle(running.begin(), running.end(), random_);
    const auto is_decode = [this](size_t i) {
      return !live_[i].forks_pending && live_[i].tokens.size() == static_cast<size_t>(live_[i].computed) + 1;
    };
    std::stable_partition(running.begin(), running.end(), is_decode);
    for (const size_t i : running) AddItem(i, schedule.max_chunk);
    Execute();
    if (live_.empty()) return outputs_;
  }
}

}  // namespace quire::worker
