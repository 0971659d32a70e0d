// NCCL's calls, found in the library when a group is formed.
#include <dlfcn.h>
#include <nccl.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "worker/comm/nccl_api.h"

namespace quire::worker {
namespace {

constexpr char kLibrary[] = "libnccl.so.2";

struct Functions {
  decltype(&ncclGetUniqueId) unique_id;
  decltype(&ncclCommInitRankConfig) init;
  decltype(&ncclCommGetAsyncError) async_error;
  decltype(&ncclGetLastError) last_error;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclCommAbort) abort;
};

template <typename F>
bool FindFunction(void* library, const char* name, F* function) {
  *function = reinterpret_cast<F>(dlsym(library, name));
  return *function != nullptr;
}

NcclState ToState(ncclResult_t result) {
  if (result == ncclSuccess) return NcclState::kDone;
  if (result == ncclInProgress) return NcclState::kInProgress;
  return result == ncclRemoteError ? NcclState::kRemoteError : NcclState::kError;
}

class NcclLibrary final : public NcclApi {
 public:
  explicit NcclLibrary(const Functions& functions) : f_(functions) {}

  absl::StatusOr<std::string> UniqueId() override {
    ncclUniqueId id;
    if (f_.unique_id(&id) != ncclSuccess) {
      return absl::UnavailableError(absl::StrCat("nccl: no unique id: ", f_.last_error(nullptr)));
    }
    return std::string(id.internal, sizeof(id.internal));
  }

  NcclState Init(const std::string& id, int rank, int world_size, void** handle) override {
    ncclUniqueId raw;
    if (id.size() != sizeof(raw.internal)) return NcclState::kError;
    std::memcpy(raw.internal, id.data(), sizeof(raw.internal));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    const ncclResult_t result = f_.init(&comm, world_size, raw, rank, &config);
    *handle = comm;
    return ToState(result);
  }

  NcclState State(void* handle) override {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = f_.async_error(static_cast<ncclComm_t>(handle), &state);
    return ToState(asked == ncclSuccess ? state : asked);
  }

  std::string LastError(void* handle) override { return f_.last_error(static_cast<ncclComm_t>(handle)); }

  NcclState AllReduceSum(void* handle, float* data, int64_t count, void* stream) override {
    return ToState(f_.all_reduce(data, data, static_cast<size_t>(count), ncclFloat32, ncclSum,
                                 static_cast<ncclComm_t>(handle), static_cast<cudaStream_t>(stream)));
  }

  NcclState AllGather(void* handle, const float* in, float* out, int64_t count, void* stream) override {
    return ToState(f_.all_gather(in, out, static_cast<size_t>(count), ncclFloat32, static_cast<ncclComm_t>(handle),
                                 static_cast<cudaStream_t>(stream)));
  }

  bool StreamIsIdle(void* stream) override {
    return cudaStreamQuery(static_cast<cudaStream_t>(stream)) != cudaErrorNotReady;
  }

  void Abort(void* handle) override { f_.abort(static_cast<ncclComm_t>(handle)); }

 private:
  const Functions f_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<NcclApi>> OpenNccl() {
  void* library = nullptr;
  for (const char* folder : {"", "/usr/local/cuda/lib64/"}) {
    library = dlopen(absl::StrCat(folder, kLibrary).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
  }
  if (library == nullptr) {
    return absl::NotFoundError(absl::StrCat("cannot open ", kLibrary, ": ", dlerror(),
                                            "; put its folder into LD_LIBRARY_PATH, or use --collective=shm"));
  }
  Functions f;
  const bool all = FindFunction(library, "ncclGetUniqueId", &f.unique_id) &&
                   FindFunction(library, "ncclCommInitRankConfig", &f.init) &&
                   FindFunction(library, "ncclCommGetAsyncError", &f.async_error) &&
                   FindFunction(library, "ncclGetLastError", &f.last_error) &&
                   FindFunction(library, "ncclAllReduce", &f.all_reduce) &&
                   FindFunction(library, "ncclAllGather", &f.all_gather) &&
                   FindFunction(library, "ncclCommAbort", &f.abort);
  if (!all) return absl::NotFoundError(absl::StrCat(kLibrary, ": ", dlerror()));
  return std::make_unique<NcclLibrary>(f);
}

}  // namespace quire::worker
