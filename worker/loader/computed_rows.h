// A float matrix that no file holds: computed from stored tensors, row by row, when somebody asks. Leaf; any thread.
//
// Invariants:
//   R1  Compute writes the same bits for a row whatever other rows are asked for with it; calls may run side by side.
#ifndef QUIRE_WORKER_LOADER_COMPUTED_ROWS_H_
#define QUIRE_WORKER_LOADER_COMPUTED_ROWS_H_

#include <cstdint>
#include <cstring>

#include "absl/status/status.h"

namespace quire::worker {

class ComputedRows {
 public:
  virtual ~ComputedRows() = default;

  int64_t num_rows() const { return num_rows_; }
  int64_t num_cols() const { return num_cols_; }

  // Writes rows [first, first + count), row-major. Requires: rows of this matrix.
  virtual void Compute(int64_t first, int64_t count, float* out) const = 0;

  // Reads all there is to read where some values have no float. Errors: UNIMPLEMENTED with the value.
  virtual absl::Status CheckValues() const { return absl::OkStatus(); }

 protected:
  ComputedRows(int64_t num_rows, int64_t num_cols) : num_rows_(num_rows), num_cols_(num_cols) {}

 private:
  const int64_t num_rows_, num_cols_;
};

// Element `index` of an array in a file, which may lie on any border.
template <typename T>
T LoadStored(const uint8_t* data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_COMPUTED_ROWS_H_
