// Core::CheckInvariants: the invariants of core.h as code over a snapshot. Runs after every simulated step, and in the
// engine when idle.
#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "coordinator/engine/core.h"

namespace quire::engine {

using request::Sequence;
using request::SequenceGroup;

namespace {

void CheckSequence(const Sequence& s, const kv::KvManager& kv, std::map<int32_t, int32_t>* owners,
                   std::map<int32_t, int32_t>* host_owners) {
  const std::string& id = s.group->request.request_id;
  CHECK_GE(s.in_flight, 0) << id;
  CHECK_LE(s.in_flight, Core::kMaxInFlight) << id;
  CHECK_LE(s.num_computed, s.num_known() + std::max(0, s.num_drafted - 1)) << id;
  CHECK(s.num_drafted == 0 || s.in_flight == 1) << id << " has drafts and " << s.in_flight << " items in flight";
  CHECK(s.blocks.empty() || s.host_blocks.empty()) << id << " is here and swapped out";
  CHECK_EQ(static_cast<int64_t>(s.blocks.size() + s.host_blocks.size()), kv.BlocksFor(s.num_computed))
      << id << " choice " << s.index;
  CHECK_LE(s.output.size() + s.in_flight, s.group->request.params.max_tokens + (s.finished ? s.in_flight : 0)) << id;
  CHECK(s.constraint == nullptr || s.in_flight <= 1) << id << " is constrained and overlaps";
  CHECK(!s.awaits_mask || s.in_flight == 0) << id << " draws without its mask";
  if (s.seq < 0) {
    CHECK(s.blocks.empty()) << id << " holds blocks that no rank knows";
  }
  const auto count = [&](const std::vector<int32_t>& blocks, std::map<int32_t, int32_t>* out) {
    for (size_t i = 0; i < blocks.size(); ++i) {
      CHECK_EQ(blocks[i] == kNoBlock, static_cast<int64_t>(i) < s.num_unseen) << id << " block " << i;
      if (blocks[i] != kNoBlock) ++(*out)[blocks[i]];
    }
  };
  count(s.blocks, owners);
  count(s.host_blocks, host_owners);
}

}  // namespace

void Core::CheckInvariants() const {
  if (scheduler_ == nullptr) return;
  const kv::KvManager& kv = scheduler_->kv();
  std::map<int32_t, int32_t> owners, host_owners;
  std::set<int32_t> seqs;
  for (const auto& [id, group] : groups_) {
    for (const Sequence& s : group->sequences) {
      CheckSequence(s, kv, &owners, &host_owners);
      if (s.seq >= 0) CHECK(seqs.insert(s.seq).second) << "seq " << s.seq << " has two owners";
      if (group->ended || s.finished) CHECK(s.seq < 0) << group->request.request_id << " ended and is on the ranks";
    }
    if (group->ended) {
      CHECK_GT(group->num_in_flight(), 0) << group->request.request_id << " is kept for nothing";
    } else {
      CHECK(live_.count(group->request.request_id)) << group->request.request_id;
      const bool runs = std::find(scheduler_->running().begin(), scheduler_->running().end(), group.get()) !=
                        scheduler_->running().end();
      CHECK(!group->prepares || !runs) << group->request.request_id << " runs unprepared";
      CHECK_NE(runs || group->prepares, scheduler_->waiting().Contains(*group))
          << group->request.request_id << " runs and waits, or neither";
    }
  }
  const std::vector<SequenceGroup*>& running = scheduler_->running();
  const auto before = [this](const SequenceGroup* a, const SequenceGroup* b) { return scheduler_->Precedes(*a, *b); };
  CHECK(std::is_sorted(running.begin(), running.end(), before)) << "the running groups are out of order";
  const kv::BlockPool& pool = kv.pool();
  CHECK_EQ(pool.num_used(), static_cast<int64_t>(owners.size())) << "blocks without an owner";
  for (const auto& [block, count] : owners) CHECK_EQ(pool.refs(block), count) << "references of block " << block;
  CHECK_EQ(kv.host_pool().num_used(), static_cast<int64_t>(host_owners.size())) << "host blocks without an owner";
  for (const auto& [block, count] : host_owners) {
    CHECK_EQ(kv.host_pool().refs(block), count) << "references of host block " << block;
  }
  for (const SequenceGroup* group : scheduler_->running()) {
    if (group->runs_alone()) CHECK_EQ(scheduler_->running().size(), 1u) << group->request.request_id << " has company";
  }
  CHECK_LE(static_cast<int64_t>(seqs.size()), options_.scheduler.max_num_seqs);
  CHECK_LE(static_cast<int64_t>(scheduler_->waiting().size()),
           options_.max_queue_len + options_.scheduler.max_num_seqs + num_adopted_);
  std::vector<const SequenceGroup*> live;
  for (const auto& [label, group] : live_) live.push_back(group);
  kv.CheckHolds(live);
  if (live_.empty()) CHECK_EQ(pool.num_used(), 0) << "blocks leak when idle";
}

}  // namespace quire::engine
