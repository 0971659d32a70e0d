// The one interface to a device: memory, packed weights and the operations of a decoder step.
//
// Thread rule: one thread (the rank's compute thread) calls a Backend; the backend may use threads of its own inside a
// call.
// Invariants:
//   B1  Public methods check shapes, types and strides and CHECK-fail with both values; private virtuals compute. A
//       shape error is a bug of the caller: everything that comes from a file or a peer was validated before.
//   B2  Determinism: the bits of an output row depend only on that row's inputs, never on how many rows share the
//       call, on chunking or on the number of threads. Every reduction has a fixed order.
//   B3  Activations are f32 on CPU (`activation_dtype()`); weights and cache keep their stored type and are widened in
//       registers.
//   B4  A weight is read once per MatMul, whatever the number of rows.
// Source of the split between checks and kernels: CTranslate2's ops; of the paged layout: PagedAttention (SOSP'23).
#ifndef QUIRE_KERNELS_BACKEND_H_
#define QUIRE_KERNELS_BACKEND_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/expert_ops.h"
#include "kernels/sampling_ops.h"
#include "kernels/tensor_view.h"

namespace quire::kernels {

// A matrix [rows = out, cols = in] in the backend's own layout. Made by Backend::Pack.
class Weight {
 public:
  virtual ~Weight() = default;
  virtual int64_t rows() const = 0;
  virtual int64_t cols() const = 0;
  // Bytes that one MatMul reads (what MBU counts).
  virtual int64_t bytes() const = 0;
};

// Memory of the device, freed on destruction.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() const = 0;
  virtual int64_t size_bytes() const = 0;
};

// What callers may have to know of a device beside its operations.
struct DeviceTraits {
  // Operations read what the host has allocated or mapped; if not, tables have to be copied (CopyToDevice).
  bool reads_host_memory = true;
  // What allocations draw on: "" = the host's memory, else the device's own, by a name that no other device of this host
  // has.
  std::string memory_id;
  // The queue that operations run on, for collectives between devices (cudaStream_t); null where an operation is done
  // when it returns.
  void* compute_queue = nullptr;
};

enum class NormKind : uint8_t { kLayer, kRms };
enum class ActivationKind : uint8_t { kRelu, kGeluErf, kGeluTanh, kSilu };

// The paged cache of one rank. One block = one contiguous extent of `block_bytes()` holding K and V of every layer;
// inside a (block, layer) extent the layout is the backend's own.
struct KvCacheLayout {
  DType dtype = DType::kF32;
  int64_t num_blocks = 0;
  int64_t num_layers = 0;
  int64_t num_kv_heads = 0;  // of this rank
  int64_t head_dim = 0;
  int64_t block_size = 16;  // tokens; a multiple of 16, at most 512

  int64_t layer_bytes() const { return 2 * num_kv_heads * head_dim * block_size * DTypeBytes(dtype); }
  int64_t block_bytes() const { return num_layers * layer_bytes(); }
};

struct KvCacheView {
  void* base = nullptr;
  KvCacheLayout layout;
};

// The sequences of a step, as Attend and StoreKv see them. All arrays are host memory owned by the caller.
struct AttendBatch {
  absl::Span<const int32_t>
      query_start;  // [num_seqs + 1], row of each sequence's first query; ascending, last = num_tokens
  absl::Span<const int32_t>
      context_len;  // [num_seqs], keys visible to the sequence's last query (its queries included)
  // [num_seqs, max_blocks], block ids; row s covers context_len[s] tokens. Where Attend has a window, blocks whose keys
  // are all hidden from the sequence's first query are never looked at: the table may hold anything there, say -1.
  absl::Span<const int32_t> block_tables;
  int64_t max_blocks = 0;

  int64_t num_seqs() const { return static_cast<int64_t>(context_len.size()); }
};

