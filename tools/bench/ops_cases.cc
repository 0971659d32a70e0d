#include "tools/bench/ops_cases.h"

#include <glog/logging.h>

#include <algorithm>
#include <memory>
#include <random>

#include "absl/strings/str_cat.h"
#include "kernels/half.h"
#include "tools/bench/ops_experts.h"

namespace quire::bench {
namespace {

using kernels::AttendBatch;
using kernels::Backend;
using kernels::DType;
using kernels::MakeView;
using kernels::TensorView;
using kernels::Weight;

struct Matrix {
  const char* name;
  int64_t rows;
  int64_t cols;
};

struct Shape {
  const char* name;
  int64_t hidden;
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t ffn;
  int64_t vocab;
  Matrix matrices[5];
};

constexpr Shape kShapes[] = {
    {"135M",
     576,
     9,
     3,
     64,
     1536,
     49152,
     {{"qkv", 960, 576}, {"o", 576, 576}, {"gate_up", 3072, 576}, {"down", 576, 1536}, {"head", 49152, 576}}},
    {"1B",
     2048,
     32,
     8,
     64,
     8192,
     128256,
     {{"qkv", 3072, 2048}, {"o", 2048, 2048}, {"gate_up", 16384, 2048}, {"down", 2048, 8192}, {"head", 128256, 2048}}},
};

constexpr int64_t kBatches[] = {1, 4, 16, 32, 512};

// Weights of a real step come from memory, not from a cache: copies of a matrix are used in turn until they are this
// big.
constexpr int64_t kColdBytes = int64_t{200} << 20;

OpCase MatMulOp(const Shape& shape, const Matrix& m, int64_t batch, DType stored) {
  OpCase op;
  op.name = absl::StrCat("matmul/", shape.name, "/", m.name, "/batch", batch);
  op.bytes = static_cast<double>(m.rows * m.cols * kernels::DTypeBytes(stored) + batch * (m.rows + m.cols) * 4);
  op.flops = 2.0 * static_cast<double>(m.rows * m.cols * batch);
  op.prepare = [m, batch, stored](Backend* backend) {
    struct State {
      std::vector<std::unique_ptr<Weight>> copies;
      std::vector<float> x, out;
      size_t turn = 0;
    };
    auto s = std::make_shared<State>();
    std::vector<float> values = RandomFloats(m.rows * m.cols, 0.05f);
    const TensorView part = MakeView(values.data(), DType::kF32, {m.rows, m.cols});
    const int64_t bytes = m.rows * m.cols * kernels::DTypeBytes(stored);
    for (int64_t total = 0; total < kColdBytes; total += bytes) {
      auto weight = backend->Pack({part}, stored);
      CHECK(weight.ok()) << weight.status();
      s->copies.push_back(*std::move(weight));
    }
    s->x = RandomFloats(batch * m.cols, 1.0f);
    s->out.resize(batch * m.rows);
    return [=] {
      backend->MatMul(MakeView(s->x.data(), DType::kF32, {batch, m.cols}), *s->copies[s->turn++ % s->copies.size()], {},
                      MakeView(s->out.data(), DType::kF32, {batch, m.rows}));
    };
  };
  return op;
}

// What a model does to its scores, and what that is called here.
struct AttendKind {
  const char* suffix = "";
  int64_t window = 0;
  float softcap = 0.0f;
  bool alibi = false;
};

// `num_seqs` sequences with `context` keys each, of which the last `queries` ask.
OpCase AttendOp(const Shape& shape, int64_t num_seqs, int64_t queries, int64_t whole_context, DType stored,
                const AttendKind& kind = AttendKind()) {
  OpCase op;
  op.name = absl::StrCat("attend/", shape.name, "/seqs", num_seqs, "/queries", queries, "/context", whole_context,
                         kind.suffix);
  // Keys that the last query sees; a window is asked by one query only.
  const int64_t context = kind.window > 0 ? std::min(kind.window, whole_context) : whole_context;
  const int64_t pairs = queries * context - queries * (queries - 1) / 2;  // visible (query, key) pairs of a sequence
  op.bytes = static_cast<double>(num_seqs) *
             static_cast<double>(2 * context * shape.num_kv_heads * shape.head_dim * kernels::DTypeBytes(stored) +
                                 2 * queries * shape.num_heads * shape.head_dim * 4);
  op.flops = static_cast<double>(num_seqs) * 4.0 * static_cast<double>(pairs * shape.num_heads * shape.head_dim);
  op.prepare = [=](Backend* backend) {
    struct State {
      kernels::KvCacheLayout layout;
      std::unique_ptr<kernels::Buffer> memory;
      std::vector<float> q, out, slopes;
      kernels::AttentionParams params;
      std::vector<int32_t> start, lengths, tables;
      int64_t turn = 0;
    };
    auto s = std::make_shared<State>();
    const int64_t max_blocks = (whole_context + 15) / 16;
    kernels::KvCacheLayout& l = s->layout;
    l = {stored, num_seqs * max_blocks, 1, shape.num_kv_heads, shape.head_dim, 16};
    // Layers in turn, like weights: a layer's cache is cold when its turn comes.
    l.num_layers = std::clamp<int64_t>(kColdBytes / (l.num_blocks * l.layer_bytes()), 1, 64);
    auto memory = backend->Allocate(l.num_blocks * l.block_bytes());
    CHECK(memory.ok()) << memory.status();
    s->memory = *std::move(memory);
    std::vector<float> kv = RandomFloats(16 * l.num_kv_heads * l.head_dim, 1.0f);
    const TensorView one = MakeView(kv.data(), DType::kF32, {16, l.num_kv_heads, l.head_dim});
    std::vector<int64_t> slots(16);
    for (int64_t layer = 0; layer < l.num_layers; ++layer) {
      for (int64_t b = 0; b < l.num_blocks; ++b) {
        for (int64_t i = 0; i < 16; ++i) slots[i] = b * 16 + i;
        backend->StoreKv(one, one, slots, layer, {s->memory->data(), l});
      }
    }
    for (int64_t i = 0; i <= num_seqs; ++i) s->start.push_back(static_cast<int32_t>(i * queries));
    s->lengths.assign(num_seqs, static_cast<int32_t>(whole_context));
    for (int64_t b = 0; b < l.num_blocks; ++b) s->tables.push_back(static_cast<int32_t>(b));
    std::shuffle(s->tables.begin(), s->tables.end(), std::mt19937(1));
    s->q = RandomFloats(num_seqs * queries * shape.num_heads * shape.head_dim, 1.0f);
    s->out.resize(s->q.size());
    if (kind.alibi) s->slopes.assign(shape.num_heads, 0.01f);
    s->params.scale = 0.125f;
    s->params.window = kind.window;
    s->params.softcap = kind.softcap;
    s->params.alibi_slopes = s->slopes;
    return [=] {
      const AttendBatch batch = {s->start, s->lengths, s->tables, max_blocks};
      backend->Attend(MakeView(s->q.data(), DType::kF32, {num_seqs * queries, shape.num_heads, shape.head_dim}), batch,
                      s->params, s->turn++ % s->layout.num_layers, {s->memory->data(), s->layout},
                      MakeView(s->out.data(), DType::kF32, {num_seqs * queries, shape.num_heads, shape.head_dim}));
    };
  };
  return op;
}

// Ops over rows: little work each, but there are many of them in a step.
void AddRowOps(const Shape& shape, int64_t batch, std::vector<OpCase>* ops) {
  const std::string suffix = absl::StrCat("/", shape.name, "/batch", batch);
  const int64_t width = shape.hidden;
  const auto add = [&](const char* name, int64_t in, int64_t out, double flops_per_element, auto call) {
    OpCase op;
    op.name = absl::StrCat(name, suffix);
    op.bytes = static_cast<double>(batch * (in + out) * 4);
    op.flops = flops_per_element * static_cast<double>(batch * in);
    op.prepare = [=](Backend* backend) {
      auto x = std::make_shared<std::vector<float>>(RandomFloats(batch * in, 1.0f));
      auto y = std::make_shared<std::vector<float>>(RandomFloats(batch * std::max(in, out), 1.0f));
      return [=] { call(backend, x->data(), y->data()); };
    };
    ops->push_back(std::move(op));
  };
  add("norm", width, width, 4, [=](Backend* b, float* x, float* y) {
    b->Norm(kernels::NormKind::kRms, MakeView(x, DType::kF32, {batch, width}), MakeView(x, DType::kF32, {width}), {},
            1e-5f, MakeView(y, DType::kF32, {batch, width}));
  });
  add("residual", width, width, 1, [=](Backend* b, float* x, float* y) {
    b->AddResidual(MakeView(x, DType::kF32, {batch, width}), MakeView(y, DType::kF32, {batch, width}));
  });
  const int64_t ffn = shape.ffn;
  add("silu_gated", 2 * ffn, ffn, 8, [=](Backend* b, float* x, float* y) {
    b->Activate(kernels::ActivationKind::kSilu, true, MakeView(x, DType::kF32, {batch, 2 * ffn}),
                MakeView(y, DType::kF32, {batch, ffn}));
  });
  const int64_t heads = shape.num_heads;
  const int64_t dim = shape.head_dim;
  add("rope", heads * dim, heads * dim, 3, [=](Backend* b, float* x, float* y) {
    const std::vector<int32_t> positions(batch, 0);
    b->Rope(MakeView(x, DType::kF32, {batch, heads, dim}), MakeView(y, DType::kF32, {1, 2, dim / 2}), positions);
  });
}

struct SampleKind {
  const char* name;
  kernels::SampleRow row;
};

void AddSampleOps(const Shape& shape, std::vector<OpCase>* ops) {
  kernels::SampleRow greedy, full, nucleus, top_k, top_k_p, logprobs;
  greedy.temperature = 0.0f;
  nucleus.top_p = 0.9f;
  top_k.top_k = 50;
  top_k_p.top_k = 50;
  top_k_p.top_p = 0.9f;
  logprobs.num_logprobs = 5;
  for (const SampleKind& kind : {SampleKind{"greedy", greedy},
                                 {"temperature", full},
                                 {"top_p", nucleus},
                                 {"top_k", top_k},
                                 {"top_k_top_p", top_k_p},
                                 {"logprobs5", logprobs}}) {
    for (int64_t batch : {1, 16}) {
      OpCase op;
      op.name = absl::StrCat("sample/", shape.name, "/", kind.name, "/batch", batch);
      op.bytes = static_cast<double>(batch * shape.vocab * 4);
      op.prepare = [=](Backend* backend) {
        auto logits = std::make_shared<std::vector<float>>(batch * shape.vocab);
        std::mt19937 rng(7);
        std::normal_distribution<float> normal(0.0f, 2.5f);
        for (float& v : *logits) v = normal(rng);
        return [=, position = uint32_t{0}]() mutable {
          std::vector<kernels::SampleRow> rows(batch, kind.row);
          for (kernels::SampleRow& row : rows) row.position = position++;
          std::vector<kernels::SampleResult> results(batch);
          const TensorView view = MakeView(logits->data(), DType::kF32, {batch, shape.vocab});
          if (kind.row.num_logprobs >= 0) backend->LogProbs(view, rows, absl::MakeSpan(results));
          backend->Sample(view, rows, absl::MakeSpan(results));
        };
      };
      ops->push_back(std::move(op));
    }
  }
}

}  // namespace

std::vector<float> RandomFloats(int64_t count, float scale) {
  std::vector<float> values(count);
  uint32_t state = 12345;
  for (float& v : values) {
    state = state * 1664525u + 1013904223u;
    v = (static_cast<float>(state >> 8) * 0x1p-24f - 0.5f) * 2 * scale;
  }
  return values;
}

std::vector<OpCase> AllOpCases(DType stored) {
  std::vector<OpCase> ops;
  for (const Shape& shape : kShapes) {
    for (const Matrix& m : shape.matrices) {
      for (int64_t batch : kBatches) {
        if (batch == 512 && m.rows == shape.vocab) continue;  // a prefill needs logits of its last token only
        ops.push_back(MatMulOp(shape, m, batch, stored));
      }
    }
    for (int64_t context : {1024, 4096}) {
      for (int64_t num_seqs : {1, 16}) ops.push_back(AttendOp(shape, num_seqs, 1, context, stored));
    }
    for (const AttendKind& kind :
         {AttendKind{"/window1024", 1024}, {"/softcap", 0, 50.0f}, {"/alibi", 0, 0.0f, true}}) {
      ops.push_back(AttendOp(shape, 16, 1, 4096, stored, kind));
    }
    ops.push_back(AttendOp(shape, 1, 512, 512, stored));
    ops.push_back(AttendOp(shape, 1, 512, 4096, stored));
    for (int64_t batch : {1, 16, 512}) AddRowOps(shape, batch, &ops);
    AddSampleOps(shape, &ops);
  }
  AddExpertOps(stored, &ops);
  return ops;
}

}  // namespace quire::bench
