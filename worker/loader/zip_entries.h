// The files inside a zip archive whose members are stored as they are: what torch.save writes. Trusts nothing that the
// archive says; touches its directory and the members' heads only.
//
// Thread rule: pure; any thread.
// Invariants, for every archive that reads:
//   Z1  Every member's data lie inside the file.
//   Z2  Names are unique; no member is compressed or encrypted.
// Source: PKWARE's APPNOTE 6.3, sections 4.3 and 4.5.3 (sizes beyond 32 bits).
#ifndef QUIRE_WORKER_LOADER_ZIP_ENTRIES_H_
#define QUIRE_WORKER_LOADER_ZIP_ENTRIES_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::worker {

inline constexpr int64_t kZipEntriesMax = 1 << 18;

// Every member's data by name. `file` names the archive in messages, `bytes` is its whole content.
// Errors: INVALID_ARGUMENT no such archive, naming the member; UNIMPLEMENTED a compressed or encrypted member.
absl::StatusOr<std::map<std::string, absl::string_view>> ReadZipEntries(absl::string_view file,
                                                                        absl::string_view bytes);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_ZIP_ENTRIES_H_
