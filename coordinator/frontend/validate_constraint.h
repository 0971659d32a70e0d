// Validation's part for constrained output: from the fields of a request to the source of one grammar. What the grammar
// library thinks of it comes later, as the end of the request (grammar/grammars.h).
//
// Pure functions, any thread.
#ifndef QUIRE_COORDINATOR_FRONTEND_VALIDATE_CONSTRAINT_H_
#define QUIRE_COORDINATOR_FRONTEND_VALIDATE_CONSTRAINT_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "coordinator/grammar/grammar_source.h"

namespace quire::v1 {
class SamplingParams;
}

namespace quire::frontend {

inline constexpr size_t kGrammarBytesMax = 64 << 10;
inline constexpr int kGrammarChoicesMax = 1024;
inline constexpr size_t kGrammarChoiceBytesMax = 1024;

// Nothing if the output is free. Errors: INVALID_ARGUMENT a limit is broken, or a field that cannot go with a constraint.
absl::StatusOr<absl::optional<grammar::GrammarSource>> ReadConstraint(const v1::SamplingParams& in);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_VALIDATE_CONSTRAINT_H_
