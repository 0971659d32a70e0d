#include "worker/loader/quantized_rows.h"

#include <algorithm>
#include <array>
#include <utility>

#include "worker/loader/stored_floats.h"

namespace quire::worker {
namespace {

constexpr int64_t kTile = 32;  // outputs that are widened side by side: a cache line of words or two
constexpr int kAwqNibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};

// `bits` bits of a stream of words, from bit `first` on; words lie `stride` words apart.
uint32_t BitsAt(const uint8_t* words, int64_t stride, int64_t first, int bits) {
  const int64_t word = first / 32;
  const int shift = static_cast<int>(first % 32);
  uint64_t value = LoadStored<uint32_t>(words, word * stride);
  if (shift + bits > 32) value |= static_cast<uint64_t>(LoadStored<uint32_t>(words, (word + 1) * stride)) << 32;
  return static_cast<uint32_t>(value >> shift) & ((1u << bits) - 1);
}

float FloatAt(const StoredArray& array, int64_t index) { return ReadStoredFloat(*array.type, array.data, index); }

class GroupedRows : public ComputedRows {
 public:
  explicit GroupedRows(GroupedInts ints) : ComputedRows(ints.out, ints.in), ints_(std::move(ints)) {}

 protected:
  // Scales and zero points of a tile of outputs, [num_groups, kTile].
  struct Tile {
    int64_t first = 0, count = 0;
    std::vector<float> scales, zeros;
  };

  // Calls widen(tile, out of the tile's first row) for tiles that cover the rows; zero(g, o) is a zero point, scale(g, o)
  // the index of a scale.
  template <typename Zero, typename Scale, typename Widen>
  void ForTiles(int64_t first, int64_t count, float* out, Zero zero, Scale scale, Widen widen) const {
    Tile tile;
    tile.scales.resize(ints_.num_groups * kTile);
    tile.zeros.resize(ints_.num_groups * kTile);
    for (int64_t begin = first; begin < first + count; begin += kTile) {
      tile.first = begin;
      tile.count = std::min(kTile, first + count - begin);
      for (int64_t g = 0; g < ints_.num_groups; ++g) {
        for (int64_t r = 0; r < tile.count; ++r) {
          tile.scales[g * kTile + r] = FloatAt(ints_.scales, scale(g, begin + r));
          tile.zeros[g * kTile + r] = static_cast<float>(zero(g, begin + r));
        }
      }
      widen(tile, out + (begin - first) * ints_.in);
    }
  }

  // For formats that have the outputs of one input side by side: fill(i, q) writes the integers of the tile's outputs for
  // input i. Blocks of inputs go through a small square, since neighbours of a row lie far apart while it is filled.
  template <typename Fill>
  void WidenByInputs(const Tile& tile, float* rows, Fill fill) const {
    float square[kTile][kTile];  // [input, output]
    uint32_t q[kTile] = {};
    for (int64_t begin = 0; begin < ints_.in; begin += kTile) {
      const int64_t count = std::min(kTile, ints_.in - begin);
      for (int64_t k = 0; k < count; ++k) {
        fill(begin + k, q);
        const float* scales = &tile.scales[GroupOf(begin + k) * kTile];
        const float* zeros = &tile.zeros[GroupOf(begin + k) * kTile];
        for (int64_t r = 0; r < kTile; ++r) {
          square[k][r] = scales[r] * (static_cast<float>(static_cast<int32_t>(q[r])) - zeros[r]);
        }
      }
      for (int64_t r = 0; r < tile.count; ++r) {
        for (int64_t k = 0; k < count; ++k) rows[r * ints_.in + begin + k] = square[k][r];
      }
    }
  }

  int64_t GroupOf(int64_t i) const { return ints_.group_of.empty() ? i / ints_.group_size : ints_.group_of[i]; }

  const GroupedInts ints_;
};

class Gptq final : public GroupedRows {
 public:
  Gptq(GroupedInts ints, int zero_offset) : GroupedRows(std::move(ints)), zero_offset_(zero_offset) {}

