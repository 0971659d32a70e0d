// The operations of a mixture of experts against answers in double precision, and B2 for them: a token's bits depend
// neither on its neighbours nor on where the experts lie.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "kernels/conformance.h"
#include "kernels/op_cases.h"

namespace quire::kernels {
namespace {

using ExpertConformance = ExactConformanceTest;

std::string NameOf(const ExpertCase& c) {
  return absl::StrCat(c.num_tokens, " tokens, ", c.num_chosen, " of ", c.num_experts, " experts, here ", c.first_expert,
                      "+", c.num_local);
}

// Memory of a routing, with rows apart.
struct OwnedRouting {
  OwnedRouting(int64_t num_tokens, int64_t num_chosen, int64_t num_local)
      : ids(num_tokens * (num_chosen + 1)),
        rows(num_tokens * (num_chosen + 1)),
        row_token(num_tokens * num_chosen),
        row_start(num_local + 1),
        weights(num_tokens * (num_chosen + 1)) {
    const auto apart = [&](void* data, DType dtype) {
      TensorView view = MakeView(data, dtype, {num_tokens, num_chosen});
      view.stride[0] = num_chosen + 1;
      return view;
    };
    view.ids = apart(ids.data(), DType::kI32);
    view.rows = apart(rows.data(), DType::kI32);
    view.weights = apart(weights.data(), DType::kF32);
    view.row_token = MakeView(row_token.data(), DType::kI32, {num_tokens * num_chosen});
    view.row_start = MakeView(row_start.data(), DType::kI32, {num_local + 1});
  }
  int32_t id(int64_t t, int64_t c) const { return ids[t * view.ids.stride[0] + c]; }
  int32_t row(int64_t t, int64_t c) const { return rows[t * view.rows.stride[0] + c]; }
  float weight(int64_t t, int64_t c) const { return weights[t * view.weights.stride[0] + c]; }

  SharedVector<int32_t> ids, rows, row_token, row_start;
  SharedVector<float> weights;
  ExpertRouting view;
};

Guarded RouterLogits(const ExpertCase& c) {
  Guarded logits(DType::kF32, {c.num_tokens, c.num_experts});
  logits.Randomize(5, 2.0f);
  for (int64_t t = 0; t < c.num_tokens; ++t) {
    if (c.load == ExpertLoad::kAllToOne) logits.set(t, 1, 20.0f);
    if (c.load == ExpertLoad::kLastIdle) logits.set(t, c.num_experts - 1, -20.0f);
  }
  return logits;
}

TEST_P(ExpertConformance, RouteTakesTheLargestProbabilitiesAndSortsRows) {
  for (const ExpertCase& c : kExpertCases) {
    for (bool renormalize : {false, true}) {
      const Guarded logits = RouterLogits(c);
      OwnedRouting routing(c.num_tokens, c.num_chosen, c.num_local);
      backend_->Route(logits.view(), {c.first_expert, c.num_local, renormalize}, routing.view);
      if (c.num_tokens == 0) continue;
      int64_t here = 0;
      for (int64_t t = 0; t < c.num_tokens; ++t) {
        std::vector<int32_t> order(c.num_experts);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](int32_t a, int32_t b) { return logits.at(t, a) > logits.at(t, b); });
        double all = 0, chosen = 0;
        for (int64_t e = 0; e < c.num_experts; ++e) all += std::exp(static_cast<double>(logits.at(t, e)));
        order.resize(c.num_chosen);
        for (int32_t e : order) chosen += std::exp(static_cast<double>(logits.at(t, e)));
        std::sort(order.begin(), order.end());
        for (int64_t i = 0; i < c.num_chosen; ++i) {
          ASSERT_EQ(routing.id(t, i), order[i]) << NameOf(c) << ", token " << t;
          ExpectClose(std::exp(static_cast<double>(logits.at(t, order[i]))) / (renormalize ? chosen : all),
                      routing.weight(t, i), 1e-6, absl::StrCat(NameOf(c), ", token ", t));
          const int32_t local = order[i] - c.first_expert;
          const int32_t row = routing.row(t, i);
          if (local < 0 || local >= c.num_local) {
            ASSERT_EQ(row, -1) << NameOf(c);
            continue;
          }
          ++here;
          ASSERT_GE(row, routing.row_start[local]) << NameOf(c);
          ASSERT_LT(row, routing.row_start[local + 1]) << NameOf(c);
          ASSERT_EQ(routing.row_token[row], t) << NameOf(c);
        }
      }
      ASSERT_EQ(routing.row_start[0], 0);
      ASSERT_EQ(routing.row_start[c.num_local], here);
      for (int64_t i = 0; i < c.num_local; ++i) {
        for (int32_t r = routing.row_start[i] + 1; r < routing.row_start[i + 1]; ++r) {
          ASSERT_LT(routing.row_token[r - 1], routing.row_token[r]) << NameOf(c);
        }
      }
    }
  }
}

