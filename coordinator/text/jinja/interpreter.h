// Runs a template's tree.
//
// One thread per rendering.
//   N1  Names are looked up from the innermost block outwards, then among the variables, then among the functions.
//       Loop passes, macro calls, {% set %}...{% endset %}, {% filter %}, {% with %} and {% generation %} are blocks;
//       {% if %} is none.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_INTERPRETER_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_INTERPRETER_H_

#include <string>

#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/ast.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

class Interpreter final {
 public:
  // `variables` is a dict; it and the rendering must outlive this.
  Interpreter(Rendering* r, const Value& variables) : r_(r), variables_(variables) {}

  // Appends the text; what it is worth the rendering's status tells.
  void Run(const Body& body, std::string* out);

 private:
  enum class Flow { kNext, kBreak, kContinue };

  Flow Execute(const Body& body, Scope* scope, std::string* out);
  Flow ExecuteOne(const Statement& statement, Scope* scope, std::string* out);
  // The same in a block of its own.
  Flow ExecuteInside(const Body& body, Scope* scope, std::string* out);
  Flow ExecuteIf(const Statement& statement, Scope* scope, std::string* out);
  Flow ExecuteFor(const Statement& statement, Scope* scope, std::string* out);
  Flow ExecuteSetBlock(const Statement& statement, Scope* scope);
  Flow ExecuteFilterBlock(const Statement& statement, Scope* scope, std::string* out);
  Flow ExecuteWith(const Statement& statement, Scope* scope, std::string* out);
  void ExecuteCallBlock(const Statement& statement, Scope* scope, std::string* out);
  Value FilterItems(const Statement& statement, const Value& list, Scope* scope);
  void Assign(const Target& target, const Value& value, Scope* scope, Scope* read_scope);

  Value Evaluate(const Expr& expr, Scope* scope);
  Value EvaluateOperator(const Expr& expr, Scope* scope);
  Value EvaluateLogic(const Expr& expr, Scope* scope);
  Value EvaluateCompare(const Expr& expr, Scope* scope);
  Value EvaluateLiteral(const Expr& expr, Scope* scope);
  Value EvaluateSlice(const Expr& expr, Scope* scope);
  Value EvaluateCall(const Expr& expr, Scope* scope, const Value* caller);
  // With `value` in the place of the innermost missing one.
  Value EvaluateFilter(const Expr& expr, Scope* scope, const Value* value);
  Value EvaluateTest(const Expr& expr, Scope* scope);
  Value Lookup(const std::string& name, Scope* scope);
  // The arguments of a call, filter or test: its items from the second on.
  Args EvaluateArguments(const Expr& expr, Scope* scope);
  Value Call(const Value& callee, const Args& args);
  Value CallMacro(const Function& function, const Args& args);
  bool BindMacro(const Macro& macro, const Args& args, Scope* scope);

  Rendering* const r_;
  const Value& variables_;
};

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_INTERPRETER_H_
