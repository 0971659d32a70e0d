// Names of the instruction sets and the Highway targets behind them. Any thread.
#ifndef QUIRE_KERNELS_CPU_ISA_H_
#define QUIRE_KERNELS_CPU_ISA_H_

#include <cstdint>
#include <string>
#include <vector>

namespace quire::kernels::cpu {

struct Isa {
  std::string name;
  int64_t target = 0;  // Highway's bit
};

// What is compiled in and runs on this machine, best first; never empty.
std::vector<Isa> SupportedIsas();

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_ISA_H_