TEST_P(ExpertConformance, EqualProbabilitiesGoToTheLowerId) {
  Guarded logits(DType::kF32, {3, 6});
  const float rows[3][6] = {{1, 1, 1, 1, 1, 1}, {0, 2, 3, 2, 3, 2}, {-1, -1, 5, -1, -1, -1}};
  for (int64_t t = 0; t < 3; ++t) {
    for (int64_t e = 0; e < 6; ++e) logits.set(t, e, rows[t][e]);
  }
  OwnedRouting routing(3, 3, 6);
  backend_->Route(logits.view(), {0, 6, true}, routing.view);
  const int32_t expected[3][3] = {{0, 1, 2}, {1, 2, 4}, {0, 1, 2}};
  for (int64_t t = 0; t < 3; ++t) {
    for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(routing.id(t, i), expected[t][i]) << "token " << t;
  }
}

struct Products {
  OwnedRouting routing;
  Guarded rows;  // [num_tokens * num_chosen, hidden]
};

// Two products of every token at its experts, the second of the first one's rows: gather and no gather.
Products RunExperts(Backend* backend, const ExpertCase& c, const Guarded& logits, const Guarded& x,
                    const std::vector<std::unique_ptr<Weight>>& up, const std::vector<std::unique_ptr<Weight>>& down) {
  Products p = {OwnedRouting(c.num_tokens, c.num_chosen, c.num_local),
                Guarded(DType::kF32, {c.num_tokens * c.num_chosen, c.hidden})};
  backend->Route(logits.view(), {c.first_expert, c.num_local, true}, p.routing.view);
  Guarded middle(DType::kF32, {c.num_tokens * c.num_chosen, c.width});
  std::vector<const Weight*> up_here, down_here;
  for (int64_t i = 0; i < c.num_local; ++i) {
    up_here.push_back(up[c.first_expert + i].get());
    down_here.push_back(down[c.first_expert + i].get());
  }
  backend->ExpertMatMul(x.view(), up_here, p.routing.view.row_start, p.routing.view.row_token, middle.view());
  middle.ExpectGuardsIntact();
  backend->ExpertMatMul(middle.view(), down_here, p.routing.view.row_start, {}, p.rows.view());
  p.rows.ExpectGuardsIntact();
  return p;
}

struct ExpertWeights {
  std::vector<Guarded> up, down;  // [num_experts], stored values
  std::vector<std::unique_ptr<Weight>> packed_up, packed_down;
};

ExpertWeights MakeWeights(Backend* backend, const ExpertCase& c, DType dtype) {
  ExpertWeights w;
  for (int64_t e = 0; e < c.num_experts; ++e) {
    w.up.emplace_back(dtype, std::vector<int64_t>{c.width, c.hidden}).Randomize(10 + e, 0.2f);
    w.down.emplace_back(dtype, std::vector<int64_t>{c.hidden, c.width}).Randomize(90 + e, 0.2f);
    w.packed_up.push_back(backend->Pack({w.up.back().view()}, dtype).value());
    w.packed_down.push_back(backend->Pack({w.down.back().view()}, dtype).value());
  }
  return w;
}

TEST_P(ExpertConformance, ProductsAndTheirSum) {
  for (DType dtype : kStoredTypes) {
    for (const ExpertCase& c : kExpertCases) {
      const ExpertWeights w = MakeWeights(backend_.get(), c, dtype);
      const Guarded logits = RouterLogits(c);
      Guarded x(DType::kF32, {c.num_tokens, c.hidden}), extra(DType::kF32, {c.num_tokens, c.hidden});
      x.Randomize(1);
      extra.Randomize(2);
      const Products p = RunExperts(backend_.get(), c, logits, x, w.packed_up, w.packed_down);
      Guarded out(DType::kF32, {c.num_tokens, c.hidden}), with_extra(DType::kF32, {c.num_tokens, c.hidden});
      backend_->CombineExperts(p.rows.view(), p.routing.view, c.num_experts, {}, 0, out.view());
      backend_->CombineExperts(p.rows.view(), p.routing.view, c.num_experts, extra.view(), 2, with_extra.view());
      for (int64_t t = 0; t < c.num_tokens; ++t) {
        std::vector<double> sum(c.hidden, 0.0);
        for (int64_t i = 0; i < c.num_chosen; ++i) {
          const int32_t e = p.routing.id(t, i);
          if (e < c.first_expert || e >= c.first_expert + c.num_local) continue;
          std::vector<double> middle(c.width, 0.0);
          for (int64_t f = 0; f < c.width; ++f) {
            for (int64_t k = 0; k < c.hidden; ++k) middle[f] += static_cast<double>(w.up[e].at(f, k)) * x.at(t, k);
          }
          for (int64_t h = 0; h < c.hidden; ++h) {
            double product = 0.0;
            for (int64_t f = 0; f < c.width; ++f) product += w.down[e].at(h, f) * middle[f];
            sum[h] += p.routing.weight(t, i) * product;
          }
        }
        for (int64_t h = 0; h < c.hidden; ++h) {
          const std::string where = absl::StrCat(DTypeName(dtype), " ", NameOf(c), " at ", t, ",", h);
          ExpectClose(sum[h], out.at(t, h), 2e-5, where);
          ExpectClose(sum[h] + extra.at(t, h), with_extra.at(t, h), 2e-5, where);
        }
      }
      out.ExpectGuardsIntact();
      with_extra.ExpectGuardsIntact();
    }
  }
}

