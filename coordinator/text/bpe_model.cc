#include "coordinator/text/bpe_model.h"

#include <glog/logging.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/text/byte_map.h"
#include "coordinator/text/concatenation_merges.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

constexpr char32_t kPlaneEnd = 0x10000;

// Tokens longer than this are rarely a whole piece; encoding them all at load would cost more than it saves.
constexpr size_t kWholePieceBytesMax = 32;

}  // namespace

BpeModel::BpeModel(const Vocabulary* vocabulary, const BpeOptions& options)
    : vocabulary_(vocabulary),
      fuse_unk_(options.fuse_unk),
      byte_fallback_(options.byte_fallback),
      ignore_merges_(options.ignore_merges),
      continuing_prefix_(options.continuing_prefix),
      end_suffix_(options.end_suffix),
      has_unk_token_(options.unk_token.has_value()),
      plane_ids_(kPlaneEnd, kNoId) {
  if (has_unk_token_) unk_id_ = vocabulary_->Find(*options.unk_token).value_or(kNoId);
  for (int byte = 0; byte < 256; ++byte) {
    fallback_ids_[byte] = byte_fallback_ ? vocabulary_->Find(absl::StrFormat("<0x%02X>", byte)).value_or(kNoId) : kNoId;
  }
  for (int32_t id = 0; id < vocabulary_->end_id(); ++id) {
    if (!vocabulary_->Contains(id)) continue;
    const std::string& text = vocabulary_->Text(id);
    if (text.empty() || CharLength(text[0]) != text.size()) continue;
    size_t pos = 0;
    const char32_t c = NextChar(text, &pos);
    if (c < kPlaneEnd) {
      plane_ids_[c] = id;
    } else {
      astral_ids_[c] = id;
    }
  }
  for (int byte = 0; byte < 256; ++byte) byte_ids_[byte] = CharId(MappedChar(static_cast<uint8_t>(byte)));
}

absl::StatusOr<std::unique_ptr<const TokenModel>> BpeModel::Create(const Vocabulary* vocabulary, BpeOptions options) {
  std::unique_ptr<BpeModel> model(new BpeModel(vocabulary, options));
  if (absl::Status status = model->AddMerges(options); !status.ok()) return status;
  if (options.byte_level) model->PrepareBytes();
  return std::unique_ptr<const TokenModel>(std::move(model));
}

int32_t BpeModel::CharId(char32_t c) const {
  if (c < kPlaneEnd) return plane_ids_[c];
  const auto it = astral_ids_.find(c);
  return it == astral_ids_.end() ? kNoId : it->second;
}

int32_t BpeModel::EdgeSymbol(int32_t token, bool last) const {
  const std::string& text = vocabulary_->Text(token);
  if (has_affixes()) return kNoId;  // what a character's symbol is depends on where it stands
  if (text.empty() || token == unk_id_) return kNoId;
  if (byte_fallback_ && text.size() == 6) {
    for (int32_t fallback : fallback_ids_) {
      if (fallback == token) return kNoId;
    }
  }
  size_t pos = 0;
  if (last) {
    pos = text.size() - 1;
    while ((static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80) --pos;
  }
  return CharId(NextChar(text, &pos));
}

void BpeModel::AddConcatenations() {
  std::vector<MergeResult> results;
  for (int32_t id = 0; id < vocabulary_->end_id(); ++id) {
    if (vocabulary_->Contains(id)) results.push_back({vocabulary_->Text(id), id, id});
  }
  const auto find = [this](absl::string_view text) { return vocabulary_->Find(text).value_or(kNoId); };
  merges_ = std::make_unique<const BpeMerges>(ConcatenationMerges(results, find));
}

absl::Status BpeModel::AddMerges(const BpeOptions& options) {
  if (options.merge_concatenations) {
    AddConcatenations();
    return absl::OkStatus();
  }
  std::vector<BpeMerge> merges;
  merges.reserve(options.merges.size());
  for (size_t rank = 0; rank < options.merges.size(); ++rank) {
    const auto& [left, right] = options.merges[rank];
    const auto lacks = [rank](absl::string_view token) {
      return absl::InvalidArgumentError(
          absl::StrCat("merges[", rank, "] needs the token '", token, "', which vocab lacks"));
    };
    const absl::optional<int32_t> left_id = vocabulary_->Find(left);
    if (!left_id.has_value()) return lacks(left);
    const absl::optional<int32_t> right_id = vocabulary_->Find(right);
    if (!right_id.has_value()) return lacks(right);
    if (right.size() < continuing_prefix_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("merges[", rank, "]: '", right, "' is shorter than continuing_subword_prefix"));
    }
    const std::string joined = absl::StrCat(left, absl::string_view(right).substr(continuing_prefix_.size()));
    const absl::optional<int32_t> result_id = vocabulary_->Find(joined);
    if (!result_id.has_value()) return lacks(joined);
    merges.push_back({*left_id, *right_id, *result_id, EdgeSymbol(*left_id, true), EdgeSymbol(*right_id, false)});
  }
  merges_ = std::make_unique<const BpeMerges>(merges);
  return absl::OkStatus();
}

