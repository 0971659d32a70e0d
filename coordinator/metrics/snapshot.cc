// The engines' numbers as families. Names: vLLM's where it has one. See snapshot.h.
#include "coordinator/metrics/snapshot.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace quire::metrics {
namespace {

// One sample for each replica.
struct PerReplica {
  Kind kind;
  const char* name;
  const char* help;
  double (*value)(const ReplicaSnapshot&);
};

template <typename T>
double ToDouble(T value) {
  return static_cast<double>(value);
}

const PerReplica kPerReplica[] = {
    {Kind::kGauge, "num_requests_running", "Requests that take part in steps.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.running); }},
    {Kind::kGauge, "num_requests_waiting", "Requests that wait for their first step or to come back.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.waiting); }},
    {Kind::kGauge, "queue_tokens", "Prompt tokens of the waiting requests.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.waiting_tokens); }},
    {Kind::kGauge, "queue_oldest_age_seconds", "Time since the arrival of the request that waits longest.",
     [](const ReplicaSnapshot& r) { return r.oldest_waiting_seconds; }},
    {Kind::kGauge, "vtc_gap_tokens", "Service between the most and the least served tenant that has requests.",
     [](const ReplicaSnapshot& r) { return r.tenant_gap_tokens; }},
    {Kind::kGauge, "kv_cache_usage_perc", "Share of the KV blocks that live requests use, 0 to 1.",
     [](const ReplicaSnapshot& r) { return r.kv_usage; }},
    {Kind::kGauge, "kv_cache_fragmentation", "Share of the used blocks' slots that hold no token, 0 to 1.",
     [](const ReplicaSnapshot& r) { return r.kv_fragmentation; }},
    {Kind::kGauge, "kv_blocks_held", "Full blocks of shared prefixes that live requests declare.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.held_blocks); }},
    {Kind::kGauge, "workers_up", "Ranks that take part in the replica now.",
     [](const ReplicaSnapshot& r) { return r.formed ? ToDouble(r.num_ranks) : 0; }},
    {Kind::kGauge, "workers", "Ranks that the replica is made of.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.num_ranks); }},
    {Kind::kGauge, "group_epoch", "Epoch of the replica; a new one after every loss of a rank.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.epoch); }},
    {Kind::kGauge, "last_step_age_seconds", "Time since the last step ended while another one is due; 0 when idle.",
     [](const ReplicaSnapshot& r) { return r.last_step_age_seconds; }},
    {Kind::kCounter, "recoveries_total", "Times that the replica formed again after a loss.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.recoveries); }},
    {Kind::kCounter, "stale_replies_total", "Replies of ranks that were dropped for their epoch, step or digest.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.stale_replies); }},
    {Kind::kCounter, "prompt_tokens_total", "Prompt tokens of admitted requests.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.prompt_tokens); }},
    {Kind::kCounter, "generation_tokens_total", "Tokens generated.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.generation_tokens); }},
    {Kind::kCounter, "prefix_cache_queries_total", "Tokens looked up in the prefix cache.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.cache_queries); }},
    {Kind::kCounter, "prefix_cache_hits_total", "Tokens found in the prefix cache.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.cache_hits); }},
    {Kind::kCounter, "sequence_forks_total", "Sequences that began as a copy of another one.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.forks); }},
    {Kind::kCounter, "block_copies_total", "Blocks copied because a sharer wrote to them.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.block_copies); }},
    {Kind::kCounter, "spec_decode_num_draft_tokens_total", "Speculated tokens that were checked.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.draft_tokens); }},
    {Kind::kCounter, "spec_decode_num_accepted_tokens_total", "Speculated tokens that were accepted.",
     [](const ReplicaSnapshot& r) { return ToDouble(r.accepted_tokens); }},
    {Kind::kCounter, "estimated_read_bytes_total", "Bytes that the steps read at least: weights and live KV slots.",
     [](const ReplicaSnapshot& r) { return r.read_bytes; }},
    {Kind::kCounter, "estimated_flops_total", "Floating-point operations of the steps' matrix products.",
     [](const ReplicaSnapshot& r) { return r.flops; }},
};

Labels ReplicaLabel(size_t replica) { return {{"replica", absl::StrCat(replica)}}; }

Labels With(Labels labels, const char* name, const std::string& value) {
  labels.emplace_back(name, value);
  return labels;
}

void AddRanks(const Snapshot& snapshot, FamilyList* list) {
  list->Begin(Kind::kGauge, "kv_blocks", "KV blocks of a rank: used, cached (may be evicted) and free ones are all.");
  for (size_t r = 0; r < snapshot.replicas.size(); ++r) {
    const std::vector<RankBlocks>& ranks = snapshot.replicas[r].ranks;
    for (size_t i = 0; i < ranks.size(); ++i) {
      const Labels rank = With(ReplicaLabel(r), "worker", absl::StrCat(i));
      const auto add = [&](const char* where, const char* state, int64_t blocks) {
        list->Add(ToDouble(blocks), With(With(rank, "memory", where), "state", state));
      };
      add("device", "used", ranks[i].device_used);
      add("device", "cached", ranks[i].device_cached);
      add("device", "free", ranks[i].device_total - ranks[i].device_used - ranks[i].device_cached);
      add("host", "used", ranks[i].host_used);
      add("host", "free", ranks[i].host_total - ranks[i].host_used);
    }
  }
}

void AddKinds(const Snapshot& snapshot, FamilyList* list) {
  list->Begin(Kind::kCounter, "num_preemptions_total",
              "Requests that lost their place, by what became of their blocks.");
  for (size_t r = 0; r < snapshot.replicas.size(); ++r) {
    list->Add(ToDouble(snapshot.replicas[r].swaps), With(ReplicaLabel(r), "kind", "swap"));
    list->Add(ToDouble(snapshot.replicas[r].recomputes), With(ReplicaLabel(r), "kind", "recompute"));
  }
  list->Begin(Kind::kCounter, "swapped_blocks_total", "Blocks moved to (out) and from (in) host memory.");
  for (size_t r = 0; r < snapshot.replicas.size(); ++r) {
    list->Add(ToDouble(snapshot.replicas[r].blocks_swapped_out), With(ReplicaLabel(r), "direction", "out"));
    list->Add(ToDouble(snapshot.replicas[r].blocks_swapped_in), With(ReplicaLabel(r), "direction", "in"));
  }
}

void AddUtilization(const Snapshot& snapshot, FamilyList* list) {
  if (snapshot.knows_peak_bandwidth) {
    list->Begin(Kind::kGauge, "model_bandwidth_utilization",
                "Least memory traffic of recent steps by what the devices could move in that time, 0 to 1.");
    for (size_t r = 0; r < snapshot.replicas.size(); ++r)
      list->Add(snapshot.replicas[r].bandwidth_use, ReplicaLabel(r));
  }
  if (snapshot.knows_peak_compute) {
    list->Begin(Kind::kGauge, "model_flops_utilization",
                "Matrix products of recent steps by what the devices could compute in that time, 0 to 1.");
    for (size_t r = 0; r < snapshot.replicas.size(); ++r) list->Add(snapshot.replicas[r].compute_use, ReplicaLabel(r));
  }
}

void AddSteps(const Snapshot& snapshot, FamilyList* list) {
  list->Begin(Kind::kHistogram, "step_seconds",
              "Time of a step: total, and the slowest rank's exec, of it collective and swap, and its wait before.");
  for (size_t r = 0; r < snapshot.replicas.size(); ++r) {
    const StepMetrics* steps = snapshot.replicas[r].steps;
    if (steps == nullptr) continue;
    list->Add(steps->total.Read(), With(ReplicaLabel(r), "phase", "total"));
    list->Add(steps->exec.Read(), With(ReplicaLabel(r), "phase", "exec"));
    list->Add(steps->collective.Read(), With(ReplicaLabel(r), "phase", "collective"));
    list->Add(steps->wait.Read(), With(ReplicaLabel(r), "phase", "wait"));
    list->Add(steps->swap.Read(), With(ReplicaLabel(r), "phase", "swap"));
  }
  list->Begin(Kind::kHistogram, "iteration_tokens", "Tokens computed by a step.");
  for (size_t r = 0; r < snapshot.replicas.size(); ++r) {
    const StepMetrics* steps = snapshot.replicas[r].steps;
    if (steps != nullptr) list->Add(steps->tokens.Read(), ReplicaLabel(r));
  }
}

}  // namespace

void AddSnapshot(const Snapshot& snapshot, FamilyList* list) {
  list->Gauge("ready", "1 while steps make progress or could, else 0.", snapshot.ready ? 1 : 0);
  list->Gauge("uptime_seconds", "Time since the coordinator started.", snapshot.uptime_seconds);
  if (snapshot.block_size > 0) {
    list->Gauge("weights_load_seconds", "What loading the weights took, at the slowest replica.",
                snapshot.weights_load_seconds);
    list->Begin(Kind::kGauge, "cache_config_info", "Always 1; the labels are the facts.");
    for (size_t r = 0; r < snapshot.replicas.size(); ++r) {
      Labels labels = With(ReplicaLabel(r), "block_size", absl::StrCat(snapshot.block_size));
      list->Add(1, With(std::move(labels), "num_gpu_blocks", absl::StrCat(snapshot.replicas[r].device_blocks)));
    }
  }
  for (const PerReplica& metric : kPerReplica) {
    list->Begin(metric.kind, metric.name, metric.help);
    for (size_t r = 0; r < snapshot.replicas.size(); ++r) {
      list->Add(metric.value(snapshot.replicas[r]), ReplicaLabel(r));
    }
  }
  AddRanks(snapshot, list);
  AddKinds(snapshot, list);
  AddUtilization(snapshot, list);
  AddSteps(snapshot, list);
}

}  // namespace quire::metrics
