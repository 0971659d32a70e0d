#include "coordinator/http/monitor/status_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "coordinator/engine/replicas.h"
#include "coordinator/metrics/metrics.h"

namespace quire::http {
namespace {

using nlohmann::json;

constexpr int64_t kMinute = 60'000'000'000;  // nanoseconds

json PercentilesJson(const metrics::RecentValues& values) {
  const metrics::Percentiles p = values.Get(metrics::MonotonicNanos(), kMinute);
  return {{"count", p.count}, {"p50", p.p50}, {"p99", p.p99}};
}

json RanksJson(const engine::ReplicaReport& report) {
  json ranks = json::array();
  const size_t count = std::min<size_t>(static_cast<size_t>(report.num_ranks), kMaxRanksShown);
  for (size_t i = 0; i < count; ++i) {
    const RankUsage usage = i < report.loads.ranks.size() ? report.loads.ranks[i] : RankUsage();
    ranks.push_back({{"backend", i < report.backends.size() ? report.backends[i] : ""},
                     {"used", usage.device_blocks_used},
                     {"total", usage.device_blocks_total},
                     {"host_used", usage.host_blocks_used},
                     {"host_total", usage.host_blocks_total},
                     {"exec_ms", usage.exec_us * 1e-3}});
  }
  return ranks;
}

json MapJson(const engine::BlockMap& map) {
  return {{"blocks", map.device_blocks},
          {"per_cell", map.device_blocks_per_cell},
          {"shared", map.shared},
          {"used", map.used},
          {"cached", map.cached},
          {"host_blocks", map.host_blocks},
          {"host_per_cell", map.host_blocks_per_cell},
          {"swapped", map.swapped}};
}

json ReplicaJson(const engine::ReplicaReport& report, const metrics::ReplicaSnapshot& snapshot,
                 const std::vector<engine::StepSample>& steps, const engine::BlockMap& map) {
  json replica = {{"formed", snapshot.formed},
                  {"epoch", snapshot.epoch},
                  {"recoveries", snapshot.recoveries},
                  {"running", snapshot.running},
                  {"waiting", snapshot.waiting},
                  {"kv_usage", snapshot.kv_usage},
                  {"steps_total", report.loads.steps},
                  {"step_ms", report.loads.step_seconds_p50 * 1e3},
                  {"last_step_age_seconds", snapshot.last_step_age_seconds},
                  {"ranks", RanksJson(report)},
                  {"map", MapJson(map)}};
  json& list = replica["steps"] = json::array();  // number, milliseconds, tokens, sequences
  for (const engine::StepSample& s : steps) list.push_back({s.number, s.seconds * 1e3, s.tokens, s.sequences});
  return replica;
}

// The busiest replica's, null where the peak is not known.
json UseJson(const metrics::Snapshot& snapshot) {
  double bandwidth = 0;
  double compute = 0;
  for (const metrics::ReplicaSnapshot& replica : snapshot.replicas) {
    bandwidth = std::max(bandwidth, replica.bandwidth_use);
    compute = std::max(compute, replica.compute_use);
  }
  json use = {{"bandwidth", nullptr}, {"compute", nullptr}};
  if (snapshot.knows_peak_bandwidth) use["bandwidth"] = bandwidth;
  if (snapshot.knows_peak_compute) use["compute"] = compute;
  return use;
}

}  // namespace

std::string StatusJson(frontend::Api* api) {
  engine::Replicas* replicas = api->replicas();
  const metrics::Snapshot snapshot = api->GetSnapshot();
  const engine::Loads loads = replicas->GetLoads();
  json status = {
      {"model", api->options().served_model_name},
      {"version", api->options().version},
      {"ready", snapshot.ready},
      {"uptime_seconds", snapshot.uptime_seconds},
      {"chat", api->options().chat_format != nullptr},
      {"block_size", snapshot.block_size},
      {"running", loads.num_running_reqs},
      {"waiting", loads.num_waiting_reqs},
      {"waiting_tokens", loads.num_waiting_tokens},
      {"oldest_waiting_seconds", loads.oldest_waiting_seconds},
      {"tokens_per_second", loads.gen_throughput},
      {"generation_tokens", loads.generation_tokens_total},
      {"prompt_tokens", loads.prompt_tokens_total},
      {"cache_queries", loads.cache_queried_tokens_total},
      {"cache_hits", loads.cache_hit_tokens_total},
      {"swaps", loads.num_swaps},
      {"recomputes", loads.num_preemptions - loads.num_swaps},
      {"read_gbs", loads.read_bytes_per_second * 1e-9},
      {"use", UseJson(snapshot)},
      {"first_token", nullptr},
      {"token", nullptr},
      {"num_replicas", snapshot.replicas.size()},
  };
  if (const metrics::Metrics* metrics = api->metrics(); metrics != nullptr) {
    status["first_token"] = PercentilesJson(metrics->recent_first_token());
    status["token"] = PercentilesJson(metrics->recent_token());
  }
  json& list = status["replicas"] = json::array();
  const std::vector<engine::ReplicaReport> reports = replicas->GetReports();
  for (int r = 0; r < std::min<int>(kMaxReplicasShown, static_cast<int>(reports.size())); ++r) {
    const size_t i = static_cast<size_t>(r);
    list.push_back(ReplicaJson(reports[i], snapshot.replicas[i], replicas->GetTimeline(r), replicas->GetBlockMap(r)));
  }
  return status.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace quire::http
