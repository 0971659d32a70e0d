// The one dispatch from a DType to a C++ type. Leaf; any thread.
#ifndef QUIRE_KERNELS_HALF_H_
#define QUIRE_KERNELS_HALF_H_

#include <glog/logging.h>

#include <utility>

#include "kernels/float_types.h"
#include "kernels/tensor_view.h"

namespace quire::kernels {

// Calls f(T{}) with the C++ type of a float DType. Requires: not kI32.
template <typename F>
decltype(auto) Dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return std::forward<F>(f)(float{});
    case DType::kF16:
      return std::forward<F>(f)(Float16{});
    case DType::kBF16:
      return std::forward<F>(f)(BFloat16{});
    case DType::kI32:
      break;
  }
  LOG(FATAL) << "not a float type: " << DTypeName(dtype);
}

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_HALF_H_
