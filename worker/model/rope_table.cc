#include "worker/model/rope_table.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

namespace quire::worker {
namespace {

constexpr int64_t kChunkRows = 1024;
constexpr float kTwoPi = 6.283185307179586f;

float Llama3Frequency(const RopeSpec& rope, float frequency) {
  const float original = static_cast<float>(rope.original_max_position);
  const float low = static_cast<float>(rope.low_freq_factor), high = static_cast<float>(rope.high_freq_factor);
  const float factor = static_cast<float>(rope.factor);
  const float wavelength = kTwoPi / frequency;
  if (wavelength < original / high) return frequency;
  if (wavelength > original / low) return frequency / factor;
  const float smooth = (original / wavelength - low) / (high - low);
  return (1.0f - smooth) * frequency / factor + smooth * frequency;
}

// The pair that turns `turns` times within the original context.
double YarnPair(const RopeSpec& rope, double turns) {
  constexpr double kPi = 3.14159265358979323846;
  const double original = static_cast<double>(rope.original_max_position);
  return rope.dims * std::log(original / (turns * 2 * kPi)) / (2 * std::log(rope.theta));
}

// Fast pairs stay, slow ones are stretched by the factor, those between are blended.
float YarnFrequency(const RopeSpec& rope, int64_t pair, float frequency) {
  double low = YarnPair(rope, rope.beta_fast), high = YarnPair(rope, rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(rope.dims - 1));
  if (low == high) high += 0.001;
  const float position = (static_cast<float>(pair) - static_cast<float>(low)) / static_cast<float>(high - low);
  const float kept = 1.0f - std::min(std::max(position, 0.0f), 1.0f);
  return frequency / static_cast<float>(rope.factor) * (1.0f - kept) + frequency * kept;
}

}  // namespace

std::vector<float> RopeFrequencies(const RopeSpec& rope) {
  std::vector<float> frequencies(rope.dims / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rope.dims);
    float frequency = 1.0f / static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
    if (rope.scaling == RopeScaling::kLong) {
      const double base = static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
      frequency = 1.0f / (static_cast<float>(rope.pair_factors[i]) * static_cast<float>(base));
    }
    if (rope.scaling == RopeScaling::kLinear) frequency /= static_cast<float>(rope.factor);
    if (rope.scaling == RopeScaling::kLlama3) frequency = Llama3Frequency(rope, frequency);
    if (rope.scaling == RopeScaling::kYarn) frequency = YarnFrequency(rope, i, frequency);
    frequencies[i] = frequency;
  }
  return frequencies;
}

absl::StatusOr<std::unique_ptr<RopeTable>> RopeTable::Create(const RopeSpec& rope, int64_t max_position,
                                                             int64_t grows_beyond, kernels::Backend* backend) {
  std::unique_ptr<RopeTable> table(new RopeTable());
  table->backend_ = backend;
  table->amplitude_ = static_cast<float>(rope.attention_factor);
  table->grows_beyond_ = grows_beyond;
  table->frequencies_ = RopeFrequencies(rope);
  table->chunk_.resize(kChunkRows * rope.dims);
  auto buffer = backend->Allocate(max_position * rope.dims * sizeof(float));
  if (!buffer.ok()) return buffer.status();
  table->buffer_ = std::move(*buffer);
  table->cos_sin_ = kernels::MakeView(table->buffer_->data(), kernels::DType::kF32, {max_position, 2, rope.dims / 2});
  return table;
}

float RopeTable::AmplitudeAt(int64_t position) const {
  if (grows_beyond_ == 0 || position < grows_beyond_) return amplitude_;
  const double growth = std::log(static_cast<double>(position + 1)) / std::log(static_cast<double>(grows_beyond_));
  return amplitude_ * static_cast<float>(growth);
}

absl::Status RopeTable::Reach(int64_t position) {
  CHECK_LT(position, cos_sin_.dim(0));
  const int64_t half = cos_sin_.dim(2);
  while (num_filled_ <= position) {
    const int64_t num_rows = std::min(kChunkRows, cos_sin_.dim(0) - num_filled_);
    for (int64_t row = 0; row < num_rows; ++row) {
      float* cosines = &chunk_[row * 2 * half];
      const float amplitude = AmplitudeAt(num_filled_ + row);
      for (int64_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(num_filled_ + row) * frequencies_[i];
        cosines[i] = std::cos(angle) * amplitude;
        cosines[half + i] = std::sin(angle) * amplitude;
      }
    }
    float* destination = cos_sin_.as<float>() + num_filled_ * 2 * half;
    absl::Status status = backend_->CopyToDevice(destination, chunk_.data(), num_rows * 2 * half * sizeof(float));
    if (!status.ok()) return status;
    num_filled_ += num_rows;
  }
  return absl::OkStatus();
}

}  // namespace quire::worker
