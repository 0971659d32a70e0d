// The simulated cluster. See simulation.h.
#include "coordinator/engine/simulation.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/engine/core.h"
#include "coordinator/engine/sim_beams.h"
#include "coordinator/engine/sim_replica.h"

namespace quire::engine {

void SimCoverage::Add(const SimCoverage& o) {
  steps += o.steps, requests += o.requests, finished_ok += o.finished_ok, cancelled += o.cancelled,
      expired += o.expired;
  refused += o.refused, preemptions += o.preemptions, forks += o.forks, copies += o.copies;
  replicas_lost += o.replicas_lost, lost_while_running += o.lost_while_running, replica_failures += o.replica_failures;
  stale_results += o.stale_results, stop_strings += o.stop_strings, chunked_prefills += o.chunked_prefills;
  two_in_flight += o.two_in_flight, cache_hits += o.cache_hits, ran_alone += o.ran_alone, swaps += o.swaps;
  beam_searches += o.beam_searches, branches += o.branches;
  scored_prompts += o.scored_prompts;
  drafted += o.drafted, accepted += o.accepted;
}

namespace {

constexpr absl::Duration kHour = absl::Hours(1);

// Letters a..j by id, so that stop strings straddle tokens.
class LetterDecoder final : public request::OutputDecoder {
 public:
  std::unique_ptr<OutputDecoder> Clone() const override { return std::make_unique<LetterDecoder>(*this); }
  void Append(int32_t id, std::string* text) override { text->push_back(Letter(id)); }
  void Finish(std::string* text) override {}
  static char Letter(int32_t id) { return static_cast<char>('a' + id % 10); }
};

// The choice that the model gives alone, by the plainest code: no batches, no blocks, no stop checker.
struct Expected {
  std::vector<int32_t> tokens;
  std::string text;
  bool stop_string = false;
};

Expected RunAlone(const request::Request& request, uint32_t choice, int32_t vocab) {
  Expected out;
  uint64_t prefix = 0;
  for (int32_t token : request.prompt_ids) prefix = SimPrefixHash(prefix, token);
  const request::SamplingParams& p = request.params;
  while (out.tokens.size() < p.max_tokens) {
    const int32_t token = SimDraw(prefix, p.seed, choice, static_cast<int64_t>(out.tokens.size()), vocab);
    out.tokens.push_back(token);
    prefix = SimPrefixHash(prefix, token);
    const bool may_stop = out.tokens.size() >= p.min_tokens;
    if (may_stop && token == 0 && !p.ignore_eos) return out;
    out.text.push_back(LetterDecoder::Letter(token));
    if (!may_stop) continue;
    for (const std::string& stop : p.stop) {
      if (out.text.size() < stop.size() || out.text.compare(out.text.size() - stop.size(), stop.size(), stop) != 0)
        continue;
      out.text.resize(out.text.size() - stop.size());
      out.stop_string = true;
      return out;
    }
  }
  return out;
}

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : rng_(seed), core_(MakeOptions()) {}

  SimCoverage Run();

 private:
  struct Client {
    request::Request request;
    std::vector<std::vector<int32_t>> tokens;  // by choice
    std::vector<std::string> texts;
    std::vector<bool> finished;
    std::vector<TokenLogprobs> prompt_logprobs;
    bool ended = false;
  };

  int64_t Uniform(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(rng_); }
  bool Chance(double p) { return std::uniform_real_distribution<double>(0, 1)(rng_) < p; }
  absl::Duration Delay(double mean_ms) {
    return absl::Milliseconds(std::exponential_distribution<double>(1 / mean_ms)(rng_));
  }

  CoreOptions MakeOptions();
  request::Request MakeRequest();
  void At(absl::Duration delay, Event event) { queue_.emplace(now_ + delay, std::move(event)); }
  void ScheduleArrivals();
  void Turn(std::vector<Event>* events);
  void Form(uint64_t epoch);
  void Send(const StepPlan& plan);
  void Receive(const EmitAction& emit);
  void End(const EndAction& end);
  void EndBeams(const Client& client, const absl::Status& status);
  void CheckPromptLogprobs(const Client& client);
  void CheckAtEnd();

