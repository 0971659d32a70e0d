#include "coordinator/text/jinja/template.h"

#include <glog/logging.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/jinja/interpreter.h"
#include "coordinator/text/jinja/lexer.h"
#include "coordinator/text/jinja/parser.h"
#include "coordinator/text/utf8.h"

namespace quire::jinja {

struct Template::Tree {
  Body body;
};

Template::Template(std::unique_ptr<const Tree> tree) : tree_(std::move(tree)) {}
Template::~Template() = default;

absl::StatusOr<std::unique_ptr<const Template>> Template::Parse(absl::string_view source) {
  if (source.size() > kTemplateBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a template of ", source.size(), " bytes is over the limit of ", kTemplateBytesMax));
  }
  if (const size_t at = text::FindInvalidUtf8(source); at != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("the template is not UTF-8 at byte ", at));
  }
  absl::StatusOr<std::vector<Token>> tokens = Tokenize(source);
  if (!tokens.ok()) return tokens.status();
  absl::StatusOr<Body> body = jinja::Parse(*std::move(tokens));
  if (!body.ok()) return body.status();
  auto tree = std::make_unique<Tree>();
  tree->body = *std::move(body);
  return std::unique_ptr<const Template>(new Template(std::move(tree)));
}

absl::StatusOr<std::string> Template::Render(const Value& variables, const Clock& clock, const Limits& limits) const {
  CHECK(variables.is_dict()) << TypeName(variables);
  Rendering rendering(limits, clock);
  std::string out;
  Interpreter(&rendering, variables).Run(tree_->body, &out);
  if (!rendering.ok()) return rendering.status();
  return out;
}

}  // namespace quire::jinja
