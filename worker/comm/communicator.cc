// The one place that picks a communicator by its name.
#include "worker/comm/communicator.h"

#include "absl/strings/str_cat.h"
#include "worker/comm/gloo_communicator.h"
#include "worker/comm/nccl_api.h"
#include "worker/comm/nccl_communicator.h"
#include "worker/comm/shm_communicator.h"
#include "worker/comm/single_communicator.h"

namespace quire::worker {

absl::StatusOr<std::unique_ptr<Communicator>> CreateCommunicator(const CommunicatorOptions& options,
                                                                 RendezvousStore* store) {
  if (options.world_size < 1 || options.rank < 0 || options.rank >= options.world_size) {
    return absl::InvalidArgumentError(absl::StrCat("rank ", options.rank, " of world_size ", options.world_size));
  }
  if (options.kind == "single" && options.world_size != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("collective \"single\" is for one rank, not for ", options.world_size));
  }
  // A group of one needs no transport, whatever was asked for.
  const bool known = options.kind == "shm" || options.kind == "gloo" || options.kind == "nccl";
  if (options.kind == "single" || (known && options.world_size == 1)) {
    return std::make_unique<SingleCommunicator>();
  }
  if (options.kind == "shm") return ShmCommunicator::Form(options, store);
  if (options.kind == "gloo") return FormGlooCommunicator(options, store);
  if (options.kind == "nccl") {
    absl::StatusOr<std::unique_ptr<NcclApi>> api = OpenNccl();
    if (!api.ok()) return api.status();
    return FormNcclCommunicator(options, store, *std::move(api));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("collective \"", options.kind, "\" is not one of single, shm, gloo, nccl"));
}

}  // namespace quire::worker
