#include "coordinator/text/jinja/expression_parser.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/text/jinja/filters.h"
#include "coordinator/text/jinja/parser.h"
#include "coordinator/text/jinja/tests.h"

namespace quire::jinja {

ExpressionParser::Level::Level(ExpressionParser* parser) : parser_(parser) {
  if (++parser_->level_ <= kParseDepthMax) return;
  parser_->tokens_->Fail(absl::StrCat("nested deeper than ", kParseDepthMax, " levels"));
}

ExprPtr ExpressionParser::Make(ExprKind kind, int line) const {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  return expr;
}

void ExpressionParser::Add(Expr* expr, ExprPtr item) {
  if (item != nullptr) expr->depth = std::max(expr->depth, item->depth + 1);
  if (expr->depth > kTreeDepthMax) {
    tokens_->FailAt(expr->line, absl::StrCat("an expression is deeper than ", kTreeDepthMax, " levels"));
  }
  expr->items.push_back(std::move(item));
}

ExprPtr ExpressionParser::ParseExpression(bool with_conditional) {
  const Level level(this);
  if (!tokens_->ok()) return Make(ExprKind::kConst, 0);
  if (!with_conditional) return ParseOr();
  const size_t unknown_before = unknown_names_.size();
  int line = tokens_->current().line;
  ExprPtr value = ParseOr();
  while (tokens_->TakeName("if")) {
    ExprPtr conditional = Make(ExprKind::kConditional, line);
    Add(conditional.get(), ParseOr());
    Add(conditional.get(), std::move(value));
    Add(conditional.get(), tokens_->TakeName("else") ? ParseExpression() : nullptr);
    unknown_names_.resize(unknown_before);
    value = std::move(conditional);
    line = tokens_->current().line;
  }
  return value;
}

ExprPtr ExpressionParser::ParseOr() {
  ExprPtr left = ParseAnd();
  while (tokens_->IsName("or")) {
    ExprPtr both = Make(ExprKind::kOr, tokens_->Next().line);
    Add(both.get(), std::move(left));
    Add(both.get(), ParseAnd());
    left = std::move(both);
  }
  return left;
}

ExprPtr ExpressionParser::ParseAnd() {
  ExprPtr left = ParseNot();
  while (tokens_->IsName("and")) {
    ExprPtr both = Make(ExprKind::kAnd, tokens_->Next().line);
    Add(both.get(), std::move(left));
    Add(both.get(), ParseNot());
    left = std::move(both);
  }
  return left;
}

ExprPtr ExpressionParser::ParseNot() {
  if (!tokens_->IsName("not")) return ParseCompare();
  const Level level(this);
  ExprPtr expr = Make(ExprKind::kNot, tokens_->Next().line);
  Add(expr.get(), ParseNot());
  return expr;
}

bool ExpressionParser::TakeComparison(Op* op) {
  static constexpr std::pair<const char*, Op> kOps[] = {{"==", Op::kEqual},  {"!=", Op::kNotEqual},
                                                        {"<", Op::kLess},    {"<=", Op::kLessEqual},
                                                        {">", Op::kGreater}, {">=", Op::kGreaterEqual}};
  for (const auto& [text, value] : kOps) {
    if (!tokens_->TakeOperator(text)) continue;
    *op = value;
    return true;
  }
  if (tokens_->TakeName("in")) {
    *op = Op::kIn;
    return true;
  }
  const Token& ahead = tokens_->ahead();
  if (!tokens_->IsName("not") || ahead.kind != TokenKind::kName || ahead.text != "in") return false;
  tokens_->Next();
  tokens_->Next();
  *op = Op::kNotIn;
  return true;
}

ExprPtr ExpressionParser::ParseCompare() {
  const int line = tokens_->current().line;
  ExprPtr first = ParseSum();
  Op op;
  if (!TakeComparison(&op)) return first;
  ExprPtr compare = Make(ExprKind::kCompare, line);
  Add(compare.get(), std::move(first));
  do {
    compare->ops.push_back(op);
    Add(compare.get(), ParseSum());
  } while (TakeComparison(&op));
  return compare;
}

ExprPtr ExpressionParser::ParseSum() {
  ExprPtr left = ParseConcat();
  while (tokens_->IsOperator("+") || tokens_->IsOperator("-")) {
    ExprPtr sum = Make(ExprKind::kBinary, tokens_->current().line);
    sum->op = tokens_->Next().text == "+" ? Op::kAdd : Op::kSubtract;
    Add(sum.get(), std::move(left));
    Add(sum.get(), ParseConcat());
    left = std::move(sum);
  }
  return left;
}

ExprPtr ExpressionParser::ParseConcat() {
  ExprPtr first = ParseProduct();
  if (!tokens_->IsOperator("~")) return first;
  ExprPtr concat = Make(ExprKind::kConcat, tokens_->current().line);
  Add(concat.get(), std::move(first));
  while (tokens_->TakeOperator("~")) Add(concat.get(), ParseProduct());
  return concat;
}

ExprPtr ExpressionParser::ParseProduct() {
  static constexpr std::pair<const char*, Op> kOps[] = {
      {"*", Op::kMultiply}, {"/", Op::kDivide}, {"//", Op::kFloorDivide}, {"%", Op::kModulo}};
  ExprPtr left = ParsePower();
  while (true) {
    const auto* op = std::find_if(std::begin(kOps), std::end(kOps),
                                  [this](const auto& known) { return tokens_->IsOperator(known.first); });
    if (op == std::end(kOps)) return left;
    ExprPtr product = Make(ExprKind::kBinary, tokens_->Next().line);
    product->op = op->second;
    Add(product.get(), std::move(left));
    Add(product.get(), ParsePower());
    left = std::move(product);
  }
}

ExprPtr ExpressionParser::ParsePower() {
  ExprPtr left = ParseUnary(true);
  while (tokens_->IsOperator("**")) {
    ExprPtr power = Make(ExprKind::kBinary, tokens_->Next().line);
    power->op = Op::kPower;
    Add(power.get(), std::move(left));
    Add(power.get(), ParseUnary(true));
    left = std::move(power);
  }
  return left;
}

ExprPtr ExpressionParser::ParseUnary(bool with_filter) {
  ExprPtr expr;
  if (tokens_->IsOperator("-") || tokens_->IsOperator("+")) {
    const Level level(this);
    expr = Make(tokens_->IsOperator("-") ? ExprKind::kMinus : ExprKind::kPlus, tokens_->current().line);
    tokens_->Next();
    Add(expr.get(), ParseUnary(false));
  } else {
    expr = ParsePrimary();
  }
  expr = ParsePostfix(std::move(expr));
  return with_filter ? ParseFiltersAndTests(std::move(expr)) : std::move(expr);
}

ExprPtr ExpressionParser::ParsePrimary() {
  const Token& token = tokens_->current();
  ExprPtr expr = Make(ExprKind::kConst, token.line);
  switch (token.kind) {
    case TokenKind::kName:
      return ParseName();
    case TokenKind::kString: {
      std::string text;
      while (tokens_->Is(TokenKind::kString)) text += tokens_->Next().text;
      expr->value = Value::String(std::move(text));
      return expr;
    }
    case TokenKind::kInt:
      expr->value = Value::Int(tokens_->Next().integer);
      return expr;
    case TokenKind::kFloat:
      expr->value = Value::Float(tokens_->Next().number);
      return expr;
    default:
      break;
  }
  if (tokens_->IsOperator("(")) return ParseParentheses();
  if (tokens_->IsOperator("[")) return ParseListLiteral();
  if (tokens_->IsOperator("{")) return ParseDictLiteral();
  tokens_->Fail(absl::StrCat("expected an expression, found ", tokens_->Describe()));
  return expr;
}

ExprPtr ExpressionParser::ParseName() {
  const Token& token = tokens_->Next();
  ExprPtr expr = Make(ExprKind::kConst, token.line);
  const std::string& name = token.text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    expr->value = Value::Bool(name == "true" || name == "True");
  } else if (name == "none" || name == "None") {
    expr->value = Value::None();
  } else {
    expr->kind = ExprKind::kName;
    expr->name = name;
    if (macro_ != nullptr) {
      macro_->uses_varargs |= name == "varargs";
      macro_->uses_kwargs |= name == "kwargs";
      macro_->uses_caller |= name == "caller";
    }
  }
  return expr;
}

