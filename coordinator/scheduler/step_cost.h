// What a step takes, learned from the ranks' own times: seconds = base + a x decodes + b x prefill tokens + c x context
// of the decodes + e x pairs of the prefill (a new token and one that it attends to). Pure; engine thread only.
//
// Least squares on relative errors with exponential forgetting, the coefficients held at zero or above. Steps that only
// decode, that only prefill and that do both forget separately: an hour of decoding does not wash out what a prompt
// costs. Samples far from a prediction that has proved itself are pulled towards it, so that a hiccup of the host moves
// little and a lasting change moves all within some dozens of steps.
//
// Invariants:
//   T1  No coefficient and no prediction is ever negative or not finite.
//   T2  While two explanations fit alike, time is put on prefill tokens, then on the base: budgets start too small
//       and grow.
//   T3  Memory and time per sample are constant.
#ifndef QUIRE_COORDINATOR_SCHEDULER_STEP_COST_H_
#define QUIRE_COORDINATOR_SCHEDULER_STEP_COST_H_

#include <array>
#include <cstdint>

namespace quire::scheduler {

// The size of a step.
struct StepShape {
  int64_t decodes = 0;         // rows that advance a running sequence
  int64_t decode_context = 0;  // tokens that these attend to
  int64_t prefill_tokens = 0;
  int64_t prefill_pairs = 0;

  void AddDecode(int64_t context) {
    ++decodes;
    decode_context += context;
  }
  // `tokens` of a prompt behind `start` computed ones.
  void AddPrefill(int64_t start, int64_t tokens) {
    prefill_tokens += tokens;
    prefill_pairs += tokens * start + tokens * (tokens + 1) / 2;
  }
};

class StepCost {
 public:
  // A step of this shape took so long. Not finite, zero or negative times and empty shapes say nothing.
  void Learn(const StepShape& shape, double seconds);

  // Whether a step with prefill was ever seen.
  bool knows_prefill() const { return kinds_[kMixed].samples + kinds_[kPrefillOnly].samples > 0; }

  // Predicted time of the step; 0 before the first sample.
  double Seconds(const StepShape& shape) const;

  // What `tokens` of a prompt behind `start` computed ones add to a step that runs anyway.
  double PrefillSeconds(int64_t start, int64_t tokens) const;

  // Most tokens of a prompt, behind `start` computed ones, that add at most `seconds` to a step that runs anyway. At
  // most `limit`, and at most twice the largest prefill that was ever seen: what a memory-bound machine gives away for
  // nothing ends somewhere, and is found out step by step.
  int64_t PrefillTokens(double seconds, int64_t start, int64_t limit) const;

 private:
  static constexpr int kFeatures = 5;  // in the order in which they claim unexplained time
  enum Kind { kDecodeOnly, kMixed, kPrefillOnly, kNumKinds };
  using Vector = std::array<double, kFeatures>;

  // Decayed sums of one kind of steps: x x' and x y, weighted.
  struct Sums {
    std::array<Vector, kFeatures> xx{};
    Vector xy{};
    int64_t samples = 0;
    void Fade();
  };

  static Vector Features(const StepShape& shape);
  double Dot(const Vector& x) const;
  void Fit();

  std::array<Sums, kNumKinds> kinds_{};
  Vector coefficients_{};
  int64_t largest_prefill_ = 0;  // tokens of one step
};

}  // namespace quire::scheduler

#endif  // QUIRE_COORDINATOR_SCHEDULER_STEP_COST_H_
