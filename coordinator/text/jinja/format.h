// Texts made from templates of their own: '%s' % x, '{}'.format(x), padding, replacing.
//
// One thread per rendering.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_FORMAT_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_FORMAT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

// format % arguments, where these are a tuple, a dict or one value. Requires: `format` is a string.
Value PercentFormat(Rendering* r, const Value& format, const Value& arguments);

// format.format(*args, **kwargs): {}, {0}, {name}, {name.attribute[0]}, !r !s, and :[[fill]align][0][width][.precision][dfsx].
Value BraceFormat(Rendering* r, absl::string_view format, const Args& args);

// `text` within `width` characters: '<' at the left, '>' at the right, '^' in the middle, 'c' likewise but with the
// odd one at the left where the width is odd, '=' at the right with fill between sign and digits. Requires: `fill` is one character.
std::string PadText(Rendering* r, absl::string_view text, int64_t width, char align, absl::string_view fill);

// str.replace; a negative `count` replaces all.
std::string ReplaceText(Rendering* r, absl::string_view text, absl::string_view from, absl::string_view to,
                        int64_t count);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_FORMAT_H_
