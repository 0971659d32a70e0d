#include "worker/model/weights.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/half.h"
#include "worker/model/zero_count.h"

namespace quire::worker {
namespace {

using kernels::DType;
using kernels::TensorView;

// One packed matrix: roles whose rows lie one below the other.
struct PackJob {
  std::vector<Role> roles;
  int64_t layer;
  Linear* out = nullptr;           // or
  SummedLinear* summed = nullptr;  // where the columns are split
  int64_t expert = 0;
};

class WeightLoader {
 public:
  WeightLoader(const ModelSpec& spec, const Shard& shard, const TensorBinding& binding, kernels::Backend* backend,
               Weights* weights)
      : spec_(spec), shard_(shard), binding_(binding), backend_(backend), weights_(weights) {}

  std::vector<PackJob> PlanJobs();
  int64_t SourceBytes(const PackJob& job) const;
  // Lets the disk work on a job's slices while another job is packed.
  void Prefetch(const PackJob& job) const;
  absl::Status Pack(const PackJob& job, DType stored);
  void LoadNorm(Role role, int64_t layer, NormWeights* out);
  // Moves all norms and biases to the device, as one buffer, and makes their views.
  absl::Status UploadVectors();
  TensorView WholeTable(Role role);
  // Copies a table that the device cannot read where it is.
  absl::Status BringToDevice(TensorView* table);

 private:
  // The head of a tied model is the embedding.
  const BoundTensor& BoundOf(Role role, Part part, const PackJob& job) const {
    const bool tied = role == Role::kHead && spec_.tied_head;
    return binding_.Get(tied ? Role::kEmbedding : role, part, job.layer, job.expert);
  }
  TensorView UnitRows(const TensorView& rows);
  TensorView CenteredRows(Role role, const BoundTensor& bound, const TensorView& all, const TensorView& rows);
  void PlanExperts(int64_t layer, std::vector<PackJob>* jobs);
  void AppendSlices(Role role, const PackJob& job, std::vector<TensorView>* parts);
  absl::StatusOr<std::unique_ptr<kernels::Weight>> PackOne(const std::vector<TensorView>& parts, DType stored);
  absl::Status PackParts(const std::vector<TensorView>& own, Role role, DType stored, SummedLinear* out);
  void Count(const PackJob& job);
  void LoadBias(const PackJob& job);
  void Stage(const std::vector<float>& values, TensorView* out);

  const ModelSpec& spec_;
  const Shard& shard_;
  const TensorBinding& binding_;
  kernels::Backend* const backend_;
  Weights* const weights_;

