// The header of a safetensors file: what it holds and where. Trusts nothing that the file says.
//
// Layout: u64 little-endian N | N bytes of JSON | data. Offsets count from byte 8 + N.
// Thread rule: pure; any thread.
// Invariants, for every header that parses:
//   S1  Sorted by offset, the tensors tile the data exactly: no hole, no overlap, no byte after the last one.
//   S2  A tensor's bytes are exactly its shape's elements times its type's bits / 8.
//   S3  Names are unique.
// Source: safetensors' README and tensor.rs.
#ifndef QUIRE_WORKER_LOADER_SAFETENSORS_H_
#define QUIRE_WORKER_LOADER_SAFETENSORS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/tensor_view.h"

namespace quire::worker {

// Limits. Memory of a parse stays within a small multiple of them whatever the file says.
inline constexpr int64_t kSafetensorsHeaderBytesMax = 100'000'000;  // the format's own
inline constexpr int64_t kSafetensorsTensorsMax = 65536;            // of one file
inline constexpr int64_t kSafetensorsNameBytesMax = 256;
inline constexpr int64_t kSafetensorsAxesMax = 8;

// An element type of the format.
struct StoredType {
  const char* name;  // "BF16"
  int bits;
  std::optional<kernels::DType> dtype;  // set iff the kernels read it as a weight
};

// By its name in the format; null if there is none.
const StoredType* FindStoredType(absl::string_view name);

struct SafetensorsEntry {
  std::string name;
  const StoredType* type = nullptr;  // static
  std::vector<int64_t> shape;
  int64_t begin = 0;  // bytes from the start of the data
  int64_t end = 0;
};

struct SafetensorsHeader {
  int64_t data_begin = 0;                 // byte of the file
  std::vector<SafetensorsEntry> entries;  // ascending by offset
};

// "BF16[3,64]".
std::string DescribeEntry(const SafetensorsEntry& entry);

// Reads the header of the file whose whole content is `bytes`; touches only the header.
// `file` names it in messages. Errors: INVALID_ARGUMENT, naming the tensor and both values.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view file, absl::string_view bytes);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_SAFETENSORS_H_