  void Compute(int64_t first, int64_t count, float* out) const override {
    const uint32_t mask = (1u << ints_.bits) - 1;
    const int64_t zero_row_bytes = ints_.out * ints_.bits / 8;
    const auto zero = [&](int64_t g, int64_t o) {
      return (BitsAt(ints_.zeros.data + g * zero_row_bytes, 1, o * ints_.bits, ints_.bits) + zero_offset_) & mask;
    };
    const auto scale = [&](int64_t g, int64_t o) { return g * ints_.out + o; };
    ForTiles(first, count, out, zero, scale, [&](const Tile& tile, float* rows) {
      WidenByInputs(tile, rows, [&](int64_t i, uint32_t* q) {
        const int64_t bit = i * ints_.bits, word = bit / 32 * ints_.out + tile.first;
        const int shift = static_cast<int>(bit % 32);
        for (int64_t r = 0; r < tile.count; ++r) q[r] = LoadStored<uint32_t>(ints_.values.data, word + r) >> shift;
        if (shift + ints_.bits > 32) {
          for (int64_t r = 0; r < tile.count; ++r) {
            q[r] |= LoadStored<uint32_t>(ints_.values.data, word + ints_.out + r) << (32 - shift);
          }
        }
        for (int64_t r = 0; r < tile.count; ++r) q[r] &= mask;
      });
    });
  }

 private:
  const uint32_t zero_offset_;
};

class Awq final : public GroupedRows {
 public:
  using GroupedRows::GroupedRows;

  void Compute(int64_t first, int64_t count, float* out) const override {
    const auto value = [&](const StoredArray& words, int64_t row, int64_t o) {
      return LoadStored<uint32_t>(words.data, row * (ints_.out / 8) + o / 8) >> (4 * kAwqNibble[o % 8]) & 15u;
    };
    const auto zero = [&](int64_t g, int64_t o) { return value(ints_.zeros, g, o); };
    const auto scale = [&](int64_t g, int64_t o) { return g * ints_.out + o; };
    ForTiles(first, count, out, zero, scale, [&](const Tile& tile, float* rows) {
      int64_t words[kTile];  // of an input's row of words
      int shifts[kTile];
      for (int64_t r = 0; r < tile.count; ++r) {
        words[r] = (tile.first + r) / 8;
        shifts[r] = 4 * kAwqNibble[(tile.first + r) % 8];
      }
      WidenByInputs(tile, rows, [&](int64_t i, uint32_t* q) {
        const int64_t row = i * (ints_.out / 8);
        for (int64_t r = 0; r < tile.count; ++r) {
          q[r] = LoadStored<uint32_t>(ints_.values.data, row + words[r]) >> shifts[r] & 15u;
        }
      });
    });
  }
};

// Formats whose rows are rows in the file too.
class RowStreams final : public GroupedRows {
 public:
  // Row o of zero points begins at bit 0 of word zero_row(o) and so on; all as one function of (group, output).
  RowStreams(GroupedInts ints, int64_t row_words, int64_t scale_cols, bool is_offset, int64_t zero_words)
      : GroupedRows(std::move(ints)),
        row_words_(row_words),
        scale_cols_(scale_cols),
        is_offset_(is_offset),
        zero_words_(zero_words) {}

  void Compute(int64_t first, int64_t count, float* out) const override {
    const uint32_t offset = is_offset_ ? 1u << (ints_.bits - 1) : 0u;
    const auto zero = [&](int64_t g, int64_t o) {
      if (ints_.zeros.data == nullptr) return offset;
      if (is_offset_) return BitsAt(ints_.zeros.data + 4 * g, ints_.num_groups, o * ints_.bits, ints_.bits);
      return BitsAt(ints_.zeros.data + 4 * o * zero_words_, 1, g * ints_.bits, ints_.bits);
    };
    const auto scale = [&](int64_t g, int64_t o) { return o * scale_cols_ + g; };
    ForTiles(first, count, out, zero, scale, [&](const Tile& tile, float* rows) {
      for (int64_t r = 0; r < tile.count; ++r) {
        const uint8_t* stream = ints_.values.data + 4 * (tile.first + r) * row_words_;
        for (int64_t i = 0; i < ints_.in; ++i) {
          const int64_t g = GroupOf(i) * kTile + r;
          const float q = static_cast<float>(BitsAt(stream, 1, i * ints_.bits, ints_.bits));
          rows[r * ints_.in + i] = tile.scales[g] * (q - tile.zeros[g]);
        }
      }
    });
  }

