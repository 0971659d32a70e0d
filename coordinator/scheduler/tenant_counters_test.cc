// Virtual token counters: service is charged by weight, idleness saves up nothing, the table stays bounded.
#include "coordinator/scheduler/tenant_counters.h"

#include <gtest/gtest.h>

#include <string>

namespace quire::scheduler {
namespace {

TEST(TenantCounters, ServiceIsDividedByWeight) {
  TenantCounters c;
  double* a = c.Arrive("a");
  double* b = c.Arrive("b");
  TenantCounters::Charge(a, 10, 1);
  TenantCounters::Charge(b, 10, 4);
  EXPECT_EQ(c.counter("a"), 10);
  EXPECT_EQ(c.counter("b"), 2.5);
}

TEST(TenantCounters, WhoComesBackIsLiftedAndNeverLowered) {
  TenantCounters c;
  double* busy = c.Arrive("busy");
  TenantCounters::Charge(c.Arrive("away"), 5, 1);
  c.Leave("away");
  TenantCounters::Charge(busy, 100, 1);
  double* away = c.Arrive("away");
  EXPECT_EQ(c.counter("away"), 100) << "it cannot claim what it did not ask for";
  TenantCounters::Charge(away, 50, 1);
  c.Leave("away");
  c.Arrive("away");
  EXPECT_EQ(c.counter("away"), 150) << "leaving does not wash off what it had";
  c.Arrive("new");
  EXPECT_EQ(c.counter("new"), 100);
}

TEST(TenantCounters, ManyIdleTenantsAreForgottenButNotTheGreedy) {
  TenantCounters c;
  TenantCounters::Charge(c.Arrive("active"), 10, 1);
  TenantCounters::Charge(c.Arrive("greedy"), 1000, 1);
  c.Leave("greedy");
  for (size_t i = 0; i < 3 * TenantCounters::kMaxIdle; ++i) {
    const std::string name = std::to_string(i);
    c.Arrive(name);
    c.Leave(name);
  }
  EXPECT_EQ(c.counter("greedy"), 1010) << "what it had, on top of the lift of its arrival";
  EXPECT_EQ(c.counter("0"), 0) << "forgotten";
  EXPECT_EQ(c.counter("active"), 10);
}

TEST(TenantCounters, TheGapIsAmongThoseThatHaveRequests) {
  TenantCounters c;
  EXPECT_EQ(c.Gap(), 0);
  TenantCounters::Charge(c.Arrive("a"), 10, 1);
  EXPECT_EQ(c.Gap(), 0) << "alone";
  TenantCounters::Charge(c.Arrive("b"), 100, 2);
  EXPECT_EQ(c.Gap(), 50) << "lifted to 10, then 50 more";
  c.Leave("b");
  EXPECT_EQ(c.Gap(), 0);
}

TEST(TenantCountersDeathTest, LeavingTwiceIsABug) {
  TenantCounters c;
  c.Arrive("a");
  c.Leave("a");
  EXPECT_DEATH(c.Leave("a"), "no request to end");
}

}  // namespace
}  // namespace quire::scheduler
