#include "worker/model/decoder.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "worker/model/alibi.h"

namespace quire::worker {
namespace {

using kernels::DType;
using kernels::TensorView;

// Columns [begin, begin + num_heads * head_dim) of a matrix, seen as heads: [rows, num_heads, head_dim].
TensorView AsHeads(const TensorView& matrix, int64_t begin, int64_t num_heads, int64_t head_dim) {
  TensorView heads = matrix;
  heads.data = matrix.as<float>() + begin;
  heads.rank = 3;
  heads.shape = {matrix.dim(0), num_heads, head_dim};
  heads.stride = {matrix.stride[0], head_dim, 1};
  return heads;
}

}  // namespace

TensorView Decoder::Activations::View(int64_t num_rows) const {
  CHECK_LE(num_rows, rows);
  return kernels::MakeView(buffer->data(), DType::kF32, {num_rows, cols});
}

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Create(const DecoderOptions& options, const ModelSpec& spec,
                                                         const Shard& shard, Weights weights, ModelFacts facts,
                                                         kernels::Backend* backend, Communicator* comm) {
  CHECK(backend->activation_dtype() == DType::kF32) << backend->Name();
  std::unique_ptr<Decoder> decoder(new Decoder(spec, shard, std::move(weights), std::move(facts), backend, comm));
  if (absl::Status s = decoder->MakeRopes(); !s.ok()) return s;
  if (spec.position == PositionKind::kAlibi) {
    // Of all heads, then this rank's: a head's slope hangs on their number.
    const std::vector<float> slopes = AlibiSlopes(spec.num_heads, spec.alibi_bias_max);
    const auto first = slopes.begin() + shard.heads.begin / spec.head_dim;
    decoder->alibi_slopes_.assign(first, first + shard.num_heads);
  }
  if (absl::Status s = decoder->Allocate(options); !s.ok()) return s;
  if (spec.experts.count > 0) {
    const int64_t max_rows = std::max(options.max_num_batched_tokens, options.max_num_logit_rows);
    auto experts = ExpertsLayer::Create(spec, shard, decoder->weights_, max_rows, backend);
    if (!experts.ok()) return experts.status();
    decoder->experts_ = std::move(*experts);
  }
  return decoder;
}

Decoder::Decoder(const ModelSpec& spec, const Shard& shard, Weights weights, ModelFacts facts,
                 kernels::Backend* backend, Communicator* comm)
    : spec_(spec),
      shard_(shard),
      weights_(std::move(weights)),
      facts_(std::move(facts)),
      backend_(backend),
      comm_(comm) {}

absl::Status Decoder::MakeRopes() {
  const struct {
    bool is_wanted;
    const RopeSpec& spec;
    int64_t grows_beyond;
    std::unique_ptr<RopeTable>* out;
  } tables[] = {{spec_.position == PositionKind::kRope, spec_.rope, 0, &rope_},
                {spec_.queries_grow_beyond > 0, spec_.rope, spec_.queries_grow_beyond, &query_rope_},
                {!spec_.layer_has_window_rope.empty(), spec_.window_rope, 0, &window_rope_}};
  for (const auto& table : tables) {
    if (!table.is_wanted) continue;
    auto rope = RopeTable::Create(table.spec, spec_.max_position, table.grows_beyond, backend_);
    if (!rope.ok()) return rope.status();
    *table.out = std::move(*rope);
  }
  return absl::OkStatus();
}

absl::Status Decoder::Allocate(const DecoderOptions& options) {
  const int64_t tokens = options.max_num_batched_tokens, rows = options.max_num_logit_rows;
  const int64_t attended = shard_.heads.count, ffn = shard_.ffn.count;
  const bool parallel = shard_.world_size > 1;
  const auto has_mlp = [](const LayerWeights& layer) { return layer.experts == nullptr; };
  const bool any_mlp = std::any_of(weights_.layers.begin(), weights_.layers.end(), has_mlp);
  const struct {
    Activations* out;
    int64_t rows, cols;
  } wanted[] = {
      {&hidden_, tokens, spec_.hidden_size},
      {&embedded_, weights_.project_in.weight != nullptr ? std::max(tokens, rows) : 0, spec_.embed_cols()},
      {&scratch_, std::max(tokens, rows), spec_.hidden_size},
      {&products_[0], std::max(tokens, rows), spec_.hidden_size},
      {&products_[1], std::max(tokens, rows), spec_.hidden_size},
      {&squares_, spec_.head_norm == HeadNorm::kWhole ? tokens : 0, 2},
      {&square_parts_, spec_.head_norm == HeadNorm::kWhole ? tokens : 0, SummedLinear::kParts},
      {&qkv_, tokens, attended + 2 * shard_.kv_heads.count},
      {&attended_, tokens, attended},
      {&up_, any_mlp ? std::max(tokens, rows) : 0, spec_.gated ? 2 * ffn : ffn},
      {&activated_, any_mlp ? std::max(tokens, rows) : 0, ffn},
      {&row_hidden_, rows, spec_.hidden_size},
      {&row_attended_, rows, attended},
      {&gathered_, parallel ? rows * shard_.world_size : 0, shard_.vocab_padded},
      {&logits_, rows, spec_.vocab_size},
  };
  for (const auto& [out, num_rows, cols] : wanted) {
    if (num_rows == 0) continue;
    auto buffer = backend_->Allocate(num_rows * cols * DTypeBytes(DType::kF32));
    if (!buffer.ok()) return buffer.status();
    *out = {std::move(*buffer), num_rows, cols};
  }
  zeros_.resize(std::max(tokens, rows));
  row_indices_.resize(std::max(tokens, rows));
  std::iota(row_indices_.begin(), row_indices_.end(), 0);
  return absl::OkStatus();
}

kernels::KvCacheLayout Decoder::CacheLayout(int64_t block_size) const {
  kernels::KvCacheLayout layout;
  layout.dtype = weights_.stored;
  layout.num_layers = spec_.num_layers;
  layout.num_kv_heads = shard_.num_kv_heads;
  layout.head_dim = spec_.head_dim;
  layout.block_size = block_size;
  return layout;
}

// The batch comes from the plan, and every plan was validated on its way here.
void Decoder::CheckBatch(const ForwardBatch& batch, const kernels::KvCacheView& cache) const {
  const size_t num_tokens = batch.token_ids.size();
  CHECK_LE(static_cast<int64_t>(num_tokens), hidden_.rows);
  CHECK_LE(static_cast<int64_t>(batch.logit_rows.size()), row_hidden_.rows);
  CHECK_EQ(batch.positions.size(), num_tokens);
  CHECK_EQ(batch.slot_mapping.size(), num_tokens);
  for (size_t i = 0; i < num_tokens; ++i) {
    CHECK(batch.token_ids[i] >= 0 && batch.token_ids[i] < spec_.vocab_size) << batch.token_ids[i];
    CHECK(batch.positions[i] >= 0 && batch.positions[i] < spec_.max_position)
        << "position " << batch.positions[i] << " of " << spec_.max_position;
  }
  const kernels::KvCacheLayout& layout = cache.layout;
  CHECK_EQ(layout.num_layers, spec_.num_layers);
  CHECK_EQ(layout.num_kv_heads, shard_.num_kv_heads);
  CHECK_EQ(layout.head_dim, spec_.head_dim);
}

absl::StatusOr<TensorView> Decoder::Forward(const ForwardBatch& batch, const kernels::KvCacheView& cache) {
  CheckBatch(batch, cache);
  collective_ns_ = 0;
  const int64_t num_tokens = batch.token_ids.size();
  last_num_tokens_ = num_tokens;
  if (num_tokens == 0) return logits_.View(0);
  if (absl::Status s = ReachPositions(batch); !s.ok()) return s;
  const TensorView hidden = hidden_.View(num_tokens), attended = attended_.View(num_tokens);
  EmbedTokens(batch, hidden);
  const int64_t last = spec_.num_layers - 1;
  for (int64_t layer = 0; layer < last; ++layer) {
    if (absl::Status s = Attention(layer, batch, cache, hidden, attended); !s.ok()) return s;
    if (absl::Status s = FinishLayer(layer, hidden, attended); !s.ok()) return s;
  }
  if (absl::Status s = Attention(last, batch, cache, hidden, attended); !s.ok()) return s;
  // Past the last layer's keys and values only the wanted rows are read.
  return batch.logit_rows.empty() ? logits_.View(0) : RowLogits(batch.logit_rows);
}

absl::Status Decoder::ReachPositions(const ForwardBatch& batch) {
  const int32_t furthest = *std::max_element(batch.positions.begin(), batch.positions.end());
  for (RopeTable* rope : {rope_.get(), query_rope_.get(), window_rope_.get()}) {
    if (rope == nullptr) continue;
    if (absl::Status s = rope->Reach(furthest); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorView> Decoder::RowLogits(absl::Span<const int32_t> rows) {
  const int64_t num_rows = rows.size();
  CHECK_GT(num_rows, 0);
  // Copies: what the last layer adds to a row must not meet the same row again.
  const TensorView row_hidden = row_hidden_.View(num_rows), row_attended = row_attended_.View(num_rows);
  backend_->GatherRows(hidden_.View(last_num_tokens_), rows, row_hidden);
  backend_->GatherRows(attended_.View(last_num_tokens_), rows, row_attended);
  if (absl::Status s = FinishLayer(spec_.num_layers - 1, row_hidden, row_attended); !s.ok()) return s;
  return Logits(row_hidden);
}

void Decoder::EmbedTokens(const ForwardBatch& batch, const TensorView& hidden) {
  if (weights_.project_in.weight != nullptr) {
    const TensorView embedded = embedded_.View(hidden.dim(0));
    backend_->Embed(weights_.embedding, 0, batch.token_ids, embedded);
    backend_->MatMul(embedded, *weights_.project_in.weight, weights_.project_in.bias, hidden);
  } else {
    backend_->Embed(weights_.embedding, 0, batch.token_ids, hidden);
  }
  if (spec_.embedding_scale != 1.0f) backend_->Scale(hidden, spec_.embedding_scale);
  if (!weights_.embedding_norm.weight.empty()) Norm(weights_.embedding_norm, hidden, hidden);
  if (spec_.position != PositionKind::kLearned) return;
  const TensorView positions = scratch_.View(hidden.dim(0));
  backend_->Embed(weights_.positions, 0, batch.positions, positions);
  backend_->AddResidual(hidden, positions);
}

// attended = attention over the cache, after the tokens' keys and values went into it.
absl::Status Decoder::Attention(int64_t layer, const ForwardBatch& batch, const kernels::KvCacheView& cache,
                                const TensorView& hidden, const TensorView& attended) {
  const LayerWeights& weights = weights_.layers[layer];
  const int64_t num_tokens = hidden.dim(0), head_dim = spec_.head_dim;
  const int64_t num_heads = shard_.num_heads, num_kv_heads = shard_.num_kv_heads;
  const TensorView qkv = qkv_.View(num_tokens);
  const TensorView input = BlockInput(weights.norm1, hidden);
  backend_->MatMul(input, *weights.qkv.weight, weights.qkv.bias, qkv);
  if (spec_.qkv_limit > 0.0f) backend_->Clamp(qkv, spec_.qkv_limit);
  const TensorView query = AsHeads(qkv, 0, num_heads, head_dim);
  const TensorView key = AsHeads(qkv, num_heads * head_dim, num_kv_heads, head_dim);
  const TensorView value = AsHeads(qkv, (num_heads + num_kv_heads) * head_dim, num_kv_heads, head_dim);
  if (spec_.head_norm == HeadNorm::kWhole) {
    if (absl::Status s = NormProjections(weights, qkv); !s.ok()) return s;
  } else {
    NormHeads(weights.query_norm, qkv, 0, num_heads);
    NormHeads(weights.key_norm, qkv, num_heads, num_kv_heads);
  }
  const RopeTable* rope = RopeOf(layer);
  if (query_rope_ != nullptr) {
    backend_->Rope(query, query_rope_->cos_sin(), batch.positions);
    backend_->Rope(key, rope_->cos_sin(), batch.positions);
  } else if (rope != nullptr) {
    // Query and key heads are neighbours and turn alike: one call.
    backend_->Rope(AsHeads(qkv, 0, num_heads + num_kv_heads, head_dim), rope->cos_sin(), batch.positions);
  }
  backend_->StoreKv(key, value, batch.slot_mapping, layer, cache);
  backend_->Attend(query, batch.attend, AttentionOf(layer), layer, cache, AsHeads(attended, 0, num_heads, head_dim));
  return absl::OkStatus();
}

const RopeTable* Decoder::RopeOf(int64_t layer) const {
  if (!spec_.layer_has_rope.empty() && !spec_.layer_has_rope[layer]) return nullptr;
  const bool by_window = window_rope_ != nullptr && spec_.layer_has_window_rope[layer];
  return by_window ? window_rope_.get() : rope_.get();
}

kernels::AttentionParams Decoder::AttentionOf(int64_t layer) const {
  kernels::AttentionParams params;
  params.scale = spec_.attention_scale;
  if (spec_.attention_scale_by_inverse_layer) params.scale /= static_cast<float>(layer + 1);
  params.window = spec_.WindowOf(layer);
  params.softcap = spec_.attention_softcap;
  params.alibi_slopes = alibi_slopes_;
  params.alibi_in_bf16 = spec_.alibi_in_bf16;
  return params;
}

// Norms heads [first, first + count) of the fused projection in place, each for itself.
void Decoder::NormHeads(const NormWeights& norm, const TensorView& qkv, int64_t first, int64_t count) {
  if (norm.weight.empty()) return;
  for (int64_t i = 0; i < count; ++i) {
    const TensorView one = kernels::SliceCols(qkv, (first + i) * spec_.head_dim, spec_.head_dim);
    NormWeights own = norm;
    if (spec_.head_norm == HeadNorm::kOwn) {
      float* weight = norm.weight.as<float>() + i * spec_.head_dim;
      own.weight = kernels::MakeView(weight, DType::kF32, {spec_.head_dim});
    }
    Norm(own, one, one);
  }
}

// Norms all query heads of the model as one row, and all key heads, in place. The ranks add up their squares over
// quarters of the row, in the tree of SummedProduct: one, two and four ranks give the same bits.
absl::Status Decoder::NormProjections(const LayerWeights& weights, const TensorView& qkv) {
  const TensorView squares = squares_.View(qkv.dim(0)), parts = square_parts_.View(qkv.dim(0));
  const ShardRange held[] = {shard_.heads, shard_.kv_heads};
  const NormWeights* const norms[] = {&weights.query_norm, &weights.key_norm};
  const int64_t totals[] = {spec_.num_heads * spec_.head_dim, spec_.num_kv_heads * spec_.head_dim};
  for (const int i : {0, 1}) {
    int num_parts = 0;
    // Heads that several ranks hold are counted in shares.
    const ShardRange share = EvenRange(totals[i], shard_.rank, shard_.world_size);
    for (int64_t quarter = 0; quarter < SummedLinear::kParts; ++quarter) {
      const ShardRange whole = EvenRange(totals[i], quarter, SummedLinear::kParts);
      const int64_t begin = std::max(share.begin, whole.begin);
      const int64_t end = std::min(share.begin + share.count, whole.begin + whole.count);
      if (begin >= end) continue;
      const int64_t column = begin - held[i].begin + i * held[0].count;
      backend_->SumSquares(kernels::SliceCols(qkv, column, end - begin), kernels::SliceCols(parts, num_parts++, 1));
    }
    if (num_parts == 0) backend_->SumSquares(kernels::SliceCols(qkv, 0, 0), kernels::SliceCols(parts, 0, 1));
    const auto part = [&](int p) { return kernels::SliceCols(parts, p, 1); };
    if (num_parts > 1) backend_->AddResidual(part(0), part(1));
    if (num_parts > 3) backend_->AddResidual(part(2), part(3));
    if (num_parts > 2) backend_->AddResidual(part(0), part(2));
    backend_->GatherRows(part(0), absl::MakeConstSpan(row_indices_).first(qkv.dim(0)),
                         kernels::SliceCols(squares, i, 1));
  }
  if (absl::Status s = AllReduce(squares); !s.ok()) return s;
  for (const int i : {0, 1}) {
    const TensorView own = kernels::SliceCols(qkv, i * held[0].count, held[i].count);
    backend_->NormPart(own, kernels::SliceCols(squares, i, 1), totals[i], norms[i]->weight, spec_.norm_eps, own);
  }
  return absl::OkStatus();
}

// hidden += output(attended); hidden += mlp(norm(hidden)). With a parallel residual the mlp reads what attention read;
// norms that follow are of both sums instead.
absl::Status Decoder::FinishLayer(int64_t layer, const TensorView& hidden, const TensorView& attended) {
  const LayerWeights& weights = weights_.layers[layer];
  const int64_t num_rows = hidden.dim(0);
  const TensorView scratch = scratch_.View(num_rows);
  const TensorView activated = weights.experts == nullptr ? activated_.View(num_rows) : TensorView();
  if (spec_.parallel_residual) ActivateFfn(weights, hidden, activated);
  if (absl::Status s = SummedProduct(attended, weights.output, scratch); !s.ok()) return s;
  AddToResidual(scratch, weights.attention_out_norm, hidden);
  if (weights.experts != nullptr) return MixExperts(layer, hidden);
  if (spec_.norms_follow) Norm(weights.norm1, hidden, hidden);
  if (!spec_.parallel_residual) ActivateFfn(weights, hidden, activated);
  if (absl::Status s = SummedProduct(activated, weights.down, scratch); !s.ok()) return s;
  AddToResidual(scratch, weights.ffn_out_norm, hidden);
  if (spec_.norms_follow) Norm(weights.norm2, hidden, hidden);
  return absl::OkStatus();
}

// hidden += experts(norm(hidden)).
absl::Status Decoder::MixExperts(int64_t layer, const TensorView& hidden) {
  const LayerWeights& weights = weights_.layers[layer];
  const TensorView normed = scratch_.View(hidden.dim(0));
  Norm(weights.norm2, hidden, normed);
  const TensorView shares = experts_->Share(layer, normed);
  if (absl::Status s = AllReduce(shares); !s.ok()) return s;
  AddToResidual(experts_->Finish(shares), weights.ffn_out_norm, hidden);
  return absl::OkStatus();
}

// activated = act(up(norm(hidden))).
void Decoder::ActivateFfn(const LayerWeights& weights, const TensorView& hidden, const TensorView& activated) {
  const TensorView up = up_.View(hidden.dim(0));
  const NormWeights& norm = weights.norm2.weight.empty() ? weights.norm1 : weights.norm2;
  const TensorView input = BlockInput(norm, hidden);
  backend_->MatMul(input, *weights.up.weight, weights.up.bias, up);
  backend_->Activate(spec_.activation, spec_.gated, up, activated);
}

// hidden += scale * norm(summand).
void Decoder::AddToResidual(const TensorView& summand, const NormWeights& norm, const TensorView& hidden) {
  if (!norm.weight.empty()) Norm(norm, summand, summand);
  if (spec_.residual_scale != 1.0f) backend_->Scale(summand, spec_.residual_scale);
  backend_->AddResidual(hidden, summand);
}

void Decoder::Norm(const NormWeights& norm, const TensorView& x, const TensorView& out) {
  backend_->Norm(spec_.norm, x, norm.weight, norm.bias, spec_.norm_eps, out);
}

TensorView Decoder::BlockInput(const NormWeights& norm, const TensorView& hidden) {
  if (spec_.norms_follow) return hidden;
  if (!spec_.residual_from_norm) return Normed(norm, hidden);
  Norm(norm, hidden, hidden);
  return hidden;
}

TensorView Decoder::Normed(const NormWeights& norm, const TensorView& x) {
  if (norm.weight.empty()) return x;
  const TensorView out = scratch_.View(x.dim(0));
  Norm(norm, x, out);
  return out;
}

absl::Status Decoder::SummedProduct(const TensorView& x, const SummedLinear& w, const TensorView& out) {
  const int64_t num_rows = x.dim(0);
  const TensorView first = products_[0].View(num_rows), second = products_[1].View(num_rows);
  const auto multiply = [&](size_t part, const TensorView& to) {
    const SummedLinear::Part& p = w.parts[part];
    backend_->MatMul(kernels::SliceCols(x, p.begin, p.weight->cols()), *p.weight, TensorView(), to);
  };
  // (0 + 1) + (2 + 3), as the ranks' sums are added as well.
  multiply(0, out);
  if (w.parts.size() > 1) {
    multiply(1, first);
    backend_->AddResidual(out, first);
  }
  if (w.parts.size() > 2) {
    multiply(2, first);
    if (w.parts.size() > 3) {
      multiply(3, second);
      backend_->AddResidual(first, second);
    }
    backend_->AddResidual(out, first);
  }
  if (absl::Status s = AllReduce(out); !s.ok()) return s;
  if (w.bias.empty()) return absl::OkStatus();
  const TensorView row = kernels::MakeView(w.bias.data, DType::kF32, {1, w.bias.dim(0)});
  backend_->Embed(row, 0, absl::MakeConstSpan(zeros_).first(num_rows), first);  // the bias for every row
  backend_->AddResidual(out, first);
  return absl::OkStatus();
}

// Final norm and head. Every rank computes its part of the vocabulary; all get whole rows.
absl::StatusOr<TensorView> Decoder::Logits(const TensorView& hidden) {
  const int64_t num_rows = hidden.dim(0), padded = shard_.vocab_padded;
  const TensorView logits = logits_.View(num_rows);
  TensorView normed = Normed(weights_.final_norm, hidden);
  if (weights_.project_out.weight != nullptr) {
    backend_->MatMul(normed, *weights_.project_out.weight, weights_.project_out.bias, embedded_.View(num_rows));
    normed = embedded_.View(num_rows);
  }
  if (shard_.world_size == 1) {
    backend_->MatMul(normed, *weights_.head.weight, weights_.head.bias, logits);
    ShapeLogits(logits);
    return logits;
  }
  // Uneven shards travel padded to the largest; the padding is never read.
  const TensorView gathered = gathered_.View(num_rows * shard_.world_size);
  const auto part_of = [&](int rank) {
    const TensorView part = kernels::SliceRows(gathered, rank * num_rows, num_rows);
    return kernels::SliceCols(part, 0, VocabRange(spec_, rank, shard_.world_size).count);
  };
  const TensorView own = part_of(shard_.rank);
  backend_->MatMul(normed, *weights_.head.weight, weights_.head.bias, own);
  const auto start = std::chrono::steady_clock::now();
  absl::Status status = comm_->AllGather(own.as<float>(), gathered.as<float>(), num_rows * padded);
  collective_ns_ += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
  if (!status.ok()) return status;
  const absl::Span<const int32_t> rows(row_indices_.data(), num_rows);
  for (int rank = 0; rank < shard_.world_size; ++rank) {
    const ShardRange range = VocabRange(spec_, rank, shard_.world_size);
    backend_->GatherRows(part_of(rank), rows, kernels::SliceCols(logits, range.begin, range.count));
  }
  ShapeLogits(logits);
  return logits;
}

void Decoder::ShapeLogits(const TensorView& logits) {
  if (spec_.logits_scale != 1.0f) backend_->Scale(logits, spec_.logits_scale);
  if (spec_.logits_softcap > 0.0f) backend_->SoftCap(logits, spec_.logits_softcap);
}

absl::Status Decoder::AllReduce(const TensorView& summand) {
  if (shard_.world_size == 1) return absl::OkStatus();
  const auto start = std::chrono::steady_clock::now();
  absl::Status status = comm_->AllReduceSum(summand.as<float>(), summand.num_elements());
  collective_ns_ += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
  return status;
}

}  // namespace quire::worker
