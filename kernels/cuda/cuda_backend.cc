// Each operation: host arrays to the device, one or a few kernels, and where results are wanted a copy back.
#include "kernels/cuda/cuda_backend.h"

#include <glog/logging.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/blas.h"
#include "kernels/cuda/cuda_context.h"
#include "kernels/cuda/cuda_memory.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_sampler.h"
#include "kernels/cuda/expert_kernels.h"
#include "kernels/cuda/launch_plan.h"
#include "kernels/cuda/matmul_kernels.h"
#include "kernels/cuda/row_kernels.h"

namespace quire::kernels::cuda {
namespace {

constexpr int64_t kAttentionWorkspaceBytes = int64_t{64} << 20;

Rows RowsOf(const TensorView& t) {
  Rows rows;
  rows.data = t.as<float>();
  rows.num_rows = t.dim(0);
  rows.width = t.rank == 3 ? t.dim(1) * t.dim(2) : t.dim(1);
  rows.stride = t.stride[0];
  return rows;
}

CacheLayer LayerOf(const KvCacheView& cache, int64_t layer) {
  const KvCacheLayout& l = cache.layout;
  CHECK_LE(l.head_dim, kHeadDimMax) << "heads of more than " << kHeadDimMax << " numbers";
  CacheLayer made;
  made.base = static_cast<char*>(cache.base);
  made.dtype = l.dtype;
  made.block_bytes = l.block_bytes();
  made.layer_offset = layer * l.layer_bytes();
  made.num_kv_heads = static_cast<int32_t>(l.num_kv_heads);
  made.head_dim = static_cast<int32_t>(l.head_dim);
  made.block_size = static_cast<int32_t>(l.block_size);
  return made;
}

Pointwise PointwiseOf(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kRelu:
      return Pointwise::kRelu;
    case ActivationKind::kGeluErf:
      return Pointwise::kGeluErf;
    case ActivationKind::kGeluTanh:
      return Pointwise::kGeluTanh;
    case ActivationKind::kSilu:
      return Pointwise::kSilu;
  }
  LOG(FATAL) << "unknown activation " << static_cast<int>(kind);
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(const CudaBackendOptions& options, std::unique_ptr<Device> device, std::unique_ptr<Blas> blas)
      : options_(options),
        context_(std::move(device), options.blocking),
        blas_(std::move(blas)),
        sampler_(&context_),
        narrowed_(context_.allocator()),
        partials_(context_.allocator()),
        swap_marks_(context_.device()) {}

  absl::Status Init() {
    if (absl::Status s = context_.Init(); !s.ok()) return s;
    if (absl::Status s = swap_marks_.Init(); !s.ok()) return s;
    return partials_.AtLeast(kAttentionWorkspaceBytes).status();
  }

  std::string Name() const override {
    const DeviceFacts& facts = context_.device()->facts();
    return absl::StrCat("cuda/sm_", facts.major, facts.minor, options_.exact || blas_ == nullptr ? " exact" : "", " (",
                        facts.name, ")");
  }
  DType activation_dtype() const override { return DType::kF32; }
  DeviceTraits traits() const override { return {false, context_.device()->facts().id, stream().handle}; }

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t bytes) override {
    if (absl::Status s = context_.Enter(); !s.ok()) return s;
    absl::StatusOr<void*> memory = context_.allocator()->Allocate(bytes);
    if (!memory.ok()) return memory.status();
    auto buffer = std::make_unique<CudaBuffer>(context_.allocator(), *memory, bytes);
    context_.Note(context_.device()->Zero(*memory, bytes, stream()));
    if (absl::Status s = context_.Synchronize(); !s.ok()) return s;
    return buffer;
  }
  absl::StatusOr<int64_t> FreeBytes() override {
    if (absl::Status s = context_.Enter(); !s.ok()) return s;
    return context_.allocator()->FreeBytes();
  }
  absl::Status CopyToDevice(void* dst, const void* src, int64_t bytes) override {
    return context_.CopyAndWait(dst, src, bytes);
  }
  absl::Status CopyToHost(void* dst, const void* src, int64_t bytes) override {
    return context_.CopyAndWait(dst, src, bytes);
  }
  absl::StatusOr<std::unique_ptr<Buffer>> AllocateHostMemory(int64_t bytes) override {
    if (absl::Status s = context_.Enter(); !s.ok()) return s;
    return AllocatePinnedBuffer(context_.device(), bytes);
  }
  absl::Status Synchronize() override { return context_.Synchronize(); }

 private:
  Stream stream() const { return context_.stream(); }

  absl::StatusOr<std::unique_ptr<Weight>> DoPack(absl::Span<const TensorView> parts, DType stored) override {
    if (absl::Status s = context_.Enter(); !s.ok()) return s;
    return PackOnDevice(parts, stored, context_.device(), context_.allocator(), context_.staging(),
                        CudaContext::kStagingBytes);
  }

