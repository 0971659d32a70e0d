#include "kernels/cuda/runtime_device.h"

#include <cuda_runtime_api.h>
#include <glog/logging.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace quire::kernels::cuda {
namespace {

constexpr int kOldestMajor = 8;  // sm_80

absl::Status ToStatus(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string message =
      absl::StrCat("CUDA: ", what, ": ", cudaGetErrorString(error), " (", cudaGetErrorName(error), ")");
  if (error == cudaErrorMemoryAllocation) return absl::ResourceExhaustedError(message);
  return absl::InternalError(message);
}

cudaStream_t Raw(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }
cudaEvent_t Raw(Event event) { return static_cast<cudaEvent_t>(event.handle); }

// What was not freed well cannot be mended: it is told.
void Tell(const char* what, cudaError_t error) {
  const absl::Status status = ToStatus(what, error);
  LOG_IF(ERROR, !status.ok()) << status.message();
}

class RuntimeDevice final : public Device {
 public:
  RuntimeDevice(int index, bool managed, DeviceFacts facts)
      : index_(index), managed_(managed), facts_(std::move(facts)) {}
  ~RuntimeDevice() override {
    for (Stream stream : {compute_, copy_}) {
      if (stream.handle != nullptr) Tell("cudaStreamDestroy", cudaStreamDestroy(Raw(stream)));
    }
  }

  absl::Status Init() {
    if (absl::Status s = MakeCurrent(); !s.ok()) return s;
    for (Stream* stream : {&compute_, &copy_}) {
      cudaStream_t made = nullptr;
      const cudaError_t error = cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking);
      if (absl::Status s = ToStatus("cudaStreamCreate", error); !s.ok()) return s;
      stream->handle = made;
    }
    return absl::OkStatus();
  }

  const DeviceFacts& facts() const override { return facts_; }
  absl::Status MakeCurrent() override { return ToStatus("cudaSetDevice", cudaSetDevice(index_)); }
  Stream compute_stream() const override { return compute_; }
  Stream copy_stream() const override { return copy_; }

  absl::StatusOr<void*> Allocate(int64_t bytes) override {
    void* memory = nullptr;
    const auto size = static_cast<size_t>(bytes);
    const cudaError_t error =
        managed_ ? cudaMallocManaged(&memory, size, cudaMemAttachGlobal) : cudaMalloc(&memory, size);
    if (error != cudaSuccess) {
      cudaGetLastError();  // an allocation that failed is no error of a later kernel start
      return ToStatus(absl::StrCat("no memory for ", bytes, " bytes").c_str(), error);
    }
    return memory;
  }
  void Free(void* memory) override { Tell("cudaFree", cudaFree(memory)); }

  absl::StatusOr<void*> AllocatePinned(int64_t bytes) override {
    void* memory = nullptr;
    const cudaError_t error = cudaHostAlloc(&memory, static_cast<size_t>(bytes), cudaHostAllocPortable);
    if (error != cudaSuccess) {
      cudaGetLastError();
      return ToStatus(absl::StrCat("no pinned host memory for ", bytes, " bytes").c_str(), error);
    }
    return memory;
  }
  void FreePinned(void* memory) override { Tell("cudaFreeHost", cudaFreeHost(memory)); }

  absl::StatusOr<int64_t> FreeBytes() override {
    size_t free = 0, total = 0;
    if (absl::Status s = ToStatus("cudaMemGetInfo", cudaMemGetInfo(&free, &total)); !s.ok()) return s;
    return static_cast<int64_t>(free);
  }

  absl::Status Copy(void* to, const void* from, int64_t bytes, Stream stream) override {
    if (bytes == 0) return absl::OkStatus();
    return ToStatus("cudaMemcpyAsync",
                    cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, Raw(stream)));
  }
  absl::Status Zero(void* memory, int64_t bytes, Stream stream) override {
    if (bytes == 0) return absl::OkStatus();
    return ToStatus("cudaMemsetAsync", cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), Raw(stream)));
  }
  absl::Status Synchronize(Stream stream) override {
    return ToStatus("queued work", cudaStreamSynchronize(Raw(stream)));
  }

  absl::StatusOr<Event> CreateEvent() override {
    cudaEvent_t event = nullptr;
    const cudaError_t error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    if (absl::Status s = ToStatus("cudaEventCreate", error); !s.ok()) return s;
    return Event{event};
  }
  void DestroyEvent(Event event) override { Tell("cudaEventDestroy", cudaEventDestroy(Raw(event))); }
  absl::Status Record(Event event, Stream stream) override {
    return ToStatus("cudaEventRecord", cudaEventRecord(Raw(event), Raw(stream)));
  }
  absl::Status Wait(Event event) override { return ToStatus("cudaEventSynchronize", cudaEventSynchronize(Raw(event))); }
  absl::Status WaitOn(Stream stream, Event event) override {
    return ToStatus("cudaStreamWaitEvent", cudaStreamWaitEvent(Raw(stream), Raw(event), 0));
  }

  absl::Status LaunchError() override { return ToStatus("a kernel's start", cudaGetLastError()); }

 private:
  const int index_;
  const bool managed_;
  const DeviceFacts facts_;
  Stream compute_, copy_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> OpenRuntimeDevice(int index, bool managed) {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    cudaGetLastError();
    return absl::FailedPreconditionError(
        absl::StrCat("no CUDA device: ", cudaGetErrorString(error), " (", cudaGetErrorName(error),
                     "); is the NVIDIA driver installed and, in a container, passed through?"));
  }
  if (index < 0 || index >= count) {
    return absl::NotFoundError(absl::StrCat("CUDA device ", index, " of ", count));
  }
  cudaDeviceProp properties;
  if (absl::Status s = ToStatus("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, index)); !s.ok()) {
    return s;
  }
  DeviceFacts facts;
  facts.name = properties.name;
  char bus_id[32] = {};
  if (absl::Status s = ToStatus("cudaDeviceGetPCIBusId", cudaDeviceGetPCIBusId(bus_id, sizeof(bus_id), index));
      !s.ok()) {
    return s;
  }
  facts.id = bus_id;
  facts.major = properties.major;
  facts.minor = properties.minor;
  facts.num_multiprocessors = properties.multiProcessorCount;
  facts.total_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  if (facts.major < kOldestMajor) {
    return absl::UnimplementedError(absl::StrCat(facts.name, " has compute capability ", facts.major, ".", facts.minor,
                                                 ", at least ", kOldestMajor, ".0 is needed"));
  }
  auto device = std::make_unique<RuntimeDevice>(index, managed, std::move(facts));
  if (absl::Status s = device->Init(); !s.ok()) return s;
  return device;
}

}  // namespace quire::kernels::cuda
