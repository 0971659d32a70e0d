// A tokenizer for tests of the edges.
#ifndef QUIRE_COORDINATOR_FRONTEND_ASCII_TOKENIZER_H_
#define QUIRE_COORDINATOR_FRONTEND_ASCII_TOKENIZER_H_

#include <memory>
#include <string>

namespace quire::text {
class Tokenizer;
}

namespace quire::frontend {

// A byte-level tokenizer whose ids 1..95 are the printable ASCII characters; other ids have no text. Writes its file
// under `scratch_dir`.
std::shared_ptr<const text::Tokenizer> AsciiTokenizer(const std::string& scratch_dir);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_ASCII_TOKENIZER_H_
