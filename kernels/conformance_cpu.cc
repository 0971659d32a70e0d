// The CPU's backends under test: the reference, and the fast kernels for every instruction set of this machine on 1, 2 and
// 3 threads.
#include <new>

#include "absl/strings/str_cat.h"
#include "kernels/conformance.h"

namespace quire::kernels {

std::vector<BackendUnderTest> BackendsUnderTest() {
  CpuBackendOptions reference;
  reference.reference = true;
  std::vector<BackendUnderTest> all = {{"reference", [reference] { return CreateCpuBackend(reference); }}};
  for (const std::string& isa : CpuIsas()) {
    for (int num_threads : {1, 2, 3}) {
      const CpuBackendOptions options = {num_threads, false, isa};
      all.push_back(
          {absl::StrCat(isa, "_threads", num_threads), [options] { return CreateCpuBackend(options); }, false});
    }
  }
  return all;
}

void* AllocateShared(int64_t bytes) { return ::operator new(bytes); }

void FreeShared(void* memory) { ::operator delete(memory); }

}  // namespace quire::kernels
