#include "worker/loader/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/loader/bounded_json.h"

namespace quire::worker {
namespace {

using kernels::DType;
using nlohmann::json;

const StoredType kStoredTypes[] = {
    {"BOOL", 8, {}},
    {"U8", 8, {}},
    {"I8", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E4M3", 8, {}},
    {"F8_E8M0", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},
    {"I32", 32, {}},
    {"U32", 32, {}},
    {"F32", 32, DType::kF32},
    {"I64", 64, {}},
    {"U64", 64, {}},
    {"F64", 64, {}},
    {"C64", 64, {}},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
};

// Takes the header apart while it is parsed, so that no tree of a hostile header is ever built. The first complaint
// wins.
class HeaderSax final : public nlohmann::json_sax<json> {
 public:
  const std::string& error() const { return error_; }
  std::vector<SafetensorsEntry> TakeEntries() { return std::move(entries_); }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override { return Unexpected(absl::StrCat(value)); }
  bool number_float(number_float_t, const string_t& text) override { return Unexpected(Printable(text)); }
  bool binary(binary_t&) override { return Unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kShape && place_ != Place::kOffsets) return Unexpected(absl::StrCat(value));
    if (value > static_cast<uint64_t>(INT64_MAX))
      return TensorError(absl::StrCat("number ", value, " is out of range"));
    if (place_ == Place::kOffsets) {
      if (num_offsets_ == 2) return TensorError("data_offsets has more than 2 numbers");
      (num_offsets_ == 0 ? entry_.begin : entry_.end) = value;
      ++num_offsets_;
      return true;
    }
    if (entry_.shape.size() == kSafetensorsAxesMax) {
      return TensorError(absl::StrCat("shape has more than ", kSafetensorsAxesMax, " axes"));
    }
    entry_.shape.push_back(value);
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) return true;  // free text for people
    if (place_ != Place::kTensor || field_ != "dtype") return Unexpected(absl::StrCat("'", Printable(value), "'"));
    entry_.type = FindStoredType(value);
    if (entry_.type == nullptr) return TensorError(absl::StrCat("unknown dtype '", Printable(value), "'"));
    return true;
  }

  bool key(string_t& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ == Place::kTensor) {
      if (value != "dtype" && value != "shape" && value != "data_offsets") {
        return TensorError(absl::StrCat("unknown key '", Printable(value), "'"));
      }
      if (!seen_fields_.insert(value).second) return TensorError(absl::StrCat("key '", value, "' occurs twice"));
      field_ = value;
      return true;
    }
    entry_ = SafetensorsEntry();
    entry_.name = value;
    if (!names_.insert(value).second) return Fail(absl::StrCat("tensor '", Printable(value), "' occurs twice"));
    if (static_cast<int64_t>(value.size()) > kSafetensorsNameBytesMax) {
      return TensorError(
          absl::StrCat("name of ", value.size(), " bytes is longer than the limit of ", kSafetensorsNameBytesMax));
    }
    if (static_cast<int64_t>(names_.size()) > kSafetensorsTensorsMax) {
      return Fail(absl::StrCat("more than ", kSafetensorsTensorsMax, " tensors"));
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kTop;
    } else if (place_ == Place::kTop) {
      place_ = entry_.name == "__metadata__" ? Place::kMetadata : Place::kTensor;
      seen_fields_.clear();
      field_.clear();
      num_offsets_ = 0;
    } else {
      return Unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTop) {
      place_ = Place::kOutside;
      return true;
    }
    if (place_ == Place::kTensor) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (seen_fields_.count(field) == 0) return TensorError(absl::StrCat("key '", field, "' is missing"));
      }
      if (num_offsets_ != 2) return TensorError(absl::StrCat("data_offsets has ", num_offsets_, " numbers, not 2"));
      entries_.push_back(std::move(entry_));
    }
    place_ = Place::kTop;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::kTensor || (field_ != "shape" && field_ != "data_offsets")) return Unexpected("an array");
    place_ = field_ == "shape" ? Place::kShape : Place::kOffsets;
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("not valid JSON near byte ", position, " of the header"));
  }

 private:
  enum class Place { kOutside, kTop, kTensor, kMetadata, kShape, kOffsets };

  bool Fail(std::string message) {
    if (error_.empty()) error_ = std::move(message);
    return false;
  }
  bool TensorError(absl::string_view message) {
    return Fail(absl::StrCat("tensor '", Printable(entry_.name), "': ", message));
  }
  bool Unexpected(absl::string_view what) {
    if (place_ == Place::kOutside) return Fail("the header is not a JSON object");
    const std::string where = field_.empty() || place_ == Place::kTop ? "" : absl::StrCat(" under '", field_, "'");
    return TensorError(absl::StrCat("unexpected ", what, where));
  }

  std::vector<SafetensorsEntry> entries_;
  std::unordered_set<std::string> names_;
  std::unordered_set<std::string> seen_fields_;
  std::string error_;
  std::string field_;  // of entry_
  SafetensorsEntry entry_;
  int num_offsets_ = 0;
  Place place_ = Place::kOutside;
};

