#include "coordinator/text/regex_syntax.h"

#include <cstddef>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

constexpr size_t kNoAtom = static_cast<size_t>(-1);
constexpr int kNestedClassesMax = 32;

// Class bodies. Each ends in a property so that a '-' behind it stays a literal instead of making a range.
constexpr char kSpace[] = R"(\x09-\x0d\x20\x85\xa0\x{2028}\x{2029}\p{Zs})";
constexpr char kNotSpace[] =
    R"(\x00-\x08\x0e-\x1f\x21-\x84\x86-\x9f\xa1-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e})"
    R"(\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff}\p{L})";
constexpr char kClassWord[] =
    R"(\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189}\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc})";
// Outside a class the dialect counts the superscripts and fractions of Latin-1 as word characters too.
constexpr char kWord[] =
    R"(\xb2\xb3\xb9\xbc-\xbe\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})"
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc})";
constexpr char kHex[] = R"(0-9a-fA-F)";

bool IsHexDigit(char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); }
bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

class Translator {
 public:
  explicit Translator(absl::string_view in) : in_(in) {}

  absl::StatusOr<std::string> Run() {
    while (pos_ < in_.size()) {
      if (absl::Status status = Step(); !status.ok()) return status;
    }
    if (!groups_.empty()) return Broken("unclosed group");
    return std::move(out_);
  }

