// The one place that picks a CPU backend.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/backend.h"
#include "kernels/cpu/fast_backend.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/reference_backend.h"

namespace quire::kernels {

namespace {
constexpr int kThreadsMax = 256;
}  // namespace

std::vector<std::string> CpuIsas() {
  std::vector<std::string> names;
  for (const cpu::Isa& isa : cpu::SupportedIsas()) names.push_back(isa.name);
  return names;
}

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuBackendOptions& options) {
  if (options.num_threads < 1 || options.num_threads > kThreadsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_threads is ", options.num_threads, ", must be in [1, ", kThreadsMax, "]"));
  }
  const std::vector<cpu::Isa> isas = cpu::SupportedIsas();
  for (const cpu::Isa& isa : isas) {
    if (!options.isa.empty() && options.isa != isa.name) continue;
    return options.reference ? cpu::CreateReferenceBackend() : cpu::CreateFastBackend(options.num_threads, isa);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("isa is '", options.isa, "', this machine has: ", absl::StrJoin(CpuIsas(), ", ")));
}

}  // namespace quire::kernels
