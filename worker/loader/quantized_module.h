// The stored tensors of one quantised module, taken one by one with their types and shapes checked. Loading thread only.
//
// Invariants:
//   U1  What Need and Maybe give has exactly the type and shape that they were asked for, row-major.
#ifndef QUIRE_WORKER_LOADER_QUANTIZED_MODULE_H_
#define QUIRE_WORKER_LOADER_QUANTIZED_MODULE_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "worker/loader/checkpoint.h"
#include "worker/loader/quantized_rows.h"

namespace quire::worker {

// Keeps the first complaint; after one, what it gives means nothing.
class QuantizedModule final {
 public:
  using Shape = std::vector<int64_t>;
  using Types = std::initializer_list<const char*>;  // names of StoredType

  static constexpr int64_t kAxisMax = int64_t{1} << 31;

  // `main` is the tensor by which the module was found; suffixes are behind `prefix`.
  QuantizedModule(const Checkpoint& checkpoint, std::string prefix, std::string main)
      : checkpoint_(checkpoint), prefix_(std::move(prefix)), main_(std::move(main)) {}

  const absl::Status& status() const { return status_; }
  const std::string& prefix() const { return prefix_; }
  // The names of all that was taken or skipped.
  const std::vector<std::string>& parts() const { return parts_; }

  bool Has(const std::string& suffix) const { return checkpoint_.Find(prefix_ + suffix) != nullptr; }
  bool HasType(const std::string& suffix, absl::string_view type) const;

  // The shape of a tensor that must be there with so many axes, each in [1, kAxisMax]; zeros after a complaint.
  Shape ShapeOf(const std::string& suffix, size_t num_axes);
  // The same with at most max_axes; no axes after a complaint.
  Shape ShapeUpTo(const std::string& suffix, size_t max_axes);

  // A tensor that must be there with one of the types and this shape.
  StoredArray Need(const std::string& suffix, Types types, const Shape& shape);
  StoredArray Maybe(const std::string& suffix, Types types, const Shape& shape);

  // Whatever these are: nobody reads them.
  void Skip(std::initializer_list<const char*> suffixes);

  // The group of every input, each in [0, num_groups); empty if the tensor is not there.
  std::vector<int32_t> Groups(const std::string& suffix, int64_t in, int64_t num_groups);

  void Fail(absl::Status status);
  void Invalid(absl::string_view what);

 private:
  const CheckpointTensor* Find(const std::string& suffix);
  void Complain(const std::string& suffix, const CheckpointTensor& tensor, absl::string_view what);

  const Checkpoint& checkpoint_;
  const std::string prefix_, main_;
  absl::Status status_;
  std::vector<std::string> parts_;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_QUANTIZED_MODULE_H_