  void DoEmbed(const TensorView& table, int64_t first_row, absl::Span<const int32_t> ids,
               const TensorView& out) override {
    if (!context_.Ready() || out.num_elements() == 0) return;
    const int32_t* on_device = context_.OnDevice(ids);
    if (!context_.Sent()) return;
    LaunchEmbed(table, first_row, on_device, RowsOf(out), stream());
    context_.Launched("Embed");
  }

  void DoNorm(NormKind kind, const TensorView& x, const TensorView& weight, const TensorView& bias, float eps,
              const TensorView& out) override {
    if (!context_.Ready()) return;
    NormCall call;
    call.x = RowsOf(x);
    call.out = RowsOf(out);
    call.weight = weight.as<float>();
    call.bias = bias.as<float>();
    call.eps = eps;
    call.subtract_mean = kind == NormKind::kLayer;
    LaunchNorm(call, stream());
    context_.Launched("Norm");
  }

  void DoSumSquares(const TensorView& x, const TensorView& out) override {
    if (!context_.Ready()) return;
    LaunchSumSquares(RowsOf(x), RowsOf(out), stream());
    context_.Launched("SumSquares");
  }

  void DoNormPart(const TensorView& x, const TensorView& squares, int64_t count, const TensorView& weight, float eps,
                  const TensorView& out) override {
    if (!context_.Ready()) return;
    NormCall call;
    call.x = RowsOf(x);
    call.out = RowsOf(out);
    call.weight = weight.as<float>();
    call.eps = eps;
    call.squares = squares.as<float>();
    call.squares_stride = squares.stride[0];
    call.count = count;
    LaunchNorm(call, stream());
    context_.Launched("NormPart");
  }

  void DoMatMul(const TensorView& x, const Weight& weight, const TensorView& bias, const TensorView& out) override {
    if (!context_.Ready()) return;
    const WeightMatrix& matrix = static_cast<const CudaWeight&>(weight).matrix();
    const bool exact = options_.exact || blas_ == nullptr || x.dim(0) <= kExactRowsMax;
    if (exact || !LibraryMatMul(RowsOf(x), matrix, bias.as<float>(), RowsOf(out))) {
      LaunchMatMul(RowsOf(x), matrix, bias.as<float>(), RowsOf(out), stream());
    }
    context_.Launched("MatMul");
  }

  // CB1: the input is rounded to the weight's type.
  bool LibraryMatMul(const Rows& x, const WeightMatrix& weight, const float* bias, const Rows& out) {
    // The library loads a bias in vectors; ours lie aligned but for a test's.
    if (reinterpret_cast<uintptr_t>(bias) % 16 != 0) return false;
    BlasCall call;
    call.num_rows = x.num_rows;
    call.x = x.data;
    call.x_pitch = x.stride;
    call.weight = weight;
    call.bias = bias;
    call.out = out.data;
    call.out_stride = out.stride;
    if (weight.dtype != DType::kF32) {
      void* narrowed = context_.Room<uint16_t>(&narrowed_, x.num_rows * weight.pitch);
      if (narrowed == nullptr) return true;  // the error is noted
      LaunchNarrow(x, weight.dtype, narrowed, weight.pitch, stream());
      call.x = narrowed;
      call.x_pitch = weight.pitch;
    }
    return blas_->MatMul(call, stream());
  }

  void DoRope(const TensorView& x, const TensorView& cos_sin, absl::Span<const int32_t> positions) override {
    if (!context_.Ready()) return;
    const int32_t* on_device = context_.OnDevice(positions);
    if (!context_.Sent()) return;
    LaunchRope(RowsOf(x), x.dim(1), x.dim(2), cos_sin.as<float>(), cos_sin.stride[0], cos_sin.dim(2), on_device,
               stream());
    context_.Launched("Rope");
  }

  void DoStoreKv(const TensorView& k, const TensorView& v, absl::Span<const int64_t> slot_mapping, int64_t layer,
                 const KvCacheView& cache) override {
    if (!context_.Ready()) return;
    const int64_t* on_device = context_.OnDevice(slot_mapping);
    if (!context_.Sent()) return;
    LaunchStoreKv(RowsOf(k), RowsOf(v), on_device, LayerOf(cache, layer), stream());
    context_.Launched("StoreKv");
  }

