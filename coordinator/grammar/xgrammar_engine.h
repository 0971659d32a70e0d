// The library behind constrained output (xgrammar), without its types and its exceptions: a grammar is compiled for a
// vocabulary, and a matcher says after every token which tokens may follow. The only file that includes the library.
//
// Vocabulary and CompiledGrammar are immutable, any thread; a Matcher belongs to one thread at a time.
#ifndef QUIRE_COORDINATOR_GRAMMAR_XGRAMMAR_ENGINE_H_
#define QUIRE_COORDINATOR_GRAMMAR_XGRAMMAR_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "coordinator/grammar/grammar_source.h"

namespace quire::grammar {

// False: this program was built without the library, and everything below is UNIMPLEMENTED.
bool HasGrammarLibrary();

// The bytes of every token, by id; empty for one that is not text (special tokens): a grammar never allows those.
class Vocabulary final {
 public:
  static absl::StatusOr<std::shared_ptr<const Vocabulary>> Make(std::vector<std::string> token_bytes);
  ~Vocabulary();

  int32_t size() const;

 private:
  friend class CompiledGrammar;
  friend absl::StatusOr<std::string> CompileToBytes(const GrammarSource&, const Vocabulary&);
  struct Impl;
  explicit Vocabulary(std::unique_ptr<const Impl> impl);
  const std::unique_ptr<const Impl> impl_;
};

// Compiles, which may take any time and memory that the source is worth: see compiler_process.h. The result reads back
// with CompiledGrammar::FromBytes. Errors: INVALID_ARGUMENT in the library's words.
absl::StatusOr<std::string> CompileToBytes(const GrammarSource& source, const Vocabulary& vocabulary);

class CompiledGrammar final {
 public:
  // Errors: INTERNAL bytes that CompileToBytes did not make with an equal vocabulary.
  static absl::StatusOr<std::shared_ptr<const CompiledGrammar>> FromBytes(const std::string& bytes,
                                                                          const Vocabulary& vocabulary);
  ~CompiledGrammar();

  size_t num_bytes() const;  // of memory, about

 private:
  friend class Matcher;
  struct Impl;
  explicit CompiledGrammar(std::unique_ptr<const Impl> impl);
  const std::unique_ptr<const Impl> impl_;
};

class Matcher final {
 public:
  // `stop_ids` end an output where the grammar may end, and are allowed nowhere else. Requires: not empty.
  static absl::StatusOr<std::unique_ptr<Matcher>> Make(const CompiledGrammar& grammar,
                                                       absl::Span<const int32_t> stop_ids);
  ~Matcher();

  // False: the grammar does not allow the token here.
  absl::StatusOr<bool> Accept(int32_t token);

  // Bit id % 32 of word id / 32 is set iff the token may follow. Requires: `words` covers the vocabulary.
  absl::Status FillMask(absl::Span<uint32_t> words);

 private:
  struct Impl;
  explicit Matcher(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace quire::grammar

#endif  // QUIRE_COORDINATOR_GRAMMAR_XGRAMMAR_ENGINE_H_
