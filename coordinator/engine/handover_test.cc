// Several cores over simulated replicas that are lost and come back by seed, requests moving between them in every state
// there is: choices, beams, best of, half-scored prompts, swapped out, held text. What each request gives must be what it
// gives on one core that nobody disturbs.
#include <glog/logging.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "coordinator/engine/core.h"
#include "coordinator/engine/sim_replica.h"

namespace quire::engine {
namespace {

constexpr int32_t kVocab = 50;
constexpr int64_t kNumBlocks = 56;  // any request fits, not all together: preemption is in play
constexpr int64_t kNumHostBlocks = 20;
constexpr int64_t kBlockSize = 4;
constexpr int kMaxTurns = 200000;

class LetterDecoder final : public request::OutputDecoder {
 public:
  std::unique_ptr<OutputDecoder> Clone() const override { return std::make_unique<LetterDecoder>(*this); }
  void Append(int32_t id, std::string* text) override { text->push_back(static_cast<char>('a' + id % 10)); }
  void Finish(std::string*) override {}
};

struct Choice {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::string text;
  bool finished = false;

  bool operator==(const Choice& o) const {
    return std::tie(tokens, logprobs, text, finished) == std::tie(o.tokens, o.logprobs, o.text, o.finished);
  }
};

struct Client {
  std::map<uint32_t, Choice> choices;
  std::vector<float> prompt_logprobs;
  bool ended = false;
  absl::Status status;

  bool operator==(const Client& o) const {
    return std::tie(choices, prompt_logprobs, ended, status) ==
           std::tie(o.choices, o.prompt_logprobs, o.ended, o.status);
  }
};

std::vector<request::Request> MakeRequests(std::mt19937* random) {
  const auto uniform = [&](uint32_t low, uint32_t high) { return low + (*random)() % (high - low + 1); };
  std::vector<request::Request> requests(10);
  for (size_t i = 0; i < requests.size(); ++i) {
    request::Request& r = requests[i];
    r.request_id = absl::StrCat("r", i);
    r.prompt_ids.resize(uniform(1, 40));
    const bool shared = uniform(0, 1) == 0;
    for (size_t p = 0; p < r.prompt_ids.size(); ++p) {
      r.prompt_ids[p] = static_cast<int32_t>(shared && p < 20 ? 1 + p : uniform(1, kVocab - 1));
    }
    r.params.seed = (*random)();
    r.params.max_tokens = uniform(1, 30);
    r.params.ignore_eos = uniform(0, 1) == 0;
    r.params.logprobs = uniform(0, 1) == 0 ? 1 : -1;
    if (uniform(0, 2) == 0) r.params.stop = {"ab", "cde", "jj"};
    if (uniform(0, 2) == 0) r.params.prompt_logprobs = 1;
    switch (uniform(0, 4)) {
      case 0:
        r.params.n = uniform(2, 3);
        break;
      case 1:
        r.params.best_of = 2;
        break;
      case 2:
        r.params.beam_width = uniform(2, 3);
        r.params.n = uniform(1, r.params.beam_width);
        break;
      default:
        break;
    }
    r.make_decoder = [] { return std::make_unique<LetterDecoder>(); };
  }
  return requests;
}

class World {
 public:
  World(size_t num_cores, int losses, uint32_t seed) : random_(seed), losses_left_(losses) {
    CoreOptions options;
    options.scheduler.max_num_seqs = 8;
    options.scheduler.max_num_batched_tokens = 16;
    options.scheduler.preemption_mode = static_cast<scheduler::PreemptionMode>(seed % 3);
    options.has_siblings = num_cores > 1;
    options.max_form_attempts = 1000;
    options.max_crashes_per_request = 1000;  // the test is of moves
    for (size_t i = 0; i < num_cores; ++i) {
      options.scheduler.kv = {true, absl::StrCat("secret ", i)};
      places_.push_back(std::make_unique<Place>(options));
      Turn(places_.back().get(), {});
      Form(places_.back().get());
    }
  }

  std::map<uint64_t, Client> Serve(const std::vector<request::Request>& requests) {
    for (uint64_t id = 1; id <= requests.size(); ++id) {
      clients_[id];
      SubmitEvent submit;
      submit.id = id;
      submit.request = requests[id - 1];
      std::vector<Event> events;
      events.push_back(std::move(submit));
      Turn(places_[id % places_.size()].get(), std::move(events));
    }
    for (int turn = 0; !AllEnded(); ++turn) {
      CHECK_LT(turn, kMaxTurns) << "no progress";
      Step(places_[random_() % places_.size()].get());
    }
    return clients_;
  }
  int num_moved() const { return num_moved_; }

