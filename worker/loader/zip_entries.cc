#include "worker/loader/zip_entries.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/loader/bounded_json.h"

namespace quire::worker {
namespace {

constexpr uint32_t kLocalMagic = 0x04034b50, kMemberMagic = 0x02014b50, kEndMagic = 0x06054b50;
constexpr uint32_t kEnd64Magic = 0x06064b50, kLocator64Magic = 0x07064b50;
constexpr int64_t kLocalBytes = 30, kMemberBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr int64_t kCommentBytesMax = 65535;
constexpr uint64_t kSeeExtra = 0xffffffff;  // the true number stands in the member's extra field

template <typename T>
T NumberAt(absl::string_view bytes, int64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));  // little-endian, as every machine that we run on
  return value;
}

// Where the directory lies and how many members it lists.
struct Directory {
  uint64_t begin = 0;
  uint64_t bytes = 0;
  uint64_t num_members = 0;
};

struct Member {
  std::string name;
  uint64_t size = 0;
  uint64_t stored_size = 0;
  uint64_t local_begin = 0;
};

class ZipReader {
 public:
  explicit ZipReader(absl::string_view bytes) : bytes_(bytes), size_(bytes.size()) {}

  absl::Status Read(std::map<std::string, absl::string_view>* out);

 private:
  absl::Status FindDirectory(Directory* out) const;
  absl::Status ReadMember(int64_t* at, int64_t end, Member* out) const;
  absl::Status ReadLongSizes(absl::string_view extra, Member* out) const;
  absl::StatusOr<absl::string_view> DataOf(const Member& member) const;
  bool Holds(uint64_t begin, uint64_t count) const {
    return begin <= static_cast<uint64_t>(size_) && count <= static_cast<uint64_t>(size_) - begin;
  }

  const absl::string_view bytes_;
  const int64_t size_;
};

absl::Status Bad(absl::string_view what) { return absl::InvalidArgumentError(what); }

absl::Status ZipReader::FindDirectory(Directory* out) const {
  int64_t end = size_ - kEndBytes;
  for (const int64_t last = std::max<int64_t>(0, end - kCommentBytesMax); end >= last; --end) {
    if (NumberAt<uint32_t>(bytes_, end) != kEndMagic) continue;
    if (end + kEndBytes + NumberAt<uint16_t>(bytes_, end + 20) == size_) break;
  }
  if (end < std::max<int64_t>(0, size_ - kEndBytes - kCommentBytesMax)) {
    return Bad("no zip archive, or one that is cut short: it has no directory");
  }
  *out = {NumberAt<uint32_t>(bytes_, end + 16), NumberAt<uint32_t>(bytes_, end + 12),
          NumberAt<uint16_t>(bytes_, end + 10)};
  const int64_t locator = end - kLocator64Bytes;
  if (locator < 0 || NumberAt<uint32_t>(bytes_, locator) != kLocator64Magic) return absl::OkStatus();
  const uint64_t end64 = NumberAt<uint64_t>(bytes_, locator + 8);
  if (!Holds(end64, kEnd64Bytes) || NumberAt<uint32_t>(bytes_, end64) != kEnd64Magic) {
    return Bad(absl::StrCat("the zip archive's 64 bit directory is not at byte ", end64));
  }
  *out = {NumberAt<uint64_t>(bytes_, end64 + 48), NumberAt<uint64_t>(bytes_, end64 + 40),
          NumberAt<uint64_t>(bytes_, end64 + 32)};
  return absl::OkStatus();
}

// Sizes that do not fit 32 bits: field 1 holds those that are marked, in this order.
absl::Status ZipReader::ReadLongSizes(absl::string_view extra, Member* out) const {
  while (extra.size() >= 4) {
    const uint16_t id = NumberAt<uint16_t>(extra, 0), length = NumberAt<uint16_t>(extra, 2);
    if (length > extra.size() - 4) break;
    absl::string_view field = extra.substr(4, length);
    extra.remove_prefix(4 + length);
    if (id != 1) continue;
    for (uint64_t* number : {&out->size, &out->stored_size, &out->local_begin}) {
      if (*number != kSeeExtra) continue;
      if (field.size() < 8) break;
      *number = NumberAt<uint64_t>(field, 0);
      field.remove_prefix(8);
    }
  }
  return absl::OkStatus();
}

