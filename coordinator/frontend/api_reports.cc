// What the API says of the model, the server and its loads. See api.h.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "coordinator/frontend/api.h"
#include "coordinator/frontend/device_use.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

template <typename Out>
void AddRanks(const engine::Loads& loads, Out* out) {
  for (size_t rank = 0; rank < loads.ranks.size(); ++rank) {
    v1::GetLoadsResponse::RankLoad* load = out->add_ranks();
    load->set_rank(static_cast<uint32_t>(rank));
    load->set_device_blocks_total(loads.ranks[rank].device_blocks_total);
    load->set_device_blocks_used(loads.ranks[rank].device_blocks_used);
    load->set_device_blocks_cached(loads.ranks[rank].device_blocks_cached);
    load->set_host_blocks_total(loads.ranks[rank].host_blocks_total);
    load->set_host_blocks_used(loads.ranks[rank].host_blocks_used);
  }
}

void AddReplica(const engine::ReplicaReport& report, v1::GetLoadsResponse* out) {
  v1::GetLoadsResponse::ReplicaLoad* load = out->add_replicas();
  load->set_replica(static_cast<uint32_t>(out->replicas_size() - 1));
  load->set_formed(report.state.formed);
  load->set_num_running_reqs(static_cast<uint32_t>(report.loads.num_running_reqs));
  load->set_num_waiting_reqs(static_cast<uint32_t>(report.loads.num_waiting_reqs));
  load->set_num_used_tokens(static_cast<uint64_t>(report.loads.num_used_tokens));
  load->set_max_total_num_tokens(static_cast<uint64_t>(report.loads.max_total_num_tokens));
  load->set_generation_tokens_total(static_cast<uint64_t>(report.loads.generation_tokens_total));
  load->set_cache_queried_tokens_total(static_cast<uint64_t>(report.loads.cache_queried_tokens_total));
  load->set_cache_hit_tokens_total(static_cast<uint64_t>(report.loads.cache_hit_tokens_total));
  AddRanks(report.loads, load);
}

void AddReplica(const engine::ReplicaReport& report, v1::GetServerInfoResponse* out) {
  v1::GetServerInfoResponse::Replica* replica = out->add_replicas();
  replica->set_replica(static_cast<uint32_t>(out->replicas_size() - 1));
  replica->set_formed(report.state.formed);
  replica->set_epoch(report.state.epoch);
  replica->set_steps(report.loads.steps);
  replica->mutable_backends()->Assign(report.backends.begin(), report.backends.end());
}

}  // namespace

absl::Status Api::GetModelInfo(v1::GetModelInfoResponse* out) {
  const absl::StatusOr<std::shared_ptr<const ReplicaFacts>> facts = facts_.Get();
  if (!facts.ok()) return facts.status();
  const cluster::ReplicaDescription& description = (*facts)->description;
  out->set_model_path(options_.model_path);
  out->set_max_context_length(static_cast<uint32_t>((*facts)->limits.max_model_len));
  out->set_vocab_size(static_cast<uint32_t>((*facts)->limits.vocab_size));
  out->set_served_model_name(options_.served_model_name);
  out->set_model_type(description.model_type);
  out->mutable_architectures()->Assign(description.architectures.begin(), description.architectures.end());
  const std::vector<int32_t>& eos = (*facts)->info.eos_token_ids;
  out->mutable_eos_token_ids()->Add(eos.begin(), eos.end());
  if (description.bos_token_id >= 0) out->set_bos_token_id(static_cast<uint32_t>(description.bos_token_id));
  out->set_default_sampling_params_json(description.generation_config_json);
  if (description.zero_share >= 0) out->set_weight_sparsity(description.zero_share);
  return absl::OkStatus();
}

