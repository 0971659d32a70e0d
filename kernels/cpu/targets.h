// Which instruction sets the fast kernels are compiled for. Include before anything of Highway, in every file of
// kernels; the files compile once per set and hand out a table of functions for each.
#ifndef QUIRE_KERNELS_CPU_TARGETS_H_
#define QUIRE_KERNELS_CPU_TARGETS_H_

// AVX-512 (HWY_AVX3), AVX2 with FMA, and what every x86-64 has (emulated by Highway in plain C++). The sets between
// them would cost compile time and serve machines from before 2013.
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSE4 | HWY_SSSE3)

#endif  // QUIRE_KERNELS_CPU_TARGETS_H_
