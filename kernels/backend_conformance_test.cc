// Every backend against answers in double precision, on odd shapes, with rows apart and guard bytes around outputs.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/conformance.h"
#include "kernels/op_cases.h"

namespace quire::kernels {
namespace {

using BackendConformance = ConformanceTest;

TEST_P(BackendConformance, MatMul) {
  for (DType dtype : kStoredTypes) {
    for (const MatMulCase& c : kMatMulCases) {
      const std::string where = absl::StrCat(DTypeName(dtype), " ", c.num_tokens, "x", c.rows, "x", c.cols);
      Guarded x(DType::kF32, {c.num_tokens, c.cols});
      Guarded w(dtype, {c.rows, c.cols});
      Guarded bias(DType::kF32, {1, c.rows});
      Guarded out(DType::kF32, {c.num_tokens, c.rows});
      x.Randomize(1);
      w.Randomize(2, 0.1f);
      bias.Randomize(3);
      auto weight = backend_->Pack({w.view()}, dtype);
      ASSERT_TRUE(weight.ok()) << weight.status();
      ASSERT_EQ((*weight)->rows(), c.rows);
      ASSERT_EQ((*weight)->cols(), c.cols);
      for (bool with_bias : {false, true}) {
        TensorView b = MakeView(bias.view().data, DType::kF32, {c.rows});
        backend_->MatMul(x.view(), **weight, with_bias ? b : TensorView{}, out.view());
        for (int64_t t = 0; t < c.num_tokens; ++t) {
          for (int64_t r = 0; r < c.rows; ++r) {
            double sum = with_bias ? bias.at(0, r) : 0.0;
            for (int64_t k = 0; k < c.cols; ++k) sum += static_cast<double>(x.at(t, k)) * w.at(r, k);
            ExpectClose(sum, out.at(t, r), ProductTolerance(dtype), absl::StrCat(where, " at ", t, ",", r));
          }
        }
        out.ExpectGuardsIntact();
      }
    }
  }
}

// Parts below each other, a transposed part (Conv1D), and another type in the file than in memory.
TEST_P(BackendConformance, PackOfPartsStridesAndTypes) {
  for (DType source : kStoredTypes) {
    for (DType stored : kStoredTypes) {
      Guarded top(source, {19, 50});
      Guarded left(source, {50, 9});  // [in, out]
      Guarded x(DType::kF32, {3, 50});
      Guarded out(DType::kF32, {3, 28});
      top.Randomize(1);
      left.Randomize(2);
      x.Randomize(3);
      auto weight = backend_->Pack({top.view(), Transpose(left.view())}, stored);
      ASSERT_TRUE(weight.ok()) << weight.status();
      backend_->MatMul(x.view(), **weight, {}, out.view());
      const auto rounded = [stored](float v) {
        return Dispatch(stored, [v](auto e) { return Widen(Narrow<decltype(e)>(v)); });
      };
      for (int64_t t = 0; t < 3; ++t) {
        for (int64_t r = 0; r < 28; ++r) {
          double sum = 0.0;
          for (int64_t k = 0; k < 50; ++k) {
            sum += static_cast<double>(x.at(t, k)) * rounded(r < 19 ? top.at(r, k) : left.at(k, r - 19));
          }
          ExpectClose(sum, out.at(t, r), 1e-5, absl::StrCat(DTypeName(source), " as ", DTypeName(stored)));
        }
      }
      out.ExpectGuardsIntact();
    }
  }
}

TEST_P(BackendConformance, Embed) {
  for (DType dtype : kStoredTypes) {
    Guarded table(dtype, {11, 37});
    Guarded out(DType::kF32, {5, 37});
    table.Randomize(1);
    const std::vector<int32_t> ids = {100, 110, 99, 111, 105};  // the third and the fourth are other ranks'
    backend_->Embed(table.view(), 100, ids, out.view());
    for (int64_t t = 0; t < 5; ++t) {
      for (int64_t c = 0; c < 37; ++c) {
        const bool mine = ids[t] >= 100 && ids[t] < 111;
        ASSERT_EQ(out.at(t, c), mine ? table.at(ids[t] - 100, c) : 0.0f) << DTypeName(dtype) << " " << t << "," << c;
      }
    }
    out.ExpectGuardsIntact();
  }
}

TEST_P(BackendConformance, Norm) {
  for (const RowsCase& c : kRowsCases) {
    Guarded x(DType::kF32, {c.num_tokens, c.width});
    Guarded weight(DType::kF32, {1, c.width});
    Guarded bias(DType::kF32, {1, c.width});
    x.Randomize(1, 3.0f);
    weight.Randomize(2);
    bias.Randomize(3);
    const TensorView w = MakeView(weight.view().data, DType::kF32, {c.width});
    const TensorView b = MakeView(bias.view().data, DType::kF32, {c.width});
    for (NormKind kind : {NormKind::kLayer, NormKind::kRms}) {
      for (bool with_bias : {false, true}) {
        Guarded out(DType::kF32, {c.num_tokens, c.width}, 9);
        backend_->Norm(kind, x.view(), w, with_bias ? b : TensorView{}, 1e-5f, out.view());
        for (int64_t t = 0; t < c.num_tokens; ++t) {
          double mean = 0.0;
          double square = 0.0;
          for (int64_t i = 0; i < c.width; ++i) mean += kind == NormKind::kLayer ? x.at(t, i) : 0.0;
          mean /= static_cast<double>(c.width);
          for (int64_t i = 0; i < c.width; ++i) square += (x.at(t, i) - mean) * (x.at(t, i) - mean);
          const double scale = 1.0 / std::sqrt(square / static_cast<double>(c.width) + 1e-5);
          for (int64_t i = 0; i < c.width; ++i) {
            const double expected = (x.at(t, i) - mean) * scale * weight.at(0, i) + (with_bias ? bias.at(0, i) : 0.0);
            ExpectClose(expected, out.at(t, i), 4e-6, absl::StrCat(c.num_tokens, "x", c.width, " at ", t, ",", i));
          }
        }
        out.ExpectGuardsIntact();
      }
    }
  }
}

TEST_P(BackendConformance, NormInPlace) {
  Guarded x(DType::kF32, {4, 33});
  Guarded out(DType::kF32, {4, 33});
  Guarded weight(DType::kF32, {1, 33});
  x.Randomize(1);
  weight.Randomize(2);
  const TensorView w = MakeView(weight.view().data, DType::kF32, {33});
  backend_->Norm(NormKind::kRms, x.view(), w, {}, 1e-5f, out.view());
  backend_->Norm(NormKind::kRms, x.view(), w, {}, 1e-5f, x.view());
  for (int64_t t = 0; t < 4; ++t) EXPECT_EQ(x.row_bytes(t), out.row_bytes(t));
}

// A row in two parts, each of which knows the squares of both.
TEST_P(BackendConformance, NormOfParts) {
  for (const RowsCase& c : kRowsCases) {
    Guarded x(DType::kF32, {c.num_tokens, c.width});
    Guarded weight(DType::kF32, {1, c.width});
    Guarded out(DType::kF32, {c.num_tokens, c.width}, 9);
    Guarded squares(DType::kF32, {c.num_tokens, 2}, 3);
    x.Randomize(1, 3.0f);
    weight.Randomize(2);
    const int64_t begins[] = {0, c.width / 3, c.width};
    const auto columns = [&](const Guarded& t, int part) {
      return SliceCols(t.view(), begins[part], begins[part + 1] - begins[part]);
    };
    for (int part : {0, 1}) backend_->SumSquares(columns(x, part), SliceCols(squares.view(), part, 1));
    backend_->AddResidual(SliceCols(squares.view(), 0, 1), SliceCols(squares.view(), 1, 1));
    for (int part : {0, 1}) {
      const TensorView rest =
          MakeView(weight.view().as<float>() + begins[part], DType::kF32, {begins[part + 1] - begins[part]});
      backend_->NormPart(columns(x, part), SliceCols(squares.view(), 0, 1), c.width, rest, 1e-5f, columns(out, part));
    }
    for (int64_t t = 0; t < c.num_tokens; ++t) {
      double square = 0.0;
      for (int64_t i = 0; i < c.width; ++i) square += x.at(t, i) * x.at(t, i);
      const double scale = 1.0 / std::sqrt(square / static_cast<double>(c.width) + 1e-5);
      for (int64_t i = 0; i < c.width; ++i) {
        ExpectClose(x.at(t, i) * scale * weight.at(0, i), out.at(t, i), 4e-6,
                    absl::StrCat(c.num_tokens, "x", c.width, " at ", t, ",", i));
      }
    }
    out.ExpectGuardsIntact();
    squares.ExpectGuardsIntact();
  }
}

TEST_P(BackendConformance, Rope) {
  for (int64_t head_dim : {2, 16, 64, 80, 128}) {
    for (int64_t half : {head_dim / 2, head_dim / 4}) {
      Guarded x(DType::kF32, {3, 5, head_dim});
      Guarded table(DType::kF32, {20, 2, half});
      x.Randomize(1);
      table.Randomize(2);
      Guarded before(DType::kF32, {3, 5, head_dim});
      before.Randomize(1);
      const std::vector<int32_t> positions = {0, 19, 7};
      backend_->Rope(x.view(), table.view(), positions);
      for (int64_t t = 0; t < 3; ++t) {
        for (int64_t i = 0; i < x.width(); ++i) {
          const int64_t d = i % head_dim;
          const int64_t first = i - d + (d < half ? d : d - half);
          double expected = before.at(t, i);
          if (d < 2 * half) {
            const double cosine = table.at(positions[t], d % half);
            const double sine = table.at(positions[t], half + d % half);
            expected = d < half ? before.at(t, first) * cosine - before.at(t, first + half) * sine
                                : before.at(t, first + half) * cosine + before.at(t, first) * sine;
          }
          ExpectClose(expected, x.at(t, i), 2e-6, absl::StrCat("head_dim ", head_dim, " half ", half, " at ", i));
        }
      }
      x.ExpectGuardsIntact();
    }
  }
}

double ExactActivation(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kRelu:
      return x > 0 ? x : 0;
    case ActivationKind::kGeluErf:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case ActivationKind::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ActivationKind::kSilu:
      return x / (1 + std::exp(-x));
  }
  return 0;
}

TEST_P(BackendConformance, Activate) {
  for (ActivationKind kind :
       {ActivationKind::kRelu, ActivationKind::kGeluErf, ActivationKind::kGeluTanh, ActivationKind::kSilu}) {
    for (bool gated : {false, true}) {
      for (const RowsCase& c : kRowsCases) {
        Guarded x(DType::kF32, {c.num_tokens, c.width * (gated ? 2 : 1)});
        Guarded out(DType::kF32, {c.num_tokens, c.width});
        x.Randomize(1, 4.0f);
        if (c.num_tokens > 2) {
          for (auto [column, value] : {std::pair{0, 0.0f}, {1, -200.0f}, {2, 200.0f}, {3, 1e-20f}, {4, -90.0f}}) {
            x.set(1, column, value);
          }
        }
        backend_->Activate(kind, gated, x.view(), out.view());
        for (int64_t t = 0; t < c.num_tokens; ++t) {
          for (int64_t i = 0; i < c.width; ++i) {
            const double expected = ExactActivation(kind, x.at(t, i)) * (gated ? x.at(t, c.width + i) : 1.0);
            ExpectClose(expected, out.at(t, i), 1e-6,
                        absl::StrCat("kind ", static_cast<int>(kind), " x ", x.at(t, i), " at ", t, ",", i));
          }
        }
        out.ExpectGuardsIntact();
      }
    }
  }
}

// Small values keep their relative precision, large ones stop at the cap.
TEST_P(BackendConformance, SoftCap) {
  for (const RowsCase& c : kRowsCases) {
    for (float cap : {0.5f, 30.0f}) {
      Guarded x(DType::kF32, {c.num_tokens, c.width});
      Guarded out(DType::kF32, {c.num_tokens, c.width});
      for (Guarded* t : {&x, &out}) {
        t->Randomize(1, cap);
        if (c.num_tokens < 3) continue;
        for (auto [column, value] : {std::pair{0, 0.0f}, {1, -3e5f}, {2, 3e5f}, {3, 1e-20f}, {4, -1e-3f}}) {
          t->set(1, column, value);
        }
      }
      backend_->SoftCap(out.view(), cap);
      for (int64_t t = 0; t < c.num_tokens; ++t) {
        for (int64_t i = 0; i < c.width; ++i) {
          const double expected = cap * std::tanh(double{x.at(t, i)} / cap);
          ASSERT_NEAR(out.at(t, i), expected, 5e-7 * std::abs(expected)) << "cap " << cap << " of " << x.at(t, i);
        }
      }
      out.ExpectGuardsIntact();
    }
  }
}

TEST_P(BackendConformance, AddResidualScaleClampAndGather) {
  for (const RowsCase& c : kRowsCases) {
    Guarded x(DType::kF32, {c.num_tokens, c.width});
    Guarded y(DType::kF32, {c.num_tokens, c.width}, 2);
    Guarded sum(DType::kF32, {c.num_tokens, c.width});
    x.Randomize(1);
    sum.Randomize(1);
    y.Randomize(2);
    backend_->AddResidual(sum.view(), y.view());
    for (int64_t t = 0; t < c.num_tokens; ++t) {
      for (int64_t i = 0; i < c.width; ++i) ASSERT_EQ(sum.at(t, i), x.at(t, i) + y.at(t, i));
    }
    sum.ExpectGuardsIntact();
    backend_->Scale(sum.view(), 0.3f);
    for (int64_t t = 0; t < c.num_tokens; ++t) {
      for (int64_t i = 0; i < c.width; ++i) ASSERT_EQ(sum.at(t, i), (x.at(t, i) + y.at(t, i)) * 0.3f);
    }
    sum.ExpectGuardsIntact();
    backend_->Clamp(sum.view(), 0.2f);
    for (int64_t t = 0; t < c.num_tokens; ++t) {
      for (int64_t i = 0; i < c.width; ++i) {
        ASSERT_EQ(sum.at(t, i), std::clamp((x.at(t, i) + y.at(t, i)) * 0.3f, -0.2f, 0.2f));
      }
    }
    sum.ExpectGuardsIntact();
    if (c.num_tokens == 0) continue;
    const std::vector<int32_t> rows = {static_cast<int32_t>(c.num_tokens - 1), 0, 0};
    Guarded picked(DType::kF32, {3, c.width}, 1);
    backend_->GatherRows(x.view(), rows, picked.view());
    for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(picked.row_bytes(i), x.row_bytes(rows[i]));
    picked.ExpectGuardsIntact();
  }
}

TEST_P(BackendConformance, AllocateIsZeroedAlignedAndBounded) {
  for (int64_t bytes : {int64_t{1}, int64_t{5000}, int64_t{5} << 20}) {
    auto buffer = backend_->Allocate(bytes);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*buffer)->data()) % 64, 0u);
    const char* data = static_cast<const char*>((*buffer)->data());
    for (int64_t i = 0; i < bytes; i += 997) ASSERT_EQ(data[i], 0);
    ASSERT_EQ(data[bytes - 1], 0);
  }
  const auto refused = backend_->Allocate(int64_t{1} << 60);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted) << refused.status();
  EXPECT_GT(backend_->FreeBytes().value(), 0);
}

