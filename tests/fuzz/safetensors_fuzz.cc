// The header of a safetensors file, in memory: the input is the whole file.
#include <glog/logging.h>

#include <set>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/fuzz/fuzz_target.h"
#include "worker/loader/safetensors.h"

using quire::worker::SafetensorsEntry;

// S1 to S3 of safetensors.h, computed another way than there.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto header = quire::worker::ParseSafetensorsHeader("input", bytes);
  if (!header.ok()) {
    CHECK(absl::IsInvalidArgument(header.status()) && header.status().message().size() < 4096) << header.status();
    return 0;
  }
  quire::fuzz::NoteAccepted();
  std::set<std::string> names;
  int64_t next = 0;
  for (const SafetensorsEntry& entry : header->entries) {
    CHECK(names.insert(entry.name).second) << entry.name;
    CHECK_EQ(entry.begin, next) << entry.name;
    CHECK_GE(entry.end, entry.begin) << entry.name;
    next = entry.end;
    __int128 bits = entry.type->bits;
    for (int64_t dim : entry.shape) {
      CHECK_GE(dim, 0) << entry.name;
      bits *= dim;  // at most 64 bits more than what passed before: what passed is below 2^63 unless it is not accepted
      CHECK(bits < (static_cast<__int128>(1) << 63)) << entry.name;
    }
    CHECK(bits == static_cast<__int128>(entry.end - entry.begin) * 8) << entry.name;
    CHECK(!quire::worker::DescribeEntry(entry).empty());
  }
  CHECK_EQ(header->data_begin + next, static_cast<int64_t>(size));
  return 0;
}
