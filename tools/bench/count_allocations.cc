// The replaced operators. See count_allocations.h.
#include "tools/bench/count_allocations.h"

#include <cstdlib>
#include <new>

namespace quire {
namespace {

thread_local int64_t t_allocations = 0;

}  // namespace

int64_t NumAllocations() { return t_allocations; }

}  // namespace quire

// The other forms of operator new of the standard library end here.
void* operator new(std::size_t size) {
  ++quire::t_allocations;
  void* memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) std::abort();
  return memory;
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
