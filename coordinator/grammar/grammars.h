// Constrained output, as the edges ask for it: from a grammar's source to constraints that the core holds to
// (request/output_constraint.h).
//
// Any thread. Two kinds of threads of its own: one that has grammars compiled (compiler_process.h), and some that compute
// masks. Neither the edges nor the engine ever waits for them.
// Invariants:
//   G1  One compilation at a time, each within its time limit; a tenant has at most kPendingPerTenant of them waiting.
//   G2  Compiled grammars, and refusals, are kept by tenant and source, the least recently used go first; a tenant
//       cannot see by the time what another one compiled.
//   G3  A mask that takes longer than its limit ends its request.
#ifndef QUIRE_COORDINATOR_GRAMMAR_GRAMMARS_H_
#define QUIRE_COORDINATOR_GRAMMAR_GRAMMARS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/grammar/grammar_source.h"
#include "coordinator/request/output_constraint.h"

namespace quire::grammar {

inline constexpr size_t kPendingPerTenant = 8;

struct GrammarOptions {
  std::string program = "/proc/self/exe";  // calls RunCompilerIfAsked
  // What clients are told of an error that the source of a grammar has, given the source's field.
  std::function<absl::Status(const absl::Status& status, const std::string& field)> explain;
  absl::Duration compile_timeout = absl::Seconds(10);
  absl::Duration mask_timeout = absl::Milliseconds(250);  // of a core's time
  size_t max_pending = 64;
  size_t cache_bytes = size_t{128} << 20;
  size_t compiler_memory_bytes = size_t{2} << 30;
  int mask_threads = 2;
};

class Grammars final {
 public:
  // The bytes of a token, empty where it is no text. Called on any thread, also beyond this object's life.
  using TokenBytes = std::function<std::string(int32_t id)>;
  using MakeConstraint = std::function<std::unique_ptr<request::OutputConstraint>()>;

  Grammars(const GrammarOptions& options, TokenBytes token_bytes);
  ~Grammars();

  // Starts to compile the source if it is new and returns at once: the constraints become ready when it is done, or have
  // an error status that names source.field. `stop_ids` end an output where the grammar may end.
  // Errors: UNIMPLEMENTED built without the library; RESOURCE_EXHAUSTED too many are waiting. Requires: stop_ids is not
  // empty; vocab_size is the same in every call.
  absl::StatusOr<MakeConstraint> Constrain(const std::string& tenant, GrammarSource source,
                                           std::vector<int32_t> stop_ids, int32_t vocab_size);

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;  // constraints keep it
};

}  // namespace quire::grammar

#endif  // QUIRE_COORDINATOR_GRAMMAR_GRAMMARS_H_