// How a query at position i scores key j, in this order: the product times scale, the soft cap, ALiBi. What is left at
// its default takes no part.
struct AttentionParams {
  float scale = 1.0f;
  int64_t window = 0;    // keys that a query sees, itself included: i - window < j <= i; 0: all up to i
  float softcap = 0.0f;  // score = softcap * tanh(score / softcap); 0: none
  // [num_heads], owned by the caller: score += slope * (j - i). Empty: none.
  absl::Span<const float> alibi_slopes;
  // score += scale * (r(j) - r(i)) instead, where r(n) is slope * n with slope, n and the product rounded to bfloat16:
  // what Falcon was trained with. Neighbouring keys share a step of r, so it is not the other form in few digits.
  bool alibi_in_bf16 = false;
};

// The oldest key that the query at `position` sees.
inline int64_t FirstVisibleKey(const AttentionParams& params, int64_t position) {
  return params.window > 0 && position >= params.window ? position - params.window + 1 : 0;
}

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string Name() const = 0;  // "cpu/avx512", for logs and benchmarks
  virtual DType activation_dtype() const = 0;
  virtual DeviceTraits traits() const = 0;

  // --- memory ---
  // Zeroed device memory, 64-byte aligned at least. Errors: RESOURCE_EXHAUSTED with the bytes asked and free.
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t bytes) = 0;
  virtual absl::StatusOr<int64_t> FreeBytes() = 0;
  virtual absl::Status CopyToDevice(void* dst, const void* src, int64_t bytes) = 0;
  virtual absl::Status CopyToHost(void* dst, const void* src, int64_t bytes) = 0;
  // Zeroed host memory that blocks are swapped to: page-locked where the device copies faster so. Errors:
  // RESOURCE_EXHAUSTED with the bytes asked.
  virtual absl::StatusOr<std::unique_ptr<Buffer>> AllocateHostMemory(int64_t bytes) = 0;
  // Waits until all earlier work is done and reports its errors.
  virtual absl::Status Synchronize() = 0;

  // --- weights ---
  // Packs the parts, each [rows_i, cols] f32/f16/bf16 with any strides, one below the other, into one weight of type
  // `stored`. The parts may be views of a mapped file; they are not needed afterwards.
  absl::StatusOr<std::unique_ptr<Weight>> Pack(absl::Span<const TensorView> parts, DType stored);

  // --- operations; [num_tokens, ...] rows may have a stride ---
  // out[t] = table[ids[t] - first_row], zeros where ids[t] lies outside [first_row, first_row + rows) (vocabulary
  // shards; summed later). Shapes: table [rows, hidden] any float type; ids [num_tokens]; out [num_tokens, hidden] f32.
  void Embed(const TensorView& table, int64_t first_row, absl::Span<const int32_t> ids, const TensorView& out);

  // Shapes: x, out [num_tokens, hidden]; weight, bias [hidden] f32, bias optional. x may be out.
  void Norm(NormKind kind, const TensorView& x, const TensorView& weight, const TensorView& bias, float eps,
            const TensorView& out);

  // The RMS norm of rows that are parts of wider ones, `count` elements in all, in two steps: out[t] = sum of x[t]^2,
  // which the caller adds up over the parts; then out = x * weight / sqrt(squares / count + eps).
  // Shapes: x, out of NormPart [num_tokens, width]; weight [width] f32; out of SumSquares, squares [num_tokens, 1].
  void SumSquares(const TensorView& x, const TensorView& out);
  void NormPart(const TensorView& x, const TensorView& squares, int64_t count, const TensorView& weight, float eps,
                const TensorView& out);

  // out = x * weight^T + bias. Shapes: x [num_tokens, cols]; out [num_tokens, rows]; bias [rows] f32, optional.
  void MatMul(const TensorView& x, const Weight& weight, const TensorView& bias, const TensorView& out);

  // Rotates the first 2 * half dims of every head in place, half-split pairs (i, i + half).
  // Shapes: x [num_tokens, num_heads, head_dim]; cos_sin [max_position, 2, half] f32; positions [num_tokens].
  void Rope(const TensorView& x, const TensorView& cos_sin, absl::Span<const int32_t> positions);

  // Scatters keys and values into the cache. Shapes: k, v [num_tokens, num_kv_heads, head_dim]; slot_mapping
  // [num_tokens] = block * block_size + offset, -1 skips. Requires: slots unique.
  void StoreKv(const TensorView& k, const TensorView& v, absl::Span<const int64_t> slot_mapping, int64_t layer,
               const KvCacheView& cache);

  // Causal attention of each query over its sequence's cached keys; decode, prefill and mixed batches alike.
  // Shapes: q, out [num_tokens, num_heads, head_dim]; num_heads is a multiple of num_kv_heads.
  // Query i of a sequence with n queries and context c is at position c - n + i and sees keys up to itself; with a
  // window only the last `window` of them.
  void Attend(const TensorView& q, const AttendBatch& batch, const AttentionParams& params, int64_t layer,
              const KvCacheView& cache, const TensorView& out);

  // out = act(x), or act(gate) * up where x = [gate | up] is [num_tokens, 2 * width]. Shapes: out [num_tokens, width].
  void Activate(ActivationKind kind, bool gated, const TensorView& x, const TensorView& out);

  // x += y. Shapes: [num_tokens, hidden].
  void AddResidual(const TensorView& x, const TensorView& y);

  // x *= factor. Shapes: [num_tokens, hidden].
  void Scale(const TensorView& x, float factor);

  // x = min(max(x, -limit), limit). Shapes: [num_tokens, width]. Requires: limit > 0.
  void Clamp(const TensorView& x, float limit);

  // x = cap * tanh(x / cap). Shapes: [num_tokens, width]. Requires: cap > 0.
  void SoftCap(const TensorView& x, float cap);

  // out[i] = x[rows[i]]. Shapes: x [num_tokens, hidden]; out [num_rows, hidden].
  void GatherRows(const TensorView& x, absl::Span<const int32_t> rows, const TensorView& out);

  // Copies whole blocks inside the cache: pairs (source, destination), applied in order.
  void CopyBlocks(absl::Span<const std::pair<int32_t, int32_t>> copies, const KvCacheView& cache);

  // Moves whole blocks between the cache and `host`, memory of AllocateHostMemory that holds blocks of the same size:
  // pairs (source, destination). Out leaves before any later operation writes the cache, in arrives before any later
  // one reads it; Synchronize waits for both and reports their errors. Requires: no block twice in a call.
  void SwapOut(absl::Span<const std::pair<int32_t, int32_t>> moves, const KvCacheView& cache, const Buffer& host);
  void SwapIn(absl::Span<const std::pair<int32_t, int32_t>> moves, const KvCacheView& cache, const Buffer& host);

  // Mixture of experts, defined in expert_ops.h; checked in backend_experts.cc.
  // Shapes: logits [num_tokens, num_experts] f32; num_chosen is ids' width.
  void Route(const TensorView& logits, const RouteParams& params, const ExpertRouting& routing);

  // out[r] = x[token of row r] * weight of r's expert^T, or of x[r] where row_token is absent; each weight is read once.
  // Shapes: experts [num_local], alike; x [num_tokens or num_rows, cols]; out [num_tokens * num_chosen, rows], of which
  // the rows that there are get written.
  void ExpertMatMul(const TensorView& x, absl::Span<const Weight* const> experts, const TensorView& row_start,
                    const TensorView& row_token, const TensorView& out);

  // out[t] = sum over t's picks of weight * row, in the order of E2, of the rows that are here. `extra`, optional,
  // joins the sum of `extra_quarter` behind its experts. Shapes: rows [num_tokens * num_chosen, hidden]; extra, out
  // [num_tokens, hidden].
  void CombineExperts(const TensorView& rows, const ExpertRouting& routing, int64_t num_experts,
                      const TensorView& extra, int64_t extra_quarter, const TensorView& out);

  // x[t] *= sigmoid(gate[t]). Shapes: x [num_tokens, width]; gate [num_tokens, 1].
  void ScaleRows(const TensorView& x, const TensorView& gate);

  // Sampling, defined in sampling_ops.h. Shapes: logits [num_rows, vocab] f32, edited in place; rows, edits, results
  // [num_rows]. Call order for a step: LogProbs (iff a row wants log-probs), EditLogits (iff a row has edits), Sample,
  // with the same results. EditLogits keeps the raw logits of edited ids in results where LogProbs asked for it;
  // results may be empty otherwise.
  void EditLogits(const TensorView& logits, absl::Span<const LogitEdits> edits, absl::Span<SampleResult> results = {});
  void LogProbs(const TensorView& logits, absl::Span<const SampleRow> rows, absl::Span<SampleResult> results);
  void Sample(const TensorView& logits, absl::Span<const SampleRow> rows, absl::Span<SampleResult> results);

 private:
  virtual absl::StatusOr<std::unique_ptr<Weight>> DoPack(absl::Span<const TensorView> parts, DType stored) = 0;
  virtual void DoEmbed(const TensorView& table, int64_t first_row, absl::Span<const int32_t> ids,
                       const TensorView& out) = 0;
  virtual void DoNorm(NormKind kind, const TensorView& x, const TensorView& weight, const TensorView& bias, float eps,
                      const TensorView& out) = 0;
  virtual void DoSumSquares(const TensorView& x, const TensorView& out) = 0;
  virtual void DoNormPart(const TensorView& x, const TensorView& squares, int64_t count, const TensorView& weight,
                          float eps, const TensorView& out) = 0;
  virtual void DoMatMul(const TensorView& x, const Weight& weight, const TensorView& bias, const TensorView& out) = 0;
  virtual void DoRope(const TensorView& x, const TensorView& cos_sin, absl::Span<const int32_t> positions) = 0;
  virtual void DoStoreKv(const TensorView& k, const TensorView& v, absl::Span<const int64_t> slot_mapping,
                         int64_t layer, const KvCacheView& cache) = 0;
  virtual void DoAttend(const TensorView& q, const AttendBatch& batch, const AttentionParams& params, int64_t layer,
                        const KvCacheView& cache, const TensorView& out) = 0;
  virtual void DoActivate(ActivationKind kind, bool gated, const TensorView& x, const TensorView& out) = 0;
  virtual void DoAddResidual(const TensorView& x, const TensorView& y) = 0;
  virtual void DoScale(const TensorView& x, float factor) = 0;
  virtual void DoClamp(const TensorView& x, float limit) = 0;
  virtual void DoSoftCap(const TensorView& x, float cap) = 0;
  virtual void DoGatherRows(const TensorView& x, absl::Span<const int32_t> rows, const TensorView& out) = 0;
  virtual void DoCopyBlocks(absl::Span<const std::pair<int32_t, int32_t>> copies, const KvCacheView& cache) = 0;
  // Block `first` of the cache and `second` of the host memory, whichever way.
  virtual void DoSwap(bool out, absl::Span<const std::pair<int32_t, int32_t>> blocks, const KvCacheView& cache,
                      const Buffer& host) = 0;
  virtual void DoRoute(const TensorView& logits, const RouteParams& params, const ExpertRouting& routing) = 0;
  virtual void DoExpertMatMul(const TensorView& x, absl::Span<const Weight* const> experts, const TensorView& row_start,
                              const TensorView& row_token, const TensorView& out) = 0;
  virtual void DoCombineExperts(const TensorView& rows, const ExpertRouting& routing, int64_t num_experts,
                                const TensorView& extra, int64_t extra_quarter, const TensorView& out) = 0;
  virtual void DoScaleRows(const TensorView& x, const TensorView& gate) = 0;
  virtual void DoEditLogits(const TensorView& logits, absl::Span<const LogitEdits> edits,
                            absl::Span<SampleResult> results) = 0;
  virtual void DoLogProbs(const TensorView& logits, absl::Span<const SampleRow> rows,
                          absl::Span<SampleResult> results) = 0;
  virtual void DoSample(const TensorView& logits, absl::Span<const SampleRow> rows,
                        absl::Span<SampleResult> results) = 0;
};

struct CpuBackendOptions {
  int num_threads = 1;
  bool reference = false;  // the readable oracle instead of the fast kernels
  std::string isa;         // one of CpuIsas(); empty = the best of this machine
};

// Instruction sets that the fast kernels have and this machine runs, best first: "avx512", "avx2", "baseline".
std::vector<std::string> CpuIsas();

// The CPU backend. Errors: INVALID_ARGUMENT if num_threads is not in [1, 256] or isa is not in CpuIsas().
absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuBackendOptions& options);

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_BACKEND_H_
