// The worker process: one rank of a replica. It listens; the coordinator dials it and tells it which model, which rank
// and which peers.
#include <fcntl.h>
#include <glog/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "proto/cluster_tls.h"
#include "proto/loopback.h"
#include "proto/protocol.h"
#include "worker/device_choice.h"
#include "worker/model/model.h"
#include "worker/service/worker_service.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:7001",
          "Where the coordinator dials this worker: host:port (port 0 = any free one, see --port_file) or unix:/path. "
          "Another host than loopback needs --cluster_certfile or --allow_unauthenticated.");
ABSL_FLAG(
    std::string, cluster_certfile, "",
    "Mutual TLS with the coordinator: PEM file with this worker's certificate, which has the URI name "
    "spiffe://ANYTHING/worker or spiffe://ANYTHING/worker/NAME; needs --cluster_keyfile and --cluster_ca_certs. The "
    "files are read again when they are replaced.");
ABSL_FLAG(std::string, cluster_keyfile, "",
          "Mutual TLS with the coordinator: PEM file with the key of --cluster_certfile.");
ABSL_FLAG(
    std::string, cluster_ca_certs, "",
    "Mutual TLS with the coordinator: PEM file of the CA that signs the cluster's certificates, and nothing else.");
ABSL_FLAG(bool, allow_unauthenticated, false,
          "Serve any coordinator that reaches --listen, though it is not loopback and nobody has to say who he is.");
ABSL_FLAG(
    std::string, health_listen, "",
    "host:port of one more listener, in clear text, that answers grpc.health.v1 and nothing else: for probes that "
    "have no certificate.");
ABSL_FLAG(std::string, port_file, "",
          "File that receives the port once the worker listens, written in one piece. For --listen=host:0.");
ABSL_FLAG(int, num_threads, 0,
          "Threads that compute, this one included. 0 = every core this process may use; give each worker its share "
          "when several run "
          "on one host.");
ABSL_FLAG(
    std::string, device, "cpu",
    "What computes: cpu; cuda, or cuda:N for the GPU of that index; auto: the GPU if there is one, else the CPU.");
ABSL_FLAG(
    bool, deterministic, false,
    "On a GPU a row's bits hang on nothing but the row, as they always do on a CPU: not on the batch, the chunking "
    "or the neighbours. Products of many rows take longer so.");
ABSL_FLAG(bool, die_with_parent, false,
          "End (SIGKILL) when the process that started this one ends. For local workers.");
ABSL_FLAG(int, min_log_level, 0, "Least severity that is logged: 0 info, 1 warning, 2 error.");
ABSL_FLAG(int, log_verbosity, 0, "Detail of the log, 0 to 3.");

namespace quire::worker {
namespace {

constexpr char kUsage[] =
    "One tensor-parallel rank of Quire.\n\n"
    "The worker waits for a coordinator, which loads a model into it and drives it step by step; it keeps nothing but "
    "cache and may be\n"
    "restarted at any time. A coordinator with --workers=local:N starts its workers by itself. By hand, or on other "
    "hosts:\n\n"
    "  worker --listen=127.0.0.1:7001 --num_threads=4 &\n"
    "  worker --listen=127.0.0.1:7002 --num_threads=4 &\n"
    "  coordinator --model=DIR --workers=127.0.0.1:7001,127.0.0.1:7002\n\n"
    "DIR must be the same directory, by name and content, on every host.\n"
    "grpc.health.v1 on the same port: \"\" = alive, \"ready\" = a model is loaded and steps are taken.\n"
    "SIGTERM ends the worker cleanly, exit code 0; a start that fails ends with 1.";

constexpr char kReadyService[] = "ready";
// A step in progress and the streams' last words may take this long after SIGTERM.
constexpr int kShutdownSeconds = 2;

void StartLogging(const char* program) {
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = absl::GetFlag(FLAGS_min_log_level);
  FLAGS_v = absl::GetFlag(FLAGS_log_verbosity);
  google::InitGoogleLogging(program);
  // gRPC's own lines in the same format, and on request only: its errors are a peer that left or an address in use,
  // which are reported in our words; but for one that is refused in the handshake.
  gpr_set_log_function([](gpr_log_func_args* args) {
    proto::LogHandshakeFailure(args->message);
    VLOG(args->severity == GPR_LOG_SEVERITY_ERROR ? 1 : 2) << "grpc: " << args->message;
  });
}

// SIGKILL on the parent's end. The parent may have ended before the request: then there is no one to serve.
bool DieWithParent() {
  const pid_t parent = getppid();
  return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

int NumUsableCores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

// Why an address cannot be listened on, in the system's words; gRPC's log has it only among much else.
std::string WhyNotListen(const std::string& address) {
  if (absl::StartsWith(address, "unix:")) return "is the directory there and writable, the path under 108 bytes?";
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return "not of the form host:port";
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found); error != 0) {
    return gai_strerror(error);
  }
  std::string why = "unknown reason";
  const int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0) why = std::strerror(errno);
  if (fd >= 0) close(fd);
  freeaddrinfo(found);
  return why;
}

