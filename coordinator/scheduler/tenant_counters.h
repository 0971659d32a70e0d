// Service that tenants have had, for fair scheduling: the virtual token counter of "Fairness in Serving Large Language
// Models" (OSDI'24). Engine thread only.
//
// Invariants:
//   V1  A counter never falls. A tenant that comes back from idleness is lifted to the least counter of the active
//       ones: being away saves up nothing.
//   V2  Idle tenants are remembered only while their counter says more than the lift would; so the table is bounded by
//       the active tenants and kMaxIdle.
#ifndef QUIRE_COORDINATOR_SCHEDULER_TENANT_COUNTERS_H_
#define QUIRE_COORDINATOR_SCHEDULER_TENANT_COUNTERS_H_

#include <cstdint>
#include <string>
#include <unordered_map>

namespace quire::scheduler {

class TenantCounters {
 public:
  static constexpr size_t kMaxIdle = 4096;

  // A request of the tenant has come, or has gone. Returns the tenant's counter, valid until the request has gone.
  double* Arrive(const std::string& tenant);
  void Leave(const std::string& tenant);

  // The tenant of this counter got service worth `tokens`, divided by its weight. Once per token: no look-up by name.
  // Requires: weight > 0.
  static void Charge(double* counter, double tokens, double weight);

  double counter(const std::string& tenant) const;
  // Between the most and the least counter of the active tenants; 0 with fewer than two. Cost: all that are known.
  double Gap() const;

 private:
  struct Tenant {
    double counter = 0;
    int64_t requests = 0;
  };
  // The least counter of the active tenants; `none` without any.
  double LeastActive(double none) const;
  void Prune();

  std::unordered_map<std::string, Tenant> tenants_;
  size_t num_idle_ = 0;
};

}  // namespace quire::scheduler

#endif  // QUIRE_COORDINATOR_SCHEDULER_TENANT_COUNTERS_H_