  struct StagedVector {
    TensorView* out;
    int64_t begin, count;
  };
  std::vector<std::unique_ptr<char[]>> made_rows_;  // behind the views of UnitRows and CenteredRows
  std::vector<float> staged_floats_;
  std::vector<StagedVector> staged_;
};

// Appends elements of a tensor in row-major order, widened; its rank is 1 or 2.
void AppendFloats(const TensorView& view, const RowSpan& span, std::vector<float>* out) {
  kernels::Dispatch(view.dtype, [&](auto zero) {
    const auto* data = view.as<const decltype(zero)>();
    for (int64_t i = span.begin; i < span.begin + span.count * span.step; i += span.step) {
      const int64_t cols = view.rank == 1 ? 1 : view.dim(1);
      const int64_t col = view.rank == 1 ? 0 : i % cols * view.stride[1];
      out->push_back(kernels::Widen(data[i / cols * view.stride[0] + col]));
    }
  });
}

// One of the matrices that lie behind each other.
TensorView SliceOf(const TensorView& view, int64_t index) {
  TensorView slice = view;
  slice.data = view.as<char>() + index * view.stride[0] * DTypeBytes(view.dtype);
  slice.rank = 2;
  slice.shape = {view.dim(1), view.dim(2)};
  slice.stride = {view.stride[1], view.stride[2]};
  return slice;
}

std::vector<PackJob> WeightLoader::PlanJobs() {
  std::vector<PackJob> jobs;
  // The head first: it is the largest matrix, and while it is packed its source takes memory too.
  jobs.push_back({{Role::kHead}, 0, &weights_->head});
  if (binding_.Get(Role::kProjectIn, Part::kWeight).source != nullptr) {
    jobs.push_back({{Role::kProjectIn}, 0, &weights_->project_in});
    jobs.push_back({{Role::kProjectOut}, 0, &weights_->project_out});
  }
  const std::vector<Role> up = spec_.gated ? std::vector<Role>{Role::kGate, Role::kUp} : std::vector<Role>{Role::kUp};
  for (int64_t layer = 0; layer < spec_.num_layers; ++layer) {
    LayerWeights& out = weights_->layers[layer];
    jobs.push_back({{Role::kQuery, Role::kKey, Role::kValue}, layer, &out.qkv});
    jobs.push_back({{Role::kOutput}, layer, nullptr, &out.output});
    if (spec_.HasExperts(layer)) {
      PlanExperts(layer, &jobs);
      continue;
    }
    jobs.push_back({up, layer, &out.up});
    jobs.push_back({{Role::kDown}, layer, nullptr, &out.down});
  }
  return jobs;
}

void WeightLoader::PlanExperts(int64_t layer, std::vector<PackJob>* jobs) {
  weights_->layers[layer].experts = std::make_unique<ExpertsWeights>();
  ExpertsWeights& out = *weights_->layers[layer].experts;
  const ShardRange& experts = shard_.experts;
  out.up.resize(experts.count);
  out.down.resize(experts.count);
  jobs->push_back({{Role::kRouter}, layer, &out.router});
  for (int64_t i = 0; i < experts.count; ++i) {
    jobs->push_back({{Role::kExpertGate, Role::kExpertUp}, layer, &out.up[i], nullptr, experts.begin + i});
    jobs->push_back({{Role::kExpertDown}, layer, nullptr, &out.down[i], experts.begin + i});
  }
  if (spec_.experts.shared_ffn_size == 0) return;
  jobs->push_back({{Role::kSharedGate, Role::kSharedUp}, layer, &out.shared_up});
  jobs->push_back({{Role::kSharedDown}, layer, nullptr, &out.shared_down});
  jobs->push_back({{Role::kSharedSwitch}, layer, &out.shared_switch});
}

int64_t WeightLoader::SourceBytes(const PackJob& job) const {
  int64_t bytes = 0;
  for (const Role role : job.roles) {
    const int64_t elements = ShardRows(shard_, spec_, role).count * ShardCols(shard_, spec_, role).count;
    bytes += elements * BoundOf(role, Part::kWeight, job).source->entry.type->bits / 8;
  }
  return bytes;
}

// The rows divided by their lengths, in their own type. The view is good until the job is packed.
TensorView WeightLoader::UnitRows(const TensorView& rows) {
  const int64_t cols = rows.dim(1);
  made_rows_.emplace_back(new char[rows.dim(0) * cols * DTypeBytes(rows.dtype)]);
  kernels::Dispatch(rows.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t r = 0; r < rows.dim(0); ++r) {
      const T* from = rows.as<const T>() + r * rows.stride[0];
      double squares = 0;
      for (int64_t c = 0; c < cols; ++c) squares += std::pow(kernels::Widen(from[c * rows.stride[1]]), 2.0);
      const float length = std::max(static_cast<float>(std::sqrt(squares)), 1e-12f);
      T* to = reinterpret_cast<T*>(made_rows_.back().get()) + r * cols;
      for (int64_t c = 0; c < cols; ++c) to[c] = kernels::Narrow<T>(kernels::Widen(from[c * rows.stride[1]]) / length);
    }
  });
  return kernels::MakeView(made_rows_.back().get(), rows.dtype, {rows.dim(0), cols});
}

// The rows less the mean of all rows of their role, in their own type: what they make of any input has the mean 0 then.
// The view is good until the job is packed. `all`: the tensor that `bound` says the role's rows of.
TensorView WeightLoader::CenteredRows(Role role, const BoundTensor& bound, const TensorView& all,
                                      const TensorView& rows) {
  const int64_t cols = rows.dim(1), num_rows = AxisSize(InfoOf(role).rows, spec_);
  std::vector<double> mean(cols);
  made_rows_.emplace_back(new char[rows.dim(0) * cols * DTypeBytes(rows.dtype)]);
  kernels::Dispatch(rows.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto at = [](const TensorView& v, int64_t r, int64_t c) {
      return kernels::Widen(v.as<const T>()[r * v.stride[0] + c * v.stride[1]]);
    };
    for (const RowSpan& span : SpansOf(bound, 0, num_rows)) {
      for (int64_t i = 0; i < span.count; ++i) {
        for (int64_t c = 0; c < cols; ++c) mean[c] += at(all, span.begin + i * span.step, c);
      }
    }
    T* to = reinterpret_cast<T*>(made_rows_.back().get());
    for (int64_t r = 0; r < rows.dim(0); ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        *to++ = kernels::Narrow<T>(static_cast<float>(at(rows, r, c) - mean[c] / static_cast<double>(num_rows)));
      }
    }
  });
  return kernels::MakeView(made_rows_.back().get(), rows.dtype, {rows.dim(0), cols});
}

