// A machine for the data part of Python pickles: makes plain values, executes nothing.
//
// A pickle is a program. This machine knows the some thirty opcodes that files of weights need; a call is kept as a
// value that says what would be called with what, and only names of the caller's list can be said at all.
// Thread rule: pure; any thread.
// Invariants:
//   V1  Every index in a value is that of a value of the same result; a name is one of the list.
//   V2  Memory and time stay within a small multiple of the limits below, whatever the bytes say. Nothing recurses.
#ifndef QUIRE_WORKER_LOADER_PICKLE_MACHINE_H_
#define QUIRE_WORKER_LOADER_PICKLE_MACHINE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quire::worker {

inline constexpr int64_t kPickleBytesMax = 64 << 20;
inline constexpr int64_t kPickleValuesMax = 2 << 20;  // made, on the stack, in the memo, in containers: so many each

// Something that a pickle may name.
struct PickleName {
  const char* module;
  const char* name;
  bool makes_dict = false;  // a call of it without arguments is a dict
  int tag = 0;              // the caller's
};

enum class PickleKind : uint8_t {
  kMark,  // never in a result
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,
  kTuple,
  kList,
  kDict,        // items: key, value, key, value, ...
  kName,        // never called
  kCall,        // items: one, the tuple of its arguments
  kPersistent,  // items: one, the id
};

// "a tuple", for messages.
const char* DescribePickleKind(PickleKind kind);

struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  int64_t number = 0;                // of kInt and kBool
  absl::string_view text;            // of kText; lies in the pickle's bytes
  const PickleName* name = nullptr;  // of kName and kCall
  std::vector<int32_t> items;        // indices
};

struct Pickle {
  std::vector<PickleValue> values;
  int32_t result = 0;
};

// Reads the pickle `bytes`, which must outlive the result. `file` names it in messages.
// Errors: INVALID_ARGUMENT no pickle, too much; UNIMPLEMENTED an opcode or a name that is not allowed, named.
absl::StatusOr<Pickle> RunPickle(absl::string_view file, absl::string_view bytes, absl::Span<const PickleName> names);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_PICKLE_MACHINE_H_
