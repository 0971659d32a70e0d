// How much of their devices' peak the steps of a replica, or of several, use: MBU and MFU. Pure.
#ifndef QUIRE_COORDINATOR_FRONTEND_DEVICE_USE_H_
#define QUIRE_COORDINATOR_FRONTEND_DEVICE_USE_H_

#include "coordinator/engine/loads.h"
#include "coordinator/frontend/api_options.h"

namespace quire::frontend {

// 0 to 1 of what `num_ranks` devices could do in the time of the recent steps; 0 where the peak is not known. Floors:
// step_stats.h says what is counted.
struct DeviceUse {
  double bandwidth = 0;
  double compute = 0;
};

DeviceUse DeviceUseOf(const engine::Loads& loads, int num_ranks, const ApiOptions& options);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_DEVICE_USE_H_