// The rank's part of a role's weight, [out, in], wherever and however the file holds it.
void WeightLoader::AppendSlices(Role role, const PackJob& job, std::vector<TensorView>* parts) {
  const BoundTensor& bound = BoundOf(role, Part::kWeight, job);
  TensorView view = weights_->checkpoint->View(*bound.source);
  if (bound.slice >= 0) view = SliceOf(view, bound.slice);
  if (bound.transposed) view = kernels::Transpose(view);
  const ShardRange rows = ShardRows(shard_, spec_, role), cols = ShardCols(shard_, spec_, role);
  view = kernels::SliceCols(view, cols.begin, cols.count);
  for (const RowSpan& span : SpansOf(bound, rows.begin, rows.count)) {
    TensorView part = kernels::SliceRows(view, span.begin, (span.count - 1) * span.step + 1);
    part.shape[0] = span.count;
    part.stride[0] *= span.step;
    weights_->source_elements += part.num_elements();
    weights_->source_zeros += CountZeros(part);
    if (role == Role::kHead && spec_.head_rows_have_length_one) part = UnitRows(part);
    if (spec_.queries_are_centered && (role == Role::kQuery || role == Role::kKey)) {
      part = CenteredRows(role, bound, view, part);
    }
    parts->push_back(part);
  }
}

void WeightLoader::Prefetch(const PackJob& job) const {
  for (const Role role : job.roles) {
    const BoundTensor& bound = BoundOf(role, Part::kWeight, job);
    const CheckpointTensor& source = *bound.source;
    if (bound.slice >= 0) {
      weights_->checkpoint->Prefetch(source, bound.slice, 1);
      continue;
    }
    // Runs of a fused tensor lie between those of its other roles: all of it is wanted soon.
    const bool is_whole = bound.transposed || bound.run_rows != bound.rows;
    // A slice of columns touches every page of its rows.
    const ShardRange rows = ShardRows(shard_, spec_, role);
    weights_->checkpoint->Prefetch(source, is_whole ? 0 : bound.begin + rows.begin,
                                   is_whole ? source.entry.shape[0] : rows.count);
  }
}

absl::StatusOr<std::unique_ptr<kernels::Weight>> WeightLoader::PackOne(const std::vector<TensorView>& parts,
                                                                       DType stored) {
  auto weight = backend_->Pack(parts, stored);
  if (!weight.ok()) return weight.status();
  return weight;
}

// A token takes `chosen` of `count` experts.
void WeightLoader::Count(const PackJob& job) {
  int64_t bytes = 0, elements = 0;
  const auto add = [&](const kernels::Weight& weight) {
    bytes += weight.bytes();
    elements += weight.rows() * weight.cols();
  };
  if (job.out != nullptr) add(*job.out->weight);
  if (job.summed != nullptr) {
    for (const SummedLinear::Part& part : job.summed->parts) add(*part.weight);
  }
  const bool is_expert = job.roles[0] >= kFirstExpertRole;
  weights_->matrix_bytes += is_expert ? bytes * spec_.experts.chosen / spec_.experts.count : bytes;
  weights_->matrix_elements += is_expert ? elements * spec_.experts.chosen / spec_.experts.count : elements;
}