// The sums of ranks that hold neighbouring quarters, added as the ranks' sums are, are one rank's sum.
TEST_P(ExpertConformance, SharedOutExpertsAddUpToTheSameBits) {
  ExpertCase c = {23, 8, 5, 0, 8, 50, 30, ExpertLoad::kRandom};
  const ExpertWeights w = MakeWeights(backend_.get(), c, DType::kBF16);
  const Guarded logits = RouterLogits(c);
  Guarded x(DType::kF32, {c.num_tokens, c.hidden});
  x.Randomize(1);
  std::vector<Guarded> sums;
  for (int64_t num_ranks : {1, 2, 4}) {
    std::vector<Guarded> parts;
    for (int64_t rank = 0; rank < num_ranks; ++rank) {
      c.num_local = c.num_experts / num_ranks;
      c.first_expert = rank * c.num_local;
      const Products p = RunExperts(backend_.get(), c, logits, x, w.packed_up, w.packed_down);
      parts.emplace_back(DType::kF32, std::vector<int64_t>{c.num_tokens, c.hidden});
      backend_->CombineExperts(p.rows.view(), p.routing.view, c.num_experts, {}, 0, parts.back().view());
    }
    for (int64_t step = 1; step < num_ranks; step *= 2) {
      for (int64_t r = 0; r < num_ranks; r += 2 * step) backend_->AddResidual(parts[r].view(), parts[r + step].view());
    }
    sums.push_back(std::move(parts[0]));
  }
  for (int64_t t = 0; t < c.num_tokens; ++t) {
    EXPECT_EQ(sums[0].row_bytes(t), sums[1].row_bytes(t)) << "token " << t;
    EXPECT_EQ(sums[0].row_bytes(t), sums[2].row_bytes(t)) << "token " << t;
  }
}

// B2: alone, in small batches and all together, each token has the same bits.
TEST_P(ExpertConformance, CompanyChangesNoBit) {
  const ExpertCase whole = {140, 6, 2, 0, 6, 45, 70, ExpertLoad::kRandom};
  const ExpertWeights w = MakeWeights(backend_.get(), whole, DType::kBF16);
  const Guarded logits = RouterLogits(whole);
  Guarded x(DType::kF32, {whole.num_tokens, whole.hidden});
  x.Randomize(1);
  std::vector<std::string> expected;
  for (int64_t batch : {int64_t{1}, int64_t{5}, int64_t{33}, whole.num_tokens}) {
    std::vector<std::string> bits;
    for (int64_t begin = 0; begin < whole.num_tokens; begin += batch) {
      ExpertCase c = whole;
      c.num_tokens = std::min(batch, whole.num_tokens - begin);
      Guarded some_logits(DType::kF32, {c.num_tokens, c.num_experts}), some_x(DType::kF32, {c.num_tokens, c.hidden});
      for (int64_t t = 0; t < c.num_tokens; ++t) {
        for (int64_t e = 0; e < c.num_experts; ++e) some_logits.set(t, e, logits.at(begin + t, e));
        for (int64_t h = 0; h < c.hidden; ++h) some_x.set(t, h, x.at(begin + t, h));
      }
      const Products p = RunExperts(backend_.get(), c, some_logits, some_x, w.packed_up, w.packed_down);
      Guarded out(DType::kF32, {c.num_tokens, c.hidden});
      backend_->CombineExperts(p.rows.view(), p.routing.view, c.num_experts, {}, 0, out.view());
      for (int64_t t = 0; t < c.num_tokens; ++t) bits.push_back(out.row_bytes(t));
    }
    if (expected.empty()) expected = bits;
    EXPECT_TRUE(bits == expected) << "batches of " << batch;
  }
}

TEST_P(ExpertConformance, ScaleRows) {
  Guarded x(DType::kF32, {5, 33}), before(DType::kF32, {5, 33}), gate(DType::kF32, {5, 1});
  x.Randomize(1);
  before.Randomize(1);
  gate.Randomize(2, 3.0f);
  gate.set(3, 0, -100.0f);
  backend_->ScaleRows(x.view(), gate.view());
  for (int64_t t = 0; t < 5; ++t) {
    for (int64_t i = 0; i < 33; ++i) {
      const double factor = 1.0 / (1.0 + std::exp(-static_cast<double>(gate.at(t, 0))));
      ExpectClose(before.at(t, i) * factor, x.at(t, i), 1e-6, absl::StrCat(t, ",", i));
    }
  }
  x.ExpectGuardsIntact();
}

INSTANTIATE_TEST_SUITE_P(Backends, ExpertConformance, testing::ValuesIn(BackendsUnderTest()), BackendLabel);

}  // namespace
}  // namespace quire::kernels
