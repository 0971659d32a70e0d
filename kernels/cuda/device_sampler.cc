#include "kernels/cuda/device_sampler.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/sampling_kernels.h"

namespace quire::kernels::cuda {
namespace {

Rows RowsOf(const TensorView& logits) {
  Rows rows;
  rows.data = logits.as<float>();
  rows.num_rows = logits.dim(0);
  rows.width = logits.dim(1);
  rows.stride = logits.stride[0];
  return rows;
}

}  // namespace

void DeviceSampler::EditLogits(const TensorView& logits, absl::Span<const LogitEdits> edits,
                               absl::Span<SampleResult> results) {
  edits_.Fill(edits, results);
  if (!context_->Ready() || edits_.rows.empty()) return;
  EditCall call;
  call.rows = context_->OnDevice(absl::MakeConstSpan(edits_.rows));
  call.num_rows = static_cast<int64_t>(edits_.rows.size());
  call.ids = context_->OnDevice(absl::MakeConstSpan(edits_.ids));
  call.counts = context_->OnDevice(absl::MakeConstSpan(edits_.counts));
  call.biases = context_->OnDevice(absl::MakeConstSpan(edits_.biases));
  call.masks = context_->OnDevice(absl::MakeConstSpan(edits_.masks));
  call.kept = context_->Room<float>(&kept_, static_cast<int64_t>(edits_.ids.size()));
  call.raw = context_->Room<float>(&results_, edits_.num_raw);
  if (!context_->Sent()) return;
  LaunchEditLogits(RowsOf(logits), call, context_->stream());
  context_->Launched("EditLogits");
  if (edits_.num_raw > 0) KeepRaw(call.raw, results);
}

void DeviceSampler::KeepRaw(const float* raw, absl::Span<SampleResult> results) {
  constexpr int64_t kAtOnce = CudaContext::kStagingBytes / sizeof(float);
  raw_.resize(edits_.num_raw);
  for (int64_t begin = 0; begin < edits_.num_raw; begin += kAtOnce) {
    const int64_t bytes = std::min(kAtOnce, edits_.num_raw - begin) * sizeof(float);
    if (!context_->Fetch(raw + begin, bytes)) return;
    std::memcpy(raw_.data() + begin, context_->staging(), bytes);
  }
  edits_.KeepRaw(raw_.data(), results);
}

void DeviceSampler::LogProbs(const TensorView& logits, absl::Span<const SampleRow> rows,
                             absl::Span<SampleResult> results) {
  num_top_.clear();
  int32_t max_top = -1;
  for (size_t i = 0; i < rows.size(); ++i) {
    results[i].wants_logprob = rows[i].num_logprobs >= 0;
    results[i].raw_edited.clear();
    results[i].top.clear();
    num_top_.push_back(static_cast<int32_t>(std::min<int64_t>(rows[i].num_logprobs, logits.dim(1))));
    max_top = std::max(max_top, num_top_.back());
  }
  if (!context_->Ready() || max_top < 0) return;
  // As many rows at once as the way back holds.
  const int64_t row_bytes = sizeof(LogProbResult) + max_top * sizeof(IdLogit);
  const int64_t slice = std::max<int64_t>(1, CudaContext::kStagingBytes / row_bytes);
  const int64_t num_rows = static_cast<int64_t>(rows.size());
  for (int64_t begin = 0; begin < num_rows; begin += slice) {
    if (!LogProbsOf(SliceRows(logits, begin, std::min(slice, num_rows - begin)), begin, max_top, results)) return;
  }
}

bool DeviceSampler::LogProbsOf(const TensorView& logits, int64_t begin, int64_t max_top,
                               absl::Span<SampleResult> results) {
  const int64_t num_rows = logits.dim(0);
  const int64_t sums_bytes = num_rows * sizeof(LogProbResult);
  const int64_t bytes = sums_bytes + num_rows * max_top * sizeof(IdLogit);
  char* memory = context_->Room<char>(&results_, bytes);
  const int32_t* num_top = context_->OnDevice(absl::MakeConstSpan(num_top_).subspan(begin, num_rows));
  if (!context_->Sent()) return false;
  LaunchLogProbs(RowsOf(logits), num_top, max_top, reinterpret_cast<LogProbResult*>(memory),
                 reinterpret_cast<IdLogit*>(memory + sums_bytes), context_->stream());
  context_->Launched("LogProbs");
  if (!context_->Fetch(memory, bytes)) return false;
  const auto* sums = reinterpret_cast<const LogProbResult*>(context_->staging());
  auto* top = reinterpret_cast<IdLogit*>(context_->staging() + sums_bytes);
  for (int64_t i = 0; i < num_rows; ++i) {
    const int32_t count = num_top_[begin + i];
    if (count >= 0) TakeLogProbs(sums[i], absl::MakeSpan(top + i * max_top, count), &results[begin + i]);
  }
  return true;
}

void DeviceSampler::Sample(const TensorView& logits, absl::Span<const SampleRow> rows,
                           absl::Span<SampleResult> results) {
  for (SampleResult& result : results) result.token = 0;  // what an error leaves; Synchronize tells it
  if (!context_->Ready()) return;
  draws_.clear();
  for (const SampleRow& row : rows) draws_.push_back(MakeDrawArgs(row));
  const DrawArgs* args = context_->OnDevice(absl::MakeConstSpan(draws_));
  const int64_t bytes = static_cast<int64_t>(rows.size() * sizeof(DrawResult));
  auto* drawn = context_->Room<DrawResult>(&results_, static_cast<int64_t>(rows.size()));
  if (!context_->Sent()) return;
  LaunchSample(RowsOf(logits), args, drawn, context_->stream());
  context_->Launched("Sample");
  if (!context_->Fetch(drawn, bytes)) return;
  const auto* fetched = reinterpret_cast<const DrawResult*>(context_->staging());
  for (size_t i = 0; i < rows.size(); ++i) TakeDraw(fetched[i], &results[i]);
}

}  // namespace quire::kernels::cuda
