#include "coordinator/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <glog/logging.h>
#include <pcre2.h>

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/text/regex_syntax.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

constexpr size_t kPatternBytesMax = 64 << 10;
constexpr uint32_t kMatchLimit = 50'000'000;  // backtracking steps of one match; a 4 MiB run of spaces needs 4 million
constexpr uint32_t kHeapLimitKib = 64 << 10;
constexpr size_t kJitStackMinBytes = 32 << 10;
constexpr size_t kJitStackMaxBytes = 8 << 20;

// What a match needs to write to. One per thread: making it anew for each of millions of short matches would dominate.
class MatchScratch {
 public:
  MatchScratch()
      : data_(pcre2_match_data_create(1, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(kJitStackMinBytes, kJitStackMaxBytes, nullptr)) {
    CHECK(data_ != nullptr && context_ != nullptr) << "out of memory for a regex match";
    pcre2_set_match_limit(context_, kMatchLimit);
    pcre2_set_heap_limit(context_, kHeapLimitKib);
    // Without a stack of its own the JIT code uses 32 KiB of the thread's, which is enough for most patterns.
    if (stack_ != nullptr) pcre2_jit_stack_assign(context_, nullptr, stack_);
  }
  ~MatchScratch() {
    pcre2_match_data_free(data_);
    pcre2_match_context_free(context_);
    if (stack_ != nullptr) pcre2_jit_stack_free(stack_);
  }
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

  pcre2_match_data* data() { return data_; }
  pcre2_match_context* context() { return context_; }

 private:
  pcre2_match_data* const data_;
  pcre2_match_context* const context_;
  pcre2_jit_stack* const stack_;
};

MatchScratch& ThreadScratch() {
  thread_local MatchScratch scratch;
  return scratch;
}

std::string ErrorText(int code) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(code, buffer, sizeof(buffer)) < 0) return absl::StrCat("PCRE2 error ", code);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Regex>> Regex::Compile(absl::string_view pattern) {
  if (pattern.size() > kPatternBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("regex: pattern of ", pattern.size(), " bytes is over the limit of ", kPatternBytesMax));
  }
  absl::StatusOr<std::string> translated = TranslateRegex(pattern);
  if (!translated.ok()) {
    return absl::Status(translated.status().code(), absl::StrCat(translated.status().message(), " in '", pattern, "'"));
  }
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  CHECK(context != nullptr) << "out of memory for a regex";
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
  int error = 0;
  PCRE2_SIZE offset = 0;
  constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated->data()), translated->size(), kOptions,
                                   &error, &offset, context);
  pcre2_compile_context_free(context);
  if (code == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("regex: ", ErrorText(error), " in '", pattern, "'"));
  }
  // Where the machine forbids executable memory the interpreter serves, slower.
  const int jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  LOG_IF(WARNING, jit != 0) << "regex: no JIT, matching will be slow: " << ErrorText(jit);
  return std::unique_ptr<const Regex>(new Regex(code));
}

Regex::~Regex() { pcre2_code_free(code_); }

absl::StatusOr<bool> Regex::Find(absl::string_view text, size_t from, TextSpan* match) const {
  MatchScratch& scratch = ThreadScratch();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data() == nullptr ? "" : text.data());
  int rc = pcre2_match(code_, subject, text.size(), from, PCRE2_NO_UTF_CHECK, scratch.data(), scratch.context());
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
    // The interpreter keeps its backtracking on the heap, within kHeapLimitKib.
    rc = pcre2_match(code_, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.data(),
                     scratch.context());
  }
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("regex gave up at byte ", from, " of ", text.size(), ": ", ErrorText(rc)));
  }
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(scratch.data());
  // \K inside a lookahead can put the start behind the end; no such pattern passes the translator.
  CHECK(span[0] <= span[1] && span[1] <= text.size()) << span[0] << " to " << span[1] << " of " << text.size();
  *match = {span[0], span[1]};
  return true;
}

absl::StatusOr<bool> RegexMatches::Next(TextSpan* match) {
  while (from_ <= text_.size()) {
    absl::StatusOr<bool> found = regex_.Find(text_, from_, match);
    if (!found.ok() || !*found) return found;
    const bool empty = match->begin == match->end;
    if (!empty || last_end_ != match->end) {
      from_ = match->end;
      last_end_ = match->end;
      return true;
    }
    from_ += from_ < text_.size() ? CharLength(text_[from_]) : 1;
  }
  return false;
}

}  // namespace quire::text
