#include "coordinator/engine/testing/sim_constraint.h"

#include <glog/logging.h>

#include <utility>

#include "coordinator/engine/sim_replica.h"

namespace quire::engine {
namespace {

constexpr double kCompileMs = 100;  // mean time of a grammar that is new
constexpr double kMaskMs = 3;       // mean time that a mask takes

struct State {
  std::vector<int32_t> output;
  std::function<void()> wake;
  bool ready = true;
};

class SimConstraint final : public request::OutputConstraint {
 public:
  SimConstraint(SimLoop* loop, int32_t vocab) : loop_(loop), vocab_(vocab), state_(std::make_shared<State>()) {
    if (loop->Chance(0.5)) BecomeReadyLater(kCompileMs);
  }
  ~SimConstraint() override { state_->wake = nullptr; }

  void SetWake(std::function<void()> wake) override { state_->wake = std::move(wake); }

  void Advance(int32_t token) override {
    CHECK(state_->ready) << "two tokens at once";
    CHECK((*mask())[token / 32] >> (token % 32) & 1) << "token " << token << " was not allowed";
    state_->output.push_back(token);
    BecomeReadyLater(kMaskMs);
  }

  bool ready() const override { return state_->ready; }
  absl::Status status() const override { return absl::OkStatus(); }
  TokenMask mask() const override {
    CHECK(state_->ready) << "a mask is taken before it is known";
    return SimMask(state_->output, vocab_);
  }

 private:
  void BecomeReadyLater(double ms) {
    state_->ready = false;
    loop_->After(loop_->Delay(ms), [state = state_] {
      state->ready = true;
      if (state->wake != nullptr) state->wake();
    });
  }

  SimLoop* const loop_;
  const int32_t vocab_;
  const std::shared_ptr<State> state_;
};

}  // namespace

TokenMask SimMask(const std::vector<int32_t>& output, int32_t vocab) {
  uint64_t hash = 0x5eed;
  for (const int32_t token : output) hash = SimPrefixHash(hash, token);
  std::vector<uint32_t> words(static_cast<size_t>(vocab + 31) / 32, 0);
  const auto allow = [&](uint64_t token) { words[token / 32] |= uint32_t{1} << (token % 32); };
  for (int32_t token = 0; token < vocab; ++token) {
    if (SimPrefixHash(hash, token) % 3 == 0) allow(static_cast<uint64_t>(token));
  }
  allow(hash % static_cast<uint64_t>(vocab));
  return std::make_shared<const std::vector<uint32_t>>(std::move(words));
}

std::unique_ptr<request::OutputConstraint> MakeSimConstraint(SimLoop* loop, int32_t vocab) {
  return std::make_unique<SimConstraint>(loop, vocab);
}

}  // namespace quire::engine
