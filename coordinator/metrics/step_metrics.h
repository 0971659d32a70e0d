// What one replica's steps took, observed by its engine thread, read by any thread.
#ifndef QUIRE_COORDINATOR_METRICS_STEP_METRICS_H_
#define QUIRE_COORDINATOR_METRICS_STEP_METRICS_H_

#include "coordinator/metrics/histogram.h"

namespace quire::metrics {

// In seconds but for `tokens`. Of steps that compute something; rank times are the slowest rank's.
struct StepMetrics {
  Histogram total{kStepBounds};       // from sending, or from the reply before it, to the reply
  Histogram exec{kStepBounds};        // on the rank
  Histogram collective{kStepBounds};  // of it, in collectives
  Histogram wait{kStepBounds};        // the rank waited for the step's plan
  Histogram swap{kStepBounds};        // blocks moved to or from host memory
  Histogram tokens{kBatchBounds};     // computed
};

}  // namespace quire::metrics

#endif  // QUIRE_COORDINATOR_METRICS_STEP_METRICS_H_
