// Lets metrics see what a client sees. See metrics/request_recorder.h.
#ifndef QUIRE_COORDINATOR_FRONTEND_RECORDED_SINK_H_
#define QUIRE_COORDINATOR_FRONTEND_RECORDED_SINK_H_

#include <cstdint>
#include <memory>

#include "coordinator/engine/engine.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/request/request.h"

namespace quire::frontend {

// A sink that hands everything on to `sink` after it was observed. `arrival`: MonotonicNanos() when the edge had the
// request. `metrics` outlives the result.
std::unique_ptr<engine::RequestSink> MakeRecordedSink(metrics::Metrics* metrics, int64_t arrival,
                                                      const request::Request& request,
                                                      std::unique_ptr<engine::RequestSink> sink);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_RECORDED_SINK_H_
