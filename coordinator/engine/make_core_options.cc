#include "coordinator/engine/make_core_options.h"

#include <random>
#include <string>
#include <utility>

#include "absl/time/clock.h"

namespace quire::engine {
namespace {

// Keys the prefix cache, so that its keys cannot be computed outside of this process.
std::string RandomSecret() {
  std::random_device device;
  std::string secret;
  while (secret.size() < 32) {
    const uint32_t word = device();
    secret.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  return secret;
}

}  // namespace

CoreOptions MakeCoreOptions(const EngineOptions& options, std::function<void()> wake) {
  CoreOptions core;
  core.scheduler.max_num_seqs = options.max_num_seqs;
  core.scheduler.max_num_batched_tokens = options.max_num_batched_tokens;
  core.scheduler.target_step_ms = options.target_step_ms;
  core.scheduler.preempt_every_steps = options.preempt_every_steps;
  core.scheduler.max_preemptions = options.max_preemptions_per_request;
  core.max_queue_len = options.max_queue_len;
  core.max_queue_tokens = options.max_queue_tokens;
  core.max_queue_bytes = options.max_queue_bytes;
  core.scheduler.policy = options.scheduling_policy;
  core.scheduler.preemption_mode = options.preemption_mode;
  core.scheduler.kv.enable_prefix_caching = options.enable_prefix_caching;
  core.scheduler.kv.secret = RandomSecret();
  core.scheduler.max_logit_rows = options.max_logit_rows;
  core.scheduler.spec = options.spec;
  core.min_step_deadline = options.min_step_deadline;
  core.max_form_attempts = options.max_form_attempts;
  core.has_siblings = options.num_replicas > 1;
  core.wake = std::move(wake);
  // Ranks refuse epochs that are not newer. Milliseconds grow faster than replicas form, so a coordinator that is
  // started again is newer than its former self, and one that was forgotten somewhere is fenced.
  core.first_epoch = static_cast<uint64_t>(absl::ToUnixMillis(absl::Now()));
  return core;
}

}  // namespace quire::engine
