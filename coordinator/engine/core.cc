// The state machine. See core.h.
#include "coordinator/engine/core.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/request/planted.h"
#include "coordinator/request/probe.h"

namespace quire::engine {

using request::Sequence;
using request::SequenceGroup;

namespace {

absl::Duration Between(absl::Time from, absl::Time to) {
  return from == absl::InfiniteFuture() || to == absl::InfiniteFuture() ? absl::ZeroDuration() : to - from;
}

RequestTiming TimingOf(const SequenceGroup& group, absl::Time now) {
  // A request that ends before a mark was reached spent all its time in the phase before.
  RequestTiming timing;
  const absl::Time scheduled = std::min(group.first_scheduled, now);
  timing.queue = scheduled - group.arrival;
  timing.prefill = Between(group.first_scheduled, std::min(group.first_token, now));
  timing.decode = Between(group.first_token, group.last_token);
  return timing;
}

// The state in which a request is ended from outside.
void NoteEarlyEnd(const SequenceGroup& group, bool waits, const absl::Status& status) {
  bool swapped_out = false, unanswered = true;
  for (const Sequence& s : group.sequences) {
    swapped_out |= !s.host_blocks.empty();
    unanswered &= s.output.empty();
  }
  const bool cancel = absl::IsCancelled(status), deadline = absl::IsDeadlineExceeded(status);
  Hit(Probe::kCancelBeforeFirstToken, cancel && unanswered);
  Hit(Probe::kCancelWaiting, cancel && waits);
  Hit(Probe::kCancelSwappedOut, cancel && swapped_out);
  Hit(Probe::kCancelBetweenForkAndAnswer, cancel && unanswered && group.forked && group.sequences.size() > 1);
  Hit(Probe::kDeadlineWaiting, deadline && waits);
  Hit(Probe::kDeadlineRunning, deadline && !waits);
  Hit(Probe::kDeadlineSwappedOut, deadline && swapped_out);
}

// Steps of a similar number of tokens: 0, 1, 2-3, 4-7, ...
int SizeClass(const StepPlan& plan) {
  int bits = 0;
  for (int64_t n = plan.num_tokens(); n > 0 && bits < 31; n >>= 1) ++bits;
  return bits;
}

// With thousands of sequences, walking over them is waiting for memory: what comes soon is fetched now.
void FetchAhead(const std::vector<Sequence*>& samples, size_t i) {
  constexpr size_t kFar = 12, kNear = 8, kNext = 4;
  if (i + kFar < samples.size()) samples[i + kFar]->FetchAhead();
  if (i + kNear < samples.size()) {
    const Sequence* s = samples[i + kNear];
    __builtin_prefetch(s->output.data() + s->output.size(), 1);
    __builtin_prefetch(s->stop.get(), 1);
    s->group->FetchAhead();
  }
  if (i + kNext < samples.size()) samples[i + kNext]->stop->FetchAhead();
}

constexpr absl::Duration kUnknownStepDeadline = absl::Minutes(5);
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(250);

}  // namespace

Core::Core(const CoreOptions& options) : options_(options), epoch_(options.first_epoch - 1) {
  CHECK_GT(options.first_epoch, 0u);
}
Core::~Core() = default;

void Core::Step(std::vector<Event>* events, absl::Time now, Actions* actions) {
  now_ = now;
  actions_ = actions;
  for (Event& event : *events) {
    std::visit([this](auto& e) { Handle(e); }, event);
  }
  if (!await_masks_.empty()) TakeMasks();
  if (now_ >= next_deadline_) ExpireDeadlines();
  if (now_ >= form_at_) FormWhenDue();
  if (!formed_) return;
  const bool waited = !scheduler_->waiting().empty();
  Plan();
  drain_rate_.Note(now_, scheduler_->admitted_tokens() - drained_tokens_, waited);
  drained_tokens_ = scheduler_->admitted_tokens();
}

absl::Time Core::NextTimer() const { return std::min(next_deadline_, form_at_); }

// --- requests ---

absl::Status Core::CheckQueueFor(const request::Request& request) const {
  if (scheduler_ == nullptr) return absl::OkStatus();
  const scheduler::WaitingQueue& waiting = scheduler_->waiting();
  return CheckQueue(
      {options_.max_queue_len, options_.max_queue_tokens, options_.max_queue_bytes},
      {waiting.size() + preparing_.requests, waiting.tokens() + preparing_.tokens, waiting.bytes() + preparing_.bytes},
      {1, static_cast<int64_t>(request.prompt_ids.size()), RequestBytes(request)},
      drain_rate_.TimeFor(waiting.tokens()));
}

absl::Status Core::Admissible(const request::Request& request) const {
  if (failed_) return absl::UnavailableError("the replica could not be formed; the server is giving up");
  if (live_.count(request.request_id) > 0) {
    Hit(Probe::kDuplicateLabel);
    return absl::AlreadyExistsError(absl::StrCat("request_id ", request.request_id, " is running already"));
  }
  if (absl::Status full = CheckQueueFor(request); !full.ok()) {
    Hit(Probe::kQueueFull);
    return full;
  }
  const uint32_t places = request::NumPlaces(request.params);
  if (places > options_.scheduler.max_num_seqs) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampling_params.", request.params.beam_width > 0 ? "beam_width" : "n or best_of",
                     " must be at most max_num_seqs (", options_.scheduler.max_num_seqs, "), got ", places, "."));
  }
  return absl::OkStatus();
}

