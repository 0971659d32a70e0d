// The checkpoints of tests/goldens that have a reference: what there is to test, without a list to keep, and how it is
// run.
#ifndef QUIRE_WORKER_MODEL_GOLDEN_CASES_H_
#define QUIRE_WORKER_MODEL_GOLDEN_CASES_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "worker/model/model_fixture.h"

namespace quire::worker {

// The checkpoint to load and the one whose golden file has its numbers.
struct GoldenCase {
  std::string model;
  std::string golden;
};

std::string GoldenDir(const std::string& name);

// Every directory with a checkpoint and a golden file, by name, without those that are stored in bfloat16 (*_bf16); and
// those that hold the numbers of another in other files.
std::vector<GoldenCase> GoldenCases();

inline constexpr int kGoldenLengths[] = {1, 7, 24, 200};  // of the prompts
inline constexpr int kGreedyLengths[] = {7, 24};          // of those whose greedy tokens the file has
inline constexpr int kGreedyTokens = 64;
inline constexpr float kGoldenTolerance = 1e-4f;  // of f32 logits
inline constexpr float kGoldenCosine = 0.99f;     // of a row in bfloat16 with the one in f32

using Golden = std::map<std::string, std::vector<float>>;

// To load the checkpoint as its golden file asks: for contexts of "max_model_len" tokens, where the file has that number.
FixtureOptions OptionsOf(const GoldenCase& one, const Golden& golden);

// CHECK-fails where it does not load.
std::unique_ptr<ModelFixture> MustLoad(const FixtureOptions& options);

std::vector<int32_t> Prompt(const Golden& golden, int length);

// Rows of a prompt that is prefilled `chunk` tokens at a time.
LogitRows Prefill(ModelFixture* fixture, int sequence_id, const std::vector<int32_t>& prompt, size_t chunk);

float MaxDifference(const LogitRows& rows, const std::vector<float>& expected);  // infinity where one is no number
// The least cosine of a row with the expected one.
float MinCosine(const LogitRows& rows, const std::vector<float>& expected);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_GOLDEN_CASES_H_
