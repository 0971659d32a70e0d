#include "coordinator/http/monitor/monitor.h"

#include <string>

#include "coordinator/http/monitor/status_json.h"
#include "coordinator/http/monitor/status_page.h"
#include "coordinator/metrics/metrics.h"

namespace quire::http {

void ServeMetrics(frontend::Api* api, const std::shared_ptr<Exchange>& exchange) {
  if (api->metrics() == nullptr) return exchange->Reply(404, "text/plain", "no metrics\n");
  exchange->Reply(200, metrics::kTextFormat, api->metrics()->Page(api->GetSnapshot()), {{"Cache-Control", "no-store"}});
}

void ServeStatus(frontend::Api* api, const std::shared_ptr<Exchange>& exchange) {
  exchange->Reply(200, "application/json", StatusJson(api), {{"Cache-Control", "no-store"}});
}

void ServeStatusPage(const std::shared_ptr<Exchange>& exchange) {
  exchange->Reply(200, "text/html; charset=utf-8", kStatusPage,
                  {{"Content-Security-Policy", kStatusPagePolicy},
                   {"X-Content-Type-Options", "nosniff"},
                   {"Referrer-Policy", "no-referrer"},
                   {"Cache-Control", "no-cache"}});
}

}  // namespace quire::http