void Core::Handle(SubmitEvent& event) {
  absl::Status status = Admissible(event.request);
  Hit(Probe::kNotLoadedYet, status.ok() && scheduler_ == nullptr);
  if (status.ok() && scheduler_ == nullptr) status = absl::UnavailableError("the model is still loading");
  if (!status.ok()) {
    actions_->ends.push_back({event.id, std::move(status), {}});
    return;
  }
  auto owned = std::make_unique<Group>();
  Group* group = owned.get();
  group->id = event.id;
  group->request = std::move(event.request);
  group->arrival = now_;
  group->request_bytes = RequestBytes(group->request);
  const request::SamplingParams& params = group->request.params;
  const uint32_t places = request::NumPlaces(params);
  group->sequences.resize(places);
  for (uint32_t i = 0; i < places; ++i) {
    Sequence& s = group->sequences[i];
    s.group = group;
    s.index = i;
    s.stop = std::make_unique<request::StopChecker>(
        params, replica_.eos_token_ids, group->request.make_decoder ? group->request.make_decoder() : nullptr);
  }
  if (group->request.make_constraint != nullptr) Constrain(group);
  if (params.beam_width > 0) StartBeams(group);
  const int64_t worst = scheduler_->WorstCaseBlocks(*group);
  const int64_t total = scheduler_->kv().pool().num_total();
  if (worst > total) {
    Hit(Probe::kNeverFits);
    status = absl::InvalidArgumentError(absl::StrCat("prompt and max_tokens of ", places, " choice(s) need ", worst,
                                                     " KV blocks, the cache has ", total,
                                                     "; lower sampling_params.max_tokens or n."));
    actions_->ends.push_back({event.id, std::move(status), {}});
    return;
  }
  next_deadline_ = std::min(next_deadline_, group->request.deadline);
  live_.emplace(group->request.request_id, group);
  prompt_tokens_ += group->prompt_len();
  groups_.emplace(group->id, std::move(owned));
  Enter(group);
}

void Core::Handle(CancelEvent& event) {
  Group* group = nullptr;
  if (event.id != 0) {
    const auto it = groups_.find(event.id);
    if (it != groups_.end() && !it->second->ended) group = it->second.get();
  } else {
    const auto it = live_.find(event.request_id);
    if (it != live_.end()) group = it->second;
  }
  if (group != nullptr) End(group, absl::CancelledError("cancelled by the client"));
}

void Core::Handle(EndAllEvent& event) {
  while (!live_.empty()) End(live_.begin()->second, event.reason);
}

void Core::End(Group* group, const absl::Status& status) {
  CHECK(!group->ended) << "request " << group->request.request_id << " ends twice";
  if (kProbing && !status.ok()) NoteEarlyEnd(*group, scheduler_->waiting().Contains(*group), status);
  group->ended = true;
  Leave(group);
  live_.erase(group->request.request_id);
  prompt_logprobs_.Forget(group->id);
  actions_->ends.push_back({group->id, status, TimingOf(*group, now_)});
  EraseIfDrained(group);
}

