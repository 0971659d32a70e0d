// The learned cost of a step. See step_cost.h.
#include "coordinator/scheduler/step_cost.h"

#include <algorithm>
#include <cmath>

namespace quire::scheduler {
namespace {

enum Feature { kPrefillTokens, kBase, kDecodes, kDecodeContext, kPrefillPairs };

constexpr double kKeep = 0.97;          // of the weight of older samples of the same kind
constexpr int64_t kProvedSamples = 16;  // from here on a prediction may doubt a sample
constexpr double kDoubt = 2;            // a doubted sample counts as this multiple of the prediction, or its inverse
// Long prompts alone run at another rate than short pieces beside decodes; the latter are what is to be predicted.
constexpr double kPrefillOnlyWeight = 0.1;
// Draws what the samples leave open from the number and length of sequences to the base, which promises less.
constexpr double kShrink = 1.01;
constexpr int kSweeps = 20;
constexpr int64_t kFirstPrefill = 64;  // tokens

}  // namespace

StepCost::Vector StepCost::Features(const StepShape& shape) {
  Vector x;
  x[kPrefillTokens] = static_cast<double>(shape.prefill_tokens);
  x[kBase] = 1;
  x[kDecodes] = static_cast<double>(shape.decodes);
  x[kDecodeContext] = static_cast<double>(shape.decode_context);
  x[kPrefillPairs] = static_cast<double>(shape.prefill_pairs);
  return x;
}

void StepCost::Sums::Fade() {
  for (Vector& row : xx) {
    for (double& value : row) value *= kKeep;
  }
  for (double& value : xy) value *= kKeep;
}

double StepCost::Dot(const Vector& x) const {
  double sum = 0;
  for (int i = 0; i < kFeatures; ++i) sum += coefficients_[i] * x[i];
  return sum;
}

double StepCost::Seconds(const StepShape& shape) const { return Dot(Features(shape)); }

void StepCost::Learn(const StepShape& shape, double seconds) {
  if (!std::isfinite(seconds) || seconds <= 0 || shape.decodes + shape.prefill_tokens <= 0) return;
  Sums& sums = kinds_[shape.prefill_tokens == 0 ? kDecodeOnly : shape.decodes > 0 ? kMixed : kPrefillOnly];
  const Vector x = Features(shape);
  const double predicted = Dot(x);
  if (sums.samples >= kProvedSamples && predicted > 0) {
    seconds = std::clamp(seconds, predicted / kDoubt, predicted * kDoubt);
  }
  // By the prediction where there is one: weights by the sample itself would favour the fast ones.
  const double scale = std::max(predicted, seconds / 4);
  const double weight = 1 / (scale * scale);
  ++sums.samples;
  largest_prefill_ = std::max(largest_prefill_, shape.prefill_tokens);
  // Both kinds tell of prefill: the older tale fades with every new one.
  if (&sums == &kinds_[kMixed]) kinds_[kPrefillOnly].Fade();
  sums.Fade();
  for (int i = 0; i < kFeatures; ++i) {
    for (int j = 0; j < kFeatures; ++j) sums.xx[i][j] += weight * x[i] * x[j];
    sums.xy[i] += weight * x[i] * seconds;
  }
  Fit();
}

// Coordinate descent from the last solution, projected to what is not negative. What the samples say nothing of stays
// as it was.
void StepCost::Fit() {
  std::array<Vector, kFeatures> xx{};
  Vector xy{};
  for (int kind = 0; kind < kNumKinds; ++kind) {
    const double weight = kind == kPrefillOnly ? kPrefillOnlyWeight : 1;
    for (int i = 0; i < kFeatures; ++i) {
      for (int j = 0; j < kFeatures; ++j) xx[i][j] += weight * kinds_[kind].xx[i][j];
      xy[i] += weight * kinds_[kind].xy[i];
    }
  }
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (int i = 0; i < kFeatures; ++i) {
      if (xx[i][i] <= 0) continue;
      double rest = xy[i];
      for (int j = 0; j < kFeatures; ++j) {
        if (j != i) rest -= xx[i][j] * coefficients_[j];
      }
      const double shrink = i == kPrefillTokens || i == kBase ? 1 : kShrink;
      const double value = std::max(0.0, rest / (shrink * xx[i][i]));
      if (std::isfinite(value)) coefficients_[i] = value;
    }
  }
}

double StepCost::PrefillSeconds(int64_t start, int64_t tokens) const {
  StepShape shape;
  shape.AddPrefill(start, tokens);
  return coefficients_[kPrefillTokens] * static_cast<double>(shape.prefill_tokens) +
         coefficients_[kPrefillPairs] * static_cast<double>(shape.prefill_pairs);
}

int64_t StepCost::PrefillTokens(double seconds, int64_t start, int64_t limit) const {
  limit = std::min(limit, std::max(kFirstPrefill, 2 * largest_prefill_));
  if (limit <= 0 || PrefillSeconds(start, limit) <= seconds) return limit;
  // Grows with the tokens: the last one that fits.
  int64_t fits = 0, over = limit;
  while (over - fits > 1) {
    const int64_t middle = fits + (over - fits) / 2;
    (PrefillSeconds(start, middle) <= seconds ? fits : over) = middle;
  }
  return fits;
}

}  // namespace quire::scheduler
