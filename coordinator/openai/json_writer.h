// JSON as text, appended piece by piece: a stream's events are small and many, a tree for each would be waste.
//
// Pure functions; any thread.
#ifndef QUIRE_COORDINATOR_OPENAI_JSON_WRITER_H_
#define QUIRE_COORDINATOR_OPENAI_JSON_WRITER_H_

#include <string>

#include "absl/strings/string_view.h"

namespace quire::openai {

// Appends `text` as a JSON string on one line. Bytes that are not UTF-8 become U+FFFD, one a maximal subpart.
void AppendQuoted(absl::string_view text, std::string* out);
std::string Quoted(absl::string_view text);

// Appends a log-prob: the shortest number that reads back as this float. JSON has no infinity: what is below -9999, or
// not a number, becomes -9999 as it does in vLLM.
void AppendLogprob(float logprob, std::string* out);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_JSON_WRITER_H_
