#include "worker/loader/pickled_tensors.h"

#include <algorithm>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/loader/bounded_json.h"
#include "worker/loader/pickle_machine.h"

namespace quire::worker {
namespace {

enum Tag : int { kOrderedDict, kTensor, kTypedTensor, kParameter, kStorage, kDType };

// Storages are named by the type of their elements, and other types by themselves.
struct TypeName {
  const char* name;
  const char* type;  // as StoredType
};

const PickleName kNames[] = {
    {"collections", "OrderedDict", /*makes_dict=*/true, kOrderedDict},
    {"torch._utils", "_rebuild_tensor_v2", false, kTensor},
    {"torch._utils", "_rebuild_tensor_v3", false, kTypedTensor},
    {"torch._utils", "_rebuild_parameter", false, kParameter},
    {"torch", "FloatStorage", false, kStorage},
    {"torch", "HalfStorage", false, kStorage},
    {"torch", "BFloat16Storage", false, kStorage},
    {"torch", "DoubleStorage", false, kStorage},
    {"torch", "LongStorage", false, kStorage},
    {"torch", "IntStorage", false, kStorage},
    {"torch", "ShortStorage", false, kStorage},
    {"torch", "CharStorage", false, kStorage},
    {"torch", "ByteStorage", false, kStorage},
    {"torch", "BoolStorage", false, kStorage},
    {"torch", "ComplexFloatStorage", false, kStorage},
    {"torch.storage", "UntypedStorage", false, kStorage},
    {"torch", "float8_e4m3fn", false, kDType},
    {"torch", "float8_e5m2", false, kDType},
    {"torch", "float8_e4m3fnuz", false, kDType},
    {"torch", "float8_e5m2fnuz", false, kDType},
    {"torch", "float8_e8m0fnu", false, kDType},
    {"torch", "uint16", false, kDType},
    {"torch", "uint32", false, kDType},
    {"torch", "uint64", false, kDType},
};

const TypeName kTypes[] = {
    {"FloatStorage", "F32"},
    {"HalfStorage", "F16"},
    {"BFloat16Storage", "BF16"},
    {"DoubleStorage", "F64"},
    {"LongStorage", "I64"},
    {"IntStorage", "I32"},
    {"ShortStorage", "I16"},
    {"CharStorage", "I8"},
    {"ByteStorage", "U8"},
    {"BoolStorage", "BOOL"},
    {"ComplexFloatStorage", "C64"},
    {"UntypedStorage", "U8"},
    {"float8_e4m3fn", "F8_E4M3"},
    {"float8_e5m2", "F8_E5M2"},
    {"float8_e4m3fnuz", "F8_E4M3FNUZ"},
    {"float8_e5m2fnuz", "F8_E5M2FNUZ"},
    {"float8_e8m0fnu", "F8_E8M0"},
    {"uint16", "U16"},
    {"uint32", "U32"},
    {"uint64", "U64"},
};

const StoredType* TypeOf(const PickleName& name) {
  for (const TypeName& type : kTypes) {
    if (absl::string_view(name.name) == type.name) return FindStoredType(type.type);
  }
  return nullptr;
}

// Understands the values of one pickle. Complaints are strings, "" where all is well.
class Reader {
 public:
  explicit Reader(const Pickle& pickle) : pickle_(pickle) {}

  std::string ReadAll(std::vector<PickledTensor>* out) const;

 private:
  const PickleValue& At(int32_t id) const { return pickle_.values[id]; }
  bool Is(const PickleValue& value, PickleKind kind, Tag tag) const {
    return value.kind == kind && value.name->tag == tag;
  }
  std::string ReadTensor(const PickleValue& value, PickledTensor* out) const;
  std::string ReadStorage(const PickleValue& value, PickledTensor* out) const;
  std::string ReadInts(const PickleValue& value, std::vector<int64_t>* out) const;

