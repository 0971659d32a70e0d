// How replies are judged and merged: see the header for what it promises.
#include "coordinator/cluster/step_collector.h"

#include <glog/logging.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/request/planted.h"
#include "proto/protocol.h"

namespace quire::cluster {
namespace {

absl::Status CheckReply(int rank, const ExpectedStep& expected, const RankReply& reply) {
  if (reply.rank != static_cast<uint32_t>(rank)) {
    return absl::InternalError(absl::StrFormat("rank %d answered step %d as rank %d", rank, expected.step, reply.rank));
  }
  if (reply.digest != expected.digest) {
    return absl::InternalError(
        absl::StrFormat("rank %d answered step %d of epoch %d with digest %016x, the plan's is %016x", rank,
                        expected.step, expected.epoch, reply.digest, expected.digest));
  }
  if (rank != 0) return absl::OkStatus();
  if (reply.accepted.size() != expected.drafts.size()) {
    return absl::InternalError(absl::StrFormat("rank 0 answered step %d for %d drafted items, the plan has %d",
                                               expected.step, reply.accepted.size(), expected.drafts.size()));
  }
  size_t num_tokens = expected.num_tokens;
  for (size_t i = 0; i < expected.drafts.size(); ++i) {
    if (reply.accepted[i] > expected.drafts[i]) {
      return absl::InternalError(absl::StrFormat("rank 0 answered step %d with %d drafts accepted of %d", expected.step,
                                                 reply.accepted[i], expected.drafts[i]));
    }
    num_tokens += reply.accepted[i];
  }
  if (reply.tokens.size() != num_tokens) {
    return absl::InternalError(absl::StrFormat("rank 0 answered step %d with %d tokens, the plan samples %d",
                                               expected.step, reply.tokens.size(), num_tokens));
  }
  return absl::OkStatus();
}

}  // namespace

StepCollector::StepCollector(int world_size) : world_size_(world_size), next_by_rank_(world_size, 1) {
  CHECK_GT(world_size, 0);
}

void StepCollector::Reset(uint64_t epoch) {
  epoch_ = epoch;
  last_step_ = 0;
  next_by_rank_.assign(world_size_, 1);
  in_flight_.clear();
}

void StepCollector::Expect(const ExpectedStep& expected) {
  CHECK_EQ(expected.epoch, epoch_);
  CHECK_EQ(expected.step, last_step_ + 1);
  CHECK_LT(in_flight_.size(), static_cast<size_t>(proto::kMaxStepsInFlight));
  last_step_ = expected.step;
  InFlight& item = in_flight_.emplace_back();
  item.expected = expected;
  item.result.epoch = expected.epoch;
  item.result.step = expected.step;
  item.result.ranks.resize(world_size_);
}

absl::StatusOr<std::optional<StepResult>> StepCollector::Add(int rank, RankReply reply) {
  CHECK_GE(rank, 0);
  CHECK_LT(rank, world_size_);
  const bool repeated = Planted(Defect::kRepeatedReplyCounted) && !in_flight_.empty() &&
                        reply.step == in_flight_.front().expected.step && reply.step < next_by_rank_[rank];
  if (reply.epoch != epoch_ || (reply.step != next_by_rank_[rank] && !repeated) || reply.step > last_step_) {
    ++dropped_;
    return std::nullopt;
  }
  // The step that a rank owes next is in flight: a step leaves only when every rank has answered it.
  InFlight& item = in_flight_[reply.step - in_flight_.front().expected.step];
  const absl::Status status = CheckReply(rank, item.expected, reply);
  if (!status.ok()) {
    ++dropped_;
    return status;
  }
  ++next_by_rank_[rank];
  item.result.ranks[rank] = reply.usage;
  if (rank == 0) {
    item.result.tokens = std::move(reply.tokens);
    item.result.logprobs = std::move(reply.logprobs);
    item.result.prompt_logprobs = std::move(reply.prompt_logprobs);
    item.result.accepted = std::move(reply.accepted);
  }
  if (++item.num_answers < world_size_) return std::nullopt;
  // Every rank answers in order, so the step that is complete first is the oldest.
  CHECK_EQ(&item, &in_flight_.front());
  std::optional<StepResult> result = std::move(item.result);
  in_flight_.pop_front();
  return result;
}

std::vector<int> StepCollector::LateRanks() const {
  std::vector<int> late;
  if (in_flight_.empty()) return late;
  for (int rank = 0; rank < world_size_; ++rank) {
    if (next_by_rank_[rank] <= in_flight_.front().expected.step) late.push_back(rank);
  }
  return late;
}

}  // namespace quire::cluster