// Bytes that the shape and type ask for; nullopt on overflow or where the bits do not fill whole bytes.
std::optional<int64_t> ExpectedBytes(const SafetensorsEntry& entry) {
  int64_t bits = entry.type->bits;
  for (const int64_t dim : entry.shape) {
    if (__builtin_mul_overflow(bits, dim, &bits)) return std::nullopt;
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

// S2, and that the tensor lies inside the data. Returns "" or the complaint.
std::string CheckEntry(const SafetensorsEntry& entry, int64_t data_bytes) {
  const std::string who =
      absl::StrCat("tensor '", Printable(entry.name), "': data_offsets [", entry.begin, ", ", entry.end, "]");
  if (entry.end < entry.begin) return absl::StrCat(who, " end before they begin");
  if (entry.end > data_bytes) {
    return absl::StrCat(who, " reach past the end of the file, which holds ", data_bytes, " bytes of data");
  }
  const std::optional<int64_t> expected = ExpectedBytes(entry);
  if (!expected.has_value()) {
    return absl::StrCat(who, ": ", DescribeEntry(entry), " has no whole number of bytes within 64 bits");
  }
  if (entry.end - entry.begin != *expected) {
    return absl::StrCat(who, " hold ", entry.end - entry.begin, " bytes, but ", DescribeEntry(entry), " needs ",
                        *expected);
  }
  return "";
}

// S1 over entries that are sorted by offset. Returns "" or the complaint.
std::string CheckTiling(const std::vector<SafetensorsEntry>& entries, int64_t data_bytes) {
  int64_t next = 0;
  std::string previous;
  for (const SafetensorsEntry& entry : entries) {
    const std::string who = absl::StrCat("tensor '", Printable(entry.name), "' begins at ", entry.begin);
    if (entry.begin < next) return absl::StrCat(who, ", overlapping tensor '", previous, "', which ends at ", next);
    if (entry.begin > next) return absl::StrCat(who, " and leaves a hole: the tensor before ends at ", next);
    next = entry.end;
    previous = Printable(entry.name);
  }
  if (next == data_bytes) return "";
  return absl::StrCat("the tensors end at byte ", next, " of the data, but the file holds ", data_bytes,
                      " bytes of data");
}

}  // namespace

const StoredType* FindStoredType(absl::string_view name) {
  for (const StoredType& type : kStoredTypes) {
    if (name == type.name) return &type;
  }
  return nullptr;
}

std::string DescribeEntry(const SafetensorsEntry& entry) {
  return absl::StrCat(entry.type->name, "[", absl::StrJoin(entry.shape, ","), "]");
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view file, absl::string_view bytes) {
  const auto error = [&](absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat(file, ": ", what)); };
  const int64_t file_size = bytes.size();
  if (file_size < 8) return error(absl::StrCat("truncated: ", file_size, " bytes, a safetensors file has at least 8"));
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));  // little-endian, as every machine that we run on
  if (header_bytes > static_cast<uint64_t>(kSafetensorsHeaderBytesMax)) {
    return error(
        absl::StrCat("header of ", header_bytes, " bytes is longer than the limit of ", kSafetensorsHeaderBytesMax));
  }
  if (static_cast<int64_t>(header_bytes) > file_size - 8) {
    return error(
        absl::StrCat("truncated: header of ", header_bytes, " bytes, but ", file_size - 8, " bytes follow its length"));
  }
  const absl::string_view text = bytes.substr(8, header_bytes);
  if (text.empty() || text[0] != '{') return error("the header does not start with '{'");

  HeaderSax sax;
  if (!json::sax_parse(text.begin(), text.end(), &sax)) return error(sax.error());
  SafetensorsHeader header;
  header.data_begin = 8 + header_bytes;
  header.entries = sax.TakeEntries();
  std::sort(header.entries.begin(), header.entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  const int64_t data_bytes = file_size - header.data_begin;
  for (const SafetensorsEntry& entry : header.entries) {
    if (const std::string complaint = CheckEntry(entry, data_bytes); !complaint.empty()) return error(complaint);
  }
  if (const std::string complaint = CheckTiling(header.entries, data_bytes); !complaint.empty())
    return error(complaint);
  return header;
}

}  // namespace quire::worker
