// What the load generator sends: prompts, lengths and arrival times, all from one seed.
//
// Pure functions, any thread.
// Invariants:
//   B1  Request i is the same whatever the others are: its generator is seeded by (seed, i).
#ifndef QUIRE_TOOLS_BENCH_SERVE_WORKLOAD_H_
#define QUIRE_TOOLS_BENCH_SERVE_WORKLOAD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace quire::bench {

// Tokens, both ends included.
struct LengthRange {
  int64_t least = 1;
  int64_t most = 1;
};

// "128" or "64-256". Errors: INVALID_ARGUMENT anything else, or less than 1.
absl::StatusOr<LengthRange> ParseLengthRange(const std::string& text);

enum class LengthShape {
  kRanges,    // uniform between the ranges' ends
  kShareGpt,  // like those of chats
  kAlpaca,    // like those of single instructions
};

struct WorkloadOptions {
  uint64_t seed = 1;
  LengthShape shape = LengthShape::kRanges;
  LengthRange input;
  LengthRange output;
  int64_t vocab_size = 0;
  int64_t max_model_len = 0;  // prompt and output together never pass it
};

struct RequestSpec {
  std::vector<uint32_t> prompt_ids;
  uint32_t output_len = 1;
};

// The chats: log-normal lengths with the means that the vLLM paper (SOSP'23, section 6.1) gives for ShareGPT, 161
// tokens in and 338 out. The spreads (1.25 and 1.0 in ln) are ours: the paper does not give them. Each is cut to [4,
// 1024].
inline constexpr double kShareGptInputMean = 161;
inline constexpr double kShareGptInputSigma = 1.25;
inline constexpr double kShareGptOutputMean = 338;
inline constexpr double kShareGptOutputSigma = 1.0;
inline constexpr int64_t kShareGptLeast = 4;
inline constexpr int64_t kShareGptMost = 1024;

// The instructions: the means that the same paper gives for Alpaca, 19.31 and 58.45; spreads and cut as above.
inline constexpr double kAlpacaInputMean = 19.31;
inline constexpr double kAlpacaInputSigma = 0.5;
inline constexpr double kAlpacaOutputMean = 58.45;
inline constexpr double kAlpacaOutputSigma = 1.0;

// Request `index` of the run. Requires: vocab_size >= 1, max_model_len >= 2.
RequestSpec MakeRequestSpec(const WorkloadOptions& options, int64_t index);

// When each of `count` requests arrives, counted from the start: a Poisson process of `rate` requests per second.
std::vector<absl::Duration> PoissonArrivals(uint64_t seed, double rate, int64_t count);

}  // namespace quire::bench

#endif  // QUIRE_TOOLS_BENCH_SERVE_WORKLOAD_H_