  const Pickle& pickle_;
};

// Its id is ('storage', class, key, device, number of elements).
std::string Reader::ReadStorage(const PickleValue& value, PickledTensor* out) const {
  constexpr char kNoStorage[] = "has no storage";
  if (value.kind != PickleKind::kPersistent) return kNoStorage;
  const PickleValue& id = At(value.items[0]);
  if (id.kind != PickleKind::kTuple || id.items.size() != 5) return kNoStorage;
  const PickleValue &what = At(id.items[0]), &type = At(id.items[1]), &key = At(id.items[2]), &size = At(id.items[4]);
  if (what.kind != PickleKind::kText || what.text != "storage" || !Is(type, PickleKind::kName, kStorage) ||
      key.kind != PickleKind::kText || size.kind != PickleKind::kInt) {
    return kNoStorage;
  }
  out->type = TypeOf(*type.name);
  out->storage_key = std::string(key.text);
  if (size.number < 0 || __builtin_mul_overflow(size.number, out->type->bits / 8, &out->storage_bytes)) {
    return absl::StrCat("has a storage of ", size.number, " elements");
  }
  return "";
}

std::string Reader::ReadInts(const PickleValue& value, std::vector<int64_t>* out) const {
  if (value.kind != PickleKind::kTuple || value.items.size() > kSafetensorsAxesMax) {
    return absl::StrCat("has no tuple of at most ", kSafetensorsAxesMax, " sizes and strides");
  }
  for (const int32_t item : value.items) {
    if (At(item).kind != PickleKind::kInt) {
      return absl::StrCat("has ", DescribePickleKind(At(item).kind), " as a size or stride");
    }
    out->push_back(At(item).number);
  }
  return "";
}

// P1.
std::string CheckPlace(const PickledTensor& tensor) {
  if (tensor.shape.size() != tensor.strides.size()) {
    return absl::StrCat("has ", tensor.shape.size(), " sizes and ", tensor.strides.size(), " strides");
  }
  const int64_t capacity = tensor.storage_bytes / (tensor.type->bits / 8);
  int64_t elements = 1, last = tensor.offset;
  bool is_inside = tensor.offset >= 0 && tensor.offset <= capacity;
  for (size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    const int64_t size = tensor.shape[axis], stride = tensor.strides[axis];
    int64_t reach;
    is_inside = is_inside && size >= 0 && stride >= 0 && !__builtin_mul_overflow(elements, size, &elements) &&
                !__builtin_mul_overflow(std::max<int64_t>(size - 1, 0), stride, &reach) &&
                !__builtin_add_overflow(last, reach, &last);
  }
  if (is_inside && (elements == 0 || (last < capacity && elements <= capacity))) return "";
  return absl::StrCat("begins at ", tensor.offset, " with sizes [", absl::StrJoin(tensor.shape, ","), "] and strides [",
                      absl::StrJoin(tensor.strides, ","), "], which its storage of ", capacity,
                      " elements does not hold");
}

// (storage, offset, sizes, strides, requires_grad, hooks[, dtype][, metadata]).
std::string Reader::ReadTensor(const PickleValue& value, PickledTensor* out) const {
  if (Is(value, PickleKind::kCall, kParameter)) {
    const PickleValue& arguments = At(value.items[0]);
    if (arguments.items.empty() || Is(At(arguments.items[0]), PickleKind::kCall, kParameter))
      return "is a parameter of no tensor";
    return ReadTensor(At(arguments.items[0]), out);
  }
  const bool is_typed = Is(value, PickleKind::kCall, kTypedTensor);
  if (!is_typed && !Is(value, PickleKind::kCall, kTensor)) {
    return absl::StrCat("is ", DescribePickleKind(value.kind), ", not a tensor");
  }
  const std::vector<int32_t>& arguments = At(value.items[0]).items;
  const size_t num_needed = is_typed ? 7 : 6;
  if (arguments.size() < num_needed || arguments.size() > num_needed + 1) {
    return absl::StrCat("is made of ", arguments.size(), " values");
  }
  if (std::string complaint = ReadStorage(At(arguments[0]), out); !complaint.empty()) return complaint;
  if (At(arguments[1]).kind != PickleKind::kInt) return "has no offset";
  out->offset = At(arguments[1]).number;
  if (std::string complaint = ReadInts(At(arguments[2]), &out->shape); !complaint.empty()) return complaint;
  if (std::string complaint = ReadInts(At(arguments[3]), &out->strides); !complaint.empty()) return complaint;
  if (is_typed) {
    if (!Is(At(arguments[6]), PickleKind::kName, kDType)) return "has no dtype";
    out->type = TypeOf(*At(arguments[6]).name);
  }
  return CheckPlace(*out);
}

// P2.
std::string Reader::ReadAll(std::vector<PickledTensor>* out) const {
  const PickleValue& dict = At(pickle_.result);
  if (dict.kind != PickleKind::kDict) {
    return absl::StrCat("holds ", DescribePickleKind(dict.kind), ", not a dict of tensors");
  }
  std::set<absl::string_view> names;
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const PickleValue& key = At(dict.items[i]);
    if (key.kind != PickleKind::kText) return absl::StrCat("a name is ", DescribePickleKind(key.kind));
    const std::string who = absl::StrCat("tensor '", Printable(key.text), "' ");
    if (!names.insert(key.text).second) return absl::StrCat(who, "occurs twice");
    if (static_cast<int64_t>(key.text.size()) > kSafetensorsNameBytesMax) {
      return absl::StrCat(who, "has a name of ", key.text.size(), " bytes, the limit is ", kSafetensorsNameBytesMax);
    }
    if (static_cast<int64_t>(names.size()) > kSafetensorsTensorsMax) {
      return absl::StrCat("more than ", kSafetensorsTensorsMax, " tensors");
    }
    PickledTensor tensor;
    tensor.name = std::string(key.text);
    if (std::string complaint = ReadTensor(At(dict.items[i + 1]), &tensor); !complaint.empty()) {
      return absl::StrCat(who, complaint);
    }
    out->push_back(std::move(tensor));
  }
  return "";
}

}  // namespace

absl::StatusOr<std::vector<PickledTensor>> ReadPickledTensors(absl::string_view file, absl::string_view bytes) {
  auto pickle = RunPickle(file, bytes, kNames);
  if (!pickle.ok()) return pickle.status();
  std::vector<PickledTensor> tensors;
  const std::string complaint = Reader(*pickle).ReadAll(&tensors);
  if (!complaint.empty()) return absl::InvalidArgumentError(absl::StrCat(file, ": ", complaint));
  return tensors;
}

}  // namespace quire::worker
