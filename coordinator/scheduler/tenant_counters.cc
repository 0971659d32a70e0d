// Virtual token counters. See tenant_counters.h.
#include "coordinator/scheduler/tenant_counters.h"

#include <glog/logging.h>

#include <algorithm>
#include <limits>

#include "coordinator/request/planted.h"
#include "coordinator/request/probe.h"

namespace quire::scheduler {

double TenantCounters::LeastActive(double none) const {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [name, tenant] : tenants_) {
    if (tenant.requests > 0) least = std::min(least, tenant.counter);
  }
  return least == std::numeric_limits<double>::infinity() ? none : least;
}

double* TenantCounters::Arrive(const std::string& name) {
  const auto [it, fresh] = tenants_.try_emplace(name);
  Tenant& tenant = it->second;
  if (tenant.requests == 0) {
    if (!fresh) --num_idle_;
    const double least = LeastActive(tenant.counter);
    Hit(Probe::kTenantLifted, least > tenant.counter);
    if (!Planted(Defect::kTenantNotLifted)) tenant.counter = std::max(tenant.counter, least);
  }
  ++tenant.requests;
  return &tenant.counter;
}

void TenantCounters::Leave(const std::string& name) {
  const auto it = tenants_.find(name);
  CHECK(it != tenants_.end() && it->second.requests > 0) << "tenant \"" << name << "\" has no request to end";
  if (--it->second.requests > 0) return;
  if (++num_idle_ > kMaxIdle) Prune();
}

void TenantCounters::Charge(double* counter, double tokens, double weight) {
  CHECK_GT(weight, 0);
  *counter += tokens / weight;
}

double TenantCounters::counter(const std::string& name) const {
  const auto it = tenants_.find(name);
  return it == tenants_.end() ? 0 : it->second.counter;
}

double TenantCounters::Gap() const {
  double least = std::numeric_limits<double>::infinity();
  double most = -least;
  for (const auto& [name, tenant] : tenants_) {
    if (tenant.requests == 0) continue;
    least = std::min(least, tenant.counter);
    most = std::max(most, tenant.counter);
  }
  return std::max(0.0, most - least);
}

void TenantCounters::Prune() {
  // At or below the least active counter they would be lifted anyway: forgetting them changes nothing. If that is not
  // enough, the ones with the least to remember go.
  const double lift = LeastActive(std::numeric_limits<double>::infinity());
  const auto forget = [this](auto&& unneeded) {
    for (auto it = tenants_.begin(); it != tenants_.end();) {
      const bool gone = it->second.requests == 0 && unneeded(it->second);
      if (gone) --num_idle_;
      it = gone ? tenants_.erase(it) : std::next(it);
    }
  };
  forget([lift](const Tenant& tenant) { return tenant.counter <= lift; });
  while (num_idle_ > kMaxIdle / 2) {
    double least = std::numeric_limits<double>::infinity();
    for (const auto& [name, tenant] : tenants_) {
      if (tenant.requests == 0) least = std::min(least, tenant.counter);
    }
    forget([least](const Tenant& tenant) { return tenant.counter <= least; });
  }
}

}  // namespace quire::scheduler
