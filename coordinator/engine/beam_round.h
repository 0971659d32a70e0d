// One round of a beam search over a running group: when the rows of all its beams are there, some beams end, some
// branch, some are given up. Engine thread only.
//
// Invariants:
//   N1  Text is made, and a checker copied, only for what lives on or enters the hypotheses; but stop strings need the
//       text of every candidate.
//   N2  The lists of a round are kept for the next one, of whichever group: none is allocated on the steady path.
#ifndef QUIRE_COORDINATOR_ENGINE_BEAM_ROUND_H_
#define QUIRE_COORDINATOR_ENGINE_BEAM_ROUND_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/request/beam_search.h"
#include "coordinator/request/sequence_group.h"
#include "coordinator/request/stop_checker.h"
#include "coordinator/scheduler/scheduler.h"

namespace quire::engine {

class BeamRound {
 public:
  // Takes the group one token on. False: the search is done. Requires: the rows of all its beams.
  bool Advance(const std::vector<int32_t>& eos_ids, request::SequenceGroup* group, scheduler::Scheduler* scheduler);

 private:
  // What a candidate's token does.
  struct Continuation {
    request::Verdict verdict;
    std::unique_ptr<request::StopChecker> stop;  // of the candidate; null without stop strings
    std::string text;                            // that the token adds; with `stop`
  };

  void Continue(const std::vector<request::Sequence*>& beams);
  void EnterHypothesis(const request::Sequence& beam, size_t candidate, int64_t length, request::BeamSearch* search);
  void MoveBeams(request::SequenceGroup* group, scheduler::Scheduler* scheduler);
  void Extend(size_t candidate, request::Sequence* beam);

  std::vector<const request::BeamSearch::Row*> rows_;
  std::vector<int32_t> banned_;
  std::vector<request::BeamSearch::Candidate> candidates_;
  std::vector<Continuation> next_;  // of the candidates; more may be left of an earlier round
  std::vector<bool> ends_;
  std::vector<size_t> running_;           // candidates that run on
  std::vector<request::Sequence*> old_;   // beams before the round
  std::vector<request::Sequence*> left_;  // beams that nobody continues
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_BEAM_ROUND_H_
