// Keeps the shard that the last session loaded, so that a replica that forms again (a peer died, the coordinator
// restarted) has its weights at once. One shard at most, in memory until another model is asked for or the process
// ends.
//
// Thread rule: the compute thread of the live session; sessions follow each other (SE4).
// Invariant: a kept shard is handed out only for the same files (names, sizes, times), the same place in the group and
// the same options.
#ifndef QUIRE_WORKER_SERVICE_SHARD_KEEPER_H_
#define QUIRE_WORKER_SERVICE_SHARD_KEEPER_H_

#include <memory>
#include <string>

#include "worker/comm/communicator.h"
#include "worker/model/model.h"

namespace quire::worker {

// Stands before the communicator of the current formation: the model outlives formations, communicators do not.
class CommunicatorSlot final : public Communicator {
 public:
  CommunicatorSlot(int rank, int world_size) : rank_(rank), world_size_(world_size) {}

  // Requires: `current` is of the same rank and world size, or null.
  void Use(Communicator* current) { current_ = current; }

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  const char* Name() const override { return current_->Name(); }
  absl::Status AllReduceSum(float* data, int64_t count) override { return current_->AllReduceSum(data, count); }
  absl::Status AllGather(const float* in, float* out, int64_t count) override {
    return current_->AllGather(in, out, count);
  }
  absl::Status Finished() override { return current_->Finished(); }
  // The session aborts the communicator itself.
  void Abort() override {}

 private:
  const int rank_;
  const int world_size_;
  Communicator* current_ = nullptr;
};

struct LoadedShard {
  std::string key;  // "" = never kept
  std::unique_ptr<CommunicatorSlot> comm;
  std::unique_ptr<Model> model;
  std::string draft_key;
  std::unique_ptr<Model> draft;  // null = no draft model
};

class ShardKeeper final {
 public:
  // The kept shard if it is what `key` says; its draft model is whatever it was. Another one is freed before this returns: two would not fit.
  LoadedShard Take(const std::string& key);

  void Keep(LoadedShard shard);

 private:
  LoadedShard kept_;
};

// What a shard is made of; "" if the directory cannot be read.
std::string ShardKey(const LoadOptions& options);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_SERVICE_SHARD_KEEPER_H_
