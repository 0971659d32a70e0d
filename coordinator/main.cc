// The coordinator process: the replicas of workers, the engines that drive them, and the edges, gRPC and HTTP. The only
// place that constructs concrete types.
//
// Threads: main starts everything and then waits for signals and for the engine to give up.
// Order: SIGPIPE off, flags, engines (which begin to form their replicas), tokenizer meanwhile, listen, serve. Health
// says "ready" when a replica has formed. Exit codes: 0 after SIGTERM or SIGINT, 1 for anything that cannot go on,
// with one line that says why.
#include <glog/logging.h>
#include <grpc/support/log.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "coordinator/cluster/grpc_worker_group.h"
#include "coordinator/coordinator_flags.h"
#include "coordinator/edge_access.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/flag_help.h"
#include "coordinator/frontend/api.h"
#include "coordinator/frontend/server.h"
#include "coordinator/grammar/compiler_process.h"
#include "coordinator/http/endpoints.h"
#include "coordinator/http/server.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/text/chat/chat_format.h"
#include "coordinator/text/tokenizer.h"
#include "proto/cluster_tls.h"
#include "proto/pem_files.h"

ABSL_DECLARE_FLAG(std::string, model);
ABSL_DECLARE_FLAG(std::string, tokenizer);
ABSL_DECLARE_FLAG(std::string, chat_template);
ABSL_DECLARE_FLAG(bool, skip_tokenizer_init);
ABSL_DECLARE_FLAG(int32_t, port);
ABSL_DECLARE_FLAG(std::string, port_file);
ABSL_DECLARE_FLAG(std::string, http_port_file);
ABSL_DECLARE_FLAG(std::string, ssl_certfile);
ABSL_DECLARE_FLAG(std::string, ssl_keyfile);
ABSL_DECLARE_FLAG(std::string, cluster_certfile);
ABSL_DECLARE_FLAG(std::string, cluster_keyfile);
ABSL_DECLARE_FLAG(absl::Duration, shutdown_timeout);