TEST(CreateCpuBackend, RefusesWhatItCannotDo) {
  EXPECT_EQ(CreateCpuBackend({0, false, ""}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateCpuBackend({257, false, ""}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateCpuBackend({1, false, "mmx"}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(BackendChecksDeathTest, ShapeErrorsNameBothValues) {
  auto backend = CreateCpuBackend({}).value();
  Guarded x(DType::kF32, {2, 8});
  Guarded w(DType::kF32, {4, 9});
  Guarded out(DType::kF32, {2, 4});
  x.Randomize(1);
  w.Randomize(2);
  auto weight = backend->Pack({w.view()}, DType::kF32).value();
  EXPECT_DEATH(backend->MatMul(x.view(), *weight, {}, out.view()), "8 vs. 9.*float32.2,8.");
  EXPECT_DEATH(backend->AddResidual(x.view(), out.view()), "4 vs. 8");
  // A block that a window has left behind may be gone, one that the query sees may not.
  const KvCacheLayout layout = {DType::kF32, 2, 1, 1, 4, 16};
  const auto memory = backend->Allocate(2 * layout.block_bytes()).value();
  Guarded q(DType::kF32, {1, 1, 4});
  q.Randomize(1);
  const std::vector<int32_t> start = {0, 1}, context = {20}, table = {-1, 1};
  AttentionParams params;
  for (int64_t window : {4, 5}) {
    params.window = window;
    const auto attend = [&] {
      backend->Attend(q.view(), {start, context, table, 2}, params, 0, {memory->data(), layout}, q.view());
    };
    if (window == 4) attend();
    if (window == 5) {
      EXPECT_DEATH(attend(), "sequence 0: block -1 of 2");
    }
  }
  EXPECT_DEATH(backend->GatherRows(x.view(), {2}, SliceRows(x.view(), 0, 1)), "2 vs. 2");
}

INSTANTIATE_TEST_SUITE_P(Backends, BackendConformance, testing::ValuesIn(BackendsUnderTest()), BackendLabel);

}  // namespace
}  // namespace quire::kernels