bool ExpressionParser::AtTupleEnd(absl::string_view end) const {
  return tokens_->Is(TokenKind::kOutputEnd) || tokens_->Is(TokenKind::kBlockEnd) || tokens_->IsOperator(")") ||
         tokens_->AtEnd() || (!end.empty() && tokens_->IsName(end));
}

ExprPtr ExpressionParser::ParseTuple(bool with_conditional, absl::string_view end) {
  const int line = tokens_->current().line;
  ExprPtr first = ParseExpression(with_conditional);
  if (!tokens_->IsOperator(",")) return first;
  ExprPtr tuple = Make(ExprKind::kTuple, line);
  Add(tuple.get(), std::move(first));
  while (tokens_->TakeOperator(",") && !AtTupleEnd(end)) Add(tuple.get(), ParseExpression(with_conditional));
  return tuple;
}

ExprPtr ExpressionParser::ParseParentheses() {
  const int line = tokens_->Next().line;
  ExprPtr expr = tokens_->IsOperator(")") ? Make(ExprKind::kTuple, line) : ParseTuple(true);
  tokens_->ExpectOperator(")");
  return expr;
}

ExprPtr ExpressionParser::ParseListLiteral() {
  ExprPtr list = Make(ExprKind::kList, tokens_->Next().line);
  while (tokens_->ok() && !tokens_->IsOperator("]")) {
    if (!list->items.empty()) tokens_->ExpectOperator(",");
    if (tokens_->IsOperator("]")) break;
    Add(list.get(), ParseExpression());
  }
  tokens_->ExpectOperator("]");
  return list;
}

