#include "coordinator/grammar/xgrammar_engine.h"

#include <xgrammar/xgrammar.h>

#include <exception>
#include <new>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace quire::grammar {
namespace {

// The library says "[12:00:00] file.cc:12: what is wrong"; the client needs the last part.
std::string Plain(absl::string_view what) {
  if (absl::ConsumePrefix(&what, "[")) {
    const size_t colon = what.find(".cc:");
    const size_t text = colon == absl::string_view::npos ? colon : what.find(": ", colon + 4);
    if (text != absl::string_view::npos) what.remove_prefix(text + 2);
  }
  constexpr size_t kShown = 400;
  return std::string(absl::StripAsciiWhitespace(what.substr(0, kShown)));
}

// Runs f; whatever the library throws becomes a status of `code`.
template <typename F>
auto Guarded(absl::StatusCode code, const F& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("takes more memory than there is");
  } catch (const std::exception& e) {
    return absl::Status(code, Plain(e.what()));
  } catch (...) {
    return absl::Status(code, "the grammar library gave up");
  }
}

// Enough to indent; a model that begins to write blanks and may go on for ever often does.
constexpr int kBlanksMax = 32;

xgrammar::CompiledGrammar CompileSchema(const std::string& schema, bool strict, xgrammar::GrammarCompiler* compiler) {
  return compiler->CompileJSONSchema(schema, /*any_whitespace=*/true, /*indent=*/std::nullopt,
                                     /*separators=*/std::nullopt, strict, kBlanksMax);
}

xgrammar::CompiledGrammar Compile(const GrammarSource& source, xgrammar::GrammarCompiler* compiler) {
  switch (source.kind) {
    case GrammarKind::kJsonObject:
      return CompileSchema(R"({"type":"object"})", /*strict=*/false, compiler);
    case GrammarKind::kJsonSchema:
      return CompileSchema(source.text, /*strict=*/true, compiler);
    case GrammarKind::kRegex:
      return compiler->CompileRegex(source.text);
    case GrammarKind::kEbnf:
      return compiler->CompileGrammar(source.text);
    case GrammarKind::kStructuralTag:
      return compiler->CompileStructuralTag(source.text);
  }
  throw std::invalid_argument("unknown kind of grammar");
}

}  // namespace

bool HasGrammarLibrary() { return true; }

struct Vocabulary::Impl {
  explicit Impl(xgrammar::TokenizerInfo i) : info(std::move(i)) {}
  xgrammar::TokenizerInfo info;
};

struct CompiledGrammar::Impl {
  explicit Impl(xgrammar::CompiledGrammar g) : grammar(std::move(g)) {}
  xgrammar::CompiledGrammar grammar;
};

struct Matcher::Impl {
  explicit Impl(xgrammar::GrammarMatcher m) : matcher(std::move(m)) {}
  xgrammar::GrammarMatcher matcher;
};

absl::StatusOr<std::shared_ptr<const Vocabulary>> Vocabulary::Make(std::vector<std::string> token_bytes) {
  return Guarded(absl::StatusCode::kInternal, [&]() -> absl::StatusOr<std::shared_ptr<const Vocabulary>> {
    // Each matcher names its own stop ids.
    xgrammar::TokenizerInfo info(token_bytes, xgrammar::VocabType::RAW, static_cast<int>(token_bytes.size()),
                                 std::vector<int32_t>{});
    return std::shared_ptr<const Vocabulary>(new Vocabulary(std::make_unique<const Impl>(std::move(info))));
  });
}

Vocabulary::Vocabulary(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Vocabulary::~Vocabulary() = default;
int32_t Vocabulary::size() const { return impl_->info.GetVocabSize(); }

absl::StatusOr<std::string> CompileToBytes(const GrammarSource& source, const Vocabulary& vocabulary) {
  return Guarded(absl::StatusCode::kInvalidArgument, [&]() -> absl::StatusOr<std::string> {
    xgrammar::GrammarCompiler compiler(vocabulary.impl_->info, /*max_threads=*/1, /*cache_enabled=*/false);
    return Compile(source, &compiler).SerializeJSON();
  });
}

absl::StatusOr<std::shared_ptr<const CompiledGrammar>> CompiledGrammar::FromBytes(const std::string& bytes,
                                                                                  const Vocabulary& vocabulary) {
  return Guarded(absl::StatusCode::kInternal, [&]() -> absl::StatusOr<std::shared_ptr<const CompiledGrammar>> {
    auto read = xgrammar::CompiledGrammar::DeserializeJSON(bytes, vocabulary.impl_->info);
    auto* grammar = std::get_if<xgrammar::CompiledGrammar>(&read);
    if (grammar == nullptr) return absl::InternalError("a compiled grammar does not read back");
    return std::shared_ptr<const CompiledGrammar>(
        new CompiledGrammar(std::make_unique<const Impl>(std::move(*grammar))));
  });
}

CompiledGrammar::CompiledGrammar(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
CompiledGrammar::~CompiledGrammar() = default;
size_t CompiledGrammar::num_bytes() const { return impl_->grammar.MemorySizeBytes(); }

absl::StatusOr<std::unique_ptr<Matcher>> Matcher::Make(const CompiledGrammar& grammar,
                                                       absl::Span<const int32_t> stop_ids) {
  return Guarded(absl::StatusCode::kInternal, [&]() -> absl::StatusOr<std::unique_ptr<Matcher>> {
    xgrammar::GrammarMatcher matcher(grammar.impl_->grammar, std::vector<int>(stop_ids.begin(), stop_ids.end()));
    return std::unique_ptr<Matcher>(new Matcher(std::make_unique<Impl>(std::move(matcher))));
  });
}

Matcher::Matcher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Matcher::~Matcher() = default;

absl::StatusOr<bool> Matcher::Accept(int32_t token) {
  return Guarded(absl::StatusCode::kInternal,
                 [&]() -> absl::StatusOr<bool> { return impl_->matcher.AcceptToken(token); });
}

absl::Status Matcher::FillMask(absl::Span<uint32_t> words) {
  return Guarded(absl::StatusCode::kInternal, [&]() -> absl::Status {
    int64_t shape = static_cast<int64_t>(words.size());
    DLTensor tensor = {};
    tensor.data = words.data();
    tensor.device = {kDLCPU, 0};
    tensor.ndim = 1;
    tensor.dtype = xgrammar::GetBitmaskDLType();
    tensor.shape = &shape;
    impl_->matcher.FillNextTokenBitmask(&tensor);
    return absl::OkStatus();
  });
}

}  // namespace quire::grammar
