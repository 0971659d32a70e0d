#include "coordinator/frontend/replica_facts.h"

#include <glog/logging.h>

#include <algorithm>
#include <string>
#include <vector>

namespace quire::frontend {

ReplicaFactsSource::ReplicaFactsSource(const ApiOptions& options, const engine::Replicas* engine)
    : options_(options), engine_(engine) {}

absl::StatusOr<std::shared_ptr<const ReplicaFacts>> ReplicaFactsSource::Get() {
  absl::MutexLock lock(&mutex_);
  if (facts_ != nullptr) return facts_;
  auto facts = std::make_shared<ReplicaFacts>();
  const absl::Status status = engine_->GetReplica(&facts->info, &facts->description);
  if (!status.ok()) return status;
  Limits& limits = facts->limits;
  limits.served_model_name = options_.served_model_name;
  limits.vocab_size = facts->info.vocab_size;
  // A sequence that the whole cache cannot hold is as impossible as one that is longer than the model. With an attention
  // window any length fits, if the window and a step do (KvManager::MostBlocksFor).
  const int64_t slots = facts->info.device_blocks * facts->info.block_size;
  const int64_t window = facts->info.attention_window;
  const bool any = window > 0 && window + options_.max_num_batched_tokens + 2 * facts->info.block_size <= slots;
  limits.max_model_len = any ? facts->info.max_model_len : std::min<int64_t>(facts->info.max_model_len, slots);
  if (options_.max_model_len > 0) limits.max_model_len = std::min(limits.max_model_len, options_.max_model_len);
  limits.max_logprobs = options_.max_logprobs;
  limits.priorities = options_.priorities;
  limits.prefix_caching = options_.prefix_caching;
  limits.max_num_seqs = options_.max_num_seqs;
  std::vector<std::string> warnings;
  limits.defaults = ParseGenerationConfig(facts->description.generation_config_json, &warnings);
  for (const std::string& warning : warnings) LOG(WARNING) << warning;
  facts_ = std::move(facts);
  return facts_;
}

}  // namespace quire::frontend
