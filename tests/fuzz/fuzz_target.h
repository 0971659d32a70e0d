// What one fuzz target and the two programs around it share. A target is one function in one file, foo_fuzz.cc: libFuzzer
// calls it with bytes of its own making (tools/fuzz.sh), corpus_test.cc with the files of corpus/foo and seeded changes
// of them.
//
// One thread.
//   F1  A target ends for every input, and CHECKs what the parser promises about what it accepts.
//   F2  An input that the parser accepted is counted, so that a target which refuses all its input is noticed.
#ifndef QUIRE_TESTS_FUZZ_FUZZ_TARGET_H_
#define QUIRE_TESTS_FUZZ_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// The target; libFuzzer wants this name. Returns 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace quire::fuzz {

// Between the files that one input holds.
inline constexpr absl::string_view kSeparator = "\n%%\n";

// The files of an input: always `count`; those that the input lacks are empty, and what follows belongs to the last.
std::vector<absl::string_view> SplitInput(const uint8_t* data, size_t size, int count);

// Counts an input that was accepted.
void NoteAccepted();
int64_t NumAccepted();

// The directory of this process that plays a model's, on a file system in memory where there is one. Removed at exit.
const std::string& ScratchDirectory();
// Replaces a file of it. An empty text removes the file where `keep_empty` is false.
void WriteScratch(const std::string& name, absl::string_view text, bool keep_empty = false);

}  // namespace quire::fuzz

#endif  // QUIRE_TESTS_FUZZ_FUZZ_TARGET_H_
