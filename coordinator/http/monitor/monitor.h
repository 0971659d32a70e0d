// What watches the server: /metrics for machines, / and /status for people.
//
// Handlers of routes; called on the HTTP server's threads, never wait for an engine.
#ifndef QUIRE_COORDINATOR_HTTP_MONITOR_MONITOR_H_
#define QUIRE_COORDINATOR_HTTP_MONITOR_MONITOR_H_

#include <memory>

#include "coordinator/frontend/api.h"
#include "coordinator/http/exchange.h"

namespace quire::http {

// GET /metrics: all metrics in Prometheus' text format. Tells sums, nothing of single requests or tenants. Without
// metrics: 404.
void ServeMetrics(frontend::Api* api, const std::shared_ptr<Exchange>& exchange);
// GET /status: what the page shows (status_json.h).
void ServeStatus(frontend::Api* api, const std::shared_ptr<Exchange>& exchange);
// GET /: the page, the same for everybody; it asks for /status with the reader's key.
void ServeStatusPage(const std::shared_ptr<Exchange>& exchange);

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_MONITOR_MONITOR_H_