  void DoAttend(const TensorView& q, const AttendBatch& batch, const AttentionParams& params, int64_t layer,
                const KvCacheView& cache, const TensorView& out) override {
    if (!context_.Ready()) return;
    AttentionCall call;
    call.q = RowsOf(q);
    call.out = RowsOf(out);
    call.num_heads = static_cast<int32_t>(q.dim(1));
    call.cache = LayerOf(cache, layer);
    int64_t longest = 0;
    row_sequence_.resize(q.dim(0));
    for (int64_t s = 0; s < batch.num_seqs(); ++s) {
      const int32_t begin = batch.query_start[s], end = batch.query_start[s + 1];
      std::fill(row_sequence_.begin() + begin, row_sequence_.begin() + end, static_cast<int32_t>(s));
      if (end > begin) longest = std::max<int64_t>(longest, batch.context_len[s]);
    }
    tiles_.clear();
    TileQueries(batch.query_start, QueriesOfBlock(q.dim(1) / cache.layout.num_kv_heads), &tiles_);
    call.tiles = context_.OnDevice(absl::MakeConstSpan(tiles_));
    call.row_sequence = context_.OnDevice(absl::MakeConstSpan(row_sequence_));
    call.query_start = context_.OnDevice(batch.query_start);
    call.context_len = context_.OnDevice(batch.context_len);
    call.block_tables = context_.OnDevice(batch.block_tables);
    call.alibi_slopes = context_.OnDevice(params.alibi_slopes);
    call.max_blocks = batch.max_blocks;
    call.scale = params.scale;
    call.window = params.window;
    call.softcap = params.softcap;
    call.alibi_in_bf16 = params.alibi_in_bf16;
    call.max_chunks = static_cast<int32_t>((longest + kChunkKeys - 1) / kChunkKeys);
    if (context_.Sent()) LaunchInSlices(&call);
    context_.Launched("Attend");
  }

  // A launch's partial answers fit the workspace.
  void LaunchInSlices(AttentionCall* call) {
    const int64_t group = call->num_heads / call->cache.num_kv_heads;
    SplitRequest request;
    request.num_tiles = static_cast<int64_t>(tiles_.size());
    request.blocks_per_tile = call->cache.num_kv_heads * ((group + kSlotsOfBlock - 1) / kSlotsOfBlock);
    request.max_chunks = call->max_chunks;
    request.workspace_bytes_per_tile =
        WorkspaceFloats(QueriesOfBlock(group), call->num_heads, call->max_chunks, call->cache.head_dim) *
        static_cast<int64_t>(sizeof(float));
    request.workspace_bytes = kAttentionWorkspaceBytes;
    request.num_multiprocessors = context_.device()->facts().num_multiprocessors;
    const SplitPlan plan = PlanSplits(request);
    call->num_splits = static_cast<int32_t>(plan.num_splits);
    call->workspace = static_cast<float*>(partials_.AtLeast(kAttentionWorkspaceBytes).value());  // taken by Init
    const QueryTile* const tiles = call->tiles;
    for (int64_t begin = 0; begin < request.num_tiles; begin += plan.tiles_per_launch) {
      call->tiles = tiles + begin;
      call->num_tiles = std::min(plan.tiles_per_launch, request.num_tiles - begin);
      call->first_row = tiles_[begin].first_row;
      const QueryTile& last = tiles_[begin + call->num_tiles - 1];
      call->end_row = last.first_row + last.num_queries;
      LaunchAttention(*call, stream());
    }
  }

  void DoActivate(ActivationKind kind, bool gated, const TensorView& x, const TensorView& out) override {
    Point("Activate", PointwiseOf(kind), gated, x, 0.0f, out);
  }
  void DoScale(const TensorView& x, float factor) override { Point("Scale", Pointwise::kScale, false, x, factor, x); }
  void DoClamp(const TensorView& x, float limit) override { Point("Clamp", Pointwise::kClamp, false, x, limit, x); }
  void DoSoftCap(const TensorView& x, float cap) override { Point("SoftCap", Pointwise::kSoftCap, false, x, cap, x); }

  void Point(const char* operation, Pointwise op, bool gated, const TensorView& x, float value, const TensorView& out) {
    if (!context_.Ready()) return;
    LaunchPointwise(op, gated, RowsOf(x), value, RowsOf(out), stream());
    context_.Launched(operation);
  }

  void DoAddResidual(const TensorView& x, const TensorView& y) override {
    if (!context_.Ready()) return;
    LaunchAdd(RowsOf(x), RowsOf(y), stream());
    context_.Launched("AddResidual");
  }

  void DoGatherRows(const TensorView& x, absl::Span<const int32_t> rows, const TensorView& out) override {
    if (!context_.Ready()) return;
    const int32_t* on_device = context_.OnDevice(rows);
    if (!context_.Sent()) return;
    LaunchGather(RowsOf(x), on_device, RowsOf(out), stream());
    context_.Launched("GatherRows");
  }

