// Tokens that are cut out of the text before anything else sees it: special tokens and those a user added.
// Source: TK tokenizer/added_vocabulary.rs.
//
// Immutable after Build, any thread.
//   I1  Tokens with normalized=false are matched in the raw text, the others, in their normalised form, in what the
//       normaliser makes of the rest. At each place the longest token wins.
#ifndef QUIRE_COORDINATOR_TEXT_ADDED_TOKENS_H_
#define QUIRE_COORDINATOR_TEXT_ADDED_TOKENS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/normalizer.h"
#include "coordinator/text/pre_tokenizer.h"

namespace quire::text {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // swallows whitespace on its left
  bool rstrip = false;       // and on its right
  bool normalized = false;
  bool special = false;  // left out when decoding with skip_special_tokens
};

// Finds the longest of a set of strings at each place of a text.
class LiteralSet final {
 public:
  LiteralSet();
  // Later strings win over equal earlier ones. An empty string is never found.
  void Add(absl::string_view literal, int32_t value);
  // Length of the longest string that starts at text[pos], 0 when none does; fills `value`.
  size_t LongestAt(absl::string_view text, size_t pos, int32_t* value) const;
  bool empty() const { return nodes_.size() == 1; }

 private:
  struct Node {
    int32_t value = -1;
    absl::flat_hash_map<char, int32_t> next;
  };
  std::vector<Node> nodes_;  // a trie; nodes_[0] is the root
  bool starts_[256] = {};
};

class AddedTokens final {
 public:
  // Normalises the tokens that ask for it; `normalizer` may be null. With `split_special` a special token that stands in
  // the text is text like any other. Errors: kResourceExhausted when a regex gives up.
  absl::Status Build(std::vector<AddedToken> tokens, const Normalizer* normalizer, bool split_special);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  // The form in which the token stands in normalised text; equal to its content for tokens that are not normalised.
  const std::string& NormalizedForm(size_t index) const { return normalized_forms_[index]; }

  // Splits the whole input: calls `on_token` with the id of each added token and `on_text` with each normalised stretch
  // between them, in order.
  absl::Status Extract(absl::string_view text, const Normalizer* normalizer, absl::FunctionRef<void(int32_t)> on_token,
                       PieceSink on_text) const;

 private:
  // Splits by one of the two sets.
  absl::Status SplitBy(const LiteralSet& set, const Piece& piece, absl::FunctionRef<void(int32_t)> on_token,
                       PieceSink on_text) const;

  std::vector<AddedToken> tokens_;
  bool split_special_ = false;
  std::vector<std::string> normalized_forms_;
  LiteralSet raw_;  // values are indices into tokens_
  LiteralSet normalized_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_ADDED_TOKENS_H_
