#include "coordinator/text/sentencepiece_file.h"

#include <cmath>
#include <cstring>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "coordinator/text/utf8.h"
#include "coordinator/text/vocabulary.h"

namespace quire::text {
namespace {

enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint32_t number = 0;
  int type = kVarint;
  uint64_t integer = 0;     // of the types kVarint, kFixed32, kFixed64
  absl::string_view bytes;  // of the type kBytes
};

// Takes one varint off the front; false when it is cut short or too long.
bool TakeVarint(absl::string_view* rest, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64 && !rest->empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(rest->front());
    rest->remove_prefix(1);
    *value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool TakeFixed(absl::string_view* rest, size_t size, uint64_t* value) {
  if (rest->size() < size) return false;
  *value = 0;
  for (size_t i = size; i-- > 0;) *value = *value << 8 | static_cast<uint8_t>((*rest)[i]);
  rest->remove_prefix(size);
  return true;
}

bool TakeField(absl::string_view* rest, Field* field) {
  uint64_t key = 0;
  if (!TakeVarint(rest, &key) || key >> 3 == 0 || key >> 32 != 0) return false;
  field->number = static_cast<uint32_t>(key >> 3);
  field->type = static_cast<int>(key & 7);
  if (field->type == kVarint) return TakeVarint(rest, &field->integer);
  if (field->type == kFixed64) return TakeFixed(rest, 8, &field->integer);
  if (field->type == kFixed32) return TakeFixed(rest, 4, &field->integer);
  if (field->type != kBytes) return false;
  uint64_t size = 0;
  if (!TakeVarint(rest, &size) || size > rest->size()) return false;
  field->bytes = rest->substr(0, size);
  rest->remove_prefix(size);
  return true;
}

using FieldSink = absl::FunctionRef<absl::Status(const Field&)>;

absl::Status ForEachField(absl::string_view message, absl::string_view name, FieldSink sink) {
  absl::string_view rest = message;
  while (!rest.empty()) {
    const size_t at = message.size() - rest.size();
    Field field;
    if (!TakeField(&rest, &field)) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": no field of a sentencepiece model at byte ", at, " of ",
                                                     message.size(), " (broken or cut short)"));
    }
    if (absl::Status status = sink(field); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckType(const Field& field, int type, absl::string_view name) {
  if (field.type == type) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ": wire type ", field.type, ", expected ", type));
}

absl::Status ParsePiece(absl::string_view message, size_t id, SentencePiece* piece) {
  const std::string name = absl::StrCat("pieces[", id, "]");
  absl::Status status = ForEachField(message, name, [&](const Field& field) {
    if (field.number == 1) {
      piece->text = std::string(field.bytes);
      return CheckType(field, kBytes, absl::StrCat(name, ".piece"));
    }
    if (field.number == 2) {
      const auto bits = static_cast<uint32_t>(field.integer);
      std::memcpy(&piece->score, &bits, sizeof(bits));
      return CheckType(field, kFixed32, absl::StrCat(name, ".score"));
    }
    if (field.number == 3) {
      piece->type = field.integer > SentencePiece::kByte ? 0 : static_cast<int>(field.integer);
      return CheckType(field, kVarint, absl::StrCat(name, ".type"));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (piece->text.empty() || piece->text.size() > kCutTokenBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ".piece: ", piece->text.size(), " bytes, outside 1 to ", kCutTokenBytesMax));
  }
  if (FindInvalidUtf8(piece->text) != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(name, ".piece: invalid UTF-8"));
  }
  if (!std::isfinite(piece->score)) return absl::InvalidArgumentError(absl::StrCat(name, ".score: not finite"));
  if (piece->type == 0) return absl::InvalidArgumentError(absl::StrCat(name, ".type: not a type of pieces"));
  return absl::OkStatus();
}

