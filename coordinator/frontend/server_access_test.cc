// Who gets in at the gRPC edge: every method of the service against every kind of key, and TLS. A method without a row
// fails the test.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "coordinator/access/key_ring.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/frontend/api.h"
#include "coordinator/frontend/ascii_tokenizer.h"
#include "coordinator/frontend/server.h"
#include "coordinator/frontend/sim_worker_group.h"
#include "proto/generate.grpc.pb.h"
#include "proto/testing/certificates.h"

namespace quire::frontend {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);  // far more than anything takes

std::string FreshDir() {
  std::string dir = ::testing::TempDir() + "/server_access_XXXXXX";
  EXPECT_NE(mkdtemp(&dir[0]), nullptr);
  return dir;
}

access::NewKey KeyOf(const std::string& tenant) {
  access::Caller caller;
  caller.tenant = tenant;
  return *access::MakeKey(caller);
}

using Authorizations = std::vector<std::string>;  // values of the metadata entry

class ServerAccessTest : public ::testing::Test {
 protected:
  ServerAccessTest() {
    group_ = std::make_unique<SimWorkerGroup>(SimWorkerGroupOptions());
    engine_ =
        std::make_unique<engine::Replicas>(engine::EngineOptions(), std::vector<cluster::WorkerGroup*>{group_.get()});
    EXPECT_TRUE(engine_->WaitUntilFormed(kPatience).ok());
    ApiOptions options;
    options.served_model_name = "sim";
    api_ = std::make_unique<Api>(options, engine_.get(), AsciiTokenizer(testing::TempDir()));
  }
  ~ServerAccessTest() override {
    if (server_ != nullptr) server_->Shutdown(absl::ZeroDuration());
    engine_->Stop(absl::ZeroDuration());
  }

  void Start(const ServerOptions& base, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    ServerOptions options = base;
    options.port = 0;
    auto server = Server::Start(options, api_.get());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = Dial(credentials);
  }
  void StartWithKeys() {
    const std::string path = FreshDir() + "/keys";
    std::ofstream(path) << acme_.line << "\n" << other_.line << "\n";
    auto ring = access::KeyRing::Open(path);
    ASSERT_TRUE(ring.ok()) << ring.status();
    ServerOptions options;
    options.authenticator = *std::move(ring);
    Start(options, grpc::InsecureChannelCredentials());
  }

  std::shared_ptr<grpc::Channel> Dial(const std::shared_ptr<grpc::ChannelCredentials>& credentials) const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // every channel dials
    arguments.SetSslTargetNameOverride("localhost");
    return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server_->port()), credentials, arguments);
  }

  // The status that a method answers these bytes with. A stream of answers is fine too: only its end counts.
  grpc::Status Call(const std::string& method, const std::string& bytes, const Authorizations& authorizations) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    for (const std::string& value : authorizations) context.AddMetadata("authorization", value);
    grpc::GenericStub stub(channel_);
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer message(&slice, 1);
    grpc::CompletionQueue queue;
    const auto next = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    const std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream = stub.PrepareCall(&context, method, &queue);
    stream->StartCall(nullptr);
    if (next()) {
      stream->WriteLast(message, grpc::WriteOptions(), nullptr);
      next();
      do {
        stream->Read(&last_answer_, nullptr);
      } while (next());
    }
    grpc::Status status;
    stream->Finish(&status, nullptr);
    next();
    return status;
  }

  static Authorizations Bearer(const std::string& key) { return {"Bearer " + key}; }

  const access::NewKey acme_ = KeyOf("acme");
  const access::NewKey other_ = KeyOf("other");
  std::unique_ptr<SimWorkerGroup> group_;
  std::unique_ptr<engine::Replicas> engine_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  grpc::ByteBuffer last_answer_;
};

v1::GenerateRequest ShortRequest() {
  v1::GenerateRequest request;
  for (const uint32_t id : {3u, 4u, 5u}) request.mutable_tokenized()->add_input_ids(id);
  request.mutable_sampling_params()->set_max_tokens(4);
  return request;
}

// A message that each method takes from whoever may call it.
std::map<std::string, std::string> GoodMessages() {
  v1::AbortRequest abort;
  abort.add_request_ids("x");
  v1::TokenizeRequest tokenize;
  tokenize.set_text("a");
  v1::DetokenizeRequest detokenize;
  detokenize.add_ids(3);
  return {{"Generate", ShortRequest().SerializeAsString()},
          {"Abort", abort.SerializeAsString()},
          {"Tokenize", tokenize.SerializeAsString()},
          {"Detokenize", detokenize.SerializeAsString()},
          {"GetModelInfo", ""},
          {"GetServerInfo", ""},
          {"GetLoads", ""}};
}

