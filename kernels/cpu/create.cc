#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/backend.h"
#include "kernels/cpu/reference_backend.h"

namespace quire::kernels {

namespace {
constexpr int kThreadsMax = 256;
}  // namespace

std::vector<std::string> CpuIsas() { return {"baseline"}; }

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuBackendOptions& options) {
  if (options.num_threads < 1 || options.num_threads > kThreadsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_threads is ", options.num_threads, ", must be in [1, ", kThreadsMax, "]"));
  }
  const std::vector<std::string> isas = CpuIsas();
  if (!options.isa.empty() && std::find(isas.begin(), isas.end(), options.isa) == isas.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("isa is '", options.isa, "', this machine has: ", absl::StrJoin(isas, ", ")));
  }
  return cpu::CreateReferenceBackend();
}

}  // namespace quire::kernels
