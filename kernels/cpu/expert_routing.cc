#include "kernels/cpu/expert_routing.h"

#include <algorithm>
#include <cmath>

namespace quire::kernels::cpu {
namespace {

int32_t* I32Row(const TensorView& t, int64_t row) { return t.as<int32_t>() + row * t.stride[0]; }

}  // namespace

void ChooseExperts(const float* logits, int64_t num_experts, int64_t num_chosen, bool renormalize, int32_t* ids,
                   float* weights) {
  const float max = *std::max_element(logits, logits + num_experts);
  float sum = 0.0f;
  for (int64_t e = 0; e < num_experts; ++e) sum += std::exp(logits[e] - max);
  // Insertion into the best so far: ids ascend, so an equal probability behind them stays behind.
  int64_t num_found = 0;
  for (int64_t e = 0; e < num_experts; ++e) {
    const float probability = std::exp(logits[e] - max) / sum;
    int64_t at = num_found;
    while (at > 0 && probability > weights[at - 1]) --at;
    if (at >= num_chosen) continue;
    num_found = std::min(num_found + 1, num_chosen);
    std::copy_backward(weights + at, weights + num_found - 1, weights + num_found);
    std::copy_backward(ids + at, ids + num_found - 1, ids + num_found);
    weights[at] = probability;
    ids[at] = static_cast<int32_t>(e);
  }
  if (renormalize) {
    float chosen = 0.0f;
    for (int64_t i = 0; i < num_chosen; ++i) chosen += weights[i];
    for (int64_t i = 0; i < num_chosen; ++i) weights[i] /= chosen;
  }
  for (int64_t i = 1; i < num_chosen; ++i) {
    for (int64_t j = i; j > 0 && ids[j] < ids[j - 1]; --j) {
      std::swap(ids[j], ids[j - 1]);
      std::swap(weights[j], weights[j - 1]);
    }
  }
}

void SortByExpert(const RouteParams& params, const ExpertRouting& routing) {
  const int64_t num_tokens = routing.ids.dim(0), num_chosen = routing.ids.dim(1);
  int32_t* start = routing.row_start.as<int32_t>();
  int32_t* row_token = routing.row_token.as<int32_t>();
  const auto local = [&](int32_t id) { return id - params.first_expert; };
  const auto is_here = [&](int32_t id) { return local(id) >= 0 && local(id) < params.num_local; };
  // start[i + 1] counts expert i, then is its first row, then, as rows are handed out, its end: the next one's start.
  std::fill_n(start, params.num_local + 1, 0);
  for (int64_t t = 0; t < num_tokens; ++t) {
    for (int64_t c = 0; c < num_chosen; ++c) {
      const int32_t id = I32Row(routing.ids, t)[c];
      if (is_here(id)) ++start[local(id) + 1];
    }
  }
  int32_t next = 0;
  for (int64_t i = 1; i <= params.num_local; ++i) {
    const int32_t count = start[i];
    start[i] = next;
    next += count;
  }
  for (int64_t t = 0; t < num_tokens; ++t) {
    for (int64_t c = 0; c < num_chosen; ++c) {
      const int32_t id = I32Row(routing.ids, t)[c];
      int32_t& row = I32Row(routing.rows, t)[c];
      row = is_here(id) ? start[local(id) + 1]++ : -1;
      if (row >= 0) row_token[row] = static_cast<int32_t>(t);
    }
  }
}

}  // namespace quire::kernels::cpu
