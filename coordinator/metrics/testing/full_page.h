// A page on which every family has a sample: what dashboards and rules may name.
#ifndef QUIRE_COORDINATOR_METRICS_TESTING_FULL_PAGE_H_
#define QUIRE_COORDINATOR_METRICS_TESTING_FULL_PAGE_H_

#include <string>

#include "coordinator/metrics/snapshot.h"

namespace quire::metrics {

// Two replicas, of which the second one is formed. `steps` outlives the result.
Snapshot FullSnapshot(const StepMetrics* steps);

// Of a model with an odd name.
std::string FullPage();

}  // namespace quire::metrics

#endif  // QUIRE_COORDINATOR_METRICS_TESTING_FULL_PAGE_H_
