// Philox4x32-10: noise as a pure function of (key, counter). Leaf, constexpr, plain C++: a GPU compiler takes it as it
// is. Any thread. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11); vectors of Random123 in
// philox_test.cc.
#ifndef QUIRE_KERNELS_PHILOX_H_
#define QUIRE_KERNELS_PHILOX_H_

#include <cstdint>

namespace quire::kernels {

// What a block of noise is for; the fourth counter word, so that two uses never share numbers.
enum class NoisePurpose : uint32_t { kDraw = 0 };

struct PhiloxBlock {
  uint32_t lane[4];
};

inline constexpr uint32_t kPhiloxMul0 = 0xD2511F53u;
inline constexpr uint32_t kPhiloxMul1 = 0xCD9E8D57u;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u;
inline constexpr uint32_t kPhiloxWeyl1 = 0xBB67AE85u;

constexpr PhiloxBlock Philox4x32(uint64_t key, PhiloxBlock counter) {
  uint32_t key0 = static_cast<uint32_t>(key);
  uint32_t key1 = static_cast<uint32_t>(key >> 32);
  PhiloxBlock c = counter;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(kPhiloxMul0) * c.lane[0];
    const uint64_t product1 = static_cast<uint64_t>(kPhiloxMul1) * c.lane[2];
    const PhiloxBlock next = {
        {static_cast<uint32_t>(product1 >> 32) ^ c.lane[1] ^ key0, static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ c.lane[3] ^ key1, static_cast<uint32_t>(product0)}};
    c = next;
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  return c;
}

// The four noise words of token ids 4 * id_block .. 4 * id_block + 3.
constexpr PhiloxBlock DrawNoise(uint64_t seed, uint32_t position, uint32_t choice, uint32_t id_block) {
  return Philox4x32(seed, {{position, choice, id_block, static_cast<uint32_t>(NoisePurpose::kDraw)}});
}

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_PHILOX_H_
