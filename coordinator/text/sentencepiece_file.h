// Reads a sentencepiece model file, a protocol buffer (SP sentencepiece_model.proto), by hand: of its many fields a
// tokenizer needs few, and the file is trusted in nothing.
//
// Pure function, any thread.
//   I1  Lengths are checked against the bytes that are left before anything is taken; memory is bounded by the file.
//   I2  What would change ids or text and is not supported is refused by name; unknown fields are skipped.
#ifndef QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_FILE_H_
#define QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::text {

struct SentencePiece {
  enum Type { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  std::string text;
  float score = 0;
  int type = kNormal;
};

struct SentencePieceFile {
  std::vector<SentencePiece> pieces;  // by id
  bool is_bpe = false;                // else unigram
  bool byte_fallback = false;
  int32_t unk_id = 0;
  int32_t bos_id = 1;  // -1: none
  int32_t eos_id = 2;
  std::string charsmap;  // compiled normalisation rule
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
};

// Errors: kInvalidArgument and kUnimplemented, naming the field and the byte.
absl::StatusOr<SentencePieceFile> ParseSentencePieceFile(absl::string_view bytes);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_FILE_H_