  // MakeOptions draws these, so they stand before core_.
  std::mt19937_64 rng_;
  int64_t block_size_ = 0, num_blocks_ = 0, num_host_blocks_ = 0;
  int32_t vocab_ = 0;
  double loss_ = 0, repeat_ = 0;  // chances per step
  int losses_left_ = 0;
  Core core_;
  absl::Time now_ = absl::UnixEpoch() + kHour;
  std::multimap<absl::Time, Event> queue_;
  std::map<uint64_t, Client> clients_;
  std::unique_ptr<SimReplica> replica_;
  absl::Time replica_free_at_ = now_;
  std::optional<StepResult> last_result_;
  uint64_t next_id_ = 1;
  SimCoverage coverage_;
};

CoreOptions Simulation::MakeOptions() {
  block_size_ = Uniform(1, 8);
  num_blocks_ = Uniform(6, 60);
  num_host_blocks_ = Chance(0.6) ? Uniform(1, 60) : 0;
  vocab_ = static_cast<int32_t>(Uniform(10, 60));
  loss_ = Chance(0.4) ? 0.01 : 0;
  repeat_ = Chance(0.3) ? 0.1 : 0;
  losses_left_ = static_cast<int>(Uniform(1, 4));
  CoreOptions options;
  options.scheduler.max_num_seqs = Uniform(1, 12);
  options.scheduler.max_num_batched_tokens = options.scheduler.max_num_seqs + Uniform(0, 30);
  options.max_queue_len = Uniform(5, 40);
  options.max_form_attempts = 1000;
  options.scheduler.preemption_mode = static_cast<scheduler::PreemptionMode>(Uniform(0, 2));
  options.scheduler.policy = static_cast<scheduler::Policy>(Uniform(0, 2));
  options.scheduler.spec.method = static_cast<spec::Method>(Uniform(0, 2));
  options.scheduler.spec.num_speculative_tokens = static_cast<int>(Uniform(1, 6));
  options.scheduler.spec.prompt_lookup_min = static_cast<int>(Uniform(1, 2));
  options.scheduler.max_logit_rows = options.scheduler.max_num_seqs + Uniform(0, 20);
  options.scheduler.kv = {Chance(0.8), "simulated secret"};
  return options;
}

request::Request Simulation::MakeRequest() {
  request::Request r;
  r.request_id =
      Chance(0.02) && !clients_.empty() ? clients_.rbegin()->second.request.request_id : absl::StrCat("r", next_id_);
  const int64_t prompt = Uniform(1, 40);
  // Most prompts begin like others, so that prefixes are shared.
  const int64_t shared = Chance(0.7) ? Uniform(0, prompt) : 0;
  const int32_t family = static_cast<int32_t>(Uniform(0, 1));
  for (int64_t i = 0; i < prompt; ++i) {
    r.prompt_ids.push_back(i < shared ? static_cast<int32_t>(1 + (i + family) % (vocab_ - 1))
                                      : static_cast<int32_t>(Uniform(1, vocab_ - 1)));
  }
  if (Chance(0.2)) {
    r.tenant = "other";
    r.weight = 2;
  }
  r.priority = static_cast<int32_t>(Uniform(-1, 1));
  r.params.max_tokens = static_cast<uint32_t>(Uniform(1, 40));
  r.params.n = Chance(0.25) ? static_cast<uint32_t>(Uniform(2, 5)) : 1;
  if (Chance(0.15)) {
    r.params.beam_width = static_cast<uint32_t>(Uniform(1, 5));
    r.params.n = static_cast<uint32_t>(Uniform(1, r.params.beam_width));
    r.params.length_penalty = static_cast<float>(Uniform(-1, 3)) / 2;
    r.params.early_stopping = static_cast<request::EarlyStopping>(Uniform(0, 2));
  }
  if (r.params.beam_width == 0 && Chance(0.05)) r.params.best_of = r.params.n + static_cast<uint32_t>(Uniform(1, 2));
  r.params.seed = rng_();
  r.params.ignore_eos = Chance(0.3);
  r.params.logprobs = Chance(0.3) ? 2 : -1;
  r.params.prompt_logprobs = Chance(0.2) ? static_cast<int32_t>(Uniform(0, 2)) : -1;
  if (Chance(0.2)) r.params.min_tokens = static_cast<uint32_t>(Uniform(0, r.params.max_tokens));
  if (Chance(0.3)) r.params.stop = {"ab", "cde", "jj"};
  if (Chance(0.1)) r.deadline = now_ + Delay(60);
  r.make_decoder = [] { return std::make_unique<LetterDecoder>(); };
  return r;
}

void Simulation::ScheduleArrivals() {
  const int64_t count = Uniform(1, 20);
  absl::Duration at;
  for (int64_t i = 0; i < count; ++i) {
    if (Chance(0.6)) at += Delay(20);
    request::Request r = MakeRequest();
    const uint64_t id = next_id_++;
    if (Chance(0.2)) At(at + Delay(40), Chance(0.5) ? CancelEvent{id, ""} : CancelEvent{0, r.request_id});
    Client& client = clients_[id];
    client.request = r;
    client.tokens.resize(request::NumPlaces(r.params));
    client.texts.resize(request::NumPlaces(r.params));
    client.finished.resize(request::NumPlaces(r.params));
    At(at, SubmitEvent{id, std::move(r)});
  }
  coverage_.requests = count;
}

void Simulation::Form(uint64_t epoch) {
  replica_.reset();
  last_result_.reset();
  if (losses_left_ > 0 && epoch > 1 && Chance(0.2)) {
    --losses_left_;
    At(Delay(10), ReplicaDownEvent{epoch, absl::UnavailableError("formation failed")});
    return;
  }
  if (epoch > 1 && Chance(0.2)) num_blocks_ = std::max<int64_t>(6, num_blocks_ - Uniform(0, 5));
  replica_ = std::make_unique<SimReplica>(num_blocks_, block_size_, vocab_, num_host_blocks_);
  ReplicaInfo info;
  info.epoch = epoch;
  info.vocab_size = vocab_;
  info.max_model_len = 1000;
  info.eos_token_ids = {0};
  info.device_blocks = num_blocks_;
  info.block_size = static_cast<int32_t>(block_size_);
  info.host_blocks = num_host_blocks_;
  replica_free_at_ = now_ + Delay(10);
  At(replica_free_at_ - now_, ReplicaFormedEvent{info});
}

void Simulation::Send(const StepPlan& plan) {
  CHECK(replica_ != nullptr);
  CHECK_EQ(plan.epoch, core_.epoch());
  ++coverage_.steps;
  coverage_.forks += static_cast<int64_t>(plan.forks.size());
  coverage_.branches += static_cast<int64_t>(plan.branches.size());
  for (const PrefillItem& item : plan.prefill) coverage_.chunked_prefills += !item.sample;
  const int64_t copies = replica_->copies();
  StepResult result = replica_->Run(plan);
  coverage_.copies += replica_->copies() - copies;
  if (losses_left_ > 0 && Chance(loss_)) {  // the step is computed, its answer is lost with the replica
    --losses_left_;
    ++coverage_.replicas_lost;
    coverage_.lost_while_running += core_.stats().num_running_reqs > 0;
    At(Delay(5), ReplicaDownEvent{plan.epoch, absl::UnavailableError("rank 0 died")});
    if (Chance(0.5)) return;
  }
  // Steps run one after the other.
  replica_free_at_ = std::max(replica_free_at_, now_) + absl::Milliseconds(1) + Delay(4);
  if (last_result_.has_value() && Chance(repeat_))
    At(replica_free_at_ - now_ - absl::Microseconds(1), StepDoneEvent{*last_result_});
  last_result_ = result;
  At(replica_free_at_ - now_, StepDoneEvent{std::move(result)});
}

void Simulation::Receive(const EmitAction& emit) {
  Client& client = clients_.at(emit.id);
  const ChoiceDelta& delta = emit.delta;
  CHECK(!client.ended) << "output after the end of " << client.request.request_id;
  CHECK(!client.finished[delta.index]) << "output after the choice finished";
  CHECK_EQ(delta.offset, client.tokens[delta.index].size()) << "a gap in " << client.request.request_id;
  if (!delta.prompt_logprobs.empty()) {
    for (const auto& tokens : client.tokens) CHECK(tokens.empty()) << "log-probs of the prompt after output";
    client.prompt_logprobs = delta.prompt_logprobs;
  }
  for (const TokenDelta& t : delta.tokens) client.tokens[delta.index].push_back(t.token);
  client.texts[delta.index] += delta.text;
  client.finished[delta.index] = delta.finished;
}

// Every position but the first, once, whatever was preempted, lost or found in the cache on the way.
void Simulation::CheckPromptLogprobs(const Client& client) {
  const request::Request& r = client.request;
  const int64_t wanted = r.params.prompt_logprobs < 0 ? 0 : static_cast<int64_t>(r.prompt_ids.size()) - 1;
  CHECK_EQ(static_cast<int64_t>(client.prompt_logprobs.size()), wanted) << r.request_id;
  uint64_t prefix = 0;
  for (int64_t p = 0; p < wanted; ++p) {
    prefix = SimPrefixHash(prefix, r.prompt_ids[p]);
    const TokenLogprobs want =
        SimPromptLogprobs(prefix, r.prompt_ids[p + 1], static_cast<uint32_t>(r.params.prompt_logprobs));
    const TokenLogprobs& got = client.prompt_logprobs[p];
    CHECK(got.sampled == want.sampled && got.top == want.top) << r.request_id << " position " << p + 1;
  }
  coverage_.scored_prompts += wanted > 0;
}

void Simulation::End(const EndAction& end) {
  Client& client = clients_.at(end.id);
  CHECK(!client.ended) << client.request.request_id << " ended twice";
  client.ended = true;
  coverage_.finished_ok += end.status.ok();
  coverage_.cancelled += absl::IsCancelled(end.status);
  coverage_.expired += absl::IsDeadlineExceeded(end.status);
  coverage_.replica_failures += absl::IsInternal(end.status) || absl::IsUnavailable(end.status);
  coverage_.refused +=
      absl::IsResourceExhausted(end.status) || absl::IsAlreadyExists(end.status) || absl::IsInvalidArgument(end.status);
  if (end.status.ok()) CheckPromptLogprobs(client);
  if (client.request.params.beam_width > 0) return EndBeams(client, end.status);
  for (uint32_t i = 0; i < request::NumPlaces(client.request.params); ++i) {
    const Expected want = RunAlone(client.request, i, vocab_);
    const std::vector<int32_t>& got = client.tokens[i];
    if (end.status.ok()) {
      CHECK(client.finished[i]);
      CHECK(got == want.tokens) << client.request.request_id << " choice " << i << " differs from its solo run";
      CHECK_EQ(client.texts[i], want.text) << client.request.request_id << " choice " << i;
      coverage_.stop_strings += want.stop_string;
    } else {
      CHECK_LE(got.size(), want.tokens.size());
      CHECK(std::equal(got.begin(), got.end(), want.tokens.begin())) << "a committed token is wrong";
    }
  }
}

void Simulation::EndBeams(const Client& client, const absl::Status& status) {
  const std::string& id = client.request.request_id;
  const std::vector<SimBeam> want =
      status.ok() ? SearchAlone(client.request, vocab_, LetterDecoder::Letter) : std::vector<SimBeam>();
  for (uint32_t i = 0; i < client.request.params.n; ++i) {
    const bool found = i < want.size();
    CHECK(client.tokens[i] == (found ? want[i].tokens : std::vector<int32_t>())) << id << " beam " << i;
    CHECK_EQ(client.texts[i], found ? want[i].text : "") << id << " beam " << i;
  }
  coverage_.beam_searches += status.ok();
}

void Simulation::Turn(std::vector<Event>* events) {
  Actions actions;
  core_.Step(events, now_, &actions);
  core_.CheckInvariants();
  coverage_.ran_alone += core_.stats().runs_alone;
  coverage_.two_in_flight += core_.num_in_flight() == 2;
  for (const EmitAction& emit : actions.emits) Receive(emit);
  for (const EndAction& end : actions.ends) End(end);
  if (actions.form_epoch != 0) Form(actions.form_epoch);
  for (const StepPlan* plan : actions.sends) Send(*plan);
}

void Simulation::CheckAtEnd() {
  for (const auto& [id, client] : clients_) CHECK(client.ended) << client.request.request_id << " never ended";
  const CoreStats stats = core_.stats();
  CHECK_EQ(stats.blocks_used, 0) << "blocks leak";
  CHECK_EQ(stats.num_running_reqs + stats.num_waiting_reqs, 0);
  CHECK_EQ(core_.num_in_flight(), 0);
  CHECK(replica_ != nullptr && replica_->num_sequences() == 0) << "the ranks still hold " << replica_->num_sequences();
  CHECK_EQ(stats.host_blocks_used, 0) << "host blocks leak";
  CHECK_EQ(replica_->host_blocks_used(), 0) << "the ranks keep host blocks";
  coverage_.preemptions = stats.num_preemptions;
  coverage_.swaps = stats.num_swaps;
  coverage_.stale_results = stats.stale_results;
  coverage_.cache_hits = stats.cache_hit_tokens;
  coverage_.drafted = stats.num_drafted;
  coverage_.accepted = stats.num_accepted;
}

SimCoverage Simulation::Run() {
  std::vector<Event> events;
  Turn(&events);
  // The clients come when the model is there.
  now_ = queue_.begin()->first;
  ScheduleArrivals();
  int64_t turns = 0;
  while (true) {
    const absl::Time timer = core_.NextTimer();
    const bool timer_first = queue_.empty() || timer < queue_.begin()->first;
    if (timer_first && timer == absl::InfiniteFuture()) break;
    now_ = std::max(now_, timer_first ? timer : queue_.begin()->first);
    events.clear();
    if (timer_first) events.push_back(TickEvent{});
    while (!queue_.empty() && queue_.begin()->first <= now_) {
      events.push_back(std::move(queue_.begin()->second));
      queue_.erase(queue_.begin());
    }
    Turn(&events);
    CHECK_LT(++turns, 100000) << "no progress";
  }
  CheckAtEnd();
  return coverage_;
}

}  // namespace

SimCoverage RunSimulation(uint64_t seed) { return Simulation(seed).Run(); }

}  // namespace quire::engine