absl::Status WeightLoader::PackParts(const std::vector<TensorView>& own, Role role, DType stored, SummedLinear* out) {
  const ShardRange cols = ShardCols(shard_, spec_, role);
  const int64_t total = AxisSize(InfoOf(role).cols, spec_);
  for (int64_t i = 0; i < SummedLinear::kParts; ++i) {
    const int64_t begin = std::max(cols.begin, total * i / SummedLinear::kParts);
    const int64_t end = std::min(cols.begin + cols.count, total * (i + 1) / SummedLinear::kParts);
    if (begin >= end) continue;
    const int64_t local = begin - cols.begin;
    std::vector<TensorView> columns;
    for (const TensorView& rows : own) columns.push_back(kernels::SliceCols(rows, local, end - begin));
    absl::StatusOr<std::unique_ptr<kernels::Weight>> weight = PackOne(columns, stored);
    if (!weight.ok()) return weight.status();
    out->parts.push_back({std::move(*weight), local, i});
  }
  return absl::OkStatus();
}

absl::Status WeightLoader::Pack(const PackJob& job, DType stored) {
  std::vector<TensorView> parts;
  for (const Role role : job.roles) AppendSlices(role, job, &parts);
  if (job.summed != nullptr) {
    if (absl::Status s = PackParts(parts, job.roles[0], stored, job.summed); !s.ok()) return s;
  } else {
    absl::StatusOr<std::unique_ptr<kernels::Weight>> weight = PackOne(parts, stored);
    if (!weight.ok()) return weight.status();
    job.out->weight = std::move(*weight);
  }
  made_rows_.clear();
  Count(job);
  for (const Role role : job.roles) {
    const BoundTensor& bound = BoundOf(role, Part::kWeight, job);
    // A tensor of all experts is read expert by expert.
    const bool is_read = bound.slice < 0 || bound.slice + 1 == shard_.experts.begin + shard_.experts.count;
    if (is_read) weights_->checkpoint->Release(*bound.source);
  }
  LoadBias(job);
  return absl::OkStatus();
}

void WeightLoader::LoadBias(const PackJob& job) {
  std::vector<float> bias;
  bool any = false;
  for (const Role role : job.roles) {
    const ShardRange rows = ShardRows(shard_, spec_, role);
    const BoundTensor& bound = binding_.Get(role, Part::kBias, job.layer, job.expert);
    if (bound.source == nullptr) {
      bias.resize(bias.size() + rows.count, 0.0f);  // a neighbour in the fused matrix may have one
      continue;
    }
    any = true;
    const TensorView view = weights_->checkpoint->View(*bound.source);
    for (const RowSpan& span : SpansOf(bound, rows.begin, rows.count)) AppendFloats(view, span, &bias);
  }
  if (any) Stage(bias, job.summed != nullptr ? &job.summed->bias : &job.out->bias);
}

void WeightLoader::LoadNorm(Role role, int64_t layer, NormWeights* out) {
  for (const Part part : {Part::kWeight, Part::kBias}) {
    const BoundTensor& bound = binding_.Get(role, part, layer);
    const ShardRange rows = ShardRows(shard_, spec_, role);
    if (bound.is_ones) Stage(std::vector<float>(rows.count, 1.0f), &out->weight);
    if (bound.source == nullptr) continue;
    std::vector<float> values;
    for (const RowSpan& span : SpansOf(bound, rows.begin, rows.count)) {
      if (bound.heads.empty()) {
        AppendFloats(weights_->checkpoint->View(*bound.source), span, &values);
        continue;
      }
      for (int64_t row = span.begin; row < span.begin + span.count * span.step; row += span.step) {
        const CheckpointTensor& head = *bound.heads[row / spec_.head_dim];
        AppendFloats(weights_->checkpoint->View(head), {row % spec_.head_dim, 1, 1}, &values);
      }
    }
    if (spec_.norm_adds_one && part == Part::kWeight) {
      for (float& value : values) value += 1.0f;
    }
    Stage(values, part == Part::kWeight ? &out->weight : &out->bias);
  }
}

// Not packed and not released: the rows are looked up where the file has them.
TensorView WeightLoader::WholeTable(Role role) {
  const BoundTensor& bound = binding_.Get(role, Part::kWeight);
  return bound.source == nullptr ? TensorView() : weights_->checkpoint->RowMajorView(*bound.source);
}

absl::Status WeightLoader::BringToDevice(TensorView* table) {
  if (table->empty() || backend_->traits().reads_host_memory) return absl::OkStatus();
  const int64_t bytes = table->num_elements() * kernels::DTypeBytes(table->dtype);
  auto buffer = backend_->Allocate(bytes);
  if (!buffer.ok()) return buffer.status();
  CHECK(table->contiguous()) << table->ToString();
  if (absl::Status s = backend_->CopyToDevice((*buffer)->data(), table->data, bytes); !s.ok()) return s;
  table->data = (*buffer)->data();
  weights_->tables.push_back(*std::move(buffer));
  return absl::OkStatus();
}