bool WritePortFile(const std::string& path, int port) {
  const std::string part = absl::StrCat(path, ".part");
  std::ofstream(part) << port << "\n";
  return std::rename(part.c_str(), path.c_str()) == 0;
}

absl::StatusOr<std::unique_ptr<kernels::Backend>> CreateBackend(int num_threads) {
  const std::string device = absl::GetFlag(FLAGS_device);
  const absl::StatusOr<DeviceChoice> choice = ParseDevice(device);
  if (!choice.ok()) return choice.status();
  if (choice->cuda) {
    kernels::CudaBackendOptions options;
    options.device = choice->index;
    options.exact = absl::GetFlag(FLAGS_deterministic);
    absl::StatusOr<std::unique_ptr<kernels::Backend>> backend = kernels::CreateCudaBackend(options);
    if (backend.ok() || !choice->cpu) {
      return backend.ok() ? std::move(backend)
                          : absl::Status(backend.status().code(),
                                         absl::StrCat("--device=", device, ": ", backend.status().message()));
    }
    LOG(INFO) << "computing on the CPU: " << backend.status().message();
  }
  kernels::CpuBackendOptions options;
  options.num_threads = num_threads;
  return kernels::CreateCpuBackend(options);
}

// How coordinators come in. Errors: strangers could, and nobody asked for that; those of CheckClusterTls.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> Credentials() {
  const std::string address = absl::GetFlag(FLAGS_listen);
  const proto::ClusterTlsFiles files = {absl::GetFlag(FLAGS_cluster_certfile), absl::GetFlag(FLAGS_cluster_keyfile),
                                        absl::GetFlag(FLAGS_cluster_ca_certs)};
  if (files.enabled()) {
    absl::Status status = proto::CheckClusterTls(files, proto::ClusterRole::kWorker);
    if (!status.ok()) return status;
    return proto::WorkerCredentials(files);
  }
  const bool near = absl::StartsWith(address, "unix:") || proto::IsLoopbackHost(address.substr(0, address.rfind(':')));
  if (near || absl::GetFlag(FLAGS_allow_unauthenticated)) return grpc::InsecureServerCredentials();
  return absl::FailedPreconditionError(absl::StrCat(
      "--listen=", address,
      " is open to other machines, and whoever reaches it could drive this worker. Give --cluster_certfile, "
      "--cluster_keyfile and --cluster_ca_certs, or take everybody by --allow_unauthenticated"));
}

// A server of health and `service`, if that is not null. Null after a message if it cannot listen.
std::unique_ptr<grpc::Server> Listen(const std::string& address, std::shared_ptr<grpc::ServerCredentials> credentials,
                                     WorkerService* service, int* port) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, std::move(credentials), port);
  // gRPC starts no server without a service of ours; this one answers UNIMPLEMENTED to all.
  static grpc::CallbackGenericService* const nothing = new grpc::CallbackGenericService;
  if (service != nullptr) {
    builder.RegisterService(service);
  } else {
    builder.RegisterCallbackGenericService(nothing);
  }
  builder.SetMaxReceiveMessageSize(proto::kMaxSessionMessageBytes);
  builder.SetMaxSendMessageSize(proto::kMaxSessionMessageBytes);
  // Without this two workers would share one port, and each would get every other stream.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Coordinators probe every two seconds, idle or not.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 500);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server != nullptr && *port != 0) return server;
  LOG(ERROR) << "cannot listen on " << address << ": " << WhyNotListen(address);
  return nullptr;
}

