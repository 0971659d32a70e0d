// Row-major out = x * weight^T is column-major out^T = weight * x^T: cuBLASLt's first matrix is the weight, transposed,
// its second x; bias runs along its rows, as its epilogue has it.
#include "kernels/cuda/cublaslt_blas.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <glog/logging.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/algorithm_cache.h"

namespace quire::kernels::cuda {
namespace {

constexpr char kLibrary[] = "libcublasLt.so.13";
constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;  // what NVIDIA asks for on sm_90
constexpr size_t kShapesMax = 4096;

// The functions that are called, by their own types.
struct Functions {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulDescCreate) operation_create;
  decltype(&cublasLtMatmulDescDestroy) operation_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) operation_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
};

template <typename F>
bool FindFunction(void* library, const char* name, F* function) {
  *function = reinterpret_cast<F>(dlsym(library, name));
  return *function != nullptr;
}

absl::Status FindAll(void* library, Functions* f) {
  const bool all = FindFunction(library, "cublasLtCreate", &f->create) &&
                   FindFunction(library, "cublasLtDestroy", &f->destroy) &&
                   FindFunction(library, "cublasLtMatmul", &f->matmul) &&
                   FindFunction(library, "cublasLtMatmulAlgoGetHeuristic", &f->heuristic) &&
                   FindFunction(library, "cublasLtMatmulDescCreate", &f->operation_create) &&
                   FindFunction(library, "cublasLtMatmulDescDestroy", &f->operation_destroy) &&
                   FindFunction(library, "cublasLtMatmulDescSetAttribute", &f->operation_set) &&
                   FindFunction(library, "cublasLtMatrixLayoutCreate", &f->layout_create) &&
                   FindFunction(library, "cublasLtMatrixLayoutDestroy", &f->layout_destroy) &&
                   FindFunction(library, "cublasLtMatmulPreferenceCreate", &f->preference_create) &&
                   FindFunction(library, "cublasLtMatmulPreferenceDestroy", &f->preference_destroy) &&
                   FindFunction(library, "cublasLtMatmulPreferenceSetAttribute", &f->preference_set);
  return all ? absl::OkStatus() : absl::NotFoundError(absl::StrCat(kLibrary, ": ", dlerror()));
}

cudaDataType_t DataType(DType dtype) {
  if (dtype == DType::kF16) return CUDA_R_16F;
  return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
}

// The descriptors of one product; made and freed with each call, which takes no device work.
class Product {
 public:
  Product(const Functions& functions, const BlasCall& call) : f_(functions) {
    const cudaDataType_t type = DataType(call.weight.dtype);
    const cublasOperation_t transpose = CUBLAS_OP_T;
    ok_ = Good(f_.operation_create(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F)) &&
          Set(CUBLASLT_MATMUL_DESC_TRANSA, transpose) &&
          Good(f_.layout_create(&weight_, type, call.weight.cols, call.weight.rows, call.weight.pitch)) &&
          Good(f_.layout_create(&x_, type, call.weight.cols, call.num_rows, call.x_pitch)) &&
          Good(f_.layout_create(&out_, CUDA_R_32F, call.weight.rows, call.num_rows, call.out_stride));
    if (!ok_ || call.bias == nullptr) return;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    ok_ = Set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue) && Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias) &&
          Set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
  }
  ~Product() {
    if (out_ != nullptr) f_.layout_destroy(out_);
    if (x_ != nullptr) f_.layout_destroy(x_);
    if (weight_ != nullptr) f_.layout_destroy(weight_);
    if (operation_ != nullptr) f_.operation_destroy(operation_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  bool ok() const { return ok_; }

  std::optional<cublasLtMatmulAlgo_t> Ask(cublasLtHandle_t handle, const ProductShape& shape) const {
    cublasLtMatmulPreference_t preference = nullptr;
    if (!Good(f_.preference_create(&preference))) return std::nullopt;
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      return Good(f_.preference_set(preference, attribute, &value, sizeof(value)));
    };
    const bool set = prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspaceBytes)) &&
                     prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, uint32_t{16}) &&
                     prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(shape.x_alignment)) &&
                     prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(shape.out_alignment)) &&
                     prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(shape.out_alignment));
    cublasLtMatmulHeuristicResult_t best = {};
    int num_found = 0;
    const bool found =
        set && Good(f_.heuristic(handle, operation_, weight_, x_, out_, out_, preference, 1, &best, &num_found)) &&
        num_found == 1 && Good(best.state);
    f_.preference_destroy(preference);
    if (!found) return std::nullopt;
    return best.algo;
  }

  bool Run(cublasLtHandle_t handle, const BlasCall& call, const cublasLtMatmulAlgo_t& algorithm, void* workspace,
           Stream stream) const {
    const float one = 1.0f, zero = 0.0f;
    return Good(f_.matmul(handle, operation_, &one, call.weight.data, weight_, call.x, x_, &zero, call.out, out_,
                          call.out, out_, &algorithm, workspace, kWorkspaceBytes,
                          static_cast<cudaStream_t>(stream.handle)));
  }

 private:
  static bool Good(cublasStatus_t status) { return status == CUBLAS_STATUS_SUCCESS; }
  template <typename T>
  bool Set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    return Good(f_.operation_set(operation_, attribute, &value, sizeof(value)));
  }

  const Functions& f_;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t weight_ = nullptr, x_ = nullptr, out_ = nullptr;
  bool ok_ = false;
};

class CublasLt final : public Blas {
 public:
  CublasLt(Device* device, const Functions& functions) : device_(device), f_(functions), algorithms_(kShapesMax) {}
  ~CublasLt() override {
    if (workspace_ != nullptr) device_->Free(workspace_);
    if (handle_ != nullptr) f_.destroy(handle_);
  }

  absl::Status Init() {
    absl::StatusOr<void*> workspace = device_->Allocate(kWorkspaceBytes);
    if (!workspace.ok()) return workspace.status();
    workspace_ = *workspace;
    const cublasStatus_t status = f_.create(&handle_);
    if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
    handle_ = nullptr;
    return absl::InternalError(absl::StrCat("cublasLtCreate: error ", static_cast<int>(status)));
  }

  bool MatMul(const BlasCall& call, Stream stream) override {
    const Product product(f_, call);
    if (!product.ok()) return false;
    const ProductShape shape = ShapeOf(call);
    const auto* algorithm = algorithms_.Find(shape, [&] { return product.Ask(handle_, shape); });
    return algorithm->has_value() && product.Run(handle_, call, **algorithm, workspace_, stream);
  }

 private:
  Device* const device_;
  const Functions f_;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  AlgorithmCache<cublasLtMatmulAlgo_t> algorithms_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Blas>> OpenCublasLt(Device* device) {
  // Where a toolkit is installed its folder need not be among the loader's.
  void* library = nullptr;
  for (const char* folder : {"", "/usr/local/cuda/lib64/"}) {
    library = dlopen(absl::StrCat(folder, kLibrary).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
  }
  if (library == nullptr) {
    return absl::NotFoundError(absl::StrCat("cannot open ", kLibrary, ": ", dlerror(),
                                            "; put its folder into LD_LIBRARY_PATH, or do without it by "
                                            "--deterministic, which is slower"));
  }
  Functions functions;
  if (absl::Status s = FindAll(library, &functions); !s.ok()) return s;
  auto blas = std::make_unique<CublasLt>(device, functions);
  if (absl::Status s = blas->Init(); !s.ok()) return s;
  return blas;
}

}  // namespace quire::kernels::cuda