void WeightLoader::Stage(const std::vector<float>& values, TensorView* out) {
  constexpr int64_t kAlignFloats = 16;  // 64 bytes
  staged_.push_back({out, static_cast<int64_t>(staged_floats_.size()), static_cast<int64_t>(values.size())});
  staged_floats_.insert(staged_floats_.end(), values.begin(), values.end());
  staged_floats_.resize((staged_floats_.size() + kAlignFloats - 1) / kAlignFloats * kAlignFloats);
}

absl::Status WeightLoader::UploadVectors() {
  const int64_t bytes = staged_floats_.size() * sizeof(float);
  auto buffer = backend_->Allocate(bytes);
  if (!buffer.ok()) return buffer.status();
  if (absl::Status s = backend_->CopyToDevice((*buffer)->data(), staged_floats_.data(), bytes); !s.ok()) return s;
  for (const StagedVector& vector : staged_) {
    float* data = static_cast<float*>((*buffer)->data()) + vector.begin;
    *vector.out = kernels::MakeView(data, DType::kF32, {vector.count});
  }
  weights_->vectors = std::move(*buffer);
  return absl::OkStatus();
}

}  // namespace

DType CheckpointDType(const TensorBinding& binding) {
  const CheckpointTensor* tensor = binding.Get(Role::kQuery, Part::kWeight).source;
  // Quantised models leave their embedding as it was.
  if (tensor->computed != nullptr) tensor = binding.Get(Role::kEmbedding, Part::kWeight).source;
  return *tensor->entry.type->dtype;
}

absl::StatusOr<Weights> LoadWeights(const ModelSpec& spec, const Shard& shard, const TensorBinding& binding,
                                    std::unique_ptr<Checkpoint> checkpoint, const WeightOptions& options,
                                    kernels::Backend* backend) {
  Weights weights;
  weights.stored = options.stored;
  weights.checkpoint = std::move(checkpoint);
  weights.layers.resize(spec.num_layers);
  WeightLoader loader(spec, shard, binding, backend, &weights);
  const std::vector<PackJob> jobs = loader.PlanJobs();
  int64_t bytes_total = 0, bytes_loaded = 0;
  for (const PackJob& job : jobs) bytes_total += loader.SourceBytes(job);
  loader.Prefetch(jobs.front());
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (i + 1 < jobs.size()) loader.Prefetch(jobs[i + 1]);
    if (absl::Status s = loader.Pack(jobs[i], options.stored); !s.ok()) return s;
    bytes_loaded += loader.SourceBytes(jobs[i]);
    if (options.progress) options.progress(bytes_loaded, bytes_total);
  }
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    loader.LoadNorm(Role::kNorm1, layer, &weights.layers[layer].norm1);
    loader.LoadNorm(Role::kNorm2, layer, &weights.layers[layer].norm2);
    loader.LoadNorm(Role::kQueryNorm, layer, &weights.layers[layer].query_norm);
    loader.LoadNorm(Role::kKeyNorm, layer, &weights.layers[layer].key_norm);
    loader.LoadNorm(Role::kAttentionOutNorm, layer, &weights.layers[layer].attention_out_norm);
    loader.LoadNorm(Role::kFfnOutNorm, layer, &weights.layers[layer].ffn_out_norm);
  }
  loader.LoadNorm(Role::kEmbeddingNorm, 0, &weights.embedding_norm);
  loader.LoadNorm(Role::kFinalNorm, 0, &weights.final_norm);
  if (absl::Status s = loader.UploadVectors(); !s.ok()) return s;
  // After the head, whose packing releases the tensor that a tied embedding is.
  weights.embedding = loader.WholeTable(Role::kEmbedding);
  weights.positions = loader.WholeTable(Role::kPositions);
  if (spec.skipped_positions > 0) {
    weights.positions = kernels::SliceRows(weights.positions, spec.skipped_positions, spec.max_position);
  }
  for (TensorView* table : {&weights.embedding, &weights.positions}) {
    if (absl::Status s = loader.BringToDevice(table); !s.ok()) return s;
  }
  return weights;
}

}  // namespace quire::worker