ExprPtr ExpressionParser::ParseDictLiteral() {
  ExprPtr dict = Make(ExprKind::kDict, tokens_->Next().line);
  while (tokens_->ok() && !tokens_->IsOperator("}")) {
    if (!dict->items.empty()) tokens_->ExpectOperator(",");
    if (tokens_->IsOperator("}")) break;
    Add(dict.get(), ParseExpression());
    tokens_->ExpectOperator(":");
    Add(dict.get(), ParseExpression());
  }
  tokens_->ExpectOperator("}");
  return dict;
}

ExprPtr ExpressionParser::ParsePostfix(ExprPtr expr) {
  while (tokens_->ok()) {
    if (tokens_->IsOperator(".") || tokens_->IsOperator("[")) {
      expr = ParseSubscript(std::move(expr));
    } else if (tokens_->IsOperator("(")) {
      ExprPtr call = Make(ExprKind::kCall, tokens_->current().line);
      Add(call.get(), std::move(expr));
      ParseArguments(call.get());
      expr = std::move(call);
    } else {
      break;
    }
  }
  return expr;
}

ExprPtr ExpressionParser::ParseFiltersAndTests(ExprPtr expr) {
  while (tokens_->ok()) {
    if (tokens_->IsOperator("|")) {
      expr = ParseFilters(std::move(expr), true);
    } else if (tokens_->IsName("is")) {
      expr = ParseTest(std::move(expr));
    } else if (tokens_->IsOperator("(")) {
      ExprPtr call = Make(ExprKind::kCall, tokens_->current().line);
      Add(call.get(), std::move(expr));
      ParseArguments(call.get());
      expr = std::move(call);
    } else {
      break;
    }
  }
  return expr;
}

ExprPtr ExpressionParser::ParseSubscript(ExprPtr object) {
  const int line = tokens_->current().line;
  if (tokens_->TakeOperator(".")) {
    if (tokens_->Is(TokenKind::kInt)) {
      ExprPtr key = Make(ExprKind::kConst, line);
      key->value = Value::Int(tokens_->Next().integer);
      ExprPtr item = Make(ExprKind::kItem, line);
      Add(item.get(), std::move(object));
      Add(item.get(), std::move(key));
      return item;
    }
    ExprPtr attribute = Make(ExprKind::kAttribute, line);
    attribute->name = tokens_->ExpectAnyName();
    Add(attribute.get(), std::move(object));
    return attribute;
  }
  tokens_->ExpectOperator("[");
  ExprPtr first = tokens_->IsOperator(":") ? nullptr : ParseExpression();
  ExprPtr item;
  if (tokens_->IsOperator(":")) {
    item = ParseSlice(std::move(object), std::move(first), line);
  } else {
    item = Make(ExprKind::kItem, line);
    Add(item.get(), std::move(object));
    Add(item.get(), std::move(first));
  }
  tokens_->ExpectOperator("]");
  return item;
}

ExprPtr ExpressionParser::ParseSlice(ExprPtr object, ExprPtr begin, int line) {
  ExprPtr slice = Make(ExprKind::kSlice, line);
  Add(slice.get(), std::move(object));
  Add(slice.get(), std::move(begin));
  for (int part = 0; part < 2; ++part) {  // end, step
    const bool given = tokens_->TakeOperator(":") && !tokens_->IsOperator(":") && !tokens_->IsOperator("]");
    Add(slice.get(), given ? ParseExpression() : nullptr);
  }
  return slice;
}

