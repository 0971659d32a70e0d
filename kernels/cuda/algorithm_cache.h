// Which algorithm a library takes for a product, remembered by its shape: asking takes as long as a small product. The
// oldest use leaves when there are too many. One thread.
#ifndef QUIRE_KERNELS_CUDA_ALGORITHM_CACHE_H_
#define QUIRE_KERNELS_CUDA_ALGORITHM_CACHE_H_

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "kernels/cuda/blas.h"

namespace quire::kernels::cuda {

// All that an algorithm's choice may hang on. Alignments are those of an address and its rows, in bytes, at most 16.
struct ProductShape {
  int64_t num_rows = 0, outputs = 0, cols = 0;
  int64_t x_pitch = 0, weight_pitch = 0, out_stride = 0;
  DType dtype = DType::kF32;
  bool has_bias = false;
  int x_alignment = 0, out_alignment = 0;

  auto Key() const {
    return std::make_tuple(num_rows, outputs, cols, x_pitch, weight_pitch, out_stride, static_cast<int>(dtype),
                           has_bias, x_alignment, out_alignment);
  }
};

ProductShape ShapeOf(const BlasCall& call);

template <typename Algorithm>
class AlgorithmCache final {
 public:
  explicit AlgorithmCache(size_t capacity) : capacity_(capacity) {}

  // The algorithm of the shape; `ask()` finds it the first time, nullopt where the library has none, which is
  // remembered as well. The pointer is good until the next call.
  template <typename Ask>
  const std::optional<Algorithm>* Find(const ProductShape& shape, Ask&& ask) {
    const auto key = shape.Key();
    auto it = entries_.find(key);
    if (it == entries_.end()) {
      if (entries_.size() >= capacity_) {
        entries_.erase(uses_.back());
        uses_.pop_back();
      }
      uses_.push_front(key);
      it = entries_.emplace(key, Entry{ask(), uses_.begin()}).first;
    } else {
      uses_.splice(uses_.begin(), uses_, it->second.use);
    }
    return &it->second.algorithm;
  }

  size_t size() const { return entries_.size(); }

 private:
  using ShapeKey = decltype(std::declval<ProductShape>().Key());
  struct Entry {
    std::optional<Algorithm> algorithm;
    typename std::list<ShapeKey>::iterator use;
  };

  const size_t capacity_;
  std::list<ShapeKey> uses_;  // latest first
  std::map<ShapeKey, Entry> entries_;
};

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_ALGORITHM_CACHE_H_
