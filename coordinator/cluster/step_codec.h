// Steps between plain data and worker.proto: a plan becomes one byte string that all ranks are sent, a Done becomes a
// RankReply.
//
// Thread rule: a StepEncoder belongs to one thread (the engine's); DecodeDone is pure and runs on gRPC's threads.
// Invariants:
//   C1  Lists are packed arrays of differences: a plan of n decodes takes less than 6 n + 64 bytes (step_codec_test
//       holds it to that).
//   C2  The digest in the bytes is PlanDigest of all other fields, so every rank can prove that it read the same plan.
#ifndef QUIRE_COORDINATOR_CLUSTER_STEP_CODEC_H_
#define QUIRE_COORDINATOR_CLUSTER_STEP_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/scheduler/step_plan.h"

namespace quire::worker::v1 {
class CoordinatorMessage;
class Done;
}  // namespace quire::worker::v1

namespace quire::cluster {

// What a correct answer to a step looks like.
struct ExpectedStep {
  uint64_t epoch = 0;
  uint64_t step = 0;
  uint64_t digest = 0;
  size_t num_tokens = 0;         // that rank 0 samples at least
  std::vector<uint32_t> drafts;  // drafts by drafted item: each accepted one is a token more
};

struct EncodedStep {
  ExpectedStep expected;
  std::shared_ptr<const std::string> bytes;  // a CoordinatorMessage, the same for every rank
};

// One rank's answer to one step, as plain data.
struct RankReply {
  uint64_t epoch = 0;
  uint64_t step = 0;
  uint64_t digest = 0;
  uint32_t rank = 0;
  std::vector<int32_t> tokens;                              // rank 0 only
  std::vector<TokenLogprobs> logprobs;                      // rank 0 only
  std::vector<uint32_t> accepted;                           // rank 0 only
  std::vector<std::vector<TokenLogprobs>> prompt_logprobs;  // rank 0 only
  RankUsage usage;
};

class StepEncoder {
 public:
  StepEncoder();
  ~StepEncoder();

  // Serializes a plan with its digest. Cost: about 20 ns a decode item, 1 ns a prompt token (step_codec_bench).
  EncodedStep Encode(const StepPlan& plan);

 private:
  // Kept between steps: its arrays keep their room.
  std::unique_ptr<worker::v1::CoordinatorMessage> message_;
};

// A Done as plain data; judging it is step_collector.h's part.
RankReply DecodeDone(const worker::v1::Done& done);

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_STEP_CODEC_H_