void Core::EraseIfDrained(Group* group) {
  if (group->ended && group->num_in_flight() == 0) groups_.erase(group->id);
}

void Core::ExpireDeadlines() {
  std::vector<Group*> expired;
  next_deadline_ = absl::InfiniteFuture();
  for (const auto& [name, group] : live_) {
    if (group->request.deadline <= now_) {
      expired.push_back(group);
    } else if (!Planted(Defect::kNextDeadlineForgotten)) {
      next_deadline_ = std::min(next_deadline_, group->request.deadline);
    }
  }
  std::sort(expired.begin(), expired.end(), [](const Group* a, const Group* b) { return a->id < b->id; });
  for (Group* group : expired) End(group, absl::DeadlineExceededError("the request's deadline has passed"));
}

// --- results ---

bool Core::ResultFits(const StepResult& result, const InFlight& flight) const {
  const std::vector<DraftItem>& drafts = flight.plan.drafts;
  if (result.accepted.size() != drafts.size()) return false;
  size_t num_tokens = 0, num_logprobs = 0, next = 0;
  const bool plain = drafts.empty() && flight.num_scored == 0;  // no look at each sequence
  if (plain) num_tokens = flight.samples.size();
  for (size_t i = 0; i < flight.samples.size() && !plain; ++i) {
    size_t tokens = 1;
    if (next < drafts.size() && drafts[next].item == i) {
      if (result.accepted[next] > drafts[next].count) return false;
      tokens += result.accepted[next++];
    }
    num_tokens += tokens;
    if (flight.samples[i]->group->rank_logprobs() >= 0) num_logprobs += tokens;
  }
  if (result.prompt_logprobs.size() != flight.prompt_chunks.size()) return false;
  for (size_t i = 0; i < flight.prompt_chunks.size(); ++i) {
    if (result.prompt_logprobs[i].size() != static_cast<size_t>(flight.prompt_chunks[i].count)) return false;
  }
  return result.tokens.size() == num_tokens && result.logprobs.size() == num_logprobs;
}

void Core::TakePromptLogprobs(const InFlight& flight, StepResult* result) {
  for (size_t i = 0; i < flight.prompt_chunks.size(); ++i) {
    const auto it = groups_.find(flight.prompt_chunks[i].group_id);
    if (it == groups_.end() || it->second->ended) continue;
    it->second->num_prompt_rows =
        prompt_logprobs_.Add(it->first, flight.prompt_chunks[i].first, std::move(result->prompt_logprobs[i]));
  }
}

void Core::Handle(StepDoneEvent& event) {
  StepResult& result = event.result;
  const bool other_epoch = result.epoch != epoch_ && !Planted(Defect::kStaleEpochAccepted);
  if (!formed_ || num_in_flight_ == 0 || other_epoch || result.step != flights_[first_flight_].plan.step) {
    Hit(Probe::kResultOfOldEpoch, result.epoch < epoch_ && num_in_flight_ > 0);
    Hit(Probe::kResultOfOtherStep, result.epoch == epoch_ && num_in_flight_ > 0);
    ++stale_results_;
    return;
  }
  InFlight& flight = flights_[first_flight_];
  if (!ResultFits(result, flight)) {
    ReplicaDownEvent down{epoch_, absl::InternalError(absl::StrCat(
                                      "step ", result.step, " answered ", result.tokens.size(), " tokens for ",
                                      flight.samples.size(), " items, or log-probs that nobody asked for"))};
    Handle(down);
    return;
  }
  first_flight_ = (first_flight_ + 1) % kMaxInFlight;
  --num_in_flight_;
  form_attempts_ = 0;  // the replica works
  NoteStepTime(flight, result);
  TakePromptLogprobs(flight, &result);
  size_t next_draft = 0, next_token = 0, next_logprobs = 0;
  for (size_t i = 0; i < flight.samples.size(); ++i) {
    FetchAhead(flight.samples, i);
    Sequence* sequence = flight.samples[i];
    const std::vector<DraftItem>& drafts = flight.plan.drafts;
    const bool drafted = next_draft < drafts.size() && drafts[next_draft].item == i;
    const size_t accepted = drafted ? result.accepted[next_draft++] : 0;
    const int32_t* tokens = &result.tokens[std::exchange(next_token, next_token + 1 + accepted)];
    TokenLogprobs* logprobs = nullptr;
    if (flight.num_scored > 0 && sequence->group->rank_logprobs() >= 0) {
      logprobs = &result.logprobs[std::exchange(next_logprobs, next_logprobs + 1 + accepted)];
    }
    if (sequence->beam != nullptr) {
      CommitRow(sequence, logprobs);
    } else {
      CommitItem(sequence, static_cast<int64_t>(accepted), tokens, logprobs);
    }
  }
  flight.samples.clear();
}

