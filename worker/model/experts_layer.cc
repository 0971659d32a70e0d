#include "worker/model/experts_layer.h"

#include <glog/logging.h>

#include <algorithm>

namespace quire::worker {
namespace {

using kernels::DType;
using kernels::TensorView;

constexpr int64_t kQuarters = SummedLinear::kParts;

}  // namespace

TensorView ExpertsLayer::Memory::View(int64_t rows, int64_t cols, DType dtype) const {
  CHECK_LE(rows * cols * kernels::DTypeBytes(dtype), buffer->size_bytes());
  return kernels::MakeView(buffer->data(), dtype, {rows, cols});
}

absl::StatusOr<std::unique_ptr<ExpertsLayer>> ExpertsLayer::Create(const ModelSpec& spec, const Shard& shard,
                                                                   const Weights& weights, int64_t max_rows,
                                                                   kernels::Backend* backend) {
  CHECK(!spec.parallel_residual) << "experts beside attention";
  CHECK(spec.gated);
  std::unique_ptr<ExpertsLayer> made(new ExpertsLayer(spec, shard, backend));
  for (const LayerWeights& layer : weights.layers) {
    Grouped& grouped = made->layers_.emplace_back();
    grouped.weights = layer.experts.get();
    if (grouped.weights == nullptr) continue;
    for (const Linear& up : grouped.weights->up) grouped.up.push_back(up.weight.get());
    grouped.down.resize(grouped.weights->down[0].parts.size());
    for (const SummedLinear& down : grouped.weights->down) {
      for (size_t i = 0; i < down.parts.size(); ++i) grouped.down[i].push_back(down.parts[i].weight.get());
    }
  }
  if (absl::Status s = made->Allocate(max_rows); !s.ok()) return s;
  return made;
}

absl::Status ExpertsLayer::Allocate(int64_t max_rows) {
  const ExpertsSpec& experts = spec_.experts;
  const int64_t picks = max_rows * experts.chosen, ffn = shard_.expert_ffn.count, shared = shard_.shared_ffn.count;
  const struct {
    Memory* out;
    int64_t elements;
  } wanted[] = {
      {&logits_, max_rows * experts.count},
      {&ids_, picks},
      {&chosen_weights_, picks},
      {&rows_, picks},
      {&row_token_, picks},
      {&row_start_, shard_.experts.count + 1},
      {&up_, picks * 2 * ffn},
      {&activated_, picks * ffn},
      {&products_, picks * spec_.hidden_size},
      {&shared_up_, max_rows * 2 * shared},
      {&shared_activated_, max_rows * shared},
      {&shared_product_, shared > 0 ? max_rows * spec_.hidden_size : 0},
      {&switch_, shared > 0 ? max_rows : 0},
      {&quarters_, kQuarters * max_rows * spec_.hidden_size},
  };
  for (const auto& [out, elements] : wanted) {
    if (elements == 0) continue;
    auto buffer = backend_->Allocate(elements * kernels::DTypeBytes(DType::kF32));
    if (!buffer.ok()) return buffer.status();
    out->buffer = std::move(*buffer);
  }
  return absl::OkStatus();
}

kernels::ExpertRouting ExpertsLayer::Routing(int64_t num_rows) const {
  const int64_t chosen = spec_.experts.chosen;
  kernels::ExpertRouting routing;
  routing.ids = ids_.View(num_rows, chosen, DType::kI32);
  routing.weights = chosen_weights_.View(num_rows, chosen);
  routing.rows = rows_.View(num_rows, chosen, DType::kI32);
  routing.row_token = kernels::MakeView(row_token_.buffer->data(), DType::kI32, {num_rows * chosen});
  routing.row_start = kernels::MakeView(row_start_.buffer->data(), DType::kI32, {shard_.experts.count + 1});
  return routing;
}

TensorView ExpertsLayer::Share(int64_t layer, const TensorView& normed) {
  const Grouped& grouped = layers_[layer];
  const ExpertsWeights& weights = *grouped.weights;
  const int64_t num_rows = normed.dim(0);
  const TensorView logits = logits_.View(num_rows, spec_.experts.count);
  backend_->MatMul(normed, *weights.router.weight, TensorView(), logits);
  const kernels::ExpertRouting routing = Routing(num_rows);
  backend_->Route(logits, {shard_.experts.begin, shard_.experts.count, spec_.experts.renormalize}, routing);
  Up(grouped, normed, routing);
  if (weights.shared_up.weight != nullptr) SharedUp(weights, normed);

  const TensorView quarters = quarters_.View(kQuarters * num_rows, spec_.hidden_size);
  const size_t num_parts = grouped.down.size();
  const auto quarter = [&](size_t i) { return kernels::SliceRows(quarters, i * num_rows, num_rows); };
  for (size_t i = 0; i < num_parts; ++i) Quarter(grouped, i, routing, quarter(i));
  for (const SummedLinear::Part& part : weights.shared_down.parts) {
    const auto& parts = weights.down[0].parts;
    const auto same = [&](const SummedLinear::Part& other) { return other.quarter == part.quarter; };
    // Degrees that quarters do not divide may cut the two widths differently.
    if (std::none_of(parts.begin(), parts.end(), same))
      backend_->AddResidual(quarter(0), SharedProduct(part, num_rows));
  }
  if (shard_.expert_parallel) return quarters;
  if (num_parts > 1) backend_->AddResidual(quarter(0), quarter(1));
  if (num_parts > 3) backend_->AddResidual(quarter(2), quarter(3));
  if (num_parts > 2) backend_->AddResidual(quarter(0), quarter(2));
  return quarter(0);
}

// activated = act(up(normed)), one row for each pick of an expert that is here.
void ExpertsLayer::Up(const Grouped& layer, const TensorView& normed, const kernels::ExpertRouting& routing) {
  const int64_t num_picks = routing.row_token.dim(0), ffn = shard_.expert_ffn.count;
  const TensorView up = up_.View(num_picks, 2 * ffn);
  backend_->ExpertMatMul(normed, layer.up, routing.row_start, routing.row_token, up);
  backend_->Activate(spec_.activation, /*gated=*/true, up, activated_.View(num_picks, ffn));
}

void ExpertsLayer::SharedUp(const ExpertsWeights& weights, const TensorView& normed) {
  const int64_t num_rows = normed.dim(0), ffn = shard_.shared_ffn.count;
  const TensorView up = shared_up_.View(num_rows, 2 * ffn), activated = shared_activated_.View(num_rows, ffn);
  const TensorView gate = switch_.View(num_rows, 1);
  backend_->MatMul(normed, *weights.shared_up.weight, weights.shared_up.bias, up);
  backend_->Activate(spec_.activation, /*gated=*/true, up, activated);
  backend_->MatMul(normed, *weights.shared_switch.weight, TensorView(), gate);
  backend_->ScaleRows(activated, gate);
}

// out = the share of one part of the down matrices' columns. The shared mlp is always shared out by columns: its part
// of a quarter of columns comes in at that quarter of experts, which the same rank has where experts are shared out.
void ExpertsLayer::Quarter(const Grouped& layer, size_t part, const kernels::ExpertRouting& routing,
                           const TensorView& out) {
  const int64_t num_picks = routing.row_token.dim(0), num_rows = out.dim(0);
  const SummedLinear::Part& columns = layer.weights->down[0].parts[part];
  const TensorView activated = activated_.View(num_picks, shard_.expert_ffn.count);
  const TensorView products = products_.View(num_picks, spec_.hidden_size);
  backend_->ExpertMatMul(kernels::SliceCols(activated, columns.begin, columns.weight->cols()), layer.down[part],
                         routing.row_start, TensorView(), products);
  TensorView shared;
  for (const SummedLinear::Part& own : layer.weights->shared_down.parts) {
    if (own.quarter == columns.quarter) shared = SharedProduct(own, num_rows);
  }
  backend_->CombineExperts(products, routing, spec_.experts.count, shared, columns.quarter, out);
}

TensorView ExpertsLayer::SharedProduct(const SummedLinear::Part& part, int64_t num_rows) {
  const TensorView activated = shared_activated_.View(num_rows, shard_.shared_ffn.count);
  const TensorView product = shared_product_.View(num_rows, spec_.hidden_size);
  backend_->MatMul(kernels::SliceCols(activated, part.begin, part.weight->cols()), *part.weight, TensorView(), product);
  return product;
}

TensorView ExpertsLayer::Finish(const TensorView& shares) {
  if (!shard_.expert_parallel) return shares;
  const int64_t num_rows = shares.dim(0) / kQuarters;
  const auto quarter = [&](int64_t i) { return kernels::SliceRows(shares, i * num_rows, num_rows); };
  backend_->AddResidual(quarter(0), quarter(1));
  backend_->AddResidual(quarter(2), quarter(3));
  backend_->AddResidual(quarter(0), quarter(2));
  return quarter(0);
}

}  // namespace quire::worker
