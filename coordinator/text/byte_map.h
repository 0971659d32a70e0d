// The byte-level alphabet: each of the 256 bytes as one printable character, so that a vocabulary of strings can hold
// arbitrary bytes (GPT-2, Llama 3, Qwen kinds).
//
// Pure functions, any thread.
#ifndef QUIRE_COORDINATOR_TEXT_BYTE_MAP_H_
#define QUIRE_COORDINATOR_TEXT_BYTE_MAP_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace quire::text {

// The character that stands for a byte: printable Latin-1 stands for itself, the other 68 bytes in increasing order
// for U+0100 and up (so a space is U+0120).
char32_t MappedChar(uint8_t byte);

// Appends the mapped form of `bytes`.
void AppendMapped(absl::string_view bytes, std::string* out);

// Reads a mapped string back into bytes. Returns false, with `bytes` empty, when a character is outside the alphabet.
// Requires: well-formed UTF-8.
bool UnmapBytes(absl::string_view mapped, std::string* bytes);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_BYTE_MAP_H_
