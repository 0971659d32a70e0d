// What the edge knows of the served model: taken from the engine when the first replica has formed, the same ever
// after, because every formation loads the same files.
//
// Thread-safe.
#ifndef QUIRE_COORDINATOR_FRONTEND_REPLICA_FACTS_H_
#define QUIRE_COORDINATOR_FRONTEND_REPLICA_FACTS_H_

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/frontend/api_options.h"
#include "coordinator/frontend/validate.h"

namespace quire::frontend {

struct ReplicaFacts {
  ReplicaInfo info;
  cluster::ReplicaDescription description;
  Limits limits;
};

class ReplicaFactsSource {
 public:
  // The engine must outlive this.
  ReplicaFactsSource(const ApiOptions& options, const engine::Replicas* engine);

  // Errors: those of Replicas::GetReplica, until it first answers.
  absl::StatusOr<std::shared_ptr<const ReplicaFacts>> Get();

 private:
  const ApiOptions options_;
  const engine::Replicas* const engine_;
  absl::Mutex mutex_;
  std::shared_ptr<const ReplicaFacts> facts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_REPLICA_FACTS_H_
