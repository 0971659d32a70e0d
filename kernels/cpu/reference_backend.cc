#include "kernels/cpu/reference_backend.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/expert_routing.h"
#include "kernels/cpu/host_memory.h"
#include "kernels/cpu/logit_edits.h"
#include "kernels/cpu/reference_sampling.h"
#include "kernels/half.h"

namespace quire::kernels::cpu {
namespace {

float* Row(const TensorView& t, int64_t row) { return t.as<float>() + row * t.stride[0]; }

// Row-major [rows, cols] in the stored type, plus the parts' values rounded to it.
class ReferenceWeight final : public Weight {
 public:
  ReferenceWeight(int64_t rows, int64_t cols, DType dtype)
      : rows_(rows), cols_(cols), dtype_(dtype), data_(rows * cols * DTypeBytes(dtype)) {}
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  int64_t bytes() const override { return static_cast<int64_t>(data_.size()); }
  DType dtype() const { return dtype_; }
  template <typename T>
  T* row(int64_t r) {
    return reinterpret_cast<T*>(data_.data()) + r * cols_;
  }
  template <typename T>
  const T* row(int64_t r) const {
    return reinterpret_cast<const T*>(data_.data()) + r * cols_;
  }

 private:
  const int64_t rows_;
  const int64_t cols_;
  const DType dtype_;
  std::vector<char> data_;
};

float Activation(ActivationKind kind, float x) {
  switch (kind) {
    case ActivationKind::kRelu:
      return x > 0.0f ? x : 0.0f;
    case ActivationKind::kGeluErf:
      return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
    case ActivationKind::kGeluTanh:
      return 0.5f * x * (1.0f + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
    case ActivationKind::kSilu:
      return x / (1.0f + std::exp(-x));
  }
  LOG(FATAL) << "unknown activation " << static_cast<int>(kind);
}

// Element (slot, head, 0) of the keys (half 0) or values (half 1): [half][head][slot in block][head_dim] in a (block,
// layer) extent.
template <typename T>
T* CacheRow(const KvCacheView& cache, int64_t layer, int64_t block, int64_t offset, int64_t head, int half) {
  const KvCacheLayout& l = cache.layout;
  char* extent = static_cast<char*>(cache.base) + block * l.block_bytes() + layer * l.layer_bytes();
  return reinterpret_cast<T*>(extent) + ((half * l.num_kv_heads + head) * l.block_size + offset) * l.head_dim;
}

float RoundToBf16(float x) { return Widen(Narrow<BFloat16>(x)); }

// What the key at `key` scores with the query at `position`.
float Score(float dot, const AttentionParams& params, int64_t head, int64_t position, int64_t key) {
  float score = dot * params.scale;
  if (params.softcap > 0.0f) score = params.softcap * std::tanh(score / params.softcap);
  if (params.alibi_slopes.empty()) return score;
  const float slope = params.alibi_slopes[head];
  if (!params.alibi_in_bf16) return score + slope * static_cast<float>(key - position);
  const auto rounded = [&](int64_t n) { return RoundToBf16(RoundToBf16(slope) * RoundToBf16(static_cast<float>(n))); };
  return score + params.scale * (rounded(key) - rounded(position));
}

class ReferenceBackend final : public Backend {
 public:
  std::string Name() const override { return "cpu/reference"; }
  DType activation_dtype() const override { return DType::kF32; }
  DeviceTraits traits() const override { return {}; }
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t bytes) override { return AllocateHost(bytes); }
  absl::StatusOr<int64_t> FreeBytes() override { return FreeHostBytes(); }
  absl::Status CopyToDevice(void* dst, const void* src, int64_t bytes) override {
    std::memcpy(dst, src, bytes);
    return absl::OkStatus();
  }
  absl::Status CopyToHost(void* dst, const void* src, int64_t bytes) override {
    std::memcpy(dst, src, bytes);
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<Buffer>> AllocateHostMemory(int64_t bytes) override { return AllocateHost(bytes); }
  absl::Status Synchronize() override { return absl::OkStatus(); }

 private:
  absl::StatusOr<std::unique_ptr<Weight>> DoPack(absl::Span<const TensorView> parts, DType stored) override {
    int64_t rows = 0;
    for (const TensorView& part : parts) rows += part.dim(0);
    auto weight = std::make_unique<ReferenceWeight>(rows, parts[0].dim(1), stored);
    int64_t r = 0;
    for (const TensorView& part : parts) {
      for (int64_t i = 0; i < part.dim(0); ++i, ++r) {
        Dispatch(part.dtype, [&](auto from) {
          Dispatch(stored, [&](auto to) {
            for (int64_t c = 0; c < part.dim(1); ++c) {
              const auto value = part.as<decltype(from)>()[i * part.stride[0] + c * part.stride[1]];
              weight->row<decltype(to)>(r)[c] = Narrow<decltype(to)>(Widen(value));
            }
          });
        });
      }
    }
    return weight;
  }

  void DoEmbed(const TensorView& table, int64_t first_row, absl::Span<const int32_t> ids,
               const TensorView& out) override {
    for (size_t t = 0; t < ids.size(); ++t) {
      const int64_t row = ids[t] - first_row;
      const bool mine = row >= 0 && row < table.dim(0);
      Dispatch(table.dtype, [&](auto element) {
        const auto* from = table.as<decltype(element)>() + (mine ? row * table.stride[0] : 0);
        for (int64_t c = 0; c < table.dim(1); ++c) Row(out, t)[c] = mine ? Widen(from[c]) : 0.0f;
      });
    }
  }

  void DoNorm(NormKind kind, const TensorView& x, const TensorView& weight, const TensorView& bias, float eps,
              const TensorView& out) override {
    const int64_t width = x.dim(1);
    for (int64_t t = 0; t < x.dim(0); ++t) {
      const float* in = Row(x, t);
      float mean = 0.0f;
      if (kind == NormKind::kLayer) {
        for (int64_t c = 0; c < width; ++c) mean += in[c];
        mean /= static_cast<float>(width);
      }
      float square = 0.0f;
      for (int64_t c = 0; c < width; ++c) square += (in[c] - mean) * (in[c] - mean);
      const float scale = 1.0f / std::sqrt(square / static_cast<float>(width) + eps);
      for (int64_t c = 0; c < width; ++c) {
        const float value = (in[c] - mean) * scale * weight.as<float>()[c];
        Row(out, t)[c] = bias.empty() ? value : value + bias.as<float>()[c];
      }
    }
  }

  void DoSumSquares(const TensorView& x, const TensorView& out) override {
    for (int64_t t = 0; t < x.dim(0); ++t) {
      float sum = 0.0f;
      for (int64_t c = 0; c < x.dim(1); ++c) sum += Row(x, t)[c] * Row(x, t)[c];
      Row(out, t)[0] = sum;
    }
  }

  void DoNormPart(const TensorView& x, const TensorView& squares, int64_t count, const TensorView& weight, float eps,
                  const TensorView& out) override {
    for (int64_t t = 0; t < x.dim(0); ++t) {
      const float scale = 1.0f / std::sqrt(Row(squares, t)[0] / static_cast<float>(count) + eps);
      for (int64_t c = 0; c < x.dim(1); ++c) Row(out, t)[c] = Row(x, t)[c] * scale * weight.as<float>()[c];
    }
  }

  void DoMatMul(const TensorView& x, const Weight& weight, const TensorView& bias, const TensorView& out) override {
    const auto& w = static_cast<const ReferenceWeight&>(weight);
    Dispatch(w.dtype(), [&](auto element) {
      for (int64_t t = 0; t < x.dim(0); ++t) {
        for (int64_t r = 0; r < w.rows(); ++r) {
          const auto* row = w.row<decltype(element)>(r);
          float sum = 0.0f;
          for (int64_t c = 0; c < w.cols(); ++c) sum = std::fma(Row(x, t)[c], Widen(row[c]), sum);
          Row(out, t)[r] = bias.empty() ? sum : sum + bias.as<float>()[r];
        }
      }
    });
  }

  void DoRope(const TensorView& x, const TensorView& cos_sin, absl::Span<const int32_t> positions) override {
    const int64_t half = cos_sin.dim(2);
    for (int64_t t = 0; t < x.dim(0); ++t) {
      const float* cosine = Row(cos_sin, positions[t]);
      const float* sine = cosine + half;
      for (int64_t h = 0; h < x.dim(1); ++h) {
        float* head = Row(x, t) + h * x.dim(2);
        for (int64_t i = 0; i < half; ++i) {
          const float first = head[i];
          const float second = head[i + half];
          head[i] = first * cosine[i] - second * sine[i];
          head[i + half] = second * cosine[i] + first * sine[i];
        }
      }
    }
  }

  void DoStoreKv(const TensorView& k, const TensorView& v, absl::Span<const int64_t> slot_mapping, int64_t layer,
                 const KvCacheView& cache) override {
    const KvCacheLayout& l = cache.layout;
    Dispatch(l.dtype, [&](auto element) {
      using T = decltype(element);
      for (size_t t = 0; t < slot_mapping.size(); ++t) {
        if (slot_mapping[t] < 0) continue;
        const int64_t block = slot_mapping[t] / l.block_size;
        const int64_t offset = slot_mapping[t] % l.block_size;
        for (int64_t h = 0; h < l.num_kv_heads; ++h) {
          for (int64_t d = 0; d < l.head_dim; ++d) {
            CacheRow<T>(cache, layer, block, offset, h, 0)[d] = Narrow<T>(Row(k, t)[h * l.head_dim + d]);
            CacheRow<T>(cache, layer, block, offset, h, 1)[d] = Narrow<T>(Row(v, t)[h * l.head_dim + d]);
          }
        }
      }
    });
  }

  // The query at `position` of one query head over the keys that it sees.
  template <typename T>
  void AttendOne(const float* q, const int32_t* blocks, int64_t position, int64_t head, int64_t kv_head,
                 const AttentionParams& params, int64_t layer, const KvCacheView& cache, float* out) {
    const KvCacheLayout& l = cache.layout;
    const int64_t first = FirstVisibleKey(params, position);
    std::vector<float> scores(position + 1 - first);
    for (int64_t j = first; j <= position; ++j) {
      const T* key = CacheRow<T>(cache, layer, blocks[j / l.block_size], j % l.block_size, kv_head, 0);
      float dot = 0.0f;
      for (int64_t d = 0; d < l.head_dim; ++d) dot = std::fma(q[d], Widen(key[d]), dot);
      scores[j - first] = Score(dot, params, head, position, j);
    }
    const float max = *std::max_element(scores.begin(), scores.end());
    float sum = 0.0f;
    for (float& score : scores) sum += (score = std::exp(score - max));
    std::fill(out, out + l.head_dim, 0.0f);
    for (int64_t j = first; j <= position; ++j) {
      const T* value = CacheRow<T>(cache, layer, blocks[j / l.block_size], j % l.block_size, kv_head, 1);
      for (int64_t d = 0; d < l.head_dim; ++d) out[d] = std::fma(scores[j - first], Widen(value[d]), out[d]);
    }
    for (int64_t d = 0; d < l.head_dim; ++d) out[d] /= sum;
  }

  void DoAttend(const TensorView& q, const AttendBatch& batch, const AttentionParams& params, int64_t layer,
                const KvCacheView& cache, const TensorView& out) override {
    const int64_t head_dim = cache.layout.head_dim;
    const int64_t group = q.dim(1) / cache.layout.num_kv_heads;
    Dispatch(cache.layout.dtype, [&](auto element) {
      for (int64_t s = 0; s < batch.num_seqs(); ++s) {
        const int32_t* blocks = batch.block_tables.data() + s * batch.max_blocks;
        for (int64_t t = batch.query_start[s]; t < batch.query_start[s + 1]; ++t) {
          const int64_t position = batch.context_len[s] - (batch.query_start[s + 1] - t);
          for (int64_t h = 0; h < q.dim(1); ++h) {
            AttendOne<decltype(element)>(Row(q, t) + h * head_dim, blocks, position, h, h / group, params, layer, cache,
                                         Row(out, t) + h * head_dim);
          }
        }
      }
    });
  }

  void DoActivate(ActivationKind kind, bool gated, const TensorView& x, const TensorView& out) override {
    const int64_t width = out.dim(1);
    for (int64_t t = 0; t < x.dim(0); ++t) {
      for (int64_t c = 0; c < width; ++c) {
        const float value = Activation(kind, Row(x, t)[c]);
        Row(out, t)[c] = gated ? value * Row(x, t)[width + c] : value;
      }
    }
  }

  void DoAddResidual(const TensorView& x, const TensorView& y) override {
    for (int64_t t = 0; t < x.dim(0); ++t) {
      for (int64_t c = 0; c < x.dim(1); ++c) Row(x, t)[c] += Row(y, t)[c];
    }
  }

  void DoScale(const TensorView& x, float factor) override {
    for (int64_t t = 0; t < x.dim(0); ++t) {
      for (int64_t c = 0; c < x.dim(1); ++c) Row(x, t)[c] *= factor;
    }
  }

  void DoClamp(const TensorView& x, float limit) override {
    for (int64_t t = 0; t < x.dim(0); ++t) {
      for (int64_t c = 0; c < x.dim(1); ++c) Row(x, t)[c] = std::clamp(Row(x, t)[c], -limit, limit);
    }
  }

  void DoSoftCap(const TensorView& x, float cap) override {
    for (int64_t t = 0; t < x.dim(0); ++t) {
      for (int64_t c = 0; c < x.dim(1); ++c) Row(x, t)[c] = cap * std::tanh(Row(x, t)[c] / cap);
    }
  }

  void DoGatherRows(const TensorView& x, absl::Span<const int32_t> rows, const TensorView& out) override {
    for (size_t i = 0; i < rows.size(); ++i) std::copy_n(Row(x, rows[i]), x.dim(1), Row(out, i));
  }

  void DoCopyBlocks(absl::Span<const std::pair<int32_t, int32_t>> copies, const KvCacheView& cache) override {
    const int64_t bytes = cache.layout.block_bytes();
    char* base = static_cast<char*>(cache.base);
    for (const auto& [from, to] : copies) std::memmove(base + to * bytes, base + from * bytes, bytes);
  }

  void DoSwap(bool out, absl::Span<const std::pair<int32_t, int32_t>> blocks, const KvCacheView& cache,
              const Buffer& host) override {
    SwapHostBlocks(out, blocks, cache, host);
  }

  void DoRoute(const TensorView& logits, const RouteParams& params, const ExpertRouting& routing) override {
    for (int64_t t = 0; t < logits.dim(0); ++t) {
      ChooseExperts(Row(logits, t), logits.dim(1), routing.ids.dim(1), params.renormalize,
                    routing.ids.as<int32_t>() + t * routing.ids.stride[0], Row(routing.weights, t));
    }
    SortByExpert(params, routing);
  }

  void DoExpertMatMul(const TensorView& x, absl::Span<const Weight* const> experts, const TensorView& row_start,
                      const TensorView& row_token, const TensorView& out) override {
    const int32_t* start = row_start.as<int32_t>();
    for (size_t e = 0; e < experts.size(); ++e) {
      for (int64_t r = start[e]; r < start[e + 1]; ++r) {
        const int64_t source = row_token.empty() ? r : row_token.as<int32_t>()[r];
        DoMatMul(SliceRows(x, source, 1), *experts[e], TensorView(), SliceRows(out, r, 1));
      }
    }
  }

  void DoCombineExperts(const TensorView& rows, const ExpertRouting& routing, int64_t num_experts,
                        const TensorView& extra, int64_t extra_quarter, const TensorView& out) override {
    for (int64_t t = 0; t < out.dim(0); ++t) {
      const int32_t* ids = routing.ids.as<int32_t>() + t * routing.ids.stride[0];
      const int32_t* row_of = routing.rows.as<int32_t>() + t * routing.rows.stride[0];
      for (int64_t c = 0; c < out.dim(1); ++c) {
        float sums[kExpertQuarters] = {};
        for (int64_t q = 0; q < kExpertQuarters; ++q) {
          for (int64_t i = 0; i < routing.ids.dim(1); ++i) {
            const bool in_quarter = ids[i] >= QuarterBegin(num_experts, q) && ids[i] < QuarterBegin(num_experts, q + 1);
            if (!in_quarter || row_of[i] < 0) continue;
            sums[q] = std::fma(Row(routing.weights, t)[i], Row(rows, row_of[i])[c], sums[q]);
          }
          if (!extra.empty() && extra_quarter == q) sums[q] += Row(extra, t)[c];
        }
        Row(out, t)[c] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      }
    }
  }

  void DoScaleRows(const TensorView& x, const TensorView& gate) override {
    for (int64_t t = 0; t < x.dim(0); ++t) {
      const float factor = 1.0f / (1.0f + std::exp(-Row(gate, t)[0]));
      for (int64_t c = 0; c < x.dim(1); ++c) Row(x, t)[c] *= factor;
    }
  }

  void DoEditLogits(const TensorView& logits, absl::Span<const LogitEdits> edits,
                    absl::Span<SampleResult> results) override {
    for (size_t i = 0; i < edits.size(); ++i) {
      ApplyLogitEdits(edits[i], Row(logits, i), logits.dim(1), results.empty() ? nullptr : &results[i]);
    }
  }

  void DoLogProbs(const TensorView& logits, absl::Span<const SampleRow> rows,
                  absl::Span<SampleResult> results) override {
    for (size_t i = 0; i < rows.size(); ++i) ReferenceLogProbs(Row(logits, i), logits.dim(1), rows[i], &results[i]);
  }

  void DoSample(const TensorView& logits, absl::Span<const SampleRow> rows, absl::Span<SampleResult> results) override {
    for (size_t i = 0; i < rows.size(); ++i) ReferenceSample(Row(logits, i), logits.dim(1), rows[i], &results[i]);
  }
};

}  // namespace

std::unique_ptr<Backend> CreateReferenceBackend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace quire::kernels::cpu
