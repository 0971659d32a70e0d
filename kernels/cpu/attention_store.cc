#include "kernels/cpu/attention_kernels.h"
#include "kernels/half.h"

namespace quire::kernels::cpu {

void StoreKvHeads(const TensorView& k, const TensorView& v, absl::Span<const int64_t> slots, int64_t layer,
                  const KvCacheView& cache, int64_t first_head, int64_t last_head) {
  const KvCacheLayout& l = cache.layout;
  Dispatch(l.dtype, [&](auto element) {
    using T = decltype(element);
    T* base = static_cast<T*>(cache.base);
    for (size_t t = 0; t < slots.size(); ++t) {
      if (slots[t] < 0) continue;
      const int64_t block = slots[t] / l.block_size;
      const int64_t offset = slots[t] % l.block_size;
      for (int64_t h = first_head; h < last_head; ++h) {
        const float* key = k.as<float>() + t * k.stride[0] + h * l.head_dim;
        const float* value = v.as<float>() + t * v.stride[0] + h * l.head_dim;
        T* to_key = base + KeyOffset(l, layer, block, h, offset / 16) + offset % 16;
        T* to_value = base + ValueOffset(l, layer, block, h, offset);
        for (int64_t d = 0; d < l.head_dim; ++d) to_key[d * 16] = Narrow<T>(key[d]);
        for (int64_t d = 0; d < l.head_dim; ++d) to_value[d] = Narrow<T>(value[d]);
      }
    }
  });
}

}  // namespace quire::kernels::cpu
