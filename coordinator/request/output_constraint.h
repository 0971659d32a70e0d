// What a grammar lets one choice say next. The core knows only this interface; grammar/ implements it. A pure function of
// the tokens told so far: preemption, loss and replay do not touch it.
//
// Called on the engine thread; the mask is computed elsewhere, off the step path, and `wake` called from there.
// Invariants:
//   C1  Before the first mask is known, and after Advance, the choice draws nothing until ready() is true again: so its token is known before its next mask
//       is asked for, and no step is planned for it behind one that it draws in.
//   C2  `wake` is called after ready() has become true, unless the constraint is gone by then.
#ifndef QUIRE_COORDINATOR_REQUEST_OUTPUT_CONSTRAINT_H_
#define QUIRE_COORDINATOR_REQUEST_OUTPUT_CONSTRAINT_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "coordinator/scheduler/step_plan.h"

namespace quire::request {

class OutputConstraint {
 public:
  virtual ~OutputConstraint() = default;

  // Whom to tell; again when the request moves to another engine. May be called on any thread from then on.
  virtual void SetWake(std::function<void()> wake) = 0;

  // `token` was committed. Requires: ready() and OK status.
  virtual void Advance(int32_t token) = 0;

  // The mask of the next token is known, or that there is none: see status.
  virtual bool ready() const = 0;
  // Why the choice cannot go on (a token outside of the grammar; too much work). Requires: ready().
  virtual absl::Status status() const = 0;
  // Never null, and allows at least one token. Requires: ready() and OK status.
  virtual TokenMask mask() const = 0;
};

}  // namespace quire::request

#endif  // QUIRE_COORDINATOR_REQUEST_OUTPUT_CONSTRAINT_H_
