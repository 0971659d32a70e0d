#include "tools/bench/serve_workload.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace quire::bench {
namespace {

// The standard fixes the engine's numbers but not those of its distributions: these are the same everywhere.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream) {
    std::seed_seq seeds{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), static_cast<uint32_t>(stream),
                        static_cast<uint32_t>(stream >> 32)};
    engine_.seed(seeds);
  }

  // (0, 1]
  double Unit() { return (static_cast<double>(engine_() >> 11) + 1) * 0x1p-53; }
  int64_t Below(int64_t limit) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(limit)); }
  int64_t In(const LengthRange& range) { return range.least + Below(range.most - range.least + 1); }
  double Normal() { return std::sqrt(-2 * std::log(Unit())) * std::cos(6.283185307179586 * Unit()); }
  // With mean `mean` and standard deviation `sigma` of its logarithm.
  double LogNormal(double mean, double sigma) {
    return std::exp(std::log(mean) - sigma * sigma / 2 + sigma * Normal());
  }

 private:
  std::mt19937_64 engine_;
};

int64_t CutLength(double length) {
  return std::clamp(static_cast<int64_t>(std::lround(length)), kShareGptLeast, kShareGptMost);
}

constexpr uint64_t kArrivalStream = ~uint64_t{0};

}  // namespace

absl::StatusOr<LengthRange> ParseLengthRange(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '-');
  LengthRange range;
  const bool good = (parts.size() == 1 || parts.size() == 2) && absl::SimpleAtoi(parts.front(), &range.least) &&
                    absl::SimpleAtoi(parts.back(), &range.most) && range.least >= 1 && range.least <= range.most;
  if (!good) return absl::InvalidArgumentError(absl::StrCat("a length is \"128\" or \"64-256\", got \"", text, "\""));
  return range;
}

RequestSpec MakeRequestSpec(const WorkloadOptions& options, int64_t index) {
  Random random(options.seed, static_cast<uint64_t>(index));
  int64_t input = 0, output = 0;
  switch (options.shape) {
    case LengthShape::kRanges:
      input = random.In(options.input);
      output = random.In(options.output);
      break;
    case LengthShape::kShareGpt:
      input = CutLength(random.LogNormal(kShareGptInputMean, kShareGptInputSigma));
      output = CutLength(random.LogNormal(kShareGptOutputMean, kShareGptOutputSigma));
      break;
    case LengthShape::kAlpaca:
      input = CutLength(random.LogNormal(kAlpacaInputMean, kAlpacaInputSigma));
      output = CutLength(random.LogNormal(kAlpacaOutputMean, kAlpacaOutputSigma));
      break;
  }
  input = std::min(input, options.max_model_len - 1);
  output = std::min(output, options.max_model_len - input);
  RequestSpec spec;
  spec.output_len = static_cast<uint32_t>(output);
  spec.prompt_ids.reserve(static_cast<size_t>(input));
  for (int64_t i = 0; i < input; ++i)
    spec.prompt_ids.push_back(static_cast<uint32_t>(random.Below(options.vocab_size)));
  return spec;
}

std::vector<absl::Duration> PoissonArrivals(uint64_t seed, double rate, int64_t count) {
  Random random(seed, kArrivalStream);
  std::vector<absl::Duration> arrivals;
  double at = 0;
  for (int64_t i = 0; i < count; ++i) {
    arrivals.push_back(absl::Seconds(at));
    at += -std::log(random.Unit()) / rate;
  }
  return arrivals;
}

}  // namespace quire::bench
