#include "coordinator/openai/logprobs_json.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/openai/json_writer.h"
#include "coordinator/text/utf8.h"

namespace quire::openai {
namespace {

std::string TokenText(const v1::TokenLogprob& token, bool as_ids) {
  return as_ids ? absl::StrCat("token_id:", token.token_id()) : token.token();
}

void AppendBytes(const std::string& token, std::string* out) {
  if (absl::StrContains(token, text::kReplacementCharacter)) {
    out->append("null");  // a part of a character: its bytes are not known here
    return;
  }
  out->push_back('[');
  for (const char byte : token) {
    if (out->back() != '[') out->push_back(',');
    absl::StrAppend(out, static_cast<unsigned char>(byte));
  }
  out->push_back(']');
}

// Up to the closing brace.
void AppendChatToken(const v1::TokenLogprob& token, bool as_ids, std::string* out) {
  out->append(R"({"token":)");
  AppendQuoted(TokenText(token, as_ids), out);
  out->append(R"(,"logprob":)");
  AppendLogprob(token.logprob(), out);
  out->append(R"(,"bytes":)");
  AppendBytes(token.token(), out);
}

size_t NumCharacters(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// The lists of a completion's log-probs, one entry a token.
class Columns {
 public:
  Columns(bool as_ids, size_t* offset) : as_ids_(as_ids), offset_(offset) {}

  void Add(const v1::PositionLogprobs& position) {
    const v1::TokenLogprob& sampled = position.sampled();
    for (std::string* column : {&offsets_, &logprobs_, &tokens_, &tops_}) {
      if (!column->empty()) column->push_back(',');
    }
    absl::StrAppend(&offsets_, *offset_);
    *offset_ += NumCharacters(sampled.token());
    AppendQuoted(TokenText(sampled, as_ids_), &tokens_);
    if (!sampled.has_logprob()) {  // the prompt's first
      logprobs_.append("null");
      tops_.append("null");
      return;
    }
    AppendLogprob(sampled.logprob(), &logprobs_);
    AddTop(position);
  }

  std::string Json() const {
    return absl::StrCat(R"({"text_offset":[)", offsets_, R"(],"token_logprobs":[)", logprobs_, R"(],"tokens":[)",
                        tokens_, R"(],"top_logprobs":[)", tops_, "]}");
  }

 private:
  // The most probable ones and the sampled, by text: of tokens with equal texts the most probable one stands.
  void AddTop(const v1::PositionLogprobs& position) {
    std::set<std::string> seen;
    tops_.push_back('{');
    const auto add = [&](const v1::TokenLogprob& token) {
      const std::string text = TokenText(token, as_ids_);
      if (!seen.insert(text).second) return;
      if (seen.size() > 1) tops_.push_back(',');
      AppendQuoted(text, &tops_);
      tops_.push_back(':');
      AppendLogprob(token.logprob(), &tops_);
    };
    for (const v1::TokenLogprob& token : position.top()) add(token);
    add(position.sampled());
    tops_.push_back('}');
  }

  const bool as_ids_;
  size_t* const offset_;
  std::string offsets_;
  std::string logprobs_;
  std::string tokens_;
  std::string tops_;
};

void AppendPromptToken(const v1::TokenLogprob& token, int rank, std::string* out) {
  absl::StrAppend(out, "\"", token.token_id(), R"(":{"logprob":)");
  AppendLogprob(token.logprob(), out);
  absl::StrAppend(out, R"(,"rank":)", rank > 0 ? absl::StrCat(rank) : "null", R"(,"decoded_token":)");
  AppendQuoted(token.token(), out);
  out->push_back('}');
}

}  // namespace

std::string ChatLogprobs(const v1::OutputLogprobs& output, bool as_ids) {
  std::string out = R"({"content":[)";
  for (const v1::PositionLogprobs& position : output.positions()) {
    if (out.back() != '[') out.push_back(',');
    AppendChatToken(position.sampled(), as_ids, &out);
    out.append(R"(,"top_logprobs":[)");
    for (const v1::TokenLogprob& token : position.top()) {
      if (out.back() != '[') out.push_back(',');
      AppendChatToken(token, as_ids, &out);
      out.push_back('}');
    }
    out.append("]}");
  }
  out.append("]}");
  return out;
}

std::string CompletionLogprobs(const v1::InputLogprobs& prompt, const v1::OutputLogprobs& output, bool as_ids,
                               size_t* offset) {
  Columns columns(as_ids, offset);
  for (const v1::PositionLogprobs& position : prompt.positions()) columns.Add(position);
  for (const v1::PositionLogprobs& position : output.positions()) columns.Add(position);
  return columns.Json();
}

std::string PromptLogprobs(const v1::InputLogprobs& prompt) {
  std::string out = "[";
  for (const v1::PositionLogprobs& position : prompt.positions()) {
    if (out.size() > 1) out.push_back(',');
    const v1::TokenLogprob& sampled = position.sampled();
    if (!sampled.has_logprob()) {
      out.append("null");
      continue;
    }
    int rank = 0;
    for (int i = 0; i < position.top_size(); ++i) {
      if (position.top(i).token_id() == sampled.token_id()) rank = i + 1;
    }
    out.push_back('{');
    AppendPromptToken(sampled, rank, &out);
    for (int i = 0; i < position.top_size(); ++i) {
      if (i + 1 == rank) continue;
      out.push_back(',');
      AppendPromptToken(position.top(i), i + 1, &out);
    }
    out.push_back('}');
  }
  out.push_back(']');
  return out;
}

}  // namespace quire::openai
