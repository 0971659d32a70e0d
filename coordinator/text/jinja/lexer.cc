#include "coordinator/text/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "coordinator/text/jinja/characters.h"
#include "coordinator/text/jinja/string_literal.h"
#include "coordinator/text/unicode.h"
#include "coordinator/text/utf8.h"

namespace quire::jinja {
namespace {

constexpr absl::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                            "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

constexpr size_t kNameBytesMax = 256;

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsNameStart(char c) {
  return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

// Bytes of the name at the front; 0 when a character beyond ASCII stands there that begins none.
size_t NameLength(absl::string_view text) {
  size_t end = 0;
  while (end < text.size()) {
    size_t next = end;
    const char32_t c = text::NextChar(text, &next);
    if (c < 0x80 ? !IsNameStart(text[end]) && !(end > 0 && IsDigit(text[end]))
                 : !(end > 0 ? text::IsWordChar(c) : IsAlphabetic(c))) {
      break;
    }
    end = next;
  }
  return end;
}

// One kind of line break, and without the one at the end.
std::string NormalizeLines(absl::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer final {
 public:
  explicit Lexer(absl::string_view source) : source_(NormalizeLines(source)), rest_(source_) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (status_.ok() && !rest_.empty()) ReadText();
    if (!status_.ok()) return status_;
    Add(TokenKind::kEnd);
    return std::move(tokens_);
  }

 private:
  // Text up to the next tag, and that tag.
  void ReadText();
  void ReadComment();
  // Behind "{% raw %}".
  void ReadRaw();
  // If `{%- raw %}` starts here, its length.
  size_t RawBegin(absl::string_view text) const;
  void ReadTag(TokenKind end_kind);
  bool TakeTagEnd(TokenKind end_kind);
  void ReadToken();
  void ReadNumber();
  void ReadInt(size_t length);
  void ReadString();
  void ReadOperator();
  void TrackBrackets(char c);

  // What is left of the text before a tag whose sign is `sign`, and the token for it.
  void AddText(absl::string_view text, char sign, bool is_output);

  void Add(TokenKind kind, absl::string_view text = "") {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::string(text);
    tokens_.push_back(std::move(token));
  }
  void Skip(size_t bytes) {
    line_ += static_cast<int>(std::count(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(bytes), '\n'));
    if (bytes > 0) line_starting_ = rest_[bytes - 1] == '\n';
    rest_.remove_prefix(bytes);
  }
  size_t CountSpace(size_t from) const { return rest_.size() - from - StripLeft(rest_.substr(from)).size(); }
  void Fail(absl::string_view what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", what));
  }

  const std::string source_;
  absl::string_view rest_;
  int line_ = 1;
  bool line_starting_ = true;  // what was taken last ended a line
  char previous_ = ' ';        // last byte inside the tag
  std::string brackets_;       // the closing brackets that are due
  std::vector<Token> tokens_;
  absl::Status status_;
};

void Lexer::AddText(absl::string_view text, char sign, bool is_output) {
  if (sign == '-') {
    text = StripRight(text);
  } else if (sign != '+' && !is_output) {
    const size_t last_break = text.rfind('\n');
    const size_t line_begin = last_break == absl::string_view::npos ? 0 : last_break + 1;
    const bool only_space = line_begin < text.size() && StripLeft(text.substr(line_begin)).empty();
    if ((line_begin > 0 || line_starting_) && only_space) text = text.substr(0, line_begin);
  }
  if (!text.empty()) Add(TokenKind::kData, text);
}

size_t Lexer::RawBegin(absl::string_view text) const {
  absl::string_view t = text;
  if (!absl::ConsumePrefix(&t, "{%")) return 0;
  if (!absl::ConsumePrefix(&t, "-")) absl::ConsumePrefix(&t, "+");
  t = StripLeft(t);
  if (!absl::ConsumePrefix(&t, "raw")) return 0;
  t = StripLeft(t);
  if (absl::ConsumePrefix(&t, "-%}")) return text.size() - StripLeft(t).size();
  return absl::ConsumePrefix(&t, "%}") ? text.size() - t.size() : 0;
}

void Lexer::ReadText() {
  size_t at = 0;
  while (true) {
    at = rest_.find('{', at);
    if (at == absl::string_view::npos || at + 1 >= rest_.size()) {
      Add(TokenKind::kData, rest_);
      return Skip(rest_.size());
    }
    const char next = rest_[at + 1];
    if (next == '%' || next == '{' || next == '#') break;
    ++at;
  }
  const char kind = rest_[at + 1];
  const char sign = at + 2 < rest_.size() ? rest_[at + 2] : ' ';
  const size_t raw = kind == '%' ? RawBegin(rest_.substr(at)) : 0;
  AddText(rest_.substr(0, at), sign, kind == '{');
  Skip(at);
  if (raw > 0) {
    Skip(raw);
    return ReadRaw();
  }
  Skip(sign == '-' || sign == '+' ? 3 : 2);
  if (kind == '#') return ReadComment();
  previous_ = ' ';
  Add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kOutputBegin);
  ReadTag(kind == '%' ? TokenKind::kBlockEnd : TokenKind::kOutputEnd);
}

void Lexer::ReadComment() {
  const size_t end = rest_.find("#}");
  if (end == absl::string_view::npos) return Fail("a comment has no end");
  const char sign = end > 0 ? rest_[end - 1] : ' ';
  Skip(end + 2);
  if (sign == '-') return Skip(CountSpace(0));
  if (sign != '+' && absl::StartsWith(rest_, "\n")) Skip(1);
}

void Lexer::ReadRaw() {
  for (size_t at = rest_.find("{%"); at != absl::string_view::npos; at = rest_.find("{%", at + 1)) {
    absl::string_view t = rest_.substr(at + 2);
    const char sign = t.empty() ? ' ' : t[0];
    if (sign == '-' || sign == '+') t.remove_prefix(1);
    t = StripLeft(t);
    if (!absl::ConsumePrefix(&t, "endraw")) continue;
    t = StripLeft(t);
    const char end_sign = t.empty() ? ' ' : t[0];
    if (end_sign == '-' || end_sign == '+') t.remove_prefix(1);
    if (!absl::ConsumePrefix(&t, "%}")) continue;
    if (end_sign == '-') t = StripLeft(t);
    if (end_sign != '-' && end_sign != '+') absl::ConsumePrefix(&t, "\n");
    AddText(rest_.substr(0, at), sign, false);
    return Skip(rest_.size() - t.size());
  }
  Fail("{% raw %} has no end");
}

bool Lexer::TakeTagEnd(TokenKind end_kind) {
  if (!brackets_.empty()) return false;
  const absl::string_view end = end_kind == TokenKind::kBlockEnd ? "%}" : "}}";
  absl::string_view t = rest_;
  const bool strips = absl::ConsumePrefix(&t, "-");
  const bool keeps = !strips && end_kind == TokenKind::kBlockEnd && absl::ConsumePrefix(&t, "+");
  if (!absl::ConsumePrefix(&t, end)) return false;
  Add(end_kind);
  if (strips) t = StripLeft(t);
  if (!strips && !keeps && end_kind == TokenKind::kBlockEnd) absl::ConsumePrefix(&t, "\n");
  Skip(rest_.size() - t.size());
  return true;
}

void Lexer::ReadTag(TokenKind end_kind) {
  const int begin_line = line_;
  while (status_.ok()) {
    const size_t space = CountSpace(0);
    if (space > 0) {
      previous_ = ' ';
      Skip(space);
    }
    if (rest_.empty()) {
      line_ = begin_line;
      return Fail("a tag that begins here has no end");
    }
    if (TakeTagEnd(end_kind)) return;
    ReadToken();
  }
}

void Lexer::ReadToken() {
  const char c = rest_[0];
  const size_t before = rest_.size();
  const absl::string_view whole = rest_;
  if (IsDigit(c)) {
    ReadNumber();
  } else if (IsNameStart(c)) {
    const size_t length = NameLength(rest_);
    if (length == 0) return ReadOperator();
    if (length > kNameBytesMax) return Fail(absl::StrCat("a name has more than ", kNameBytesMax, " bytes"));
    Add(TokenKind::kName, rest_.substr(0, length));
    Skip(length);
  } else if (c == '\'' || c == '"') {
    ReadString();
  } else {
    ReadOperator();
  }
  if (status_.ok()) previous_ = whole[before - rest_.size() - 1];
}

void Lexer::ReadNumber() {
  const auto digits = [this](size_t at) {
    size_t end = at;
    while (end < rest_.size() && (IsDigit(rest_[end]) || (end > at && rest_[end] == '_' && end + 1 < rest_.size() &&
                                                          IsDigit(rest_[end + 1])))) {
      ++end;
    }
    return end;
  };
  const auto at = [this](size_t i) { return i < rest_.size() ? rest_[i] : ' '; };
  const size_t whole = digits(0);
  size_t end = whole;
  if (at(end) == '.' && IsDigit(at(end + 1))) end = digits(end + 1);
  if (at(end) == 'e' || at(end) == 'E') {
    const size_t sign = at(end + 1) == '+' || at(end + 1) == '-' ? 1 : 0;
    if (IsDigit(at(end + 1 + sign))) end = digits(end + 1 + sign);
  }
  if (end == whole || previous_ == '.') return ReadInt(whole);
  std::string text(rest_.substr(0, end));
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  Add(TokenKind::kFloat);
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), tokens_.back().number);
  if (parsed.ec != std::errc()) return Fail(absl::StrCat("the number ", text, " is out of range"));
  Skip(end);
}

