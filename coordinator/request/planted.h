// Planted defects: proof that the simulation would see them. Leaf; any thread.
//
// A site is one condition on Planted(n). In a normal build that is constexpr false and leaves no code; in the build of
// the simulation (QUIRE_SIMULATED, set by //coordinator/engine:simulation alone) one defect at a time can be switched
// on, and tools/sim --planted shows how long the simulation needs to catch it.
#ifndef QUIRE_COORDINATOR_REQUEST_PLANTED_H_
#define QUIRE_COORDINATOR_REQUEST_PLANTED_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace quire {

enum class Defect : uint8_t {
  kNone,
  kCopyOnWriteOffByOne,
  kCancelKeepsReference,
  kSwapInOneBlockShort,
  kStaleEpochAccepted,
  kRepeatedReplyCounted,
  kVoidedSampleStaysInFlight,
  kTokenAfterFinish,
  kBudgetExceeded,
  kPublishedInSamePlan,
  kRanksNotToldOfPreemption,
  kResumedOutOfOrder,
  kTenantNotLifted,
  kMinTokensOffByOne,
  kStopStartShownEarly,
  kForkKeepsNoReference,
  kForkDrawsAsLeader,
  kPlaceLeaksAtFinish,
  kCopiesNotReserved,
  kHostBlockFreedTooEarly,
  kEvictedKeyStays,
  kWholePromptAdopted,
  kTenantsShareKeys,
  kNextDeadlineForgotten,
  kCrashesNotCounted,
  kSuspectHasCompany,
  kSpentDoNotFit,
  kBeamTokenNotGiven,
  kDroppedBeamKeepsBlocks,
  kPromptRowsSkipped,
  kHoldOutlivesRequest,
  kWindowOneTooShort,
  kMaskForgotten,
  kAdmittedWithoutMask,
  kCount,
};

inline constexpr std::array<const char*, static_cast<size_t>(Defect::kCount)> kDefectNames = {
    "none",
    "copy-on-write is skipped when two share a block",
    "a cancelled group keeps the references of its last choice",
    "swap-in brings one block too few",
    "a result of an older epoch is committed",
    "a rank's repeated reply counts as another rank's",
    "a voided sample stays in flight",
    "a token sampled past the end is emitted",
    "decodes do not count against the step's budget",
    "a prompt's blocks are published inside the plan that fills them",
    "the ranks are not told of a preempted sequence",
    "a resumed group runs behind later ones",
    "a tenant that was idle is not lifted",
    "min_tokens is off by one",
    "the start of a stop string is shown too early",
    "a fork takes no reference to the last block",
    "a child draws with its leader's noise",
    "a finished choice keeps its place",
    "copies are not counted when room is made",
    "a host block is free before its swap-in has read it",
    "an evicted block stays in the prefix cache",
    "the whole prompt is adopted, nothing is left to compute",
    "tenants share the keys of the prefix cache",
    "the next deadline is not looked up after one has passed",
    "replica losses are not counted",
    "a group under suspicion has company",
    "groups that may not be preempted are admitted without room for all",
    "the ranks are not given a beam's token",
    "a beam that is given up keeps its blocks",
    "cached prompt positions are not scored",
    "a shared prefix is held beyond its request",
    "a block is let go while the next token still sees its last key",
    "a draw is planned without its mask",
    "a preempted choice is computed again before its mask is known",
};
static_assert(kDefectNames.back() != nullptr, "every defect has a name");

#ifdef QUIRE_SIMULATED
inline Defect g_defect = Defect::kNone;
inline bool Planted(Defect defect) { return g_defect == defect; }
#else
constexpr bool Planted(Defect) { return false; }
#endif

}  // namespace quire

#endif  // QUIRE_COORDINATOR_REQUEST_PLANTED_H_