namespace quire {
namespace {

constexpr char kUsage[] =
    "Quire's coordinator: serves a model from tensor-parallel workers over gRPC and HTTP.\n\n"
    "  coordinator --model=DIR --workers=local:2                      two workers on this machine\n"
    "  coordinator --model=DIR --workers=10.0.0.2:7001,10.0.0.3:7001  workers that run already (worker "
    "--listen=...)\n\n"
    "--flagfile=FILE reads flags from a file. Health (grpc.health.v1): \"\" = alive, \"ready\" = steps make progress.";

constexpr absl::Duration kLastWords = absl::Seconds(2);
constexpr absl::Duration kCertificatePeriod = absl::Minutes(1);

// Everything that main builds, in the order of construction: each part uses only those above it.
struct Process {
  std::unique_ptr<metrics::Metrics> metrics;
  std::vector<std::unique_ptr<cluster::GrpcWorkerGroup>> groups;  // one per replica
  std::unique_ptr<engine::Replicas> engine;
  std::unique_ptr<frontend::Api> api;
  std::unique_ptr<frontend::Server> server;
  std::unique_ptr<http::HttpServer> http;  // null: --port=-1
};

void StartLogging(const char* program) {
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(program);
  // gRPC's own lines in the same format. Its errors are mostly peers that left, which we report in our own words.
  // But for a peer that is refused in the handshake, which is an operator's news on both sides.
  gpr_set_log_function([](gpr_log_func_args* args) {
    VLOG(2) << "grpc: " << args->message;
    proto::LogHandshakeFailure(args->message);
  });
}

absl::Status CheckDirectory(const char* flag, const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0)
    return absl::NotFoundError(absl::StrCat("--", flag, "=", path, ": ", strerror(errno)));
  if (!S_ISDIR(info.st_mode)) return absl::NotFoundError(absl::StrCat("--", flag, "=", path, ": not a directory"));
  return absl::OkStatus();
}

// A model without a format for conversations, or with a broken one, is served without; a broken --chat_template is the
// operator's error.
absl::Status LoadChatFormat(const std::string& model_dir, frontend::ApiOptions* options) {
  const std::string path = absl::GetFlag(FLAGS_chat_template);
  absl::StatusOr<std::unique_ptr<const chat::ChatFormat>> format = chat::ChatFormat::Load(model_dir, path);
  if (format.ok()) {
    LOG(INFO) << "chat template: " << (*format)->origin();
    options->chat_format = *std::move(format);
    return absl::OkStatus();
  }
  if (!path.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--chat_template=", path, ": ", format.status().message()));
  }
  const bool none = absl::IsNotFound(format.status());
  if (!none) LOG(WARNING) << "no conversations: " << format.status().message();
  options->no_chat_reason = none ? "the model has no chat template (--chat_template gives one)"
                                 : "the model's chat template cannot be used, see the coordinator's log";
  return absl::OkStatus();
}

absl::Status StartHttp(const EdgeAccess& edges, Process* process) {
  if (absl::GetFlag(FLAGS_port) < 0) return absl::OkStatus();
  http::HttpServerOptions options = HttpOptions();
  options.tls = edges.tls;
  options.on_answer = [metrics = process->metrics.get()](absl::string_view route, absl::string_view method,
                                                         int status) { metrics->CountHttp(route, method, status); };
  absl::StatusOr<std::unique_ptr<http::HttpServer>> server =
      http::HttpServer::Start(options, http::ApiRoutes(process->api.get(), edges.metrics), edges.keys);
  if (!server.ok()) return server.status();
  process->http = *std::move(server);
  LOG(INFO) << "listening on " << options.host << ":" << process->http->port() << " for HTTP (" << edges.description
            << ")";
  return absl::OkStatus();
}

// Checks all flags, then starts all parts. On an error `process` holds what was started.
absl::Status StartAll(Process* process) {
  absl::Status status = CheckFlags();
  if (!status.ok()) return status;
  const absl::StatusOr<EdgeAccess> edges = OpenEdgeAccess();
  if (!edges.ok()) return edges.status();
  absl::StatusOr<std::vector<cluster::GrpcWorkerGroupOptions>> groups = GroupOptions();
  if (!groups.ok()) return groups.status();
  // The coordinator itself reads the tokenizer only; the model may be on the workers' hosts alone.
  const bool own_tokenizer = !absl::GetFlag(FLAGS_tokenizer).empty();
  const std::string tokenizer_dir = own_tokenizer ? absl::GetFlag(FLAGS_tokenizer) : absl::GetFlag(FLAGS_model);
  status = CheckDirectory(own_tokenizer ? "tokenizer" : "model", tokenizer_dir);
  if (status.ok() && groups->front().workers.num_local > 0)
    status = CheckDirectory("model", absl::GetFlag(FLAGS_model));
  if (!status.ok()) return status;
  LOG(INFO) << "quire coordinator " << kVersion << " " << EffectiveFlags();

  process->metrics = std::make_unique<metrics::Metrics>(metrics::Metrics::Options{ServedModelName(), kVersion});
  std::vector<cluster::WorkerGroup*> group_pointers;
  for (const cluster::GrpcWorkerGroupOptions& group : *groups) {
    process->groups.push_back(std::make_unique<cluster::GrpcWorkerGroup>(group));
    group_pointers.push_back(process->groups.back().get());
  }
  process->engine = std::make_unique<engine::Replicas>(EngineOptions(), group_pointers);
  // The replicas form while the tokenizer loads.
  absl::StatusOr<std::unique_ptr<const text::Tokenizer>> tokenizer = nullptr;
  if (!absl::GetFlag(FLAGS_skip_tokenizer_init)) tokenizer = text::Tokenizer::Load(tokenizer_dir);
  if (!tokenizer.ok()) return tokenizer.status();
  frontend::ApiOptions api_options = ApiOptions();
  if (*tokenizer != nullptr) {
    if (status = LoadChatFormat(tokenizer_dir, &api_options); !status.ok()) return status;
  }
  api_options.metrics = process->metrics.get();
  process->api = std::make_unique<frontend::Api>(api_options, process->engine.get(), *std::move(tokenizer));
  frontend::ServerOptions server_options = ServerOptions();
  server_options.authenticator = edges->keys;
  server_options.tls = edges->tls;
  absl::StatusOr<std::unique_ptr<frontend::Server>> server =
      frontend::Server::Start(server_options, process->api.get());
  if (!server.ok()) return server.status();
  process->server = *std::move(server);
  LOG(INFO) << "listening on " << server_options.host << ":" << process->server->port() << " for gRPC ("
            << edges->description << "); the model is loading";
  return StartHttp(*edges, process);
}

absl::Status WritePortFile(const char* flag, const std::string& path, int port) {
  if (path.empty()) return absl::OkStatus();
  const std::string part = absl::StrCat(path, ".", getpid(), ".part");
  std::ofstream(part) << port << "\n";
  if (std::rename(part.c_str(), path.c_str()) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("--", flag, "=", path, ": ", strerror(errno)));
}

// Reads again when the certificates in use end; their files may have been replaced.
void NoteCertificates(metrics::Metrics* metrics) {
  const struct {
    const char* use;
    std::string certificate, key;
  } certificates[] = {{"clients", absl::GetFlag(FLAGS_ssl_certfile), absl::GetFlag(FLAGS_ssl_keyfile)},
                      {"cluster", absl::GetFlag(FLAGS_cluster_certfile), absl::GetFlag(FLAGS_cluster_keyfile)}};
  for (const auto& c : certificates) {
    if (c.certificate.empty()) continue;
    const absl::StatusOr<proto::CertificateFacts> facts = proto::ReadCertificate(c.certificate, c.key);
    if (facts.ok()) metrics->SetCertificateEnd(c.use, absl::ToDoubleSeconds(facts->not_after - absl::UnixEpoch()));
  }
}

// Serves until a signal comes (OK) or all engines have given up on their replicas.
absl::Status Serve(Process* process, const sigset_t& signals) {
  bool announced = false;
  absl::Time note_certificates = absl::InfinitePast();
  while (true) {
    if (absl::Now() >= note_certificates) {
      NoteCertificates(process->metrics.get());
      note_certificates = absl::Now() + kCertificatePeriod;
    }
    // Close watch until the first request can be served; then only a replica that is lost for good is news.
    const timespec wait = {0, announced ? 250'000'000 : 5'000'000};
    const int signal = sigtimedwait(&signals, nullptr, &wait);
    if (signal > 0) {
      LOG(INFO) << strsignal(signal) << ": no new requests; running ones may take "
                << absl::FormatDuration(absl::GetFlag(FLAGS_shutdown_timeout));
      return absl::OkStatus();
    }
    const absl::Status status = process->engine->GetReplica(nullptr, nullptr);
    if (absl::IsFailedPrecondition(status)) return status;
    if (announced || !process->engine->Ready()) continue;
    announced = true;
    LOG(INFO) << "ready to serve '" << ServedModelName() << "'";
    // Whoever waits for the last of them finds both.
    absl::Status written = absl::OkStatus();
    if (process->http != nullptr) {
      written = WritePortFile("http_port_file", absl::GetFlag(FLAGS_http_port_file), process->http->port());
    }
    if (written.ok()) written = WritePortFile("port_file", absl::GetFlag(FLAGS_port_file), process->server->port());
    if (!written.ok()) return written;
  }
}

// A second signal ends the process at once; its workers go with it.
void WatchForImpatience(const sigset_t& signals) {
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    LOG(WARNING) << strsignal(signal) << " again: ending at once";
    _exit(128 + signal);
  }).detach();
}

