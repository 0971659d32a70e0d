// The one place that picks a communicator by its name.
#include "worker/comm/communicator.h"

#include "absl/strings/str_cat.h"
#include "worker/comm/gloo_communicator.h"
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
  if (options.kind == "single" || ((options.kind == "shm" || options.kind == "gloo") && options.world_size == 1)) {
    return std::make_unique<SingleCommunicator>();
  }
  if (options.kind == "shm") return ShmCommunicator::Form(options, store);
  if (options.kind == "gloo") return FormGlooCommunicator(options, store);
  return absl::InvalidArgumentError(absl::StrCat("collective \"", options.kind, "\" is not one of single, shm, gloo"));
}

}  // namespace quire::worker