absl::Status ParseTrainerSpec(absl::string_view message, SentencePieceFile* file) {
  return ForEachField(message, "trainer_spec", [&](const Field& field) {
    constexpr uint64_t kUnigram = 1;
    constexpr uint64_t kBpe = 2;
    switch (field.number) {
      case 3:
        if (field.integer != kUnigram && field.integer != kBpe) {
          return absl::UnimplementedError(
              absl::StrCat("trainer_spec.model_type: ", field.integer, ", only UNIGRAM (1) and BPE (2) are supported"));
        }
        file->is_bpe = field.integer == kBpe;
        return CheckType(field, kVarint, "trainer_spec.model_type");
      case 24:
        if (field.integer != 0) {
          return absl::UnimplementedError("trainer_spec.treat_whitespace_as_suffix is not supported");
        }
        return CheckType(field, kVarint, "trainer_spec.treat_whitespace_as_suffix");
      case 35:
        file->byte_fallback = field.integer != 0;
        return CheckType(field, kVarint, "trainer_spec.byte_fallback");
      case 41:
        file->bos_id = static_cast<int32_t>(field.integer);
        return CheckType(field, kVarint, "trainer_spec.bos_id");
      case 42:
        file->eos_id = static_cast<int32_t>(field.integer);
        return CheckType(field, kVarint, "trainer_spec.eos_id");
      default:
        return absl::OkStatus();
    }
  });
}

absl::Status ParseNormalizerSpec(absl::string_view message, SentencePieceFile* file) {
  return ForEachField(message, "normalizer_spec", [&](const Field& field) {
    switch (field.number) {
      case 2:
        file->charsmap = std::string(field.bytes);
        return CheckType(field, kBytes, "normalizer_spec.precompiled_charsmap");
      case 3:
        file->add_dummy_prefix = field.integer != 0;
        return CheckType(field, kVarint, "normalizer_spec.add_dummy_prefix");
      case 4:
        file->remove_extra_whitespaces = field.integer != 0;
        return CheckType(field, kVarint, "normalizer_spec.remove_extra_whitespaces");
      case 5:
        if (field.integer == 0) {
          return absl::UnimplementedError("normalizer_spec.escape_whitespaces: false is not supported");
        }
        return CheckType(field, kVarint, "normalizer_spec.escape_whitespaces");
      default:
        return absl::OkStatus();
    }
  });
}

absl::Status ParseDenormalizerSpec(absl::string_view message) {
  return ForEachField(message, "denormalizer_spec", [](const Field& field) {
    if (field.number != 2 || field.bytes.empty()) return absl::OkStatus();
    return absl::UnimplementedError("denormalizer_spec.precompiled_charsmap is not supported");
  });
}

// Finds the unknown piece: as in the reference the type says which it is, and there is exactly one.
absl::Status FindUnknown(SentencePieceFile* file) {
  int count = 0;
  for (size_t id = 0; id < file->pieces.size(); ++id) {
    if (file->pieces[id].type == SentencePiece::kUnknown) {
      file->unk_id = static_cast<int32_t>(id);
      ++count;
    }
    if (file->pieces[id].type == SentencePiece::kUnused && file->is_bpe) {
      return absl::UnimplementedError(absl::StrCat("pieces[", id, "].type: UNUSED is not supported in a BPE model"));
    }
  }
  if (count == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("pieces: ", count, " of ", file->pieces.size(), " are of type UNKNOWN, expected 1"));
}

}  // namespace

absl::StatusOr<SentencePieceFile> ParseSentencePieceFile(absl::string_view bytes) {
  SentencePieceFile file;
  absl::Status status = ForEachField(bytes, "ModelProto", [&](const Field& field) {
    if (field.number < 1 || field.number > 5) return absl::OkStatus();
    if (absl::Status type = CheckType(field, kBytes, absl::StrCat("ModelProto field ", field.number)); !type.ok()) {
      return type;
    }
    if (field.number == 2) return ParseTrainerSpec(field.bytes, &file);
    if (field.number == 3) return ParseNormalizerSpec(field.bytes, &file);
    if (field.number == 5) return ParseDenormalizerSpec(field.bytes);
    if (field.number == 4) return absl::OkStatus();  // samples for a self-test
    if (file.pieces.size() > static_cast<size_t>(kTokenIdMax)) {
      return absl::InvalidArgumentError(absl::StrCat("pieces: more than ", kTokenIdMax + 1));
    }
    file.pieces.emplace_back();
    return ParsePiece(field.bytes, file.pieces.size() - 1, &file.pieces.back());
  });
  if (status.ok()) status = FindUnknown(&file);
  if (!status.ok()) return status;
  return file;
}

}  // namespace quire::text
