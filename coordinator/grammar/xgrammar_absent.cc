// In the place of xgrammar_engine.cc where the library is not installed (tools/install_deps.sh brings it).
#include "coordinator/grammar/xgrammar_engine.h"

namespace quire::grammar {
namespace {

absl::Status Absent() { return absl::UnimplementedError("this server was built without the grammar library"); }

}  // namespace

bool HasGrammarLibrary() { return false; }

struct Vocabulary::Impl {};
struct CompiledGrammar::Impl {};
struct Matcher::Impl {};

absl::StatusOr<std::shared_ptr<const Vocabulary>> Vocabulary::Make(std::vector<std::string>) { return Absent(); }
Vocabulary::~Vocabulary() = default;
int32_t Vocabulary::size() const { return 0; }
absl::StatusOr<std::string> CompileToBytes(const GrammarSource&, const Vocabulary&) { return Absent(); }
absl::StatusOr<std::shared_ptr<const CompiledGrammar>> CompiledGrammar::FromBytes(const std::string&,
                                                                                  const Vocabulary&) {
  return Absent();
}
CompiledGrammar::~CompiledGrammar() = default;
size_t CompiledGrammar::num_bytes() const { return 0; }
absl::StatusOr<std::unique_ptr<Matcher>> Matcher::Make(const CompiledGrammar&, absl::Span<const int32_t>) {
  return Absent();
}
Matcher::~Matcher() = default;
absl::StatusOr<bool> Matcher::Accept(int32_t) { return Absent(); }
absl::Status Matcher::FillMask(absl::Span<uint32_t>) { return Absent(); }

}  // namespace quire::grammar
