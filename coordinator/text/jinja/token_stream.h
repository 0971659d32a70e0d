// The parser's place among the tokens, and its first error.
//
// One thread.
//   T1  After an error the stream stands at its end, so that every loop over it ends.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_TOKEN_STREAM_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_TOKEN_STREAM_H_

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/jinja/lexer.h"

namespace quire::jinja {

class TokenStream final {
 public:
  // Requires: the last token is kEnd.
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool AtEnd() const { return current().kind == TokenKind::kEnd; }
  bool Is(TokenKind kind) const { return current().kind == kind; }
  bool IsOperator(absl::string_view op) const { return Is(TokenKind::kOperator) && current().text == op; }
  bool IsName(absl::string_view name) const { return Is(TokenKind::kName) && current().text == name; }

  const Token& Next() {
    const Token& token = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool TakeOperator(absl::string_view op) { return IsOperator(op) && (Next(), true); }
  bool TakeName(absl::string_view name) { return IsName(name) && (Next(), true); }

  void ExpectOperator(absl::string_view op) {
    if (!TakeOperator(op)) Fail(absl::StrCat("expected '", op, "', found ", Describe()));
  }
  void ExpectName(absl::string_view name) {
    if (!TakeName(name)) Fail(absl::StrCat("expected '", name, "', found ", Describe()));
  }
  std::string ExpectAnyName() {
    if (Is(TokenKind::kName)) return Next().text;
    Fail(absl::StrCat("expected a name, found ", Describe()));
    return "";
  }
  void Expect(TokenKind kind, absl::string_view what) {
    if (!Is(kind)) return Fail(absl::StrCat("expected ", what, ", found ", Describe()));
    Next();
  }

  void Fail(absl::string_view what) { FailAt(current().line, what); }
  void FailAt(int line, absl::string_view what, absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    if (status_.ok()) status_ = absl::Status(code, absl::StrCat("line ", line, ": ", what));
    at_ = tokens_.size() - 1;
  }

  std::string Describe() const {
    switch (current().kind) {
      case TokenKind::kData:
        return "text";
      case TokenKind::kOutputBegin:
        return "'{{'";
      case TokenKind::kOutputEnd:
        return "'}}'";
      case TokenKind::kBlockBegin:
        return "'{%'";
      case TokenKind::kBlockEnd:
        return "'%}'";
      case TokenKind::kString:
        return "a string";
      case TokenKind::kInt:
      case TokenKind::kFloat:
        return "a number";
      case TokenKind::kEnd:
        return "the end of the template";
      case TokenKind::kName:
      case TokenKind::kOperator:
        return absl::StrCat("'", current().text, "'");
    }
    return "a token";
  }

 private:
  const std::vector<Token> tokens_;
  size_t at_ = 0;
  absl::Status status_;
};

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_TOKEN_STREAM_H_
