// A template as a tree.
//
// Immutable after parsing; any number of renderings may read it at once.
//   A1  No expression is deeper than kTreeDepthMax and no statement nests deeper than the parser allows, so that walks
//       over the tree may recurse.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_AST_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_AST_H_

#include <memory>
#include <string>
#include <vector>

#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

constexpr int kTreeDepthMax = 400;

enum class ExprKind {
  kConst,        // value
  kName,         // name
  kList,         // items
  kTuple,        // items
  kDict,         // items: key, value, key, value
  kAttribute,    // items: object; name
  kItem,         // items: object, key
  kSlice,        // items: object, begin, end, step; null where left out
  kCall,         // items: callee, arguments; keywords and stars below
  kFilter,       // items: value (null in {% filter %}), arguments; name
  kTest,         // likewise
  kNot,          // items: operand
  kMinus,        // items: operand
  kPlus,         // items: operand
  kBinary,       // items: left, right; op
  kConcat,       // items
  kCompare,      // items: first, second, ...; ops between them
  kAnd,          // items: left, right
  kOr,           // items: left, right
  kConditional,  // items: condition, value, otherwise (may be null)
};

enum class Op {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Expr {
  ExprKind kind = ExprKind::kConst;
  int line = 1;
  int depth = 1;
  std::string name;
  Value value;
  std::vector<ExprPtr> items;
  std::vector<std::string> keywords;  // names of the last arguments
  ExprPtr star;                       // *arguments
  ExprPtr double_star;                // **arguments
  Op op = Op::kAdd;
  std::vector<Op> ops;
};

// What an assignment sets: a name, an attribute of a namespace, or several of them.
struct Target {
  std::string name;
  std::string attribute;
  std::vector<Target> parts;
  bool is_tuple = false;
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

struct Macro {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  Body body;
  bool uses_varargs = false;
  bool uses_kwargs = false;
  bool uses_caller = false;
};

struct Branch {
  ExprPtr condition;
  Body body;
};

enum class StatementKind {
  kText,         // text
  kOutput,       // exprs
  kIf,           // branches, otherwise
  kFor,          // targets[0], exprs: what, filter (may be null); body, otherwise
  kSet,          // targets[0], exprs[0]
  kSetBlock,     // targets[0], exprs[0]: filters (may be null); body
  kMacro,        // macro
  kCallBlock,    // exprs[0]: the call; macro: the caller
  kFilterBlock,  // exprs[0]: filters; body
  kWith,         // targets, exprs; body
  kScope,        // body: {% generation %}
  kBreak,
  kContinue,
};

struct Statement {
  StatementKind kind = StatementKind::kText;
  int line = 1;
  std::string text;
  std::vector<ExprPtr> exprs;
  std::vector<Target> targets;
  std::vector<Branch> branches;
  Body body;
  Body otherwise;
  std::unique_ptr<Macro> macro;
};

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_AST_H_