// The edges listen until the engine has stopped, so that clients and probes are told: not ready, go elsewhere. What has
// not ended within `grace` ends with UNAVAILABLE.
void StopAll(Process* process, absl::Duration grace) {
  if (process->api != nullptr) process->api->Drain();
  if (process->server != nullptr) process->server->SetNotReady();
  if (process->http != nullptr) process->http->Drain();
  if (process->engine != nullptr) process->engine->Stop(grace);
  // Last words are on their way; nobody waits long for a client that does not read them.
  if (process->http != nullptr) process->http->Shutdown(kLastWords);
  if (process->server != nullptr) process->server->Shutdown(kLastWords);
  for (const auto& group : process->groups) group->Stop();
  process->http.reset();
  process->server.reset();
  process->api.reset();
  process->engine.reset();
  process->groups.clear();
}

int Main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  // Blocked before any thread starts, so that only main takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  absl::SetProgramUsageMessage(kUsage);
  absl::FlagsUsageConfig usage;
  usage.contains_help_flags = [](absl::string_view file) { return absl::EndsWith(file, kFlagsFile); };
  usage.version_string = [] { return absl::StrCat("quire coordinator ", kVersion, "\n"); };
  absl::SetFlagsUsageConfig(usage);
  std::vector<char*> given(argv, argv + argc);
  const bool help = TakeHelp(&given);
  const std::vector<char*> words = absl::ParseCommandLine(static_cast<int>(given.size()), given.data());
  if (help) {  // after parsing, so that what is wrong is said first
    std::fputs(GroupedHelp(kUsage).c_str(), stdout);
    return 1;
  }
  StartLogging(argv[0]);
  if (words.size() > 1) {
    LOG(ERROR) << "unexpected argument '" << words[1] << "'; flags are written --name=value, see --help";
    return 1;
  }
  // `bazel run` starts us elsewhere; paths are meant from where the user stands.
  const char* directory = getenv("BUILD_WORKING_DIRECTORY");
  if (directory != nullptr && chdir(directory) != 0) PLOG(WARNING) << "cannot enter " << directory;
  Process process;
  absl::Status status = StartAll(&process);
  if (status.ok()) status = Serve(&process, signals);
  const bool asked = status.ok();
  WatchForImpatience(signals);
  StopAll(&process, asked ? absl::GetFlag(FLAGS_shutdown_timeout) : absl::ZeroDuration());
  // Last, where it is found.
  if (!asked) LOG(ERROR) << "cannot go on: " << status.message();
  return asked ? 0 : 1;
}

}  // namespace
}  // namespace quire

int main(int argc, char** argv) {
  quire::grammar::RunCompilerIfAsked(argc, argv);
  return quire::Main(argc, argv);
}
