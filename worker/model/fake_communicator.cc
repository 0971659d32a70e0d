#include "worker/model/fake_communicator.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/synchronization/mutex.h"

namespace quire::worker {
namespace {

// What the ranks of one group share.
class Group {
 public:
  explicit Group(int world_size) : inputs_(world_size) {}

  // Gives this rank's input and waits for all of them; `use` runs while every input is in place.
  template <typename Use>
  absl::Status Exchange(int rank, const float* data, int64_t count, Use&& use) {
    inputs_[rank].assign(data, data + count);
    if (!Barrier()) return absl::CancelledError("aborted");
    for (const auto& input : inputs_) CHECK_EQ(input.size(), inputs_[rank].size()) << "the ranks disagree on the size";
    use(inputs_);
    return Barrier() ? absl::OkStatus() : absl::CancelledError("aborted");
  }

  void Abort() {
    absl::MutexLock lock(&mu_);
    aborted_ = true;
  }

 private:
  bool Barrier() {
    absl::MutexLock lock(&mu_);
    const int64_t generation = generation_;
    if (++num_waiting_ == static_cast<int>(inputs_.size())) {
      num_waiting_ = 0;
      ++generation_;
      return !aborted_;
    }
    const auto released = [this, generation] {
      mu_.AssertHeld();
      return aborted_ || generation_ != generation;
    };
    mu_.Await(absl::Condition(&released));
    return !aborted_;
  }

  absl::Mutex mu_;
  int num_waiting_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t generation_ ABSL_GUARDED_BY(mu_) = 0;
  bool aborted_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::vector<float>> inputs_;  // by rank; between the barriers of an exchange nobody writes
};

// C2 of communicator.h.
float TreeSum(const std::vector<std::vector<float>>& inputs, int begin, int n, int64_t i) {
  if (n == 1) return inputs[begin][i];
  int half = 1;
  while (2 * half < n) half *= 2;
  return TreeSum(inputs, begin, half, i) + TreeSum(inputs, begin + half, n - half, i);
}

class GroupMember final : public FakeCommunicator {
 public:
  GroupMember(std::shared_ptr<Group> group, int rank, int world_size)
      : group_(std::move(group)), rank_(rank), world_size_(world_size) {}

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  const char* Name() const override { return "fake"; }
  int64_t num_calls() const override { return num_calls_; }
  void Abort() override { group_->Abort(); }

  absl::Status AllReduceSum(float* data, int64_t count) override {
    ++num_calls_;
    return group_->Exchange(rank_, data, count, [&](const std::vector<std::vector<float>>& inputs) {
      for (int64_t i = 0; i < count; ++i) data[i] = TreeSum(inputs, 0, world_size_, i);
    });
  }

  absl::Status AllGather(const float* in, float* out, int64_t count) override {
    ++num_calls_;
    return group_->Exchange(rank_, in, count, [&](const std::vector<std::vector<float>>& inputs) {
      for (int r = 0; r < world_size_; ++r) std::copy(inputs[r].begin(), inputs[r].end(), out + r * count);
    });
  }

 private:
  const std::shared_ptr<Group> group_;
  const int rank_;
  const int world_size_;
  int64_t num_calls_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<FakeCommunicator>> MakeFakeGroup(int world_size) {
  auto group = std::make_shared<Group>(world_size);
  std::vector<std::unique_ptr<FakeCommunicator>> members;
  for (int rank = 0; rank < world_size; ++rank) {
    members.push_back(std::make_unique<GroupMember>(group, rank, world_size));
  }
  return members;
}

}  // namespace quire::worker
