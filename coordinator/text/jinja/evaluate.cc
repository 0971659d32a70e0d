// Expressions (interpreter.h).
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/jinja/filters.h"
#include "coordinator/text/jinja/functions.h"
#include "coordinator/text/jinja/interpreter.h"
#include "coordinator/text/jinja/methods.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/print.h"
#include "coordinator/text/jinja/tests.h"

namespace quire::jinja {

Value Interpreter::Evaluate(const Expr& expr, Scope* scope) {
  const Rendering::Nest nest(r_);
  if (!r_->Spend(1)) return Value();
  r_->set_line(expr.line);
  switch (expr.kind) {
    case ExprKind::kConst:
      return expr.value;
    case ExprKind::kName:
      return Lookup(expr.name, scope);
    case ExprKind::kList:
    case ExprKind::kTuple:
    case ExprKind::kDict:
      return EvaluateLiteral(expr, scope);
    case ExprKind::kAttribute:
      return GetAttribute(r_, Evaluate(*expr.items[0], scope), expr.name);
    case ExprKind::kItem: {
      const Value object = Evaluate(*expr.items[0], scope);
      return GetItem(r_, object, Evaluate(*expr.items[1], scope));
    }
    case ExprKind::kSlice:
      return EvaluateSlice(expr, scope);
    case ExprKind::kCall:
      return EvaluateCall(expr, scope, nullptr);
    case ExprKind::kFilter:
      return EvaluateFilter(expr, scope, nullptr);
    case ExprKind::kTest:
      return EvaluateTest(expr, scope);
    case ExprKind::kNot:
    case ExprKind::kAnd:
    case ExprKind::kOr:
    case ExprKind::kConditional:
      return EvaluateLogic(expr, scope);
    case ExprKind::kMinus:
    case ExprKind::kPlus:
    case ExprKind::kBinary:
    case ExprKind::kConcat:
      return EvaluateOperator(expr, scope);
    case ExprKind::kCompare:
      return EvaluateCompare(expr, scope);
  }
  return Value();
}

Value Interpreter::Lookup(const std::string& name, Scope* scope) {
  for (; scope != nullptr; scope = scope->parent) {
    if (const Value* value = scope->Find(name)) return *value;
  }
  if (const Value* value = variables_.dict().Find(name)) return *value;
  if (IsGlobalFunction(name)) return r_->NewMethod(Value(), name);
  return Value::Undefined(absl::StrCat("'", name, "'"));
}

Value Interpreter::EvaluateOperator(const Expr& expr, Scope* scope) {
  if (expr.kind == ExprKind::kConcat) {
    std::string text;
    for (const ExprPtr& item : expr.items) Print(r_, Evaluate(*item, scope), &text);
    return r_->String(std::move(text));
  }
  const Value left = Evaluate(*expr.items[0], scope);
  if (expr.kind == ExprKind::kMinus) return Minus(r_, left);
  if (expr.kind == ExprKind::kPlus) return Plus(r_, left);
  const Value right = Evaluate(*expr.items[1], scope);
  r_->set_line(expr.line);
  return Binary(r_, expr.op, left, right);
}

Value Interpreter::EvaluateLogic(const Expr& expr, Scope* scope) {
  const Value first = Evaluate(*expr.items[0], scope);
  if (!r_->ok()) return Value();
  switch (expr.kind) {
    case ExprKind::kNot:
      return Value::Bool(!Truth(first));
    case ExprKind::kAnd:
      return Truth(first) ? Evaluate(*expr.items[1], scope) : first;
    case ExprKind::kOr:
      return Truth(first) ? first : Evaluate(*expr.items[1], scope);
    default:
      break;
  }
  if (Truth(first)) return Evaluate(*expr.items[1], scope);
  return expr.items[2] != nullptr ? Evaluate(*expr.items[2], scope) : Value::Undefined("an if without else");
}

Value Interpreter::EvaluateCompare(const Expr& expr, Scope* scope) {
  Value left = Evaluate(*expr.items[0], scope);
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    Value right = Evaluate(*expr.items[i + 1], scope);
    if (!Compare(r_, expr.ops[i], left, right)) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

Value Interpreter::EvaluateLiteral(const Expr& expr, Scope* scope) {
  std::vector<Value> items;
  for (const ExprPtr& item : expr.items) items.push_back(Evaluate(*item, scope));
  if (expr.kind != ExprKind::kDict) {
    return r_->List(std::move(items), expr.kind == ExprKind::kTuple ? ListForm::kTuple : ListForm::kList);
  }
  Entries entries;
  for (size_t i = 0; i + 1 < items.size(); i += 2) entries.emplace_back(std::move(items[i]), std::move(items[i + 1]));
  return r_->Dict(std::move(entries));
}

Value Interpreter::EvaluateSlice(const Expr& expr, Scope* scope) {
  const Value object = Evaluate(*expr.items[0], scope);
  Value bounds[3] = {Value::None(), Value::None(), Value::None()};
  for (size_t i = 0; i < 3; ++i) {
    if (expr.items[i + 1] != nullptr) bounds[i] = Evaluate(*expr.items[i + 1], scope);
  }
  return GetSlice(r_, object, bounds[0], bounds[1], bounds[2]);
}

Args Interpreter::EvaluateArguments(const Expr& expr, Scope* scope) {
  Args args;
  const size_t num_positional = expr.items.size() - 1 - expr.keywords.size();
  for (size_t i = 0; i < num_positional; ++i) args.positional.push_back(Evaluate(*expr.items[i + 1], scope));
  for (size_t i = 0; i < expr.keywords.size(); ++i) {
    args.named.emplace_back(expr.keywords[i], Evaluate(*expr.items[1 + num_positional + i], scope));
  }
  if (expr.star != nullptr) {
    const Value more = Iterate(r_, Evaluate(*expr.star, scope));
    args.positional.insert(args.positional.end(), more.items().begin(), more.items().end());
  }
  if (expr.double_star == nullptr) return args;
  const Value more = Evaluate(*expr.double_star, scope);
  if (!more.is_dict()) {
    r_->Fail(absl::StrCat("'**' needs a dict, not a ", TypeName(more)));
    return args;
  }
  for (const auto& [key, value] : more.dict().entries) {
    args.named.emplace_back(std::string(Text(r_, key, "the name of an argument")), value);
    r_->Spend(1 + static_cast<int64_t>(expr.keywords.size()));
    for (const std::string& keyword : expr.keywords) {
      if (keyword == args.named.back().first) r_->Fail(absl::StrCat("the argument '", keyword, "' is given twice"));
    }
  }
  return args;
}

Value Interpreter::EvaluateCall(const Expr& expr, Scope* scope, const Value* caller) {
  const Value callee = Evaluate(*expr.items[0], scope);
  Args args = EvaluateArguments(expr, scope);
  if (caller != nullptr) args.named.emplace_back("caller", *caller);
  if (!r_->ok()) return Value();
  r_->set_line(expr.line);
  return Call(callee, args);
}

Value Interpreter::Call(const Value& callee, const Args& args) {
  if (callee.is_undefined()) return FailUndefined(r_, callee);
  const auto* function = callee.As<Function>();
  if (function == nullptr) return r_->Fail(absl::StrCat("a ", TypeName(callee), " cannot be called"));
  if (function->macro != nullptr) return CallMacro(*function, args);
  if (function->self.is_undefined()) return CallGlobalFunction(r_, function->name, args);
  return CallMethod(r_, function->self, function->name, args);
}

Value Interpreter::EvaluateFilter(const Expr& expr, Scope* scope, const Value* value) {
  const Rendering::Nest nest(r_);
  if (!r_->ok()) return Value();
  Value subject;
  if (expr.items[0] == nullptr) {
    subject = *value;
  } else if (expr.items[0]->kind == ExprKind::kFilter) {
    subject = EvaluateFilter(*expr.items[0], scope, value);
  } else {
    subject = Evaluate(*expr.items[0], scope);
  }
  const Args args = EvaluateArguments(expr, scope);
  r_->set_line(expr.line);
  return ApplyFilter(r_, expr.name, subject, args);
}

Value Interpreter::EvaluateTest(const Expr& expr, Scope* scope) {
  const Value value = Evaluate(*expr.items[0], scope);
  const Args args = EvaluateArguments(expr, scope);
  r_->set_line(expr.line);
  return Value::Bool(ApplyTest(r_, expr.name, value, args));
}

}  // namespace quire::jinja
