#include "worker/loader/quantized_module.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/loader/bounded_json.h"

namespace quire::worker {

bool QuantizedModule::HasType(const std::string& suffix, absl::string_view type) const {
  const CheckpointTensor* tensor = checkpoint_.Find(prefix_ + suffix);
  return tensor != nullptr && type == tensor->entry.type->name;
}

QuantizedModule::Shape QuantizedModule::ShapeUpTo(const std::string& suffix, size_t max_axes) {
  const CheckpointTensor* tensor = Find(suffix);
  if (tensor == nullptr) return {};
  bool is_good = tensor->entry.shape.size() <= max_axes;
  for (const int64_t size : tensor->entry.shape) is_good = is_good && size >= 1 && size <= kAxisMax;
  if (is_good) return tensor->entry.shape;
  Complain(suffix, *tensor, absl::StrCat("must have at most ", max_axes, " axes, and none empty"));
  return {};
}

QuantizedModule::Shape QuantizedModule::ShapeOf(const std::string& suffix, size_t num_axes) {
  Shape shape = ShapeUpTo(suffix, num_axes);
  if (shape.size() == num_axes) return shape;
  const CheckpointTensor* tensor = Find(suffix);
  if (tensor != nullptr) Complain(suffix, *tensor, absl::StrCat("must have ", num_axes, " axes"));
  return Shape(num_axes, 0);
}

StoredArray QuantizedModule::Need(const std::string& suffix, Types types, const Shape& shape) {
  const CheckpointTensor* tensor = Find(suffix);
  if (tensor == nullptr) return {};
  bool is_typed = false;
  for (const char* type : types) is_typed = is_typed || absl::string_view(tensor->entry.type->name) == type;
  if (!is_typed || tensor->entry.shape != shape) {
    Complain(suffix, *tensor,
             absl::StrCat("must be ", absl::StrJoin(types, " or "), " [", absl::StrJoin(shape, ","), "]"));
    return {};
  }
  if (!tensor->strides.empty()) {
    Complain(suffix, *tensor, "not stored row by row");
    return {};
  }
  parts_.push_back(prefix_ + suffix);
  return {tensor->entry.type, tensor->data};
}

StoredArray QuantizedModule::Maybe(const std::string& suffix, Types types, const Shape& shape) {
  return Has(suffix) ? Need(suffix, types, shape) : StoredArray();
}

void QuantizedModule::Skip(std::initializer_list<const char*> suffixes) {
  for (const char* suffix : suffixes) {
    if (Has(suffix)) parts_.push_back(prefix_ + suffix);
  }
}

std::vector<int32_t> QuantizedModule::Groups(const std::string& suffix, int64_t in, int64_t num_groups) {
  std::vector<int32_t> groups;
  const StoredArray array = Maybe(suffix, {"I32"}, {in});
  if (array.data == nullptr) return groups;
  for (int64_t i = 0; i < in; ++i) {
    groups.push_back(LoadStored<int32_t>(array.data, i));
    if (groups.back() >= 0 && groups.back() < num_groups) continue;
    Fail(absl::InvalidArgumentError(absl::StrCat("tensor '", Printable(prefix_ + suffix), "': group ", groups.back(),
                                                 " of input ", i, " is not in [0, ", num_groups, ")")));
    break;
  }
  return groups;
}

void QuantizedModule::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

void QuantizedModule::Invalid(absl::string_view what) {
  Fail(absl::InvalidArgumentError(absl::StrCat("module '", Printable(prefix_), "': ", what)));
}

const CheckpointTensor* QuantizedModule::Find(const std::string& suffix) {
  const CheckpointTensor* tensor = checkpoint_.Find(prefix_ + suffix);
  if (tensor == nullptr) {
    Fail(absl::InvalidArgumentError(absl::StrCat("tensor '", Printable(prefix_ + suffix), "' is missing, although '",
                                                 Printable(main_), "' is here")));
  }
  return tensor;
}

void QuantizedModule::Complain(const std::string& suffix, const CheckpointTensor& tensor, absl::string_view what) {
  Fail(absl::InvalidArgumentError(
      absl::StrCat("tensor '", Printable(prefix_ + suffix), "' is ", DescribeEntry(tensor.entry), ", ", what)));
}

}  // namespace quire::worker
