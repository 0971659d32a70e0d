// The parser's part for expressions.
//
// One thread.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_EXPRESSION_PARSER_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_EXPRESSION_PARSER_H_

#include <string>
#include <utility>
#include <vector>

#include "coordinator/text/jinja/ast.h"
#include "coordinator/text/jinja/token_stream.h"

namespace quire::jinja {

// Filters and tests that do not exist are errors where they stand, except under a condition: there, as in Jinja2, only
// when they are reached. What is seen is kept here until it is known under which condition it stands.
struct UnknownName {
  int line;
  std::string what;
};

class ExpressionParser final {
 public:
  explicit ExpressionParser(TokenStream* tokens) : tokens_(tokens) {}

  // After an error they return an expression that must not be used, never null.
  ExprPtr ParseExpression(bool with_conditional = true);
  // `a` or `a, b`; ends in front of the name `end`, too, if that is not empty.
  ExprPtr ParseTuple(bool with_conditional, absl::string_view end = "");
  // The filters of {% filter a|b %} and {% set x | a %}; null when there are none. `first_has_bar`: each begins with a '|'.
  ExprPtr ParseFilters(ExprPtr value, bool first_has_bar);
  // A name, namespace.attribute where allowed, or several.
  Target ParseTarget(absl::string_view end, bool with_namespace);

  // Counts recursion: expressions and statements together.
  class Level final {
   public:
    explicit Level(ExpressionParser* parser);
    ~Level() { --parser_->level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    ExpressionParser* const parser_;
  };

  std::vector<UnknownName>* unknown_names() { return &unknown_names_; }
  // The macro whose body is being parsed; null outside.
  void set_macro(Macro* macro) { macro_ = macro; }
  Macro* macro() const { return macro_; }

 private:
  ExprPtr Make(ExprKind kind, int line) const;
  // Adds an operand and keeps the depth.
  void Add(Expr* expr, ExprPtr item);
  ExprPtr ParseOr();
  ExprPtr ParseAnd();
  ExprPtr ParseNot();
  ExprPtr ParseCompare();
  bool TakeComparison(Op* op);
  ExprPtr ParseSum();
  ExprPtr ParseConcat();
  ExprPtr ParseProduct();
  ExprPtr ParsePower();
  ExprPtr ParseUnary(bool with_filter);
  ExprPtr ParsePrimary();
  ExprPtr ParseName();
  ExprPtr ParseParentheses();
  ExprPtr ParseListLiteral();
  ExprPtr ParseDictLiteral();
  ExprPtr ParsePostfix(ExprPtr expr);
  ExprPtr ParseFiltersAndTests(ExprPtr expr);
  ExprPtr ParseSubscript(ExprPtr object);
  ExprPtr ParseSlice(ExprPtr object, ExprPtr begin, int line);
  ExprPtr ParseTest(ExprPtr value);
  void ParseArguments(Expr* call);
  bool AtTupleEnd(absl::string_view end) const;
  Target ToTarget(const Expr& expr);

  TokenStream* const tokens_;
  int level_ = 0;
  Macro* macro_ = nullptr;
  std::vector<UnknownName> unknown_names_;
};

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_EXPRESSION_PARSER_H_