  void DoCopyBlocks(absl::Span<const std::pair<int32_t, int32_t>> copies, const KvCacheView& cache) override {
    if (!context_.Ready()) return;
    static_assert(sizeof(std::pair<int32_t, int32_t>) == 2 * sizeof(int32_t), "pairs travel as they are");
    const auto* pairs = reinterpret_cast<const int32_t*>(context_.OnDevice(copies));
    if (!context_.Sent()) return;
    int64_t begin = 0;
    for (const int64_t end : IndependentRuns(copies)) {
      for (; begin < end; begin += kCopiesPerLaunch) {
        LaunchCopyBlocks(static_cast<char*>(cache.base), cache.layout.block_bytes(), pairs + 2 * begin,
                         std::min(kCopiesPerLaunch, end - begin), stream());
      }
      begin = end;
    }
    context_.Launched("CopyBlocks");
  }

  void DoSwap(bool out, absl::Span<const std::pair<int32_t, int32_t>> blocks, const KvCacheView& cache,
              const Buffer& host) override {
    if (!context_.Ready()) return;
    context_.Note(SwapOnDevice(out, blocks, cache, host, context_.device(), &swap_marks_));
    context_.Launched("Swap");
  }

  void DoRoute(const TensorView& logits, const RouteParams& params, const ExpertRouting& routing) override {
    if (!context_.Ready()) return;
    LaunchRoute(RowsOf(logits), params, ArraysOf(routing), stream());
    context_.Launched("Route");
  }

  void DoExpertMatMul(const TensorView& x, absl::Span<const Weight* const> experts, const TensorView& row_start,
                      const TensorView& row_token, const TensorView& out) override {
    if (!context_.Ready()) return;
    expert_data_.clear();
    for (const Weight* expert : experts) {
      expert_data_.push_back(static_cast<const CudaWeight*>(expert)->matrix().data);
    }
    ExpertCall call;
    call.experts = context_.OnDevice(absl::MakeConstSpan(expert_data_));
    call.num_experts = static_cast<int64_t>(experts.size());
    call.shape = static_cast<const CudaWeight*>(experts[0])->matrix();
    call.row_start = row_start.as<int32_t>();
    call.row_token = row_token.as<int32_t>();
    if (!context_.Sent()) return;
    LaunchExpertMatMul(RowsOf(x), call, RowsOf(out), stream());
    context_.Launched("ExpertMatMul");
  }

  void DoCombineExperts(const TensorView& rows, const ExpertRouting& routing, int64_t num_experts,
                        const TensorView& extra, int64_t extra_quarter, const TensorView& out) override {
    if (!context_.Ready()) return;
    CombineCall call;
    call.rows = RowsOf(rows);
    call.routing.ids = routing.ids.as<int32_t>();
    call.routing.ids_stride = routing.ids.stride[0];
    call.routing.weights = routing.weights.as<float>();
    call.routing.weights_stride = routing.weights.stride[0];
    call.routing.rows = routing.rows.as<int32_t>();
    call.routing.rows_stride = routing.rows.stride[0];
    call.routing.num_chosen = routing.ids.dim(1);
    call.num_experts = num_experts;
    call.extra = extra.as<float>();
    call.extra_stride = extra.empty() ? 0 : extra.stride[0];
    call.extra_quarter = extra_quarter;
    call.out = RowsOf(out);
    LaunchCombine(call, stream());
    context_.Launched("CombineExperts");
  }

  void DoScaleRows(const TensorView& x, const TensorView& gate) override {
    if (!context_.Ready()) return;
    LaunchScaleRows(RowsOf(x), RowsOf(gate), stream());
    context_.Launched("ScaleRows");
  }

  void DoEditLogits(const TensorView& logits, absl::Span<const LogitEdits> edits,
                    absl::Span<SampleResult> results) override {
    sampler_.EditLogits(logits, edits, results);
  }

  void DoLogProbs(const TensorView& logits, absl::Span<const SampleRow> rows,
                  absl::Span<SampleResult> results) override {
    sampler_.LogProbs(logits, rows, results);
  }

  void DoSample(const TensorView& logits, absl::Span<const SampleRow> rows, absl::Span<SampleResult> results) override {
    sampler_.Sample(logits, rows, results);
  }

  static constexpr int64_t kCopiesPerLaunch = 65535;  // of a grid's y

  const CudaBackendOptions options_;
  CudaContext context_;
  const std::unique_ptr<Blas> blas_;
  DeviceSampler sampler_;
  Scratch narrowed_;  // inputs of library products
  Scratch partials_;  // of attention
  SwapMarks swap_marks_;
  std::vector<int32_t> row_sequence_;
  std::vector<QueryTile> tiles_;
  std::vector<const void*> expert_data_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaBackendOptions& options,
                                                         std::unique_ptr<Device> device, std::unique_ptr<Blas> blas) {
  if (absl::Status s = device->MakeCurrent(); !s.ok()) return s;
  auto backend = std::make_unique<CudaBackend>(options, std::move(device), std::move(blas));
  if (absl::Status s = backend->Init(); !s.ok()) return s;
  return backend;
}

}  // namespace quire::kernels::cuda
