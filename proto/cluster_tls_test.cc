// Who may be at the other end of a session, over real connections; which files a process starts with; rotation.
#include "proto/cluster_tls.h"

#include <glog/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/pem_files.h"
#include "proto/testing/certificates.h"
#include "proto/worker.grpc.pb.h"

namespace quire::proto {
namespace {

constexpr char kCoordinator[] = "URI:spiffe://quire.test/coordinator";
constexpr char kWorker[] = "URI:spiffe://quire.test/worker/0";

std::string FreshDir() {
  std::string dir = ::testing::TempDir() + "/cluster_tls_XXXXXX";
  EXPECT_NE(mkdtemp(&dir[0]), nullptr);
  return dir;
}

// The files of one process.
class Files {
 public:
  void Put(const Credential& own, const std::string& ca) {
    swapped_.Put({{"tls.crt", own.certificate}, {"tls.key", own.key}, {"ca.crt", ca}});
  }
  ClusterTlsFiles paths() const {
    return {swapped_.path("tls.crt"), swapped_.path("tls.key"), swapped_.path("ca.crt")};
  }

 private:
  SwappedFiles swapped_{FreshDir()};
};

// Sends back what it gets, as a step that was done.
class Echo final : public worker::v1::Worker::Service {
 public:
  grpc::Status Session(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<worker::v1::RankMessage, worker::v1::CoordinatorMessage>* stream) override {
    worker::v1::CoordinatorMessage in;
    while (stream->Read(&in)) {
      worker::v1::RankMessage out;
      out.mutable_done();
      if (!stream->Write(out)) break;
    }
    return grpc::Status::OK;
  }
};

// A session from this process to a worker.
class Session {
 public:
  Session(int port, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // every session dials
    channel_ = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port), credentials, arguments);
    stub_ = worker::v1::Worker::NewStub(channel_);
    context_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
    stream_ = stub_->Session(&context_);
  }
  ~Session() {
    context_.TryCancel();
    if (!ended_) stream_->Finish();
  }

  bool Echoes() {
    worker::v1::CoordinatorMessage out;
    out.mutable_join()->set_epoch(1);
    worker::v1::RankMessage in;
    return stream_->Write(out) && stream_->Read(&in);
  }
  grpc::Status End() {
    ended_ = true;
    return stream_->Finish();
  }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<worker::v1::Worker::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<worker::v1::CoordinatorMessage, worker::v1::RankMessage>> stream_;
  bool ended_ = false;
};

bool Await(const std::function<bool()>& condition) {
  for (int i = 0; i < 300 && !condition(); ++i) absl::SleepFor(absl::Milliseconds(100));
  return condition();
}

