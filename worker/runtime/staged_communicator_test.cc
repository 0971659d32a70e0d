#include "worker/runtime/staged_communicator.h"

#include <cstring>

#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulator/emulated_device.h"

namespace quire::worker {
namespace {

// A group of two whose other rank brings ones.
class WithOnes final : public Communicator {
 public:
  explicit WithOnes(const void* device_begin, int64_t device_bytes)
      : begin_(static_cast<const char*>(device_begin)), bytes_(device_bytes) {}
  int rank() const override { return 0; }
  int world_size() const override { return 2; }
  const char* Name() const override { return "shm"; }
  absl::Status AllReduceSum(float* data, int64_t count) override {
    EXPECT_FALSE(OnDevice(data));
    for (int64_t i = 0; i < count; ++i) data[i] += 1.0f;
    return status;
  }
  absl::Status AllGather(const float* in, float* out, int64_t count) override {
    EXPECT_FALSE(OnDevice(in) || OnDevice(out));
    std::memcpy(out, in, count * sizeof(float));
    for (int64_t i = 0; i < count; ++i) out[count + i] = 1.0f;
    return status;
  }
  void Abort() override { aborted = true; }

  absl::Status status;
  bool aborted = false;

 private:
  bool OnDevice(const void* p) const {
    return static_cast<const char*>(p) >= begin_ && static_cast<const char*>(p) < begin_ + bytes_;
  }
  const char* const begin_;
  const int64_t bytes_;
};

TEST(StagedCommunicator, HostCollectivesSeeHostMemoryOnly) {
  auto backend = kernels::cuda::MakeCudaBackend(
                     {}, std::make_unique<kernels::cuda::emulator::EmulatedDevice>(int64_t{1} << 30), nullptr)
                     .value();
  const auto memory = backend->Allocate(16 * sizeof(float)).value();
  float* data = static_cast<float*>(memory->data());
  auto host = std::make_unique<WithOnes>(memory->data(), memory->size_bytes());
  WithOnes* const inner = host.get();
  StagedCommunicator comm(std::move(host), backend.get());
  EXPECT_EQ(comm.world_size(), 2);
  EXPECT_STREQ(comm.Name(), "shm");
  const float values[4] = {1, 2, 3, 4};
  ASSERT_TRUE(backend->CopyToDevice(data, values, sizeof(values)).ok());
  ASSERT_TRUE(comm.AllReduceSum(data, 4).ok());
  ASSERT_TRUE(comm.AllGather(data, data, 4).ok());  // its own part lies in the result
  float got[9] = {};
  ASSERT_TRUE(backend->CopyToHost(got, data, sizeof(got)).ok());
  const float expected[9] = {2, 3, 4, 5, 1, 1, 1, 1, 0};
  for (int i = 0; i < 9; ++i) EXPECT_EQ(got[i], expected[i]) << i;
  inner->status = absl::UnavailableError("gone");
  EXPECT_TRUE(absl::IsUnavailable(comm.AllReduceSum(data, 4)));
  EXPECT_TRUE(absl::IsUnavailable(comm.AllGather(data, data, 4)));
  EXPECT_TRUE(comm.Finished().ok());
  comm.Abort();
  EXPECT_TRUE(inner->aborted);
}

}  // namespace
}  // namespace quire::worker
