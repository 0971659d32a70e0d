// OpenNccl of a program built without the CUDA toolkit.
#include "worker/comm/nccl_api.h"

namespace quire::worker {

absl::StatusOr<std::unique_ptr<NcclApi>> OpenNccl() {
  return absl::UnimplementedError("collective \"nccl\": this program was built without CUDA");
}

}  // namespace quire::worker
