// The routes of the API: OpenAI's, vLLM's beside them, and those that probes ask for.
//
//   GET  /health /ping          200: alive
//   GET  /ready                 200: steps make progress; 503: they do not, or the server is draining
//   GET  /version               {"version"}
//   GET  /metrics               for Prometheus
//   GET  / and /status          the status page, and what it shows
//   GET  /load                  requests running and waiting
//   GET  /v1/models[/NAME]      the served model
//   POST /v1/completions, /v1/chat/completions
//   POST /tokenize, /detokenize
#ifndef QUIRE_COORDINATOR_HTTP_ENDPOINTS_H_
#define QUIRE_COORDINATOR_HTTP_ENDPOINTS_H_

#include <vector>

#include "coordinator/frontend/api.h"
#include "coordinator/http/routes.h"

namespace quire::http {

// The API must outlive the routes. `metrics`: who may read /metrics, which tells sums over all tenants.
std::vector<Route> ApiRoutes(frontend::Api* api, AuthPolicy metrics = AuthPolicy::kKey);

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_ENDPOINTS_H_
