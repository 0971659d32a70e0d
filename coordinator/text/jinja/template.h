// A Jinja template of the kind that models bring along: parsed once, rendered for each conversation, bounded always.
//
// Immutable after Parse; Render may run on any number of threads at once.
//   J2  It renders what Jinja2's ImmutableSandboxedEnvironment renders with trim_blocks, lstrip_blocks, loop controls and
//       the functions of Hugging Face's chat templates; what it does not support is an error, never silence.
//   J3  No template and no input make it run, recurse, allocate or write without end (Limits), nor read anything but
//       the variables and the clock.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_TEMPLATE_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_TEMPLATE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

constexpr size_t kTemplateBytesMax = 1 << 20;

class Template final {
 public:
  // Errors: kInvalidArgument "line N: what" for what is no template, or is too long; kUnimplemented for tags that exist
  // in Jinja2 and not here.
  static absl::StatusOr<std::unique_ptr<const Template>> Parse(absl::string_view source);
  ~Template();
  Template(const Template&) = delete;
  Template& operator=(const Template&) = delete;

  // `variables` is a dict with string keys. Errors: kInvalidArgument "line N: what" where the template fails, by its own
  // raise_exception or otherwise; kResourceExhausted where a limit ends it.
  absl::StatusOr<std::string> Render(const Value& variables, const Clock& clock, const Limits& limits = Limits()) const;

 private:
  struct Tree;
  explicit Template(std::unique_ptr<const Tree> tree);

  const std::unique_ptr<const Tree> tree_;
};

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_TEMPLATE_H_