void Core::CommitItem(Sequence* sequence, int64_t accepted, const int32_t* tokens, TokenLogprobs* logprobs) {
  CHECK_GT(sequence->in_flight, 0);
  --sequence->in_flight;
  scheduler_->NoteAnswer(sequence, accepted);
  const bool over = sequence->group->ended || (sequence->finished && !Planted(Defect::kTokenAfterFinish));
  if (over) {  // sampled past its end, by overlap
    Hit(Probe::kSampledPastEnd, sequence->finished);
    EraseIfDrained(sequence->group);
    return;
  }
  Hit(Probe::kDraftAccepted, accepted > 0);
  for (int64_t i = 0; i <= accepted; ++i) {
    if (!Commit(sequence, tokens[i], logprobs == nullptr ? nullptr : &logprobs[i])) {
      return Hit(Probe::kEndBeforeLastDraft, i < accepted);
    }
  }
}

bool Core::Commit(Sequence* sequence, int32_t token, TokenLogprobs* logprobs) {
  Group* group = sequence->group;
  ++generation_tokens_;
  if (group->first_token == absl::InfiniteFuture()) group->first_token = now_;
  group->last_token = now_;
  actions_->emits.emplace_back();
  EmitAction& emit = actions_->emits.back();
  emit.id = group->id;
  emit.delta.index = sequence->index;
  emit.delta.cached_tokens = group->cached_tokens;
  emit.delta.prompt_logprobs = prompt_logprobs_.Take(group->id);
  emit.delta.offset = sequence->output.size();
  sequence->output.push_back(token);
  emit.delta.tokens.emplace_back();
  emit.delta.tokens.back().token = token;
  if (logprobs != nullptr) emit.delta.tokens.back().logprobs = std::move(*logprobs);
  scheduler_->Publish(sequence);
  const request::Verdict verdict = sequence->stop->Append(token, &emit.delta.text);
  if (!verdict.finished) {
    if (sequence->constraint != nullptr) Advance(sequence, token);
    return true;
  }
  emit.delta.finished = true;
  emit.delta.reason = verdict.reason;
  emit.delta.matched_stop_token = verdict.matched_token;
  emit.delta.matched_stop_str = verdict.matched_str;
  scheduler_->FinishSequence(sequence);
  if (group->num_unfinished() == 0) End(group, absl::OkStatus());
  return false;
}

// --- replica ---

void Core::Handle(ReplicaFormedEvent& event) {
  if (event.info.epoch != epoch_ || formed_) {
    ++stale_results_;
    return;
  }
  replica_ = event.info;
  formed_ = true;
  failed_ = false;
  step_ = 0;
  if (scheduler_ == nullptr) {
    scheduler_ = std::make_unique<scheduler::Scheduler>(options_.scheduler, replica_);
    return;
  }
  scheduler_->Reset(replica_);
  std::vector<Group*> too_big;
  scheduler_->waiting().ForEach([&](Group* group) {
    if (scheduler_->WorstCaseBlocks(*group) > replica_.device_blocks) too_big.push_back(group);
  });
  Hit(Probe::kCameBackSmaller, !too_big.empty());
  for (Group* group : too_big) {
    End(group, absl::UnavailableError(absl::StrCat("the replica came back with ", replica_.device_blocks,
                                                   " KV blocks, too few for this request")));
  }
}

