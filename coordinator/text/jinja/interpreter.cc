#include "coordinator/text/jinja/interpreter.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/jinja/functions.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/print.h"

namespace quire::jinja {

void Interpreter::Run(const Body& body, std::string* out) {
  Scope* scope = r_->NewScope(nullptr);
  Execute(body, scope, out);
  r_->Release(scope);
}

Interpreter::Flow Interpreter::Execute(const Body& body, Scope* scope, std::string* out) {
  const Rendering::Nest nest(r_);
  for (const auto& statement : body) {
    if (!r_->Spend(1)) return Flow::kBreak;
    r_->set_line(statement->line);
    const Flow flow = ExecuteOne(*statement, scope, out);
    if (flow != Flow::kNext) return flow;
  }
  return r_->ok() ? Flow::kNext : Flow::kBreak;
}

Interpreter::Flow Interpreter::ExecuteInside(const Body& body, Scope* scope, std::string* out) {
  Scope* inner = r_->NewScope(scope);
  const Flow flow = Execute(body, inner, out);
  r_->Release(inner);
  return flow;
}

Interpreter::Flow Interpreter::ExecuteOne(const Statement& statement, Scope* scope, std::string* out) {
  switch (statement.kind) {
    case StatementKind::kText:
      r_->Append(out, statement.text);
      break;
    case StatementKind::kOutput:
      for (const ExprPtr& expr : statement.exprs) Print(r_, Evaluate(*expr, scope), out);
      break;
    case StatementKind::kIf:
      return ExecuteIf(statement, scope, out);
    case StatementKind::kFor:
      return ExecuteFor(statement, scope, out);
    case StatementKind::kSet:
      Assign(statement.targets[0], Evaluate(*statement.exprs[0], scope), scope, scope);
      break;
    case StatementKind::kSetBlock:
      return ExecuteSetBlock(statement, scope);
    case StatementKind::kMacro:
      scope->Set(statement.macro->name, r_->NewMacro(statement.macro.get(), scope));
      break;
    case StatementKind::kCallBlock:
      ExecuteCallBlock(statement, scope, out);
      break;
    case StatementKind::kFilterBlock:
      return ExecuteFilterBlock(statement, scope, out);
    case StatementKind::kWith:
      return ExecuteWith(statement, scope, out);
    case StatementKind::kScope:
      return ExecuteInside(statement.body, scope, out);
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::ExecuteIf(const Statement& statement, Scope* scope, std::string* out) {
  for (const Branch& branch : statement.branches) {
    const bool holds = Truth(Evaluate(*branch.condition, scope));
    if (!r_->ok()) return Flow::kBreak;
    if (holds) return Execute(branch.body, scope, out);
  }
  return Execute(statement.otherwise, scope, out);
}

Value Interpreter::FilterItems(const Statement& statement, const Value& list, Scope* scope) {
  if (statement.exprs[1] == nullptr) return list;
  std::vector<Value> kept;
  for (const Value& item : list.items()) {
    if (!r_->Spend(1)) break;
    Scope* inner = r_->NewScope(scope);
    Assign(statement.targets[0], item, inner, inner);
    if (Truth(Evaluate(*statement.exprs[1], inner))) kept.push_back(item);
    r_->Release(inner);
  }
  return r_->List(std::move(kept));
}

Interpreter::Flow Interpreter::ExecuteFor(const Statement& statement, Scope* scope, std::string* out) {
  const Value all = Iterate(r_, Evaluate(*statement.exprs[0], scope));
  const Value list = FilterItems(statement, all, scope);
  if (!r_->ok()) return Flow::kBreak;
  auto loop = std::make_shared<Loop>();
  loop->list = list;
  const std::vector<Value>& items = list.items();
  for (size_t i = 0; i < items.size(); ++i) {
    if (!r_->Spend(1)) return Flow::kBreak;
    loop->index = i;
    Scope* inner = r_->NewScope(scope);
    inner->Set("loop", Value::Of(loop));
    Assign(statement.targets[0], items[i], inner, inner);
    const Flow flow = Execute(statement.body, inner, out);
    r_->Release(inner);
    if (flow == Flow::kBreak) return r_->ok() ? Flow::kNext : Flow::kBreak;
  }
  return items.empty() ? ExecuteInside(statement.otherwise, scope, out) : Flow::kNext;
}

Interpreter::Flow Interpreter::ExecuteSetBlock(const Statement& statement, Scope* scope) {
  std::string text;
  const Flow flow = ExecuteInside(statement.body, scope, &text);
  if (flow != Flow::kNext) return flow;
  Value value = r_->String(std::move(text));
  if (statement.exprs[0] != nullptr) value = EvaluateFilter(*statement.exprs[0], scope, &value);
  Assign(statement.targets[0], value, scope, scope);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::ExecuteFilterBlock(const Statement& statement, Scope* scope, std::string* out) {
  std::string text;
  const Flow flow = ExecuteInside(statement.body, scope, &text);
  if (flow != Flow::kNext) return flow;
  const Value value = r_->String(std::move(text));
  Print(r_, EvaluateFilter(*statement.exprs[0], scope, &value), out);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::ExecuteWith(const Statement& statement, Scope* scope, std::string* out) {
  Scope* inner = r_->NewScope(scope);
  for (size_t i = 0; i < statement.targets.size(); ++i) {
    Assign(statement.targets[i], Evaluate(*statement.exprs[i], scope), inner, inner);
  }
  const Flow flow = Execute(statement.body, inner, out);
  r_->Release(inner);
  return flow;
}

void Interpreter::ExecuteCallBlock(const Statement& statement, Scope* scope, std::string* out) {
  const Value caller = r_->NewMacro(statement.macro.get(), scope);
  Print(r_, EvaluateCall(*statement.exprs[0], scope, &caller), out);
}

void Interpreter::Assign(const Target& target, const Value& value, Scope* scope, Scope* read_scope) {
  if (!r_->ok()) return;
  if (target.is_tuple) {
    const Rendering::Nest nest(r_);
    const Value list = Iterate(r_, value);
    if (r_->ok() && list.items().size() != target.parts.size()) {
      r_->Fail(absl::StrCat("cannot assign ", list.items().size(), " values to ", target.parts.size(), " names"));
    }
    for (size_t i = 0; i < target.parts.size() && r_->ok(); ++i) {
      Assign(target.parts[i], list.items()[i], scope, read_scope);
    }
    return;
  }
  if (target.attribute.empty()) return scope->Set(target.name, value);
  const Value object = Lookup(target.name, read_scope);
  auto* space = object.As<Namespace>();
  if (space == nullptr) {
    r_->Fail(absl::StrCat("'", target.name, ".", target.attribute, "' cannot be set: it is no namespace"));
    return;
  }
  if (!IsNamespaceName(target.attribute)) {
    r_->Fail(absl::StrCat("'", target.attribute, "' cannot be set: it begins with an underscore"));
    return;
  }
  for (auto& [key, old] : space->attributes) {
    if (key.text() != target.attribute) continue;
    old = value;
    return;
  }
  space->attributes.emplace_back(r_->String(target.attribute), value);
}

bool Interpreter::BindMacro(const Macro& macro, const Args& args, Scope* scope) {
  const size_t num_parameters = macro.parameters.size();
  std::vector<const Value*> given(num_parameters, nullptr);
  std::vector<Value> more;
  for (size_t i = 0; i < args.positional.size(); ++i) {
    if (i < num_parameters) {
      given[i] = &args.positional[i];
    } else {
      more.push_back(args.positional[i]);
    }
  }
  Entries named;
  for (const auto& [name, value] : args.named) {
    size_t at = 0;
    while (at < num_parameters && (macro.parameters[at] != name || given[at] != nullptr)) ++at;
    if (at < num_parameters) {
      given[at] = &value;
    } else if (name == "caller" && macro.uses_caller) {
      scope->Set(name, value);
    } else if (macro.uses_kwargs) {
      named.emplace_back(r_->String(name), value);
    } else {
      r_->Fail(absl::StrCat("macro '", macro.name, "' takes no argument '", name, "'"));
    }
  }
  if (!more.empty() && !macro.uses_varargs) {
    r_->Fail(absl::StrCat("macro '", macro.name, "' takes at most ", num_parameters, " arguments"));
  }
  if (macro.uses_varargs) scope->Set("varargs", r_->List(std::move(more), ListForm::kTuple));
  if (macro.uses_kwargs) scope->Set("kwargs", r_->Dict(std::move(named)));
  if (macro.uses_caller && scope->Find("caller") == nullptr) scope->Set("caller", Value::Undefined("'caller'"));
  const size_t first_default = num_parameters - macro.defaults.size();
  for (size_t i = 0; i < num_parameters && r_->ok(); ++i) {
    Value value = Value::Undefined(absl::StrCat("the parameter '", macro.parameters[i], "'"));
    if (given[i] != nullptr) {
      value = *given[i];
    } else if (i >= first_default) {
      value = Evaluate(*macro.defaults[i - first_default], scope);
    }
    scope->Set(macro.parameters[i], std::move(value));
  }
  return r_->ok();
}

Value Interpreter::CallMacro(const Function& function, const Args& args) {
  const Rendering::Nest nest(r_);
  if (!r_->ok()) return Value();
  Scope* scope = r_->NewScope(function.scope);
  std::string text;
  if (BindMacro(*function.macro, args, scope)) Execute(function.macro->body, scope, &text);
  r_->Release(scope);
  return r_->String(std::move(text));
}

}  // namespace quire::jinja
