#include "coordinator/text/byte_map.h"

#include <array>

#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

constexpr char32_t kMappedEnd = 0x144;  // one past the last character of the alphabet

bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Tables {
  std::array<char32_t, 256> to_char;
  std::array<std::string, 256> to_text;
  std::array<int16_t, kMappedEnd> to_byte;  // -1: not in the alphabet

  Tables() {
    to_byte.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      to_char[byte] = StandsForItself(byte) ? static_cast<char32_t>(byte) : next++;
      to_byte[to_char[byte]] = static_cast<int16_t>(byte);
      AppendChar(to_char[byte], &to_text[byte]);
    }
  }
};

const Tables& GetTables() {
  static const Tables* const tables = new Tables;  // never destroyed: other statics may decode while the process ends
  return *tables;
}

}  // namespace

char32_t MappedChar(uint8_t byte) { return GetTables().to_char[byte]; }

void AppendMapped(absl::string_view bytes, std::string* out) {
  const Tables& tables = GetTables();
  for (char byte : bytes) out->append(tables.to_text[static_cast<uint8_t>(byte)]);
}

bool UnmapBytes(absl::string_view mapped, std::string* bytes) {
  const Tables& tables = GetTables();
  bytes->clear();
  for (size_t pos = 0; pos < mapped.size();) {
    const char32_t c = NextChar(mapped, &pos);
    if (c >= kMappedEnd || tables.to_byte[c] < 0) {
      bytes->clear();
      return false;
    }
    bytes->push_back(static_cast<char>(tables.to_byte[c]));
  }
  return true;
}

}  // namespace quire::text