class ClusterTlsTest : public ::testing::Test {
 protected:
  void Serve(const Credential& own, const std::string& ca) {
    worker_files_.Put(own, ca);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", WorkerCredentials(worker_files_.paths()), &port_);
    builder.RegisterService(&echo_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  // Whether a coordinator with this certificate that trusts `ca` gets a session.
  bool Connects(const Credential& own, const std::string& ca) {
    Files files;
    files.Put(own, ca);
    return Session(port_, CoordinatorCredentials(files.paths())).Echoes();
  }

  const TestCa ca_{"cluster"};
  const TestCa stranger_{"cluster"};  // of the same name
  Files worker_files_;
  Echo echo_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(ClusterTlsTest, OnlyACoordinatorOfTheClusterGetsASession) {
  Serve(ca_.Issue(kWorker), ca_.certificate());
  const std::string ca = ca_.certificate();
  EXPECT_TRUE(Connects(ca_.Issue(kCoordinator), ca));
  EXPECT_FALSE(Connects(ca_.Issue(kWorker), ca)) << "another worker was let in";
  EXPECT_FALSE(Connects(ca_.Issue(""), ca)) << "a certificate without a role was let in";
  EXPECT_FALSE(Connects(ca_.Issue("DNS:coordinator"), ca)) << "a host name counted as a role";
  EXPECT_FALSE(Connects(stranger_.Issue(kCoordinator), ca)) << "a certificate of another CA was let in";
  EXPECT_FALSE(Connects(ca_.Issue(kCoordinator, -absl::Hours(1)), ca)) << "an expired certificate was let in";
  EXPECT_FALSE(Session(port_, grpc::InsecureChannelCredentials()).Echoes()) << "clear text was let in";
  grpc::SslCredentialsOptions no_certificate;
  no_certificate.pem_root_certs = ca;
  EXPECT_FALSE(Session(port_, grpc::SslCredentials(no_certificate)).Echoes()) << "no certificate was let in";
  EXPECT_TRUE(Connects(ca_.Issue(kCoordinator), ca)) << "the refusals broke the server";
}

TEST_F(ClusterTlsTest, ACoordinatorTalksToWorkersOfItsClusterOnly) {
  const Credential own = ca_.Issue(kCoordinator);
  const struct {
    Credential worker;
    bool talks;
  } cases[] = {{ca_.Issue(kWorker), true},        {ca_.Issue("URI:spiffe://quire.test/worker"), true},
               {ca_.Issue(kCoordinator), false},  {ca_.Issue("DNS:localhost,IP:127.0.0.1"), false},
               {stranger_.Issue(kWorker), false}, {ca_.Issue(kWorker, -absl::Hours(1)), false}};
  for (const auto& c : cases) {
    Files files;
    files.Put(c.worker, ca_.certificate());
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", WorkerCredentials(files.paths()), &port);
    Echo echo;
    builder.RegisterService(&echo);
    const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    port_ = port;
    EXPECT_EQ(Connects(own, ca_.certificate()), c.talks) << "case " << &c - cases;
    server->Shutdown(std::chrono::system_clock::now());
  }
}

TEST_F(ClusterTlsTest, FilesAreRotatedUnderALiveSession) {
  Serve(ca_.Issue(kWorker), ca_.certificate());
  const Credential old_coordinator = ca_.Issue(kCoordinator);
  Files coordinator_files;
  coordinator_files.Put(old_coordinator, ca_.certificate());
  const auto credentials = CoordinatorCredentials(coordinator_files.paths());
  Session live(port_, credentials);
  ASSERT_TRUE(live.Echoes());

  // Another CA altogether, first on one side, then on the other.
  const Credential new_coordinator = stranger_.Issue(kCoordinator);
  EXPECT_FALSE(Connects(new_coordinator, stranger_.certificate()));
  worker_files_.Put(stranger_.Issue(kWorker), stranger_.certificate());
  EXPECT_TRUE(Await([&] { return Connects(new_coordinator, stranger_.certificate()); }))
      << "the new files never counted";
  EXPECT_FALSE(Connects(old_coordinator, stranger_.certificate())) << "the old CA still opens";
  EXPECT_FALSE(Session(port_, credentials).Echoes()) << "the coordinator trusts a CA that it was not given";
  coordinator_files.Put(new_coordinator, stranger_.certificate());
  EXPECT_TRUE(Await([&] { return Session(port_, credentials).Echoes(); })) << "the new files never counted";
  EXPECT_TRUE(live.Echoes()) << "the session did not outlive the rotation";
}

class Warnings final : public google::LogSink {
 public:
  Warnings() { google::AddLogSink(this); }
  ~Warnings() override { google::RemoveLogSink(this); }
  void send(google::LogSeverity, const char*, const char*, int, const google::LogMessageTime&, const char* message,
            size_t size) override {
    count += absl::StrContains(absl::string_view(message, size), "TLS: Handshake failed");
  }
  std::atomic<int> count{0};
};

TEST_F(ClusterTlsTest, ARefusalIsAWarningAndTheSameOneIsNotRepeated) {
  gpr_set_log_function([](gpr_log_func_args* args) { LogHandshakeFailure(args->message); });
  Serve(ca_.Issue(kWorker), ca_.certificate());
  Warnings warnings;
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(Connects(stranger_.Issue(kCoordinator), ca_.certificate()));
  EXPECT_TRUE(Await([&] { return warnings.count > 0; }));
  EXPECT_FALSE(Session(port_, grpc::InsecureChannelCredentials()).Echoes());
  EXPECT_TRUE(Await([&] { return warnings.count > 1; })) << "another reason was not told";
  EXPECT_EQ(warnings.count, 2);
}

TEST(HasRoleTest, TheWholePathCounts) {
  using R = ClusterRole;
  EXPECT_TRUE(HasRole("spiffe://prod/coordinator", R::kCoordinator));
  EXPECT_TRUE(HasRole("spiffe://prod/worker", R::kWorker));
  EXPECT_TRUE(HasRole("spiffe://prod/worker/group-0/rank-1", R::kWorker));
  for (const char* uri : {"", "spiffe://", "spiffe://coordinator", "spiffe:///coordinator", "spiffe://a/coordinator2",
                          "spiffe://a/coordinator/", "spiffe://a/x/coordinator", "https://a/coordinator",
                          "SPIFFE://a/coordinator", "spiffe://a/worker", "spiffe://a/Coordinator"}) {
    EXPECT_FALSE(HasRole(uri, R::kCoordinator)) << uri;
  }
  for (const char* uri : {"spiffe://a/workers", "spiffe://a/coordinator", "spiffe://worker/0", "spiffe:///worker/0"}) {
    EXPECT_FALSE(HasRole(uri, R::kWorker)) << uri;
  }
}

TEST(CheckClusterTlsTest, WhatCannotWorkIsSaidAtTheStart) {
  const TestCa ca("cluster");
  const std::string dir = FreshDir();
  const auto put = [&dir](const std::string& name, const std::string& content) {
    std::ofstream(dir + "/" + name) << content;
    return dir + "/" + name;
  };
  const Credential good = ca.Issue(kWorker);
  const Credential other = ca.Issue(kWorker);
  const Credential expired = ca.Issue(kWorker, -absl::Hours(1));
  const std::string crt = put("crt", good.certificate), key = put("key", good.key), root = put("ca", ca.certificate());
  EXPECT_EQ(CheckClusterTls({crt, key, root}, ClusterRole::kWorker), absl::OkStatus());
  EXPECT_EQ(CheckClusterTls({crt, key, put("bundle", ca.certificate() + "\n# next\n" + ca.certificate())},
                            ClusterRole::kWorker),
            absl::OkStatus());
  const struct {
    ClusterTlsFiles files;
    std::string fault;
  } cases[] = {
      {{crt, key, ""}, "give all three or none"},
      {{"", key, root}, "give all three or none"},
      {{dir + "/none", key, root}, "/none: No such file"},
      {{crt, dir + "/none", root}, "/none: No such file"},
      {{crt, key, dir + "/none"}, "/none: No such file"},
      {{key, key, root}, "key: has no certificate"},
      {{crt, crt, root}, "crt: has no private key"},
      {{crt, put("other", other.key), root}, "other: is not the key of the certificate in " + crt},
      {{put("old", expired.certificate), put("oldkey", expired.key), root}, "old: the certificate has expired at"},
      {{crt, key, key}, "key: has no certificate"},
      {{crt, key, put("cut", ca.certificate() + ca.certificate().substr(0, 200))}, "cut: certificate 2 is damaged"},
  };
  for (const auto& c : cases) {
    const absl::Status status = CheckClusterTls(c.files, ClusterRole::kWorker);
    EXPECT_FALSE(status.ok()) << c.fault;
    EXPECT_TRUE(absl::StrContains(status.message(), c.fault)) << c.fault << "\nwas: " << status;
  }
  const absl::Status role = CheckClusterTls({crt, key, root}, ClusterRole::kCoordinator);
  EXPECT_TRUE(
      absl::StrContains(role.message(), "not a coordinator's: its URI names are [spiffe://quire.test/worker/0]"))
      << role;
}

}  // namespace
}  // namespace quire::proto
