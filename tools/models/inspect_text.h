// An inspection as text for people. Pure.
#ifndef QUIRE_TOOLS_MODELS_INSPECT_TEXT_H_
#define QUIRE_TOOLS_MODELS_INSPECT_TEXT_H_

#include <cstdint>
#include <string>

#include "worker/model/inspect.h"

namespace quire::tools {

struct InspectTextOptions {
  int64_t memory_bytes = 0;  // of each rank; 0: not said
  int64_t block_size = 16;   // tokens
  bool list_tensors = false;
};

// Tokens of cache that fit beside the rank's weights, in whole blocks; 0 if the weights alone do not fit. What a step
// computes with takes memory too: the coordinator plans with less.
int64_t TokensThatFit(const worker::InspectedRank& rank, int64_t memory_bytes, int64_t block_size);

std::string InspectText(const worker::InspectReport& report, const InspectTextOptions& options);

}  // namespace quire::tools

#endif  // QUIRE_TOOLS_MODELS_INSPECT_TEXT_H_