// All listeners of the process: sessions first, then health if it has its own. Empty after a message if one cannot be.
std::vector<std::unique_ptr<grpc::Server>> ListenAll(WorkerService* service) {
  absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> credentials = Credentials();
  if (!credentials.ok()) {
    LOG(ERROR) << "cannot start: " << credentials.status().message();
    return {};
  }
  grpc::EnableDefaultHealthCheckService(true);
  const std::string address = absl::GetFlag(FLAGS_listen);
  const std::string health_address = absl::GetFlag(FLAGS_health_listen);
  std::vector<std::unique_ptr<grpc::Server>> servers;
  int port = 0;
  int health_port = 0;
  servers.push_back(Listen(address, *std::move(credentials), service, &port));
  if (!health_address.empty()) {
    servers.push_back(Listen(health_address, grpc::InsecureServerCredentials(), nullptr, &health_port));
  }
  if (servers.front() == nullptr || servers.back() == nullptr) return {};
  const std::string port_file = absl::GetFlag(FLAGS_port_file);
  if (!port_file.empty() && !WritePortFile(port_file, port)) {
    PLOG(ERROR) << "cannot write --port_file=" << port_file;
    return {};
  }
  const auto at = [](const std::string& where, int bound) {
    return absl::EndsWith(where, ":0") ? absl::StrCat(where, " (port ", bound, ")") : where;
  };
  LOG(INFO) << "worker pid " << getpid() << " listens on " << at(address, port)
            << (absl::GetFlag(FLAGS_cluster_certfile).empty() ? ", clear text" : ", mutual TLS");
  if (servers.size() > 1) LOG(INFO) << "health alone on " << at(health_address, health_port) << ", clear text";
  return servers;
}

int Serve(const sigset_t& ending_signals) {
  const int num_threads = absl::GetFlag(FLAGS_num_threads) == 0 ? NumUsableCores() : absl::GetFlag(FLAGS_num_threads);
  absl::StatusOr<std::unique_ptr<kernels::Backend>> backend = CreateBackend(num_threads);
  if (!backend.ok()) {
    LOG(ERROR) << backend.status().message();
    return 1;
  }
  absl::Mutex mu;
  std::vector<grpc::HealthCheckServiceInterface*> health;  // under mu; there once the servers run
  WorkerContext context;
  context.backend = backend->get();
  context.num_threads = num_threads;
  context.load_model = LoadModel;
  context.on_ready = [&](bool ready) {
    absl::MutexLock lock(&mu);
    for (auto* service : health) service->SetServingStatus(kReadyService, ready);
  };
  WorkerService service(context);
  const std::vector<std::unique_ptr<grpc::Server>> servers = ListenAll(&service);
  if (servers.empty()) return 1;
  {
    absl::MutexLock lock(&mu);
    for (const auto& server : servers) health.push_back(server->GetHealthCheckService());
  }
  context.on_ready(false);
  LOG(INFO) << (*backend)->Name() << " with " << num_threads << " thread(s)";

  int signal = 0;
  sigwait(&ending_signals, &signal);
  LOG(INFO) << "signal " << signal << ": ending";
  for (const auto& server : servers) {
    server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(kShutdownSeconds));
  }
  service.Shutdown();
  return 0;
}

int Main(int argc, char** argv) {
  // First thing: Gloo writes to sockets whose other end may be gone, and a rank must outlive its peers.
  signal(SIGPIPE, SIG_IGN);
  absl::SetProgramUsageMessage(kUsage);
  absl::FlagsUsageConfig usage;
  usage.contains_help_flags =
      usage.contains_helpshort_flags = [](absl::string_view file) { return absl::EndsWith(file, "worker/main.cc"); };
  absl::SetFlagsUsageConfig(usage);
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  StartLogging(argv[0]);
  if (rest.size() > 1) {
    LOG(ERROR) << "unknown argument " << rest[1] << "; see --help";
    return 1;
  }
  if (absl::GetFlag(FLAGS_die_with_parent) && !DieWithParent()) {
    LOG(ERROR) << "the parent process has ended already";
    return 1;
  }
  // Blocked before any thread exists, so that sigwait alone takes them.
  sigset_t ending_signals;
  sigemptyset(&ending_signals);
  sigaddset(&ending_signals, SIGTERM);
  sigaddset(&ending_signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ending_signals, nullptr);
  return Serve(ending_signals);
}

}  // namespace
}  // namespace quire::worker

int main(int argc, char** argv) { return quire::worker::Main(argc, argv); }
