// What the quantised formats mean: float matrices [out, in] computed from packed integers and scales. Pure; any thread.
//
// Shapes and bounds are the caller's to check (quantization.h); these classes read what they are given. All arithmetic is
// in float32: a scale of 16 bits times an integer of 9 bits is exact.
// Thread rule: as ComputedRows.
#ifndef QUIRE_WORKER_LOADER_QUANTIZED_ROWS_H_
#define QUIRE_WORKER_LOADER_QUANTIZED_ROWS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/loader/computed_rows.h"
#include "worker/loader/safetensors.h"

namespace quire::worker {

// An array in a file.
struct StoredArray {
  const StoredType* type = nullptr;
  const uint8_t* data = nullptr;  // null: absent
};

// Integers of `bits` bits whose input axis is cut into groups with a scale and a zero point each:
// W[o, i] = scale(g, o) * (q(o, i) - zero(g, o)), g the group of i.
struct GroupedInts {
  int bits = 4;
  int64_t out = 0;
  int64_t in = 0;
  int64_t num_groups = 0;
  int64_t group_size = 0;         // of inputs; the group of i is i / group_size, unless group_of says otherwise
  StoredArray values;             // I32 words
  StoredArray zeros;              // I32 words; absent: no zero point
  StoredArray scales;             // any float type
  std::vector<int32_t> group_of;  // [in], each in [0, num_groups); empty: by group_size
};

// values [in * bits / 32, out], packed along in from the lowest bit on; zeros [groups, out * bits / 32], packed along out;
// scales [groups, out]. A stored zero point z means z + zero_offset, in `bits` bits.
// Source: AutoGPTQ's checkpoints (zero_offset 1), GPTQModel's second format (0).
std::unique_ptr<ComputedRows> GptqRows(GroupedInts ints, int zero_offset);

// 4 bits. values [in, out / 8], zeros [groups, out / 8]: eight neighbours of out in one word, in the nibbles
// 0 4 1 5 2 6 3 7; scales [groups, out]. Source: AutoAWQ's gemm format.
std::unique_ptr<ComputedRows> AwqRows(GroupedInts ints);

// 4 bits. values [out, in / 8]; zeros [out, zero_words]; scales [out, zero_words * 8], all in order.
// Source: AutoAWQ's gemv format.
std::unique_ptr<ComputedRows> AwqGemvRows(GroupedInts ints, int64_t zero_words);

// values [out, ceil(in * bits / 32)], a stream of bits per row; zeros [ceil(out * bits / 32), groups], a stream per column;
// scales [out, groups]. Values and zero points are stored plus 2^(bits - 1). Source: compressed-tensors' pack-quantized.
std::unique_ptr<ComputedRows> OffsetPackedRows(GroupedInts ints);

// Bytes, each of which stands for a number, times a grid of scales: W[o, i] = (number - zero) * scale * factor, from left
// to right, where the scale (and zero) is that of the grid's cell [o / cell_rows, i / cell_cols].
struct ScaledBytes {
  int64_t out = 0;
  int64_t in = 0;
  StoredArray values;  // I8 or an 8 bit float
  StoredArray scales;  // any float type
  StoredArray zeros;   // I8; absent: none
  int64_t cell_rows = 1;
  int64_t cell_cols = 1;
  int64_t grid_cols = 1;  // cells of a row
  float factor = 1.0f;
};
std::unique_ptr<ComputedRows> ScaledByteRows(ScaledBytes bytes);

// Two numbers of a table in a byte, the first in the high half, in blocks of the flat matrix with a scale each. The
// scales may be bytes themselves: number of a second table times the scale of their block plus an offset.
// Source: bitsandbytes' 4 bit formats.
struct TableNibbles {
  int64_t out = 0;
  int64_t in = 0;
  int64_t block_size = 64;          // elements
  StoredArray values;               // U8 [out * in / 2]
  StoredArray table;                // F32 [16]
  StoredArray scales;               // F32, or U8 where nested
  StoredArray nested_table;         // F32 [256]; absent: not nested
  StoredArray nested_scales;        // F32
  int64_t nested_block_size = 256;  // scales
  float nested_offset = 0.0f;
};
std::unique_ptr<ComputedRows> TableNibbleRows(TableNibbles nibbles);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_QUANTIZED_ROWS_H_