void Core::VoidFlights() {
  for (; num_in_flight_ > 0; --num_in_flight_) {
    InFlight& flight = flights_[first_flight_];
    first_flight_ = (first_flight_ + 1) % kMaxInFlight;
    std::vector<Sequence*> samples;
    samples.swap(flight.samples);
    Hit(Probe::kLostInFlight, !samples.empty());
    for (Sequence* s : samples) {
      if (!Planted(Defect::kVoidedSampleStaysInFlight)) --s->in_flight;
      s->num_drafted = 0;
      EraseIfDrained(s->group);
    }
  }
}

void Core::Handle(ReplicaDownEvent& event) {
  if (event.epoch != epoch_) {
    ++stale_results_;
    return;
  }
  const bool worked = scheduler_ != nullptr;
  formed_ = false;
  down_reason_ = event.reason;
  VoidFlights();
  ++form_attempts_;
  // What never worked is most likely configured wrongly: say so at once instead of trying for minutes.
  if (!worked || form_attempts_ >= options_.max_form_attempts) {
    Hit(worked ? Probe::kGaveUpForming : Probe::kNeverFormed);
    GiveUpForming(event.reason);
    return;
  }
  if (worked) LeaveCrashed(event.reason);
  Hit(Probe::kBackOff, form_attempts_ > 2);
  // At once after a loss of a replica that worked, then ever more patiently.
  form_at_ = form_attempts_ == 1 ? now_ : now_ + kFirstBackoff * (1 << std::min(form_attempts_ - 2, 6));
}

void Core::FormWhenDue() {
  form_at_ = absl::InfiniteFuture();
  actions_->form_epoch = ++epoch_;
}

// --- planning ---

void Core::NoteStepTime(const InFlight& flight, const StepResult& result) {
  uint32_t slowest_us = 0;
  for (const RankUsage& rank : result.ranks) slowest_us = std::max(slowest_us, rank.exec_us);
  double& seen = step_seconds_[SizeClass(flight.plan)];
  seen = std::max(seen * 0.99, slowest_us * 1e-6);
  const size_t moved = flight.plan.swap_outs.size() + flight.plan.swap_ins.size();
  if (moved == 0) {
    scheduler_->NoteStep(flight.shape, slowest_us * 1e-6);
  } else {  // says nothing of computing
    uint32_t swap_us = 0;
    for (const RankUsage& rank : result.ranks) swap_us = std::max(swap_us, rank.swap_us);
    scheduler_->NoteSwap(static_cast<int64_t>(moved), swap_us * 1e-6);
  }
}

uint32_t Core::DeadlineMs(const StepPlan& plan) const {
  // The time of a step that waits behind another one counts from its sending.
  const double seen = step_seconds_[SizeClass(plan)] * kMaxInFlight;
  absl::Duration limit = std::max(options_.min_step_deadline, absl::Seconds(8 * seen));
  // The first step of a size touches memory that nobody has touched, and a long prompt takes many times what a token
  // takes.
  if (seen == 0) limit = std::max(limit, kUnknownStepDeadline);
  return static_cast<uint32_t>(std::min<int64_t>(absl::ToInt64Milliseconds(limit), 1 << 30));
}

void Core::Plan() {
  while (num_in_flight_ < kMaxInFlight) {
    if (num_in_flight_ > 0 && scheduler_->WaitsForDrafts(flights_[first_flight_].plan)) return;
    InFlight& flight = flights_[(first_flight_ + num_in_flight_) % kMaxInFlight];
    StepPlan& plan = flight.plan;
    plan.Clear();
    const bool works = scheduler_->BuildPlan(now_, &plan, &flight.samples);
    flight.prompt_chunks = scheduler_->prompt_chunks();
    if (!works && plan.finished.empty() && plan.host_frees.empty()) return;
    if (!works && num_in_flight_ > 0) {  // goes with a later step
      scheduler_->TakeBackFinished(&plan);
      return;
    }
    flight.shape = scheduler_->shape();
    flight.num_scored = scheduler_->num_scored();
    plan.epoch = epoch_;
    plan.step = ++step_;
    plan.deadline_ms = DeadlineMs(plan);
    ++num_in_flight_;
    planned_.Add(plan);
    actions_->sends.push_back(&plan);
  }
}

}  // namespace quire::engine
