#include "kernels/cpu/isa.h"

#include "kernels/cpu/targets.h"
// Highway's macros must follow targets.h.
#include "hwy/highway.h"

namespace quire::kernels::cpu {

std::vector<Isa> SupportedIsas() {
  const int64_t supported = hwy::SupportedTargets();
  std::vector<Isa> isas;
  if (HWY_STATIC_TARGET != HWY_AVX3 && (HWY_TARGETS & HWY_AVX3 & supported)) isas.push_back({"avx512", HWY_AVX3});
  if (HWY_STATIC_TARGET != HWY_AVX2 && (HWY_TARGETS & HWY_AVX2 & supported)) isas.push_back({"avx2", HWY_AVX2});
  isas.push_back({"baseline", HWY_STATIC_TARGET});
  return isas;
}

}  // namespace quire::kernels::cpu
