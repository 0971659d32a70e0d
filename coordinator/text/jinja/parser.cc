#include "coordinator/text/jinja/parser.h"

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/text/jinja/expression_parser.h"
#include "coordinator/text/jinja/token_stream.h"

namespace quire::jinja {
namespace {

class Parser final {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)), expressions_(&tokens_) {}

  absl::StatusOr<Body> Run() {
    Body body = ParseBody({});
    ReportUnknown(0);
    if (!tokens_.ok()) return tokens_.status();
    return body;
  }

 private:
  using Names = std::initializer_list<absl::string_view>;
  using StatementPtr = std::unique_ptr<Statement>;

  // Up to a tag named in `ends`, whose name is then current; up to the end of the template when that is empty.
  Body ParseBody(Names ends);
  // The same behind the end of the tag that opens the body; takes the closing tag's name, which is returned.
  std::string ParseBlock(Names ends, Body* body);
  StatementPtr ParseStatement();
  StatementPtr ParseSimple(const std::string& tag, StatementPtr statement);
  StatementPtr ParseIf(StatementPtr statement);
  StatementPtr ParseFor(StatementPtr statement);
  StatementPtr ParseSet(StatementPtr statement);
  StatementPtr ParseMacro(StatementPtr statement);
  StatementPtr ParseCall(StatementPtr statement);
  StatementPtr ParseWith(StatementPtr statement);
  void ParseSignature(Macro* macro);
  void ParseMacroBody(absl::string_view end, Macro* macro);
  void ParseOutput(Body* body);
  // A body that is a scope of its own is not "under a condition" any more (UnknownName).
  void ReportUnknown(size_t from);

  TokenStream tokens_;
  ExpressionParser expressions_;
  int loops_ = 0;  // loops around, up to the macro
};

void Parser::ReportUnknown(size_t from) {
  const std::vector<UnknownName>& unknown = *expressions_.unknown_names();
  if (unknown.size() > from) tokens_.FailAt(unknown[from].line, unknown[from].what);
}

void Parser::ParseOutput(Body* body) {
  auto statement = std::make_unique<Statement>();
  statement->kind = StatementKind::kOutput;
  statement->line = tokens_.Next().line;
  statement->exprs.push_back(expressions_.ParseTuple(true));
  tokens_.Expect(TokenKind::kOutputEnd, "'}}'");
  body->push_back(std::move(statement));
}

Body Parser::ParseBody(Names ends) {
  const ExpressionParser::Level level(&expressions_);
  Body body;
  while (tokens_.ok() && !tokens_.AtEnd()) {
    if (tokens_.Is(TokenKind::kData)) {
      auto statement = std::make_unique<Statement>();
      statement->line = tokens_.current().line;
      statement->text = tokens_.Next().text;
      body.push_back(std::move(statement));
    } else if (tokens_.Is(TokenKind::kOutputBegin)) {
      ParseOutput(&body);
    } else {
      tokens_.Expect(TokenKind::kBlockBegin, "a tag");
      for (const absl::string_view end : ends) {
        if (tokens_.IsName(end)) return body;
      }
      body.push_back(ParseStatement());
      tokens_.Expect(TokenKind::kBlockEnd, "'%}'");
    }
  }
  if (tokens_.ok() && ends.size() > 0) tokens_.Fail(absl::StrCat("{% ", *(ends.end() - 1), " %} is missing"));
  return body;
}

std::string Parser::ParseBlock(Names ends, Body* body) {
  tokens_.TakeOperator(":");
  tokens_.Expect(TokenKind::kBlockEnd, "'%}'");
  *body = ParseBody(ends);
  return tokens_.Next().text;
}

Parser::StatementPtr Parser::ParseStatement() {
  auto statement = std::make_unique<Statement>();
  statement->line = tokens_.current().line;
  const std::string tag = tokens_.ExpectAnyName();
  if (tag == "if") return ParseIf(std::move(statement));
  if (tag == "for") return ParseFor(std::move(statement));
  if (tag == "set") return ParseSet(std::move(statement));
  if (tag == "macro") return ParseMacro(std::move(statement));
  if (tag == "call") return ParseCall(std::move(statement));
  if (tag == "with") return ParseWith(std::move(statement));
  return ParseSimple(tag, std::move(statement));
}

Parser::StatementPtr Parser::ParseSimple(const std::string& tag, StatementPtr statement) {
  if (tag == "print") {
    statement->kind = StatementKind::kOutput;
    do {
      statement->exprs.push_back(expressions_.ParseExpression());
    } while (tokens_.TakeOperator(","));
    return statement;
  }
  if (tag == "break" || tag == "continue") {
    statement->kind = tag == "break" ? StatementKind::kBreak : StatementKind::kContinue;
    if (loops_ == 0) tokens_.Fail(absl::StrCat("{% ", tag, " %} outside of a loop"));
    return statement;
  }
  const size_t unknown_before = expressions_.unknown_names()->size();
  if (tag == "filter") {
    statement->kind = StatementKind::kFilterBlock;
    statement->exprs.push_back(expressions_.ParseFilters(nullptr, false));
    ParseBlock({"endfilter"}, &statement->body);
  } else if (tag == "generation") {
    statement->kind = StatementKind::kScope;
    const int loops = std::exchange(loops_, 0);
    ParseBlock({"endgeneration"}, &statement->body);
    loops_ = loops;
  } else {
    for (const absl::string_view known : {"extends", "block", "include", "import", "from", "autoescape", "do"}) {
      if (tag != known) continue;
      tokens_.FailAt(statement->line, absl::StrCat("{% ", tag, " %} is not supported in chat templates"),
                     absl::StatusCode::kUnimplemented);
    }
    tokens_.FailAt(statement->line, absl::StrCat("unknown tag '", tag, "'"));
  }
  ReportUnknown(unknown_before);
  return statement;
}

