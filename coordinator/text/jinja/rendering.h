// The account of one rendering: what it may still use, its first error, and the objects that live until its end.
//
// One thread.
//   R1  The first error is kept, and everything that runs afterwards ends soon and in harmless values, so that callers
//       ask for the status where it matters and not after every call.
//   R2  Work is bounded by steps, memory by live bytes, recursion by Nest, output by its size; every loop spends steps.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_RENDERING_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_RENDERING_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/text/jinja/objects.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

// What a rendering may use. The defaults serve a conversation of megabytes and stop a runaway in seconds.
struct Limits {
  int64_t steps = 20'000'000;               // expressions, statements, loop passes; 64 bytes copied count as one
  int64_t live_bytes = int64_t{256} << 20;  // values held at a time
  int64_t text_bytes = int64_t{32} << 20;   // one string, or the output
  int nesting = 700;                        // expressions and statements inside each other, macros' included
};

struct Clock {
  absl::Time now;
  absl::TimeZone zone;
};

class Rendering final {
 public:
  Rendering(const Limits& limits, const Clock& clock);
  ~Rendering();
  Rendering(const Rendering&) = delete;
  Rendering& operator=(const Rendering&) = delete;

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }
  const Clock& clock() const { return clock_; }
  // The line that errors name.
  void set_line(int line) { line_ = line; }
  int line() const { return line_; }

  // Records "line N: what" unless there is an error. Returns undefined, so that it can be returned.
  Value Fail(absl::string_view what);
  Value FailLimit(absl::string_view what);
  // Takes from the steps; false (and an error) when none is left.
  bool Spend(int64_t steps);
  bool SpendText(size_t bytes) { return Spend(1 + static_cast<int64_t>(bytes / 64)); }
  // For walks that look at each character.
  bool SpendChars(size_t bytes) { return Spend(1 + static_cast<int64_t>(bytes / 16)); }

  // One level deeper while it lives.
  class Nest final {
   public:
    explicit Nest(Rendering* rendering);
    ~Nest() { --rendering_->depth_; }
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;

   private:
    Rendering* const rendering_;
  };

  // Makers of values, within the limits.
  Value String(std::string text, bool safe = false);
  Value List(std::vector<Value> items, ListForm form = ListForm::kList);
  Value Dict(Entries entries);
  Value NewIterator(std::vector<Value> items);  // its list is undefined after an error
  Value NewNamespace(Entries attributes);
  Value NewMethod(Value self, const std::string& name);
  Value NewMacro(const Macro* macro, Scope* scope);
  // Appends within the limit on text.
  void Append(std::string* out, absl::string_view text);

  bool Equal(const Value& a, const Value& b);
  // As value.h's; an error where Python has no order.
  int Order(const Value& a, const Value& b);

  Scope* NewScope(Scope* parent);
  // The scope is not used any more, unless a macro has captured it.
  void Release(Scope* scope);

 private:
  const Limits limits_;
  const Clock clock_;
  absl::Status status_;
  int line_ = 1;
  int depth_ = 0;
  int64_t steps_;
  int64_t live_ = 0;
  std::deque<Scope> scopes_;
  std::vector<Scope*> free_scopes_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_RENDERING_H_
