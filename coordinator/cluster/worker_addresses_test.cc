// --workers: what is taken, and that every refusal names its entry.
#include "coordinator/cluster/worker_addresses.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace quire::cluster {
namespace {

TEST(WorkerAddressesTest, Local) {
  const absl::StatusOr<WorkerAddresses> parsed = ParseWorkerAddresses("local:3");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->num_local, 3);
  EXPECT_TRUE(parsed->addresses.empty());
}

TEST(WorkerAddressesTest, RankOrderIsTheOrderGiven) {
  const absl::StatusOr<WorkerAddresses> parsed =
      ParseWorkerAddresses("10.0.0.2:7001, [::1]:7002,host-b:65535,unix:/run/w.sock");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->num_local, 0);
  EXPECT_EQ(parsed->addresses,
            (std::vector<std::string>{"10.0.0.2:7001", "[::1]:7002", "host-b:65535", "unix:/run/w.sock"}));
}

TEST(WorkerAddressesTest, RefusalsNameTheEntry) {
  const struct {
    const char* flag;
    const char* message;
  } cases[] = {
      {"", "entry 0 '' is empty"},
      {"local:", "local:"},
      {"local:0", "local:0 is not a number of workers from 1 to 64"},
      {"local:65", "local:65 is not a number of workers from 1 to 64"},
      {"local:two", "local:two is not"},
      {"a:1,b", "entry 1 'b' has no port"},
      {"a:1,,b:2", "entry 1 '' is empty"},
      {"a:0", "entry 0 'a:0' has no port from 1 to 65535"},
      {"a:65536", "has no port from 1 to 65535"},
      {"a:x", "has no port from 1 to 65535"},
      {":7001", "has no host"},
      {"::1:7001", "bare IPv6"},
      {"unix:", "names no socket"},
      {"http://a:1", "(want"},
      {"a:1,a:1", "'a:1' is named twice"},
  };
  for (const auto& c : cases) {
    const absl::Status status = ParseWorkerAddresses(c.flag).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.flag;
    EXPECT_NE(status.message().find(c.message), std::string::npos) << c.flag << ": " << status;
  }
  std::string many = "h:1";
  for (int i = 2; i <= 65; ++i) absl::StrAppend(&many, ",h:", i);
  EXPECT_EQ(ParseWorkerAddresses(many).status().message(), "--workers names more than 64 workers");
}

TEST(WorkerAddressesTest, ReplicasTakeWorkersInTheOrderGiven) {
  const absl::StatusOr<WorkerAddresses> workers = ParseWorkerAddresses("a:1,a:2,b:1,c:1,b:2,c:2");
  ASSERT_TRUE(workers.ok());
  const absl::StatusOr<std::vector<WorkerAddresses>> pairs = GroupByReplica(*workers, 2);
  ASSERT_TRUE(pairs.ok());
  ASSERT_EQ(pairs->size(), 3u);
  EXPECT_EQ((*pairs)[1].addresses, (std::vector<std::string>{"b:1", "c:1"}));
  EXPECT_EQ(NumOnSameHost(*pairs, 0), 1);
  EXPECT_EQ(NumOnSameHost(*pairs, 1), 2);
  EXPECT_EQ(GroupByReplica(*workers, 0)->size(), 1u);
  for (const int size : {4, 5, 7}) {
    const absl::Status status = GroupByReplica(*workers, size).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << size;
    EXPECT_NE(status.message().find("6 worker(s)"), std::string::npos) << status;
    EXPECT_NE(status.message().find(absl::StrCat("=", size)), std::string::npos) << status;
  }
  WorkerAddresses local;
  local.num_local = 4;
  const absl::StatusOr<std::vector<WorkerAddresses>> locals = GroupByReplica(local, 1);
  ASSERT_EQ(locals->size(), 4u);
  EXPECT_EQ((*locals)[3].num_local, 1);
  EXPECT_EQ(NumOnSameHost(*locals, 0), 4);
}

TEST(WorkerAddressesTest, HostAndLoopback) {
  EXPECT_EQ(HostOf("10.0.0.2:7001"), "10.0.0.2");
  EXPECT_EQ(HostOf("[fe80::1]:7001"), "fe80::1");
  EXPECT_EQ(HostOf("unix:/x"), "");
  for (const char* address : {"127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/x"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
  for (const char* address : {"10.0.0.2:1", "host:1", "[fe80::1]:1"}) EXPECT_FALSE(IsLoopback(address)) << address;
}

}  // namespace
}  // namespace quire::cluster