 private:
  const int64_t row_words_;
  const int64_t scale_cols_;
  const bool is_offset_;  // values and zeros are stored plus half their range, and zeros are packed along out
  const int64_t zero_words_;
};

class ScaledByte final : public ComputedRows {
 public:
  explicit ScaledByte(ScaledBytes bytes) : ComputedRows(bytes.out, bytes.in), bytes_(bytes) {
    const float* floats = FloatsOf8Bits(*bytes.values.type);
    for (int i = 0; i < 256; ++i) {
      numbers_[i] = floats != nullptr ? floats[i] : static_cast<float>(static_cast<int8_t>(i));
    }
  }

  void Compute(int64_t first, int64_t count, float* out) const override {
    for (int64_t o = first; o < first + count; ++o) {
      for (int64_t begin = 0; begin < bytes_.in; begin += bytes_.cell_cols) {
        const int64_t cell = o / bytes_.cell_rows * bytes_.grid_cols + begin / bytes_.cell_cols;
        const float scale = FloatAt(bytes_.scales, cell);
        const float zero =
            bytes_.zeros.data == nullptr ? 0.0f : static_cast<float>(LoadStored<int8_t>(bytes_.zeros.data, cell));
        const int64_t end = std::min(bytes_.in, begin + bytes_.cell_cols);
        for (int64_t i = begin; i < end; ++i) {
          const float number = numbers_[bytes_.values.data[o * bytes_.in + i]] - zero;
          out[(o - first) * bytes_.in + i] = number * scale * bytes_.factor;
        }
      }
    }
  }

 private:
  const ScaledBytes bytes_;
  std::array<float, 256> numbers_;
};

class TableNibble final : public ComputedRows {
 public:
  explicit TableNibble(TableNibbles nibbles) : ComputedRows(nibbles.out, nibbles.in), nibbles_(nibbles) {
    for (int i = 0; i < 16; ++i) table_[i] = FloatAt(nibbles.table, i);
  }

  void Compute(int64_t first, int64_t count, float* out) const override {
    const int64_t begin = first * nibbles_.in, end = (first + count) * nibbles_.in;
    for (int64_t k = begin; k < end;) {
      const int64_t block = k / nibbles_.block_size;
      const float scale = ScaleOf(block);
      for (const int64_t stop = std::min(end, (block + 1) * nibbles_.block_size); k < stop; ++k) {
        const uint8_t byte = nibbles_.values.data[k / 2];
        out[k - begin] = table_[k % 2 == 0 ? byte >> 4 : byte & 15] * scale;
      }
    }
  }

 private:
  float ScaleOf(int64_t block) const {
    if (nibbles_.nested_table.data == nullptr) return FloatAt(nibbles_.scales, block);
    const float number = FloatAt(nibbles_.nested_table, nibbles_.scales.data[block]);
    return number * FloatAt(nibbles_.nested_scales, block / nibbles_.nested_block_size) + nibbles_.nested_offset;
  }

  const TableNibbles nibbles_;
  std::array<float, 16> table_;
};

}  // namespace

std::unique_ptr<ComputedRows> GptqRows(GroupedInts ints, int zero_offset) {
  return std::make_unique<Gptq>(std::move(ints), zero_offset);
}

std::unique_ptr<ComputedRows> AwqRows(GroupedInts ints) { return std::make_unique<Awq>(std::move(ints)); }

std::unique_ptr<ComputedRows> AwqGemvRows(GroupedInts ints, int64_t zero_words) {
  const int64_t row_words = ints.in / 8;
  return std::make_unique<RowStreams>(std::move(ints), row_words, zero_words * 8, /*is_offset=*/false, zero_words);
}

std::unique_ptr<ComputedRows> OffsetPackedRows(GroupedInts ints) {
  const int64_t row_words = (ints.in * ints.bits + 31) / 32, scale_cols = ints.num_groups;
  return std::make_unique<RowStreams>(std::move(ints), row_words, scale_cols, /*is_offset=*/true, 0);
}

std::unique_ptr<ComputedRows> ScaledByteRows(ScaledBytes bytes) { return std::make_unique<ScaledByte>(bytes); }

std::unique_ptr<ComputedRows> TableNibbleRows(TableNibbles nibbles) { return std::make_unique<TableNibble>(nibbles); }

}  // namespace quire::worker