TEST_F(ServerAccessTest, EveryMethodNeedsAKey) {
  StartWithKeys();
  const google::protobuf::ServiceDescriptor* service =
      v1::GenerateRequest::descriptor()->file()->FindServiceByName("Generator");
  ASSERT_NE(service, nullptr);
  const std::map<std::string, std::string> messages = GoodMessages();
  const access::NewKey stranger = KeyOf("acme");  // a good key of another server
  const struct {
    const char* name;
    Authorizations authorizations;
    bool enters;
  } callers[] = {
      {"no key", {}, false},
      {"an empty value", {""}, false},
      {"another scheme", {"Basic " + acme_.key}, false},
      {"no scheme", {acme_.key}, false},
      {"an unknown key", Bearer(stranger.key), false},
      {"a cut key", Bearer(acme_.key.substr(0, acme_.key.size() - 1)), false},
      {"two keys", {"Bearer " + acme_.key, "Bearer " + acme_.key}, false},
      {"a long value", Bearer(std::string(4096, 'a')), false},
      {"the key", Bearer(acme_.key), true},
      {"the key of another tenant", Bearer(other_.key), true},
  };
  for (int i = 0; i < service->method_count(); ++i) {
    const std::string name = service->method(i)->name();
    const auto message = messages.find(name);
    ASSERT_NE(message, messages.end()) << "method " << name << " has no row here: say what it takes";
    const std::string path = absl::StrCat("/", service->full_name(), "/", name);
    for (const auto& caller : callers) {
      const grpc::Status status = Call(path, message->second, caller.authorizations);
      EXPECT_EQ(status.error_code(), caller.enters ? grpc::StatusCode::OK : grpc::StatusCode::UNAUTHENTICATED)
          << name << " with " << caller.name << ": " << status.error_message();
    }
    // Asked before the message is looked at (S1): garbage earns the same answer.
    EXPECT_EQ(Call(path, "\xff\xff", {}).error_code(), grpc::StatusCode::UNAUTHENTICATED) << name;
  }
}

// Names in the answer to reflection's list_services.
std::set<std::string> ServicesIn(const grpc::ByteBuffer& answer) {
  grpc::Slice slice;
  EXPECT_TRUE(answer.DumpToSingleSlice(&slice).ok());
  google::protobuf::Empty message;
  EXPECT_TRUE(message.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
  std::set<std::string> names;
  const auto& fields = message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < fields.field_count(); ++i) {
    if (fields.field(i).number() != 6) continue;  // list_services_response
    google::protobuf::UnknownFieldSet services;
    EXPECT_TRUE(services.ParseFromString(fields.field(i).length_delimited()));
    for (int k = 0; k < services.field_count(); ++k) {
      google::protobuf::UnknownFieldSet service;
      EXPECT_TRUE(service.ParseFromString(services.field(k).length_delimited()));
      names.insert(service.field(0).length_delimited());
    }
  }
  return names;
}

