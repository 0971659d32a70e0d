#include "tests/fuzz/tokenizer_use.h"

#include <glog/logging.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "coordinator/text/incremental_decoder.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"
#include "tests/fuzz/fuzz_target.h"

namespace quire::fuzz {
namespace {

using text::Tokenizer;

constexpr char kText[] =
    "<s>Hello  world, don't 123456\n\n\t\u00e9e\u0301 \u2581\u2581 \u3000\ufb01\u4e2d\u6587 \U0001F600<unk> [MASK]</s>";

// Ids looked at beyond those of the text.
constexpr int kIdsMax = 64;

void CheckDecoding(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip) {
  const std::string whole = tokenizer.Decode(ids, skip);
  CHECK_EQ(text::FindInvalidUtf8(whole), absl::string_view::npos);
  text::IncrementalDecoder decoder(&tokenizer, {skip, /*at_text_start=*/true});
  std::string streamed;
  for (int32_t id : ids) {
    const size_t before = streamed.size();
    decoder.Append(id, &streamed);
    CHECK_EQ(text::FindInvalidUtf8(absl::string_view(streamed).substr(before)), absl::string_view::npos);
  }
  decoder.Finish(&streamed);
  CHECK_EQ(streamed, whole);
}

}  // namespace

void LoadAndUseTokenizer(absl::string_view text) {
  const auto tokenizer = Tokenizer::Load(ScratchDirectory());
  if (!tokenizer.ok()) {
    const absl::Status& status = tokenizer.status();
    CHECK(absl::IsInvalidArgument(status) || absl::IsUnimplemented(status) || absl::IsNotFound(status)) << status;
    CHECK(absl::StrContains(status.message(), ScratchDirectory())) << status;
    return;
  }
  NoteAccepted();
  if (text.empty()) text = kText;
  std::vector<int32_t> ids;
  for (const bool special : {false, true}) {
    ids.clear();
    const absl::Status status = (*tokenizer)->Encode(text, special, &ids);
    if (!status.ok()) {
      CHECK(absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) || absl::IsResourceExhausted(status))
          << status;
      continue;
    }
    for (int32_t id : ids) CHECK((*tokenizer)->Contains(id)) << id;
  }
  CheckDecoding(**tokenizer, ids, false);
  CheckDecoding(**tokenizer, ids, true);
  const int32_t vocab_size = (*tokenizer)->vocab_size();
  ids = {-1, vocab_size, INT32_MAX};
  for (int i = 0; i < kIdsMax; ++i) ids.push_back(static_cast<int32_t>(int64_t{vocab_size} * i / kIdsMax));
  CheckDecoding(**tokenizer, ids, true);
  for (int32_t id : ids) {
    if (!(*tokenizer)->Contains(id)) CHECK((*tokenizer)->TokenText(id).empty());
    (*tokenizer)->TokenBytes(id);
  }
}

}  // namespace quire::fuzz
