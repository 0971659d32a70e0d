// Brings up one epoch of a replica: dial -> Join -> choose the collective -> Load -> agree -> Start. Blocking code,
// one object per epoch.
//
// Thread rule: everything on the group's thread, which waits in the mailbox only, so that a new epoch or a stop ends
// it at once.
// Invariants:
//   F1  Every phase has a time limit: dialling and joining together connect_timeout, loading and starting
//       stall_timeout without any news.
//   F2  Every error names the rank and where it is; ranks that disagree are both named with both values.
//   F3  StorePut goes to every other rank, in order; its count and bytes are bounded per epoch.
#ifndef QUIRE_COORDINATOR_CLUSTER_FORMATION_H_
#define QUIRE_COORDINATOR_CLUSTER_FORMATION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/cluster/rank_mailbox.h"
#include "coordinator/cluster/rank_stream.h"
#include "coordinator/cluster/worker_group.h"
#include "coordinator/scheduler/step_plan.h"

namespace grpc {
class ChannelCredentials;
}
namespace quire::worker::v1 {
class CoordinatorMessage;
class Joined;
class Loaded;
class StorePut;
}  // namespace quire::worker::v1

namespace quire::cluster {

// What the ranks are told to load and how much room they may take.
struct LoadOptions {
  std::string model_dir;  // as the ranks' hosts see it
  std::string dtype = "auto";
  std::string speculative_model;        // directory of the draft model, "" = none
  bool enable_expert_parallel = false;  // ranks hold whole experts instead of a part of each
  uint32_t block_size = 16;             // tokens
  uint32_t max_num_seqs = 256;
  uint32_t max_num_batched_tokens = 2048;
  uint32_t max_model_len = 0;               // tokens, 0 = the model's
  double memory_utilization = 0.9;          // of one host's or device's free memory, shared by the ranks that use it
  uint64_t kv_cache_memory_bytes = 0;       // of each rank, 0 = by memory_utilization
  uint64_t swap_space_bytes = 0;            // of each rank, host memory for preempted sequences
  uint32_t max_logit_rows = 0;              // of one step, 0 = max_num_seqs
  uint32_t num_device_blocks_override = 0;  // at most so many, 0 = as measured
};

struct FormationOptions {
  LoadOptions load;
  std::string collective = "auto";  // auto | shm | gloo | nccl
  // For ranks that are dialled by host and port; null = clear text. One object for all epochs: it watches files.
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  absl::Duration connect_timeout = absl::Seconds(10);
  absl::Duration stall_timeout = absl::Minutes(10);
  absl::Duration collective_timeout = absl::Seconds(30);
};

struct FormedReplica {
  ReplicaInfo info;
  ReplicaDescription description;
};

// The collective that fits: single for one rank, nccl if all compute on GPUs, shm if all are on one host, else gloo; or
// the one that was asked for. `backends`: what each rank says it computes with; may be shorter than host_ids.
absl::StatusOr<std::string> ChooseCollective(const std::string& asked, const std::vector<std::string>& host_ids,
                                             const std::vector<std::string>& backends = {});

class Formation {
 public:
  using MakeHandlers = std::function<RankStream::Handlers(int rank)>;

  // Handlers must post to `mailbox` with `epoch`, which is open.
  Formation(const FormationOptions& options, uint64_t epoch, std::vector<std::string> addresses, RankMailbox* mailbox,
            MakeHandlers make_handlers);
  ~Formation();

  // Errors: CANCELLED when interrupted; UNAVAILABLE or DEADLINE_EXCEEDED for ranks that do not answer;
  // FAILED_PRECONDITION for versions or models that differ; RESOURCE_EXHAUSTED without room for one block; what a rank
  // reported.
  absl::StatusOr<FormedReplica> Run();

  // The ranks' streams, by rank; fewer after an early failure. They are the caller's to cancel.
  std::vector<std::shared_ptr<RankStream>> TakeStreams() { return std::move(streams_); }

 private:
  using TakeMessage = std::function<absl::StatusOr<bool>(int rank, worker::v1::RankMessage* message)>;

  absl::Status Dial(absl::Time deadline);
  absl::Status Join(absl::Time deadline);
  absl::Status Load();
  absl::Status Agree() const;
  absl::StatusOr<FormedReplica> Start();
  // Takes news until every rank brought the message that `take` accepts (true). Time limit: `deadline`, or
  // stall_timeout after the last news if that is earlier.
  absl::Status Await(const char* what, absl::Time deadline, const TakeMessage& take);
  absl::Status Relay(int from, const worker::v1::StorePut& put);
  absl::Status CheckGlooAddresses() const;
  void Send(int rank, const worker::v1::CoordinatorMessage& message);
  std::string Name(int rank) const;  // "rank 1 (10.0.0.3:7001)"

  const FormationOptions options_;
  const uint64_t epoch_;
  const std::vector<std::string> addresses_;
  RankMailbox* const mailbox_;
  const MakeHandlers make_handlers_;
  const int world_size_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::shared_ptr<RankStream>> streams_;
  std::vector<worker::v1::Joined> joined_;
  std::vector<worker::v1::Loaded> loaded_;
  std::string collective_;
  int64_t num_puts_ = 0;
  int64_t put_bytes_ = 0;
};

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_FORMATION_H_
