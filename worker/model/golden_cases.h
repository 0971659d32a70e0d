// The checkpoints of tests/goldens that have a reference: what there is to test, without a list to keep.
#ifndef QUIRE_WORKER_MODEL_GOLDEN_CASES_H_
#define QUIRE_WORKER_MODEL_GOLDEN_CASES_H_

#include <string>
#include <vector>

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

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_GOLDEN_CASES_H_