absl::Status Api::GetServerInfo(v1::GetServerInfoResponse* out) {
  const absl::StatusOr<std::shared_ptr<const ReplicaFacts>> facts = facts_.Get();
  if (!facts.ok()) return facts.status();
  const cluster::ReplicaDescription& description = (*facts)->description;
  const engine::Loads loads = engine_->GetLoads();
  out->set_version(options_.version);
  out->set_uptime_seconds(absl::ToDoubleSeconds(absl::Now() - start_time_));
  out->set_tensor_parallel_size(static_cast<uint32_t>(description.backends.size()));
  out->set_dtype(description.dtype);
  out->set_collective(description.collective);
  out->set_max_num_seqs(static_cast<uint32_t>(options_.max_num_seqs));
  out->set_max_num_batched_tokens(static_cast<uint32_t>(options_.max_num_batched_tokens));
  out->set_block_size(static_cast<uint32_t>((*facts)->info.block_size));
  out->set_epoch(loads.epoch);
  out->set_steps(loads.steps);
  out->mutable_backends()->Assign(description.backends.begin(), description.backends.end());
  out->set_weight_bytes(description.weight_bytes);
  out->set_kv_bytes_per_token(description.kv_bytes_per_token);
  out->set_step_seconds_p50(loads.step_seconds_p50);
  out->set_worker_seconds_p50(loads.worker_seconds_p50);
  double bandwidth = 0;
  double compute = 0;
  for (const engine::ReplicaReport& report : engine_->GetReports()) {
    AddReplica(report, out);
    const DeviceUse use = DeviceUseOf(report.loads, report.num_ranks, options_);
    bandwidth = std::max(bandwidth, use.bandwidth);
    compute = std::max(compute, use.compute);
  }
  if (options_.peak_bandwidth_gbs > 0) out->set_model_bandwidth_utilization(bandwidth);
  if (options_.peak_tflops > 0) out->set_model_flops_utilization(compute);
  return absl::OkStatus();
}

void Api::GetLoads(v1::GetLoadsResponse* out) const {
  const engine::Loads loads = engine_->GetLoads();
  out->set_num_running_reqs(static_cast<uint32_t>(loads.num_running_reqs));
  out->set_num_waiting_reqs(static_cast<uint32_t>(loads.num_waiting_reqs));
  out->set_num_used_tokens(static_cast<uint64_t>(loads.num_used_tokens));
  out->set_max_total_num_tokens(static_cast<uint64_t>(loads.max_total_num_tokens));
  const double total = static_cast<double>(loads.max_total_num_tokens);
  out->set_token_usage(total > 0 ? static_cast<double>(loads.num_used_tokens) / total : 0);
  out->set_gen_throughput(loads.gen_throughput);
  const double queried = static_cast<double>(loads.cache_queried_tokens_total);
  out->set_cache_hit_rate(queried > 0 ? static_cast<double>(loads.cache_hit_tokens_total) / queried : 0);
  out->set_cached_blocks(static_cast<uint64_t>(loads.cached_blocks));
  out->set_held_blocks(static_cast<uint64_t>(loads.held_blocks));
  out->set_num_preemptions(static_cast<uint64_t>(loads.num_preemptions));
  out->set_num_swaps(static_cast<uint64_t>(loads.num_swaps));
  out->set_kv_fragmentation(loads.fragmentation);
  out->set_num_recomputes(static_cast<uint64_t>(loads.num_preemptions - loads.num_swaps));
  out->set_num_forks(static_cast<uint64_t>(loads.num_forks));
  out->set_num_block_copies(static_cast<uint64_t>(loads.num_block_copies));
  out->set_blocks_swapped_out(static_cast<uint64_t>(loads.blocks_swapped_out));
  out->set_blocks_swapped_in(static_cast<uint64_t>(loads.blocks_swapped_in));
  out->set_cache_hit_tokens(static_cast<uint64_t>(loads.cache_hit_tokens_total));
  out->set_cache_queried_tokens(static_cast<uint64_t>(loads.cache_queried_tokens_total));
  out->set_generation_tokens_total(static_cast<uint64_t>(loads.generation_tokens_total));
  out->set_prompt_tokens_total(static_cast<uint64_t>(loads.prompt_tokens_total));
  out->set_spec_decode_num_draft_tokens_total(static_cast<uint64_t>(loads.spec_decode_num_draft_tokens_total));
  out->set_spec_decode_num_accepted_tokens_total(static_cast<uint64_t>(loads.spec_decode_num_accepted_tokens_total));
  out->set_stale_replies_total(loads.stale_replies_total);
  AddRanks(loads, out);
  for (const engine::ReplicaReport& report : engine_->GetReports()) AddReplica(report, out);
}

}  // namespace quire::frontend
