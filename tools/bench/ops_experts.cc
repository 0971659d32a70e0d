#include "tools/bench/ops_experts.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"

namespace quire::bench {
namespace {

using kernels::Backend;
using kernels::DType;
using kernels::MakeView;
using kernels::TensorView;
using kernels::Weight;

struct ExpertShape {
  const char* name;
  int64_t count;
  int64_t chosen;
  int64_t hidden;
  int64_t ffn;
};

constexpr ExpertShape kExpertShapes[] = {{"2of8x4096", 8, 2, 2048, 4096}, {"8of64x1024", 64, 8, 2048, 1024}};
constexpr int64_t kExpertBatches[] = {1, 4, 16, 512};

// One layer's weights and memory. Experts are used in turn, a token's chosen ones neighbours: as many different ones
// as there can be, and those of the next call are cold.
class Layer {
 public:
  Layer(Backend* backend, const ExpertShape& shape, int64_t batch, DType stored)
      : backend_(backend), shape_(shape), batch_(batch), picks_(batch * shape.chosen) {
    std::vector<float> up = RandomFloats(2 * shape.ffn * shape.hidden, 0.05f);
    std::vector<float> down = RandomFloats(shape.hidden * shape.ffn, 0.05f);
    const auto pack = [&](const TensorView& part) {
      auto weight = backend->Pack({part}, stored);
      CHECK(weight.ok()) << weight.status();
      weights_.push_back(*std::move(weight));
      return weights_.back().get();
    };
    for (int64_t e = 0; e < shape.count; ++e) {
      up_.push_back(pack(Floats(&up, 2 * shape.ffn, shape.hidden)));
      for (int64_t q = 0; q < kQuarters; ++q) {
        down_[q].push_back(pack(SliceCols(Floats(&down, shape.hidden, shape.ffn), Begin(q), Begin(q + 1) - Begin(q))));
      }
    }
    x_ = RandomFloats(batch * shape.hidden, 1.0f);
    logits_.resize(batch * shape.count);
    ids_.resize(picks_);
    rows_.resize(picks_);
    row_token_.resize(picks_);
    row_start_.resize(shape.count + 1);
    chosen_weights_.resize(picks_);
    middle_.resize(picks_ * 2 * shape.ffn);
    activated_.resize(picks_ * shape.ffn);
    products_.resize(picks_ * shape.hidden);
    out_.resize(kQuarters * batch * shape.hidden);
  }

  // Fills the routing for the next call.
  void Route() {
    std::fill(logits_.begin(), logits_.end(), 0.0f);
    for (int64_t i = 0; i < picks_; ++i) {
      const int64_t expert = (turn_ + i) % shape_.count;
      logits_[i / shape_.chosen * shape_.count + expert] = 2.0f + 0.1f * static_cast<float>(i % shape_.chosen);
    }
    turn_ += picks_;
    backend_->Route(Floats(&logits_, batch_, shape_.count), {0, shape_.count, true}, Routing());
  }
  void Up() {
    backend_->ExpertMatMul(Floats(&x_, batch_, shape_.hidden), up_, Routing().row_start, Routing().row_token,
                           Floats(&middle_, picks_, 2 * shape_.ffn));
  }
  const std::vector<float>& Rest() {
    backend_->Activate(kernels::ActivationKind::kSilu, true, Floats(&middle_, picks_, 2 * shape_.ffn),
                       Floats(&activated_, picks_, shape_.ffn));
    const TensorView products = Floats(&products_, picks_, shape_.hidden);
    for (int64_t q = 0; q < kQuarters; ++q) {
      const TensorView columns = SliceCols(Floats(&activated_, picks_, shape_.ffn), Begin(q), Begin(q + 1) - Begin(q));
      backend_->ExpertMatMul(columns, down_[q], Routing().row_start, {}, products);
      backend_->CombineExperts(products, Routing(), shape_.count, {}, 0, Quarter(q));
    }
    backend_->AddResidual(Quarter(0), Quarter(1));
    backend_->AddResidual(Quarter(2), Quarter(3));
    backend_->AddResidual(Quarter(0), Quarter(2));
    return out_;
  }

 private:
  static TensorView Floats(std::vector<float>* values, int64_t rows, int64_t cols) {
    return MakeView(values->data(), DType::kF32, {rows, cols});
  }
  // A decoder holds the last matrix in quarters of its columns, so that ranks can share them out.
  static constexpr int64_t kQuarters = 4;
  int64_t Begin(int64_t quarter) const { return shape_.ffn * quarter / kQuarters; }
  TensorView Quarter(int64_t quarter) {
    return SliceRows(Floats(&out_, kQuarters * batch_, shape_.hidden), quarter * batch_, batch_);
  }
  kernels::ExpertRouting Routing() {
    const auto ints = [&](std::vector<int32_t>* values) {
      return MakeView(values->data(), DType::kI32, {batch_, shape_.chosen});
    };
    return {ints(&ids_), Floats(&chosen_weights_, batch_, shape_.chosen), ints(&rows_),
            MakeView(row_token_.data(), DType::kI32, {picks_}),
            MakeView(row_start_.data(), DType::kI32, {shape_.count + 1})};
  }

  Backend* const backend_;
  const ExpertShape shape_;
  const int64_t batch_, picks_;
  int64_t turn_ = 0;
  std::vector<std::unique_ptr<Weight>> weights_;
  std::vector<const Weight*> up_, down_[kQuarters];
  std::vector<float> x_, logits_, chosen_weights_, middle_, activated_, products_, out_;
  std::vector<int32_t> ids_, rows_, row_token_, row_start_;
};

OpCase ExpertOp(const ExpertShape& shape, int64_t batch, bool whole_layer, DType stored) {
  OpCase op;
  op.name = absl::StrCat(whole_layer ? "experts/" : "expert_matmul/", shape.name, "/batch", batch);
  // The experts that are touched, each read once; then the rows.
  const int64_t touched = std::min(shape.count, batch * shape.chosen), picks = batch * shape.chosen;
  const int64_t elements = (whole_layer ? 3 : 2) * shape.ffn * shape.hidden;
  const int64_t row_floats = whole_layer ? 5 * shape.ffn + 2 * shape.hidden : 2 * shape.ffn;
  op.bytes = static_cast<double>(touched * elements * kernels::DTypeBytes(stored) +
                                 (picks * row_floats + batch * shape.hidden) * 4);
  op.flops = 2.0 * static_cast<double>(elements * picks);
  op.prepare = [=](Backend* backend) {
    auto layer = std::make_shared<Layer>(backend, shape, batch, stored);
    return [=] {
      layer->Route();
      layer->Up();
      if (whole_layer) layer->Rest();
    };
  };
  return op;
}

}  // namespace

void AddExpertOps(DType stored, std::vector<OpCase>* ops) {
  for (const ExpertShape& shape : kExpertShapes) {
    for (const bool whole_layer : {false, true}) {
      for (const int64_t batch : kExpertBatches) ops->push_back(ExpertOp(shape, batch, whole_layer, stored));
    }
  }
}

std::vector<float> RunExperts(Backend* backend) {
  Layer layer(backend, {"", 7, 3, 70, 50}, 19, DType::kBF16);
  layer.Route();
  layer.Up();
  return layer.Rest();
}

}  // namespace quire::bench