 private:
  char Peek(size_t ahead = 0) const { return pos_ + ahead < in_.size() ? in_[pos_ + ahead] : '\0'; }
  bool NextIs(absl::string_view text) const { return absl::StartsWith(in_.substr(pos_), text); }
  absl::Status Unsupported(absl::string_view what) const {
    return absl::UnimplementedError(absl::StrCat("regex: ", what, " at byte ", pos_, " is not supported"));
  }
  absl::Status Broken(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("regex: ", what, " at byte ", pos_));
  }
  void Atom(absl::string_view text) {
    atom_ = out_.size();
    absl::StrAppend(&out_, text);
  }

  absl::Status Step() {
    switch (Peek()) {
      case '\\':
        return Escape();
      case '[':
        atom_ = out_.size();
        return Class();
      case '(':
        return OpenGroup();
      case ')':
        if (groups_.empty()) return Broken("unmatched ')'");
        atom_ = groups_.back();
        groups_.pop_back();
        out_ += in_[pos_++];
        return absl::OkStatus();
      case '|':
        atom_ = kNoAtom;
        out_ += in_[pos_++];
        return absl::OkStatus();
      case '*':
      case '+':
      case '?':
        out_ += in_[pos_++];
        if (Peek() == '?' || Peek() == '+') out_ += in_[pos_++];
        return absl::OkStatus();
      case '{':
        return Interval();
      default:
        const size_t length = CharLength(in_[pos_]);
        Atom(in_.substr(pos_, length));
        pos_ += length;
        return absl::OkStatus();
    }
  }

  absl::Status OpenGroup() {
    if (NextIs("(*")) return Unsupported("a callout '(*'");
    const size_t start = out_.size();
    if (!NextIs("(?")) {
      groups_.push_back(start);
      out_ += in_[pos_++];
      return absl::OkStatus();
    }
    for (absl::string_view head : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
      if (!NextIs(head)) continue;
      groups_.push_back(start);
      absl::StrAppend(&out_, head);
      pos_ += head.size();
      return absl::OkStatus();
    }
    if (NextIs("(?#")) {
      const size_t end = in_.find(')', pos_);
      if (end == absl::string_view::npos) return Broken("unclosed comment");
      pos_ = end + 1;
      return absl::OkStatus();
    }
    return InlineOptions(start);
  }

  absl::Status InlineOptions(size_t start) {
    const size_t end = in_.find_first_not_of("imx-", pos_ + 2);
    const char closer = end == absl::string_view::npos ? '\0' : in_[end];
    if (closer != ':' && closer != ')') return Unsupported("the group '(?'");
    // Behind other text an option without its own group reaches over '|' in one dialect and not in the other.
    if (closer == ')' && pos_ != 0) return Unsupported("an inline option inside the pattern");
    for (char c : in_.substr(pos_, end - pos_)) out_ += c == 'm' ? 's' : c;  // D3
    out_ += closer;
    pos_ = end + 1;
    if (closer == ':') groups_.push_back(start);
    return absl::OkStatus();
  }

  // Parses {n}, {n,}, {n,m} or {,m}; anything else is a literal brace.
  absl::Status Interval() {
    size_t end = pos_ + 1;
    const auto digits = [&] {
      const size_t begin = end;
      while (end < in_.size() && IsDigit(in_[end])) ++end;
      return in_.substr(begin, end - begin);
    };
    const absl::string_view low = digits();
    const bool has_comma = end < in_.size() && in_[end] == ',';
    if (has_comma) ++end;
    const absl::string_view high = has_comma ? digits() : absl::string_view();
    if (end >= in_.size() || in_[end] != '}' || (low.empty() && high.empty())) {
      Atom("\\{");
      ++pos_;
      return absl::OkStatus();
    }
    if (atom_ == kNoAtom) return Broken("nothing to repeat");
    pos_ = end + 1;
    absl::StrAppend(&out_, "{", low.empty() ? "0" : low, has_comma ? "," : "", high, "}");
    if (Peek() == '+' || (Peek() == '?' && !has_comma)) {  // D2
      out_.insert(atom_, "(?:");
      absl::StrAppend(&out_, ")", in_.substr(pos_, 1));
      ++pos_;
    } else if (Peek() == '?') {
      out_ += in_[pos_++];
    }
    return absl::OkStatus();
  }

  // Escapes that mean one thing inside and outside a class. Returns false when the escape is none of them.
  absl::StatusOr<bool> SharedEscape() {
    const char c = Peek(1);
    switch (c) {
      case 'd':
      case 'D':
        absl::StrAppend(&out_, c == 'd' ? "\\p{Nd}" : "\\P{Nd}");
        break;
      case 'v':
        absl::StrAppend(&out_, "\\x0b");
        break;
      case 'n':
      case 'r':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        absl::StrAppend(&out_, in_.substr(pos_, 2));
        break;
      case 'u':
        for (size_t i = 2; i < 6; ++i) {
          if (!IsHexDigit(Peek(i))) return Broken("\\u without four hexadecimal digits");
        }
        absl::StrAppend(&out_, "\\x{", in_.substr(pos_ + 2, 4), "}");
        pos_ += 6;
        return true;
      case 'p':
      case 'P':
      case 'x':
        return BracedEscape();
      default:
        if (pos_ + 1 >= in_.size()) return Broken("a trailing backslash");
        if (absl::ascii_isalnum(static_cast<unsigned char>(c))) return false;
        const size_t length = CharLength(c);
        // PCRE2 knows no escaped character beyond ASCII, and none is needed.
        if (length == 1) out_ += '\\';
        absl::StrAppend(&out_, in_.substr(pos_ + 1, length));
        pos_ += 1 + length;
        return true;
    }
    pos_ += 2;
    return true;
  }

  // \p{..}, \P{..}, \x{..} and \xHH are the same in both dialects.
  absl::StatusOr<bool> BracedEscape() {
    size_t length = 2;
    if (Peek(2) == '{') {
      const size_t end = in_.find('}', pos_);
      if (end == absl::string_view::npos) return Broken("an unclosed '{'");
      length = end + 1 - pos_;
    } else if (Peek(1) == 'x') {
      while (length < 4 && IsHexDigit(Peek(length))) ++length;
    } else {
      return Broken("\\p without a property in braces");
    }
    absl::StrAppend(&out_, in_.substr(pos_, length));
    pos_ += length;
    return true;
  }

  absl::Status Escape() {
    atom_ = out_.size();
    absl::StatusOr<bool> shared = SharedEscape();
    if (!shared.ok()) return shared.status();
    if (*shared) return absl::OkStatus();
    const char c = Peek(1);
    const auto boundary = [](absl::string_view left_not, absl::string_view right_not) {
      return absl::StrCat("(?:(?<=[", kWord, "])(?", left_not, "[", kWord, "])|(?<![", kWord, "])(?", right_not, "[",
                          kWord, "]))");
    };
    switch (c) {
      case 's':
        absl::StrAppend(&out_, "[", kSpace, "]");
        break;
      case 'S':
        absl::StrAppend(&out_, "[^", kSpace, "]");
        break;
      case 'w':
        absl::StrAppend(&out_, "[", kWord, "]");
        break;
      case 'W':
        absl::StrAppend(&out_, "[^", kWord, "]");
        break;
      case 'h':
        absl::StrAppend(&out_, "[", kHex, "]");
        break;
      case 'H':
        absl::StrAppend(&out_, "[^", kHex, "]");
        break;
      case 'b':
        absl::StrAppend(&out_, boundary("!", "="));
        break;
      case 'B':
        absl::StrAppend(&out_, boundary("=", "!"));
        break;
      case 'A':
      case 'Z':
      case 'z':
      case 'R':
      case 'X':
        absl::StrAppend(&out_, in_.substr(pos_, 2));
        break;
      default:
        return Unsupported(absl::StrCat("the escape '\\", absl::string_view(&c, 1), "'"));
    }
    pos_ += 2;
    return absl::OkStatus();
  }

  absl::Status Class() {
    out_ += in_[pos_++];
    if (Peek() == '^') out_ += in_[pos_++];
    if (absl::Status status = ClassBody(0); !status.ok()) return status;
    out_ += ']';
    return absl::OkStatus();
  }

  // Reads items up to and including the closing bracket, without writing the bracket: a nested class (D4) goes into
  // the outer one.
  absl::Status ClassBody(int depth) {
    if (depth > kNestedClassesMax) return Unsupported("a class nested this deep");
    for (bool first = true; pos_ < in_.size(); first = false) {
      const char c = Peek();
      if (c == ']' && !first) {
        ++pos_;
        return absl::OkStatus();
      }
      if (NextIs("&&")) return Unsupported("set intersection '&&'");
      absl::Status status = absl::OkStatus();
      if (c == '\\') {
        status = ClassEscape();
      } else if (NextIs("[:")) {
        status = Unsupported("a POSIX class '[:'");  // their members differ between the dialects
      } else if (c == '[') {
        if (Peek(1) == '^') return Unsupported("a negated class inside a class");
        ++pos_;
        status = ClassBody(depth + 1);
      } else {
        if (c == ']') out_ += '\\';
        const size_t length = CharLength(c);
        absl::StrAppend(&out_, in_.substr(pos_, length));
        pos_ += length;
      }
      if (!status.ok()) return status;
    }
    return Broken("an unclosed '['");
  }

  absl::Status ClassEscape() {
    absl::StatusOr<bool> shared = SharedEscape();
    if (!shared.ok()) return shared.status();
    if (*shared) return absl::OkStatus();
    const char c = Peek(1);
    switch (c) {
      case 's':
        absl::StrAppend(&out_, kSpace);
        break;
      case 'S':
        absl::StrAppend(&out_, kNotSpace);
        break;
      case 'w':
        absl::StrAppend(&out_, kClassWord);
        break;
      case 'h':
        absl::StrAppend(&out_, kHex);
        break;
      case 'b':
        absl::StrAppend(&out_, "\\x08");
        break;
      default:
        return Unsupported(absl::StrCat("the escape '\\", absl::string_view(&c, 1), "' in a class"));
    }
    pos_ += 2;
    return absl::OkStatus();
  }

  const absl::string_view in_;
  size_t pos_ = 0;
  std::string out_;
  size_t atom_ = kNoAtom;       // where in out_ the last repeatable item starts
  std::vector<size_t> groups_;  // where in out_ each open group starts
};

}  // namespace

absl::StatusOr<std::string> TranslateRegex(absl::string_view pattern) { return Translator(pattern).Run(); }

}  // namespace quire::text
