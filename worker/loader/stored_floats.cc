#include "worker/loader/stored_floats.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/half.h"

namespace quire::worker {
namespace {

using Table = std::array<float, 256>;

// A type of one sign bit, so many bits of exponent and the rest of mantissa.
struct Format {
  const char* name;
  int exponent_bits;
  int bias;
  bool has_infinity;      // as IEEE: the highest exponent is infinity and NaNs; else only all ones is NaN
  bool is_unsigned_zero;  // the one NaN is where -0 would be
};

constexpr Format kFormats[] = {
    {"F8_E4M3", 4, 7, false, false},
    {"F8_E5M2", 5, 15, true, false},
    {"F8_E4M3FNUZ", 4, 8, false, true},
    {"F8_E5M2FNUZ", 5, 16, false, true},
};

Table MakeTable(const Format& format) {
  Table table;
  const int mantissa_bits = 7 - format.exponent_bits;
  for (int bits = 0; bits < 256; ++bits) {
    const int magnitude = bits & 0x7f, exponent = magnitude >> mantissa_bits;
    const int mantissa = magnitude & ((1 << mantissa_bits) - 1);
    float value = std::ldexp(static_cast<float>(mantissa + (exponent > 0 ? 1 << mantissa_bits : 0)),
                             std::max(exponent, 1) - format.bias - mantissa_bits);
    if (format.has_infinity && exponent == (1 << format.exponent_bits) - 1) {
      value = mantissa == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
    }
    const bool is_nan = format.is_unsigned_zero ? bits == 0x80 : !format.has_infinity && magnitude == 0x7f;
    if (is_nan) value = std::numeric_limits<float>::quiet_NaN();
    table[bits] = (bits & 0x80) != 0 ? -value : value;
  }
  return table;
}

// Powers of two: no sign, no zero.
Table MakeExponentTable() {
  Table table;
  for (int bits = 0; bits < 255; ++bits) table[bits] = std::ldexp(1.0f, bits - 127);
  table[255] = std::numeric_limits<float>::quiet_NaN();
  return table;
}

class Widened final : public ComputedRows {
 public:
  Widened(const StoredType& type, const uint8_t* data, int64_t count)
      : ComputedRows(count, 1), type_(type), data_(data), values_(FloatsOf8Bits(type)) {}

  void Compute(int64_t first, int64_t count, float* out) const override {
    if (values_ != nullptr) {
      for (int64_t i = 0; i < count; ++i) out[i] = values_[data_[first + i]];
    } else {
      for (int64_t i = 0; i < count; ++i) out[i] = ReadStoredFloat(type_, data_, first + i);
    }
  }

  absl::Status CheckValues() const override {
    if (type_.bits != 64) return absl::OkStatus();
    for (int64_t i = 0; i < num_rows(); ++i) {
      const double value = LoadStored<double>(data_, i);
      if (static_cast<double>(static_cast<float>(value)) == value || std::isnan(value)) continue;
      return absl::UnimplementedError(
          absl::StrCat("holds ", absl::StrFormat("%.17g", value), ", which no 32 bit float equals"));
    }
    return absl::OkStatus();
  }

 private:
  const StoredType& type_;
  const uint8_t* const data_;
  const float* const values_;  // of an 8 bit type
};

}  // namespace

const float* FloatsOf8Bits(const StoredType& type) {
  static const std::array<Table, 5> kTables = {MakeTable(kFormats[0]), MakeTable(kFormats[1]), MakeTable(kFormats[2]),
                                               MakeTable(kFormats[3]), MakeExponentTable()};
  for (size_t i = 0; i < std::size(kFormats); ++i) {
    if (absl::string_view(type.name) == kFormats[i].name) return kTables[i].data();
  }
  return absl::string_view(type.name) == "F8_E8M0" ? kTables[4].data() : nullptr;
}

bool IsStoredFloat(const StoredType& type) {
  return type.dtype.has_value() || FloatsOf8Bits(type) != nullptr || absl::string_view(type.name) == "F64";
}

float ReadStoredFloat(const StoredType& type, const uint8_t* data, int64_t index) {
  if (type.dtype.has_value()) {
    float value = 0;
    kernels::Dispatch(*type.dtype, [&](auto zero) { value = kernels::Widen(LoadStored<decltype(zero)>(data, index)); });
    return value;
  }
  if (type.bits == 64) return static_cast<float>(LoadStored<double>(data, index));
  const float* values = FloatsOf8Bits(type);
  CHECK(values != nullptr) << type.name;
  return values[data[index]];
}

std::unique_ptr<ComputedRows> WidenedFloats(const StoredType& type, const uint8_t* data, int64_t count) {
  CHECK(IsStoredFloat(type)) << type.name;
  return std::make_unique<Widened>(type, data, count);
}

}  // namespace quire::worker
