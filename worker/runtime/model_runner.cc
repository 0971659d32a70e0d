// Step -> apply -> move -> forward -> draw -> commit -> report.
#include "worker/runtime/model_runner.h"

#include <glog/logging.h>

#include "absl/time/clock.h"
#include "proto/worker.pb.h"
#include "worker/sampling/draw.h"

namespace quire::worker {

ModelRunner::ModelRunner(const RunnerOptions& options, kernels::Backend* backend, Model* model, KvCache* cache,
                         DraftProposer* proposer)
    : options_(options),
      backend_(backend),
      model_(model),
      cache_(cache),
      proposer_(proposer),
      table_(options.table),
      batch_(options.batch),
      masks_(options.table.vocab_size),
      scorer_(options.batch.max_num_seqs) {}

absl::Status ModelRunner::Run(const v1::Step& step, v1::Done* done) {
  if (absl::Status s = table_.Apply(step); !s.ok()) return s;
  if (absl::Status s = batch_.Build(step, /*drafts_follow=*/proposer_ != nullptr, &table_); !s.ok()) return s;
  if (absl::Status s = masks_.Build(step, batch_); !s.ok()) return s;
  const int64_t start = absl::GetCurrentTimeNanos();
  if (absl::Status s = Move(step); !s.ok()) return s;
  if (step.swap_outs_size() + step.swap_ins_size() > 0) {
    done->set_swap_us(static_cast<uint32_t>((absl::GetCurrentTimeNanos() - start) / 1000));
  }
  rows_.clear();
  accepted_.clear();
  if (!batch_.items().empty()) {
    if (proposer_ != nullptr) {
      if (absl::Status s = Propose(); !s.ok()) return s;
    }
    if (absl::Status s = Compute(); !s.ok()) return s;
    if (absl::Status s = scorer_.Score(batch_, &table_, model_, backend_, options_.rank == 0 ? done : nullptr);
        !s.ok()) {
      return s;
    }
    Commit();
    int64_t collective_us = model_->last_collective_us();
    if (proposer_ != nullptr) {
      if (absl::Status s = proposer_->CatchUp(batch_, accepted_, &table_); !s.ok()) return s;
      collective_us += proposer_->collective_us();
    }
    done->set_collective_us(static_cast<uint32_t>(collective_us));
  }
  Report(done);
  return absl::OkStatus();
}

absl::Status ModelRunner::Move(const v1::Step& step) {
  if (absl::Status s = cache_->Move(step); !s.ok()) return s;
  return proposer_ == nullptr ? absl::OkStatus() : proposer_->Move(step);
}

absl::Status ModelRunner::Propose() {
  absl::StatusOr<absl::Span<const int32_t>> drafts = proposer_->Propose(batch_, &table_);
  if (!drafts.ok()) return drafts.status();
  batch_.FillDrafts(*drafts);
  return absl::OkStatus();
}

absl::Status ModelRunner::Compute() {
  absl::StatusOr<kernels::TensorView> logits = model_->Forward(batch_.forward_batch(), cache_->view());
  if (!logits.ok()) return logits.status();
  if (!batch_.draws().empty()) Draw(*logits);
  return backend_->Synchronize();
}

void ModelRunner::Draw(const kernels::TensorView& logits) {
  const absl::Span<const BatchInput::Draw> draws = batch_.draws();
  CHECK_EQ(logits.dim(0), static_cast<int64_t>(draws.size()));
  edits_.clear();
  results_.resize(draws.size());
  if (banned_.size() < draws.size()) banned_.resize(draws.size());
  bool any_edits = false;
  seen_.clear();
  size_t next_item = 0;
  absl::Span<const int32_t> drafts;
  for (size_t i = 0; i < draws.size(); ++i) {
    const Sequence& s = *table_.Find(draws[i].seq);
    if (draws[i].num_drafts > 0) {
      while (batch_.items()[next_item].seq != draws[i].seq) ++next_item;  // both are in batch order
      drafts = batch_.drafts(batch_.items()[next_item]).first(draws[i].num_drafts);
    } else {
      drafts = {};
    }
    const int32_t num_output = s.num_output() + draws[i].num_drafts;
    edits_.push_back(MakeLogitEdits(s.sampling, SeenBefore(s, drafts), num_output));
    rows_.push_back(MakeSampleRow(s.sampling, num_output, /*with_logprobs=*/options_.rank == 0));
    if (!s.sampling.bad_words.empty()) edits_.back().banned = Banned(i, s, drafts);
    edits_.back().mask = masks_.ForDraw(i);
    any_edits |= HasEdits(edits_.back());
  }
  // Also when no row wants one: results_ is kept between steps, and LogProbs is what clears the wishes of the step
  // before.
  backend_->LogProbs(logits, rows_, absl::MakeSpan(results_));
  if (any_edits) backend_->EditLogits(logits, edits_, absl::MakeSpan(results_));
  backend_->Sample(logits, rows_, absl::MakeSpan(results_));
}

const SeenTokens& ModelRunner::SeenBefore(const Sequence& s, absl::Span<const int32_t> drafts) {
  if (drafts.empty() || !s.sampling.has_penalties()) return s.seen;
  SeenTokens& seen = seen_.emplace_back(s.seen);
  for (const int32_t draft : drafts) seen.AddOutput(draft);
  return seen;
}

void ModelRunner::Verify() {
  kept_.assign(batch_.draws().size(), true);
  for (const BatchInput::Item& item : batch_.items()) {
    if (item.num_drafts == 0) continue;
    const absl::Span<const int32_t> drafts = batch_.drafts(item);
    int32_t accepted = 0;
    while (accepted < item.num_drafts && results_[item.first_draw + accepted].token == drafts[accepted]) ++accepted;
    accepted_.push_back(accepted);
    for (int32_t i = accepted + 1; i <= item.num_drafts; ++i) kept_[item.first_draw + i] = false;
  }
}

absl::Span<const int32_t> ModelRunner::Banned(size_t draw, const Sequence& s, absl::Span<const int32_t> drafts) {
  std::vector<int32_t>& banned = banned_[draw];
  if (drafts.empty()) {
    BannedTokens(s.sampling, absl::MakeConstSpan(s.token_ids).subspan(s.prompt_len), &banned);
  } else {
    output_.assign(s.token_ids.begin() + s.prompt_len, s.token_ids.end());
    output_.insert(output_.end(), drafts.begin(), drafts.end());
    BannedTokens(s.sampling, output_, &banned);
  }
  return banned;
}

void ModelRunner::Commit() {
  Verify();
  size_t next = 0;
  for (const BatchInput::Item& item : batch_.items()) {
    Sequence* s = table_.Find(item.seq);
    if (item.num_drafts == 0) {
      s->num_computed += item.num_tokens;
    } else {
      s->num_computed += 1 + accepted_[next++];
      table_.TrimTable(s);
    }
    table_.LetGoOfUnseen(s);
  }
  for (const Fork& fork : batch_.drawing_forks()) {
    Sequence* child = table_.Find(fork.child);
    child->num_computed = table_.Find(fork.parent)->num_computed;
    table_.LetGoOfUnseen(child);
  }
  const absl::Span<const BatchInput::Draw> draws = batch_.draws();
  for (size_t i = 0; i < draws.size(); ++i) {
    Sequence* s = table_.Find(draws[i].seq);
    if (kept_[i] && !s->sampling.given_tokens) table_.AppendOutput(s, results_[i].token);
  }
}

void ModelRunner::Report(v1::Done* done) const {
  done->set_device_blocks_total(options_.table.num_blocks);
  done->set_device_blocks_used(table_.used_blocks());
  done->set_device_blocks_cached(table_.cached_blocks());
  done->set_host_blocks_total(options_.table.num_host_blocks);
  done->set_host_blocks_used(static_cast<uint32_t>(cache_->used_host_blocks()));
  if (options_.rank != 0) return;
  for (const int32_t accepted : accepted_) done->add_accepted(static_cast<uint32_t>(accepted));
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (!kept_[i]) continue;
    const kernels::SampleResult& result = results_[i];
    done->add_tokens(result.token);
    if (rows_[i].num_logprobs < 0) continue;
    v1::Logprobs* logprobs = done->add_logprobs();
    logprobs->set_sampled(result.logprob);
    for (const auto& [id, value] : result.top) {
      logprobs->add_top_ids(id);
      logprobs->add_top_values(value);
    }
  }
}

}  // namespace quire::worker