void Lexer::ReadInt(size_t length) {
  int base = 10;
  size_t begin = 0;
  const char mark = rest_.size() > 1 ? absl::ascii_tolower(static_cast<unsigned char>(rest_[1])) : ' ';
  if (rest_[0] == '0' && (mark == 'b' || mark == 'o' || mark == 'x')) {
    base = mark == 'b' ? 2 : mark == 'o' ? 8 : 16;
    begin = length = 2;
    while (length < rest_.size() &&
           (absl::ascii_isxdigit(static_cast<unsigned char>(rest_[length])) || rest_[length] == '_')) {
      ++length;
    }
  } else if (rest_[0] == '0') {
    length = std::min(length, std::min(rest_.find_first_not_of("0_"), rest_.size()));  // 012 is 0 and 12, as in Jinja2
  }
  std::string text(rest_.substr(begin, length - begin));
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  Add(TokenKind::kInt);
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, tokens_.back().integer, base);
  if (parsed.ec != std::errc() || parsed.ptr != end) return Fail(absl::StrCat("not a 64-bit integer: ", text));
  Skip(length);
}

void Lexer::ReadString() {
  const char quote = rest_[0];
  size_t end = 1;
  while (end < rest_.size() && rest_[end] != quote) end += rest_[end] == '\\' ? 2 : 1;
  if (end >= rest_.size()) return Fail("a string has no end");
  const absl::StatusOr<std::string> text = Unescape(rest_.substr(1, end - 1));
  if (!text.ok()) return Fail(text.status().message());
  Add(TokenKind::kString, *text);
  Skip(end + 1);
}

void Lexer::ReadOperator() {
  for (const absl::string_view op : kOperators) {
    if (!absl::StartsWith(rest_, op)) continue;
    TrackBrackets(op[0]);
    Add(TokenKind::kOperator, op);
    return Skip(op.size());
  }
  Fail(absl::StrCat("unexpected character '", rest_.substr(0, text::CharLength(rest_[0])), "'"));
}

void Lexer::TrackBrackets(char c) {
  if (c == '(') brackets_.push_back(')');
  if (c == '[') brackets_.push_back(']');
  if (c == '{') brackets_.push_back('}');
  if (c != ')' && c != ']' && c != '}') return;
  if (brackets_.empty() || brackets_.back() != c) return Fail(absl::StrCat("unexpected '", std::string(1, c), "'"));
  brackets_.pop_back();
}

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(absl::string_view source) { return Lexer(source).Run(); }

}  // namespace quire::jinja
