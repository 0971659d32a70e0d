// Drives the core alone, with a fake worker that answers at once: for benchmarks, and for counting what a step
// allocates. Test only; single thread.
#ifndef QUIRE_COORDINATOR_ENGINE_TESTING_CORE_DRIVER_H_
#define QUIRE_COORDINATOR_ENGINE_TESTING_CORE_DRIVER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/engine/core.h"

namespace quire::engine {

struct CoreDriverOptions {
  int64_t num_sequences = 1;  // running at the end of the constructor, all decoding
  uint32_t n = 1;             // choices of a request
  uint32_t beam_width = 0;    // instead: beams of a request
  int64_t prompt_len = 100;   // tokens; the prompts differ in their first one
  uint32_t max_tokens = 4000;
  bool stop_strings = false;
  int64_t spare_blocks = 0;     // beyond what these need
  int64_t spare_sequences = 0;  // places beside them
};

// Time in the core: on the clock, and of the processor, which does not count others that use the machine.
struct TurnTime {
  absl::Duration wall, cpu;
};

class CoreDriver {
 public:
  static constexpr int32_t kBlockSize = 16;

  explicit CoreDriver(const CoreDriverOptions& options);

  // Answers the oldest step in flight: one commit and one plan.
  TurnTime Answer();

  // One more request, and its cancellation in the same turn: the cost of looking for its blocks and of admitting it.
  TurnTime AdmitAndCancel(std::vector<int32_t> prompt);

  // The prompt of a running request.
  std::vector<int32_t> PromptOf(int64_t request) const;

  // Called before and after the core's own work, to count what it does.
  std::function<void()> before_step, after_step;

  const Core& core() const { return core_; }

 private:
  struct Flight {
    uint64_t step = 0;
    size_t samples = 0;
  };

  static CoreOptions MakeCoreOptions(const CoreDriverOptions& options);
  request::Request MakeRequest(std::vector<int32_t> prompt) const;
  StepResult MakeResult(const Flight& flight) const;
  TurnTime Turn();

  const CoreDriverOptions options_;
  Core core_;
  Actions actions_;
  std::vector<Event> events_;
  std::deque<Flight> flights_;
  TokenLogprobs row_;  // of a beam
  uint64_t next_id_ = 1;
  int64_t last_decodes_ = -1;
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_TESTING_CORE_DRIVER_H_