 private:
  struct Place {
    explicit Place(const CoreOptions& options) : core(options) {}
    Core core;
    std::unique_ptr<SimReplica> replica;
    std::deque<StepResult> results;
  };

  bool AllEnded() const {
    return std::all_of(clients_.begin(), clients_.end(), [](const auto& client) { return client.second.ended; });
  }

  // One thing that happens at one place.
  void Step(Place* place) {
    std::vector<Event> events;
    if (!place->core.formed()) {
      if (random_() % 20 == 0) Form(place);
      return;
    }
    if (losses_left_ > 0 && random_() % 25 == 0) {
      --losses_left_;
      place->replica.reset();
      place->results.clear();
      events.push_back(ReplicaDownEvent{place->core.epoch(), absl::UnavailableError("rank 0 died")});
    } else if (!place->results.empty()) {
      events.push_back(StepDoneEvent{std::move(place->results.front())});
      place->results.pop_front();
    } else {
      return;
    }
    Turn(place, std::move(events));
    for (const auto& lost : places_) HandOver(lost.get());
  }

  void Form(Place* place) {
    place->replica = std::make_unique<SimReplica>(kNumBlocks, kBlockSize, kVocab, kNumHostBlocks);
    ReplicaInfo info;
    info.epoch = place->core.epoch();
    info.vocab_size = kVocab;
    info.max_model_len = 1000;
    info.eos_token_ids = {0};
    info.device_blocks = kNumBlocks;
    info.host_blocks = kNumHostBlocks;
    info.block_size = kBlockSize;
    Turn(place, {ReplicaFormedEvent{info}});
  }

  // What the engines do together: requests of a lost place go to a formed one, if there is one.
  void HandOver(Place* lost) {
    if (lost->core.formed()) return;
    for (const auto& other : places_) {
      if (!other->core.formed()) continue;
      Actions actions;
      std::vector<MovedGroup> given = lost->core.GiveUp(kNumBlocks, random_() % 2 == 0);
      lost->core.CheckInvariants();
      num_moved_ += static_cast<int>(given.size());
      for (MovedGroup& moved : given) other->core.Adopt(std::move(moved), absl::UnixEpoch(), &actions);
      CHECK(actions.ends.empty());
      Turn(other.get(), {});
      return;
    }
  }

  void Turn(Place* place, std::vector<Event> events) {
    Actions actions;
    place->core.Step(&events, absl::UnixEpoch(), &actions);
    place->core.CheckInvariants();
    for (const EmitAction& emit : actions.emits) Receive(emit);
    for (const EndAction& end : actions.ends) {
      Client& client = clients_.at(end.id);
      CHECK(!client.ended);
      client.ended = true;
      client.status = end.status;
    }
    for (const StepPlan* plan : actions.sends) place->results.push_back(place->replica->Run(*plan));
  }

  void Receive(const EmitAction& emit) {
    Client& client = clients_.at(emit.id);
    CHECK(!client.ended);
    Choice& choice = client.choices[emit.delta.index];
    CHECK(!choice.finished);
    CHECK_EQ(emit.delta.offset, choice.tokens.size()) << "a gap in request " << emit.id;
    for (const TokenDelta& token : emit.delta.tokens) {
      choice.tokens.push_back(token.token);
      choice.logprobs.push_back(token.logprobs.sampled);
    }
    choice.text += emit.delta.text;
    choice.finished = emit.delta.finished;
    for (const TokenLogprobs& row : emit.delta.prompt_logprobs) client.prompt_logprobs.push_back(row.sampled);
  }

  std::mt19937 random_;
  int losses_left_;
  int num_moved_ = 0;
  std::vector<std::unique_ptr<Place>> places_;
  std::map<uint64_t, Client> clients_;
};

TEST(Handover, WhatARequestGivesDoesNotDependOnWhereItWent) {
  int num_moved = 0;
  for (uint32_t seed = 1; seed <= 400; ++seed) {
    std::mt19937 random(seed);
    const std::vector<request::Request> requests = MakeRequests(&random);
    const std::map<uint64_t, Client> calm = World(1, 0, seed).Serve(requests);
    World rough(2 + seed % 2, 12, seed);
    const std::map<uint64_t, Client> moved = rough.Serve(requests);
    for (const auto& [id, client] : calm) {
      EXPECT_TRUE(client.status.ok()) << client.status;
      EXPECT_TRUE(moved.at(id) == client) << "seed " << seed << ", request " << id << ": " << moved.at(id).status;
    }
    num_moved += rough.num_moved();
    if (HasFailure()) break;
  }
  EXPECT_GT(num_moved, 1000);
}

}  // namespace
}  // namespace quire::engine