Parser::StatementPtr Parser::ParseIf(StatementPtr statement) {
  statement->kind = StatementKind::kIf;
  const size_t unknown_before = expressions_.unknown_names()->size();
  std::string end = "elif";
  while (tokens_.ok() && end == "elif") {
    Branch branch;
    branch.condition = expressions_.ParseTuple(false);
    end = ParseBlock({"elif", "else", "endif"}, &branch.body);
    statement->branches.push_back(std::move(branch));
  }
  if (end == "else") ParseBlock({"endif"}, &statement->otherwise);
  expressions_.unknown_names()->resize(unknown_before);
  return statement;
}

Parser::StatementPtr Parser::ParseFor(StatementPtr statement) {
  statement->kind = StatementKind::kFor;
  statement->targets.push_back(expressions_.ParseTarget("in", false));
  tokens_.ExpectName("in");
  statement->exprs.push_back(expressions_.ParseTuple(false, "recursive"));
  const size_t unknown_before = expressions_.unknown_names()->size();
  statement->exprs.push_back(tokens_.TakeName("if") ? expressions_.ParseExpression() : nullptr);
  if (tokens_.IsName("recursive")) {
    tokens_.FailAt(tokens_.current().line, "recursive loops are not supported", absl::StatusCode::kUnimplemented);
  }
  ++loops_;
  const std::string end = ParseBlock({"else", "endfor"}, &statement->body);
  --loops_;
  if (end == "else") ParseBlock({"endfor"}, &statement->otherwise);
  ReportUnknown(unknown_before);
  return statement;
}

Parser::StatementPtr Parser::ParseSet(StatementPtr statement) {
  statement->targets.push_back(expressions_.ParseTarget("", true));
  if (tokens_.TakeOperator("=")) {
    statement->kind = StatementKind::kSet;
    statement->exprs.push_back(expressions_.ParseTuple(true));
    return statement;
  }
  statement->kind = StatementKind::kSetBlock;
  statement->exprs.push_back(expressions_.ParseFilters(nullptr, true));
  const size_t unknown_before = expressions_.unknown_names()->size();
  ParseBlock({"endset"}, &statement->body);
  ReportUnknown(unknown_before);
  return statement;
}

void Parser::ParseSignature(Macro* macro) {
  tokens_.ExpectOperator("(");
  while (tokens_.ok() && !tokens_.IsOperator(")")) {
    if (!macro->parameters.empty()) tokens_.ExpectOperator(",");
    macro->parameters.push_back(tokens_.ExpectAnyName());
    if (tokens_.TakeOperator("=")) {
      macro->defaults.push_back(expressions_.ParseExpression());
    } else if (!macro->defaults.empty()) {
      tokens_.Fail("a parameter without a default follows one that has one");
    }
  }
  tokens_.ExpectOperator(")");
}

void Parser::ParseMacroBody(absl::string_view end, Macro* macro) {
  const int loops = std::exchange(loops_, 0);
  Macro* const outer = expressions_.macro();
  const size_t unknown_before = expressions_.unknown_names()->size();
  expressions_.set_macro(macro);
  ParseBlock({end}, &macro->body);
  expressions_.set_macro(outer);
  loops_ = loops;
  ReportUnknown(unknown_before);
}

Parser::StatementPtr Parser::ParseMacro(StatementPtr statement) {
  statement->kind = StatementKind::kMacro;
  statement->macro = std::make_unique<Macro>();
  statement->macro->name = tokens_.ExpectAnyName();
  ParseSignature(statement->macro.get());
  ParseMacroBody("endmacro", statement->macro.get());
  return statement;
}

Parser::StatementPtr Parser::ParseCall(StatementPtr statement) {
  statement->kind = StatementKind::kCallBlock;
  statement->macro = std::make_unique<Macro>();
  statement->macro->name = "caller";
  if (tokens_.IsOperator("(")) ParseSignature(statement->macro.get());
  statement->exprs.push_back(expressions_.ParseExpression());
  if (tokens_.ok() && statement->exprs[0]->kind != ExprKind::kCall) {
    tokens_.FailAt(statement->line, "{% call %} needs a call");
  }
  ParseMacroBody("endcall", statement->macro.get());
  return statement;
}

Parser::StatementPtr Parser::ParseWith(StatementPtr statement) {
  statement->kind = StatementKind::kWith;
  while (tokens_.ok() && !tokens_.Is(TokenKind::kBlockEnd)) {
    if (!statement->targets.empty()) tokens_.ExpectOperator(",");
    statement->targets.push_back(expressions_.ParseTarget("", false));
    tokens_.ExpectOperator("=");
    statement->exprs.push_back(expressions_.ParseExpression());
  }
  const size_t unknown_before = expressions_.unknown_names()->size();
  ParseBlock({"endwith"}, &statement->body);
  ReportUnknown(unknown_before);
  return statement;
}

}  // namespace

absl::StatusOr<Body> Parse(std::vector<Token> tokens) { return Parser(std::move(tokens)).Run(); }

}  // namespace quire::jinja
