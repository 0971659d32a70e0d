#include "coordinator/frontend/sim_worker_group.h"

#include <utility>

#include "absl/time/clock.h"

namespace quire::frontend {

SimWorkerGroup::SimWorkerGroup(const SimWorkerGroupOptions& options) : options_(options), thread_([this] { Loop(); }) {}

SimWorkerGroup::~SimWorkerGroup() { Stop(); }

void SimWorkerGroup::Hold() {
  absl::MutexLock lock(&mutex_);
  held_ = true;
}

void SimWorkerGroup::Release() {
  absl::MutexLock lock(&mutex_);
  held_ = false;
}

void SimWorkerGroup::SetListener(Listener* listener) { listener_ = listener; }

void SimWorkerGroup::Form(uint64_t epoch) {
  absl::MutexLock lock(&mutex_);
  plans_.clear();
  to_form_ = epoch;
}

void SimWorkerGroup::Send(const StepPlan& plan) {
  absl::MutexLock lock(&mutex_);
  plans_.push_back(plan);
}

void SimWorkerGroup::Stop() {
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void SimWorkerGroup::Loop() {
  while (true) {
    uint64_t epoch = 0;
    StepPlan plan;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &SimWorkerGroup::Awake));
      if (stopping_) return;
      epoch = std::exchange(to_form_, 0);
      if (epoch == 0) {
        plan = std::move(plans_.front());
        plans_.pop_front();
      }
    }
    if (epoch != 0) {
      replica_ = std::make_unique<engine::SimReplica>(options_.num_blocks, kBlockSize, options_.vocab_size);
      ReplicaInfo info;
      info.epoch = epoch;
      info.vocab_size = options_.vocab_size;
      info.max_model_len = options_.max_model_len;
      info.device_blocks = options_.num_blocks;
      info.block_size = kBlockSize;
      cluster::ReplicaDescription description;
      description.model_type = "sim";
      description.architectures = {"SimForCausalLM"};
      description.dtype = "f32";
      description.collective = "single";
      description.backends = {"sim"};
      description.weight_bytes = 1000;
      description.kv_bytes_per_token = 10;
      description.bos_token_id = 1;
      description.zero_share = 0.25;
      description.generation_config_json = options_.generation_config_json;
      listener_->OnFormed(info, description);
    } else {
      absl::SleepFor(options_.step_time);
      listener_->OnStepDone(replica_->Run(plan));
    }
  }
}

}  // namespace quire::frontend
