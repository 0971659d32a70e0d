// Coverage probes: rare paths say that they were reached, so that a run of the simulation can be held to reaching all
// of them. Leaf; any thread.
//
// In a normal build Hit and Hits leave no code. In the build of the simulation (QUIRE_SIMULATED, set by
// //coordinator/engine:simulation alone) they count, per thread.
#ifndef QUIRE_COORDINATOR_REQUEST_PROBE_H_
#define QUIRE_COORDINATOR_REQUEST_PROBE_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace quire {

enum class Probe : uint8_t {
  // Blocks.
  kCopyOnWrite,
  kCopyOfBlockOfThree,
  kLastSharerWritesInPlace,
  kCachedBlockEvicted,
  kEvictionWhileAdopting,
  kFreeBlockRevived,
  kLiveBlockShared,
  kSwapOutSharedBlock,
  kSwapInShared,
  kSwapInOpenBlock,
  kSwappedOutReleased,
  kHeldBlockEvicted,
  kHeldBlockRevived,
  kHoldsAtBound,
  // Scheduling.
  kPreemptForkedBySwap,
  kPreemptForkedByRecompute,
  kPreemptBeforeFork,
  kPreemptInFlight,
  kPreemptedThrice,
  kPreemptsItself,
  kHostPoolTooSmall,
  kSwapInAfterSiblingFinished,
  kChunkedPrefill,
  kForkInLastChunk,
  kReplayAfterFork,
  kAdmissionAwaitsResult,
  kAdmissionKeepsReserve,
  kAdmissionSparesHeld,
  kAdmittedBeforeOlder,
  kTenantLifted,
  kFinishedWaitsForStep,
  kSuspectRunsAlone,
  kSpentFits,
  kSpentAwaitsSpent,
  kSettlingSpared,
  kWaitsForNeighbours,
  kPromptsShareStep,
  kTimeBoundsPrefill,
  // Beams.
  kBeamBranches,
  kBeamGivenUp,
  kBeamsBranchSwappedOut,
  kBeamsPreempted,
  kBeamsReplayed,
  // Drafts.
  kDraftAccepted,
  kEndBeforeLastDraft,
  // Requests.
  kCancelBeforeFirstToken,
  kCancelWaiting,
  kCancelSwappedOut,
  kCancelBetweenForkAndAnswer,
  kDeadlineWaiting,
  kDeadlineRunning,
  kDeadlineSwappedOut,
  kSampledPastEnd,
  kStopAcrossTokens,
  kHeldTextShown,
  kPromptScored,
  kStopStringBeforeMinTokens,
  kDuplicateLabel,
  kQueueFull,
  kNeverFits,
  kNotLoadedYet,
  // Replica.
  kResultOfOldEpoch,
  kResultOfOtherStep,
  kLostWhileSwappedOut,
  kLostInFlight,
  kLostTwiceRunning,
  kLostTooOften,
  kBackOff,
  kGaveUpForming,
  kNeverFormed,
  kCameBackSmaller,
  // Ranks and streams (the simulated ones).
  kStepDeadlineMissed,
  kStreamReset,
  kDiedUnseen,
  kHungThenAnswered,
  kFormationFailed,
  kFormationStalled,
  kDigestDiffers,
  kAnsweredAsOtherRank,
  kWrongTokenCount,
  kReplyRepeated,
  kReplyOfOldEpoch,
  kReplyTooEarly,
  kFencedPlan,
  // Clients (the simulated ones).
  kReaderFellBehind,
  kReaderOutlivesRequest,
  kReaderLeft,
  kCount,
};

inline constexpr std::array<const char*, static_cast<size_t>(Probe::kCount)> kProbeNames = {
    "copy-on-write of a shared last block",
    "copy-on-write of a block of three or more",
    "the last sharer writes in place",
    "a cached block is evicted",
    "eviction in a plan that adopts cached blocks",
    "a free cached block is revived",
    "a cached block in use is shared",
    "swap-out of a shared block",
    "swap-in shares again",
    "swap-in of an open block for each sibling",
    "a swapped-out sequence is released",
    "a held block is evicted",
    "a held block is revived",
    "holds reach their bound",
    "preemption of a forked group by swap",
    "preemption of a forked group by recompute",
    "preemption before the fork",
    "preemption with a sample in flight",
    "third preemption of a group",
    "a group gives way itself",
    "swap refused by a full host pool",
    "swap-in after a sibling finished",
    "chunked prefill",
    "fork at the end of a chunked prompt",
    "replay of a group that has forked",
    "admission awaits a sample in flight",
    "admission keeps the reserve",
    "admission spares held blocks",
    "admission before an older request",
    "a tenant that was idle is lifted",
    "what has finished waits for the next step",
    "a group under suspicion runs alone",
    "a group preempted often fits beside its like",
    "a group preempted often awaits its like",
    "a group that has just resumed is spared",
    "decodes wait for their neighbours",
    "prompts share a step",
    "time bounds the prefill of a step",
    "a beam branches",
    "a beam is given up",
    "beams branch while swapped out",
    "preemption of beams",
    "replay of beams",
    "a draft is accepted",
    "a choice ends before its last accepted draft",
    "cancel before the first token",
    "cancel while waiting",
    "cancel while swapped out",
    "cancel between fork and first answer",
    "deadline while waiting",
    "deadline while running",
    "deadline while swapped out",
    "a sample past the end is dropped",
    "stop string across tokens",
    "held text is shown",
    "log-probs of a prompt",
    "stop string before min_tokens",
    "label of a live request",
    "queue full",
    "request that never fits",
    "request while the model loads",
    "result of an old epoch",
    "result of another step",
    "replica lost while a group is swapped out",
    "replica lost with samples in flight",
    "second replica loss of a request",
    "request that saw too many losses",
    "back-off between formations",
    "gave up forming",
    "never formed",
    "replica came back too small for a request",
    "step deadline missed",
    "stream reset",
    "rank died unseen",
    "rank hung and answered after its epoch",
    "formation failed",
    "formation stalled",
    "digest differs",
    "rank answered as another",
    "wrong number of tokens",
    "reply repeated",
    "reply of an old epoch",
    "reply to a step not sent yet",
    "plan fenced by a rank",
    "slow reader fell behind",
    "slow reader outlives its request",
    "reader left",
};
static_assert(kProbeNames.back() != nullptr, "every probe has a name");

#ifdef QUIRE_SIMULATED
inline constexpr bool kProbing = true;
inline thread_local std::array<int64_t, static_cast<size_t>(Probe::kCount)> t_probe_hits{};
inline void Hit(Probe probe, bool when = true) { t_probe_hits[static_cast<size_t>(probe)] += when; }
inline int64_t Hits(Probe probe) { return t_probe_hits[static_cast<size_t>(probe)]; }
#else
inline constexpr bool kProbing = false;  // guards what only serves a probe and is not free
constexpr void Hit(Probe, bool = true) {}
constexpr int64_t Hits(Probe) { return 0; }
#endif

}  // namespace quire

#endif  // QUIRE_COORDINATOR_REQUEST_PROBE_H_
