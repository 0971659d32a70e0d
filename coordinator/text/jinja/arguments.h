// The arguments of a call, and their binding to parameters as Python does it.
//
// One thread per rendering.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_ARGUMENTS_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_ARGUMENTS_H_

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

class Bound final {
 public:
  // Records an error for a missing, superfluous or unknown argument. `args` must outlive this.
  Bound(Rendering* r, absl::string_view what, const Args& args, std::initializer_list<const char*> names,
        size_t required = 0)
      : r_(r), what_(what), values_(names.size(), nullptr) {
    if (args.positional.size() > names.size()) {
      r->Fail(absl::StrCat(what, " takes at most ", names.size(), " arguments, got ", args.positional.size()));
      return;
    }
    for (size_t i = 0; i < args.positional.size(); ++i) values_[i] = &args.positional[i];
    for (const auto& [name, value] : args.named) {
      size_t at = 0;
      while (at < names.size() && name != *(names.begin() + at)) ++at;
      if (at == names.size() || values_[at] != nullptr) {
        r->Fail(absl::StrCat(what, ": unexpected argument '", name, "'"));
        return;
      }
      values_[at] = &value;
    }
    for (size_t i = 0; i < required; ++i) {
      if (values_[i] == nullptr) r->Fail(absl::StrCat(what, " needs the argument '", *(names.begin() + i), "'"));
    }
  }

  // Null when it was not given.
  const Value* at(size_t i) const { return values_[i]; }
  const Value& Or(size_t i, const Value& otherwise) const { return values_[i] == nullptr ? otherwise : *values_[i]; }
  bool Flag(size_t i, bool otherwise) const { return values_[i] == nullptr ? otherwise : Truth(*values_[i]); }
  int64_t Int(size_t i, int64_t otherwise) const {
    if (values_[i] == nullptr) return otherwise;
    if (values_[i]->is_integer()) return values_[i]->integer();
    r_->Fail(absl::StrCat(what_, " wants an integer, not a ", TypeName(*values_[i])));
    return otherwise;
  }
  std::string Text(size_t i, absl::string_view otherwise) const {
    if (values_[i] == nullptr) return std::string(otherwise);
    if (values_[i]->is_string()) return values_[i]->text();
    r_->Fail(absl::StrCat(what_, " wants a string, not a ", TypeName(*values_[i])));
    return std::string(otherwise);
  }

 private:
  Rendering* const r_;
  const std::string what_;
  std::vector<const Value*> values_;
};

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_ARGUMENTS_H_