void ExpressionParser::ParseArguments(Expr* call) {
  const int line = tokens_->Next().line;
  const auto bad = [&] { tokens_->FailAt(line, "arguments in a wrong order"); };
  bool first = true;
  while (tokens_->ok() && !tokens_->IsOperator(")")) {
    if (!first) tokens_->ExpectOperator(",");
    if (!first && tokens_->IsOperator(")")) break;
    first = false;
    const Token& ahead = tokens_->ahead();
    if (tokens_->TakeOperator("*")) {
      if (call->star != nullptr || call->double_star != nullptr) return bad();
      call->star = ParseExpression();
    } else if (tokens_->TakeOperator("**")) {
      if (call->double_star != nullptr) return bad();
      call->double_star = ParseExpression();
    } else if (tokens_->Is(TokenKind::kName) && ahead.kind == TokenKind::kOperator && ahead.text == "=") {
      if (call->double_star != nullptr) return bad();
      const std::string name = tokens_->Next().text;
      const auto& known = call->keywords;
      if (std::find(known.begin(), known.end(), name) != known.end()) {
        return tokens_->Fail(absl::StrCat("the argument '", name, "' is given twice"));
      }
      call->keywords.push_back(name);
      tokens_->Next();
      Add(call, ParseExpression());
    } else {
      if (call->star != nullptr || call->double_star != nullptr || !call->keywords.empty()) return bad();
      Add(call, ParseExpression());
    }
  }
  for (const ExprPtr* star : {&call->star, &call->double_star}) {
    if (*star != nullptr) call->depth = std::max(call->depth, (*star)->depth + 1);
  }
  tokens_->ExpectOperator(")");
}

ExprPtr ExpressionParser::ParseFilters(ExprPtr value, bool first_has_bar) {
  bool takes = !first_has_bar || tokens_->TakeOperator("|");
  while (takes && tokens_->ok()) {
    ExprPtr filter = Make(ExprKind::kFilter, tokens_->current().line);
    filter->name = tokens_->ExpectAnyName();
    Add(filter.get(), std::move(value));
    if (tokens_->IsOperator("(")) ParseArguments(filter.get());
    if (!IsFilter(filter->name)) {
      unknown_names_.push_back({filter->line, absl::StrCat("there is no filter '", filter->name, "'")});
    }
    value = std::move(filter);
    takes = tokens_->TakeOperator("|");
  }
  return value;
}

ExprPtr ExpressionParser::ParseTest(ExprPtr value) {
  const int line = tokens_->Next().line;
  const bool negated = tokens_->TakeName("not");
  ExprPtr test = Make(ExprKind::kTest, line);
  test->name = tokens_->ExpectAnyName();
  Add(test.get(), std::move(value));
  const TokenKind kind = tokens_->current().kind;
  const bool is_literal = kind == TokenKind::kString || kind == TokenKind::kInt || kind == TokenKind::kFloat;
  const bool is_bracket = tokens_->IsOperator("[") || tokens_->IsOperator("{");
  const bool ends = tokens_->IsName("else") || tokens_->IsName("or") || tokens_->IsName("and");
  if (tokens_->IsOperator("(")) {
    ParseArguments(test.get());
  } else if (tokens_->IsName("is")) {
    tokens_->Fail("tests cannot be chained with 'is'");
  } else if (is_literal || is_bracket || (kind == TokenKind::kName && !ends)) {
    const Level level(this);
    Add(test.get(), ParsePostfix(ParsePrimary()));
  }
  if (!IsTest(test->name)) {
    unknown_names_.push_back({line, absl::StrCat("there is no test '", test->name, "'")});
  }
  if (!negated) return test;
  ExprPtr expr = Make(ExprKind::kNot, line);
  Add(expr.get(), std::move(test));
  return expr;
}

Target ExpressionParser::ToTarget(const Expr& expr) {
  Target target;
  if (expr.kind == ExprKind::kName) {
    target.name = expr.name;
  } else if (expr.kind == ExprKind::kTuple) {
    target.is_tuple = true;
    for (const ExprPtr& item : expr.items) target.parts.push_back(ToTarget(*item));
  } else {
    tokens_->FailAt(expr.line, "this cannot be assigned to");
  }
  return target;
}

Target ExpressionParser::ParseTarget(absl::string_view end, bool with_namespace) {
  Target all;
  while (tokens_->ok()) {
    const Token& ahead = tokens_->ahead();
    const bool dotted = ahead.kind == TokenKind::kOperator && ahead.text == ".";
    if (with_namespace && tokens_->Is(TokenKind::kName) && dotted) {
      Target target;
      target.name = tokens_->Next().text;
      tokens_->Next();
      target.attribute = tokens_->ExpectAnyName();
      all.parts.push_back(std::move(target));
    } else {
      const Level level(this);
      all.parts.push_back(ToTarget(*ParsePrimary()));
    }
    if (!tokens_->TakeOperator(",")) break;
    all.is_tuple = true;
    if (AtTupleEnd(end) || tokens_->IsOperator("=")) break;
  }
  if (all.is_tuple || all.parts.empty()) return all;
  return std::move(all.parts[0]);
}

}  // namespace quire::jinja