TEST_F(ServerAccessTest, NothingElseIsOpenButWhatIsDeclared) {
  StartWithKeys();
  // grpc.health.v1 Check of "" and of "ready".
  EXPECT_TRUE(Call("/grpc.health.v1.Health/Check", "", {}).ok());
  EXPECT_TRUE(Call("/grpc.health.v1.Health/Check", "\x0a\x05ready", {}).ok());
  ASSERT_TRUE(Call("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "\x3a\x01*", {}).ok());
  EXPECT_EQ(ServicesIn(last_answer_), (std::set<std::string>{"quire.v1.Generator", "grpc.health.v1.Health",
                                                             "grpc.reflection.v1alpha.ServerReflection"}))
      << "a service that no test asks for keys";
  EXPECT_EQ(Call("/quire.v1.Generator/None", "", {}).error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(ServerAccessTest, ATenantCannotEndAnothersRequest) {
  StartWithKeys();
  const auto stub = v1::Generator::NewStub(channel_);
  // How acme's request ends that somebody aborts before its first step.
  const auto ended_by = [&](const access::NewKey& who) {
    v1::GenerateRequest request = ShortRequest();
    request.set_request_id("mine");
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + acme_.key);
    group_->Hold();
    const auto reader = stub->Generate(&context, request);
    for (int i = 0; i < 4000 && api_->num_live_requests() == 0; ++i) absl::SleepFor(absl::Milliseconds(5));
    EXPECT_EQ(api_->num_live_requests(), 1);
    v1::AbortRequest abort;
    abort.add_request_ids("mine");
    abort.add_request_ids("acme/mine");
    EXPECT_TRUE(Call("/quire.v1.Generator/Abort", abort.SerializeAsString(), Bearer(who.key)).ok());
    group_->Release();
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish().error_code();
  };
  EXPECT_EQ(ended_by(other_), grpc::StatusCode::OK) << "another tenant ended the request";
  EXPECT_EQ(ended_by(acme_), grpc::StatusCode::CANCELLED);
}

class ServerTlsTest : public ServerAccessTest {
 protected:
  void StartWithTls(bool client_certificates) {
    Put(ca_, clients_);
    ServerOptions options;
    options.tls = {files_.path("crt"), files_.path("key"), client_certificates ? files_.path("ca") : ""};
    ASSERT_EQ(access::CheckTlsFiles(options.tls), absl::OkStatus());
    Start(options, Trusting(ca_));
  }
  void Put(const proto::TestCa& servers, const proto::TestCa& clients) {
    const proto::Credential own = servers.Issue("DNS:localhost");
    files_.Put({{"crt", own.certificate}, {"key", own.key}, {"ca", clients.certificate()}});
  }
  static std::shared_ptr<grpc::ChannelCredentials> Trusting(const proto::TestCa& ca,
                                                            const proto::Credential& own = {}) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ca.certificate();
    options.pem_private_key = own.key;
    options.pem_cert_chain = own.certificate;
    return grpc::SslCredentials(options);
  }
  bool Connects(const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    channel_ = Dial(credentials);
    return Call("/quire.v1.Generator/GetModelInfo", "", {}).ok();
  }

  const proto::TestCa ca_{"servers"};
  const proto::TestCa clients_{"clients"};
  const proto::TestCa next_{"next"};
  proto::SwappedFiles files_{FreshDir()};
};

TEST_F(ServerTlsTest, ClearTextAndUnknownCasAreRefused) {
  StartWithTls(false);
  EXPECT_TRUE(Connects(Trusting(ca_)));
  EXPECT_FALSE(Connects(grpc::InsecureChannelCredentials()));
  EXPECT_FALSE(Connects(Trusting(clients_)));
}

TEST_F(ServerTlsTest, ClientsNeedCertificatesOfTheirCa) {
  StartWithTls(true);
  EXPECT_TRUE(Connects(Trusting(ca_, clients_.Issue(""))));
  EXPECT_FALSE(Connects(Trusting(ca_)));
  EXPECT_FALSE(Connects(Trusting(ca_, ca_.Issue(""))));
  EXPECT_FALSE(Connects(Trusting(ca_, clients_.Issue("", -absl::Hours(1)))));
  EXPECT_FALSE(Connects(grpc::InsecureChannelCredentials()));
}

TEST_F(ServerTlsTest, FilesAreRotatedUnderALiveStream) {
  StartWithTls(true);
  const proto::Credential client = clients_.Issue("");
  const auto stub = v1::Generator::NewStub(Dial(Trusting(ca_, client)));
  grpc::ClientContext context;
  v1::GenerateRequest request = ShortRequest();
  request.set_stream(true);
  request.mutable_sampling_params()->set_max_tokens(200);
  request.mutable_sampling_params()->set_ignore_eos(true);
  const auto reader = stub->Generate(&context, request);
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  group_->Hold();

  Put(next_, next_);
  const auto next = [this] { return Connects(Trusting(next_, next_.Issue(""))); };
  for (int i = 0; i < 300 && !next(); ++i) absl::SleepFor(absl::Milliseconds(100));
  EXPECT_TRUE(next()) << "the new files never counted";
  EXPECT_FALSE(Connects(Trusting(next_, client))) << "the old CA of clients still opens";
  EXPECT_FALSE(Connects(Trusting(ca_, next_.Issue("")))) << "the old certificate is still shown";

  group_->Release();
  uint32_t tokens = 0;
  do {
    if (response.has_complete()) tokens = response.complete().completion_tokens();
  } while (reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(tokens, 200u) << "the stream did not outlive the rotation";
}

}  // namespace
}  // namespace quire::frontend