absl::Status ZipReader::ReadMember(int64_t* at, int64_t end, Member* out) const {
  if (end - *at < kMemberBytes || NumberAt<uint32_t>(bytes_, *at) != kMemberMagic) {
    return Bad(absl::StrCat("the zip archive's directory is broken at byte ", *at));
  }
  const int64_t name_bytes = NumberAt<uint16_t>(bytes_, *at + 28), extra_bytes = NumberAt<uint16_t>(bytes_, *at + 30);
  const int64_t whole = kMemberBytes + name_bytes + extra_bytes + NumberAt<uint16_t>(bytes_, *at + 32);
  if (whole > end - *at) return Bad(absl::StrCat("the zip archive's directory is broken at byte ", *at));
  out->name = std::string(bytes_.substr(*at + kMemberBytes, name_bytes));
  out->stored_size = NumberAt<uint32_t>(bytes_, *at + 20);
  out->size = NumberAt<uint32_t>(bytes_, *at + 24);
  out->local_begin = NumberAt<uint32_t>(bytes_, *at + 42);
  const uint16_t flags = NumberAt<uint16_t>(bytes_, *at + 8), method = NumberAt<uint16_t>(bytes_, *at + 10);
  const std::string who = absl::StrCat("member '", Printable(out->name), "' of the zip archive");
  if ((flags & 1) != 0) return absl::UnimplementedError(absl::StrCat(who, " is encrypted"));
  if (method != 0)
    return absl::UnimplementedError(absl::StrCat(who, " is compressed by method ", method, ", not stored"));
  absl::Status status = ReadLongSizes(bytes_.substr(*at + kMemberBytes + name_bytes, extra_bytes), out);
  *at += whole;
  return status;
}

absl::StatusOr<absl::string_view> ZipReader::DataOf(const Member& member) const {
  const std::string who = absl::StrCat("member '", Printable(member.name), "' of the zip archive");
  if (member.size != member.stored_size) {
    return Bad(absl::StrCat(who, " has ", member.size, " bytes, but ", member.stored_size, " are stored"));
  }
  if (!Holds(member.local_begin, kLocalBytes) || NumberAt<uint32_t>(bytes_, member.local_begin) != kLocalMagic) {
    return Bad(absl::StrCat(who, " is not at byte ", member.local_begin));
  }
  const uint64_t head = kLocalBytes + NumberAt<uint16_t>(bytes_, member.local_begin + 26) +
                        NumberAt<uint16_t>(bytes_, member.local_begin + 28);
  if (!Holds(member.local_begin, head) || !Holds(member.local_begin + head, member.size)) {
    return Bad(absl::StrCat(who, ", ", member.size, " bytes from byte ", member.local_begin + head,
                            " on, reaches past the end of the file of ", size_));
  }
  return bytes_.substr(member.local_begin + head, member.size);
}

absl::Status ZipReader::Read(std::map<std::string, absl::string_view>* out) {
  Directory directory;
  if (absl::Status s = FindDirectory(&directory); !s.ok()) return s;
  if (directory.num_members > static_cast<uint64_t>(kZipEntriesMax)) {
    return Bad(absl::StrCat(directory.num_members, " members, more than the limit of ", kZipEntriesMax));
  }
  if (!Holds(directory.begin, directory.bytes)) {
    return Bad(absl::StrCat("the zip archive's directory, ", directory.bytes, " bytes from byte ", directory.begin,
                            " on, reaches past the end of the file of ", size_));
  }
  int64_t at = directory.begin;
  for (uint64_t i = 0; i < directory.num_members; ++i) {
    Member member;
    if (absl::Status s = ReadMember(&at, directory.begin + directory.bytes, &member); !s.ok()) return s;
    auto data = DataOf(member);
    if (!data.ok()) return data.status();
    if (!out->emplace(member.name, *data).second) {
      return Bad(absl::StrCat("member '", Printable(member.name), "' of the zip archive occurs twice"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::map<std::string, absl::string_view>> ReadZipEntries(absl::string_view file,
                                                                        absl::string_view bytes) {
  std::map<std::string, absl::string_view> entries;
  if (absl::Status s = ZipReader(bytes).Read(&entries); !s.ok()) {
    return absl::Status(s.code(), absl::StrCat(file, ": ", s.message()));
  }
  return entries;
}

}  // namespace quire::worker