void BpeModel::PrepareBytes() {
  for (int32_t id : byte_ids_) {
    if (id == kNoId) return;
  }
  encodes_bytes_ = true;
  std::string bytes;
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < vocabulary_->end_id(); ++id) {
    if (!vocabulary_->Contains(id) || !UnmapBytes(vocabulary_->Text(id), &bytes) || bytes.empty()) continue;
    if (!ignore_merges_) {
      if (bytes.size() > kWholePieceBytesMax) continue;
      ids.clear();
      EncodeBytes(bytes, &ids);
      if (ids.size() != 1 || ids[0] != id) continue;
    }
    whole_pieces_.emplace(bytes, id);
  }
}

bool BpeModel::AppendByteTokens(absl::string_view bytes, std::vector<int32_t>* ids) const {
  if (!byte_fallback_) return false;
  for (char byte : bytes) {
    if (fallback_ids_[static_cast<uint8_t>(byte)] == kNoId) return false;
  }
  for (char byte : bytes) ids->push_back(fallback_ids_[static_cast<uint8_t>(byte)]);
  return true;
}

int32_t BpeModel::AffixedId(absl::string_view piece, size_t start, size_t end, std::string* spelled) const {
  *spelled = absl::StrCat(start > 0 ? continuing_prefix_ : "", piece.substr(start, end - start),
                          end == piece.size() ? end_suffix_ : "");
  return vocabulary_->Find(*spelled).value_or(kNoId);
}

absl::Status BpeModel::EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const {
  if (ignore_merges_) {
    if (const absl::optional<int32_t> id = vocabulary_->Find(piece); id.has_value()) {
      ids->push_back(*id);
      return absl::OkStatus();
    }
  }
  const size_t begin = ids->size();
  bool unk_pending = false;
  std::string affixed;
  for (size_t pos = 0; pos < piece.size();) {
    const size_t start = pos;
    int32_t id = CharId(NextChar(piece, &pos));
    absl::string_view spelled = piece.substr(start, pos - start);
    if (has_affixes()) {
      id = AffixedId(piece, start, pos, &affixed);
      spelled = affixed;
    }
    if (id != kNoId) {
      if (unk_pending) ids->push_back(unk_id_);
      unk_pending = false;
      ids->push_back(id);
      continue;
    }
    // A pending unknown token stays behind the bytes of a later character: so does the reference.
    if (AppendByteTokens(spelled, ids)) continue;
    if (!has_unk_token_) continue;  // the character is dropped
    if (unk_id_ == kNoId) {
      return absl::FailedPreconditionError("the text needs the unknown token, and model.vocab lacks model.unk_token");
    }
    if (unk_pending && !fuse_unk_) ids->push_back(unk_id_);
    unk_pending = true;
  }
  if (unk_pending) ids->push_back(unk_id_);
  merges_->MergeAll(begin, ids);
  return absl::OkStatus();
}

void BpeModel::EncodeBytes(absl::string_view piece, std::vector<int32_t>* ids) const {
  DCHECK(encodes_bytes_);
  const auto it = whole_pieces_.find(piece);
  if (it != whole_pieces_.end()) {
    ids->push_back(it->second);
    return;
  }
  const size_t begin = ids->size();
  ids->resize(begin + piece.size());
  for (size_t i = 0; i < piece.size(); ++i) (*ids)[begin + i] = byte_ids_[static_cast<uint8_t>(piece[i])];
  merges_->MergeAll(begin, ids);
}

}  // namespace quire::text
