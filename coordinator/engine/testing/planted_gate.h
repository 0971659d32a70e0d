// The gate of planted defects: runs the simulation with one defect switched on, in a child process, until it is caught.
// A harness that misses one is blind for its kind. Test only; the caller has one thread.
#ifndef QUIRE_COORDINATOR_ENGINE_TESTING_PLANTED_GATE_H_
#define QUIRE_COORDINATOR_ENGINE_TESTING_PLANTED_GATE_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "coordinator/request/planted.h"

namespace quire::engine {

struct Catch {
  bool caught = false;
  uint64_t seeds = 0;    // run, with the one that caught it
  double seconds = 0;    // of wall time
  std::string evidence;  // the last line that the child wrote before it died
};

// Runs the seeds from `first_seed` on, until one fails or the time is over.
Catch CatchDefect(Defect defect, uint64_t first_seed, absl::Duration limit);

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_TESTING_PLANTED_GATE_H_
