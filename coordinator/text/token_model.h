// What turns one piece of pre-tokenised text into ids. BPE and unigram are such models.
#ifndef QUIRE_COORDINATOR_TEXT_TOKEN_MODEL_H_
#define QUIRE_COORDINATOR_TEXT_TOKEN_MODEL_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quire::text {

// Immutable, any thread.
class TokenModel {
 public:
  virtual ~TokenModel() = default;

  // Appends the ids of one piece. Requires: well-formed UTF-8. Errors: kFailedPrecondition when the piece needs the
  // unknown token and the vocabulary lacks it.
  virtual absl::Status EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const = 0;

  // True when EncodeBytes may be called: the vocabulary holds every character of the byte-level alphabet.
  virtual bool encodes_bytes() const = 0;

  // Appends the ids of one piece that is given as raw bytes instead of in the byte-level alphabet; the ids are the same
  // as those that EncodePiece gives for the mapped piece. Requires: encodes_bytes().
  virtual void EncodeBytes(absl::string_view piece, std::vector<int32_t>* ids) const = 0;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_TOKEN_MODEL_H_
