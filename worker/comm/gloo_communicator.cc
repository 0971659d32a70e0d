// A full mesh of Gloo connections; a collective is: my chunk to everyone, everyone's chunk to me, then the ordered sum.
#include "worker/comm/gloo_communicator.h"

#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/comm/ordered_sum.h"
#include "worker/comm/presence.h"

namespace quire::worker {
namespace {

constexpr int64_t kChunkElements = 256 << 10;  // f32; staging is this for each rank
constexpr uint64_t kTag = 1;                   // one operation at a time, so one is enough

// What the adapter throws through Gloo's frames, to come back out as the status it carries.
struct StoreError : std::exception {
  explicit StoreError(absl::Status s) : status(std::move(s)) {}
  absl::Status status;
};

// Gloo's store on top of ours.
class GlooStore final : public gloo::rendezvous::Store {
 public:
  GlooStore(RendezvousStore* store, std::string prefix, absl::Duration timeout)
      : store_(store), prefix_(std::move(prefix)), timeout_(timeout) {}

  void set(const std::string& key, const std::vector<char>& data) override {
    absl::Status s = store_->Put(absl::StrCat(prefix_, "/", key), std::string(data.begin(), data.end()));
    if (!s.ok()) throw StoreError(std::move(s));
  }
  std::vector<char> get(const std::string& key) override {
    absl::StatusOr<std::string> value = store_->Get(absl::StrCat(prefix_, "/", key), timeout_);
    if (!value.ok()) throw StoreError(value.status());
    return std::vector<char>(value->begin(), value->end());
  }
  void wait(const std::vector<std::string>& keys) override {
    for (const std::string& key : keys) get(key);
  }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds&) override { wait(keys); }

 private:
  RendezvousStore* const store_;
  const std::string prefix_;
  const absl::Duration timeout_;
};

// Runs `body`, which may throw; what Gloo throws becomes UNAVAILABLE.
absl::Status Guard(const std::string& what, const std::function<void()>& body) {
  try {
    body();
    return absl::OkStatus();
  } catch (const StoreError& e) {
    return e.status;
  } catch (const std::exception& e) {
    return absl::UnavailableError(absl::StrCat(what, ": ", e.what()));
  }
}

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(const CommunicatorOptions& options, std::shared_ptr<gloo::rendezvous::Context> context);
  ~GlooCommunicator() override;

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  const char* Name() const override { return "gloo"; }
  absl::Status AllReduceSum(float* data, int64_t count) override;
  absl::Status AllGather(const float* in, float* out, int64_t count) override;
  void Abort() override;

 private:
  // Fills staging with every rank's chunk. Requires: count <= kChunkElements.
  absl::Status Exchange(const float* in, int64_t count);
  float* Staging(int rank) { return staging_.data() + rank * kChunkElements; }

  const int rank_;
  const int world_size_;
  const std::chrono::milliseconds timeout_;
  std::vector<float> staging_;  // [world_size, kChunkElements]
  const std::shared_ptr<gloo::rendezvous::Context> context_;
  std::vector<std::unique_ptr<gloo::transport::UnboundBuffer>> sends_, receives_;  // by peer; null at the own place
  absl::Status broken_;
  std::atomic<bool> aborted_{false};
};

GlooCommunicator::GlooCommunicator(const CommunicatorOptions& options,
                                   std::shared_ptr<gloo::rendezvous::Context> context)
    : rank_(options.rank),
      world_size_(options.world_size),
      timeout_(absl::ToChronoMilliseconds(options.timeout)),
      staging_(options.world_size * kChunkElements),
      context_(std::move(context)) {
  for (int r = 0; r < world_size_; ++r) {
    const size_t bytes = kChunkElements * sizeof(float);
    sends_.push_back(r == rank_ ? nullptr : context_->createUnboundBuffer(Staging(rank_), bytes));
    receives_.push_back(r == rank_ ? nullptr : context_->createUnboundBuffer(Staging(r), bytes));
  }
}

GlooCommunicator::~GlooCommunicator() {
  // Connections first: no I/O may reach the staging memory afterwards.
  (void)Guard("close", [this] { context_->closeConnections(); });
}

absl::Status GlooCommunicator::Exchange(const float* in, int64_t count) {
  if (broken_.ok() && aborted_) broken_ = absl::CancelledError("collective aborted");
  if (!broken_.ok()) return broken_;
  const size_t bytes = count * sizeof(float);
  std::memcpy(Staging(rank_), in, bytes);
  int peer = 0;
  bool aborted = false;
  absl::Status status = Guard("gloo collective", [&] {
    // Each rank starts with its right neighbour, so that not all send to rank 0 at once.
    for (int i = 1; i < world_size_; ++i) {
      peer = (rank_ + i) % world_size_;
      receives_[peer]->recv(peer, kTag, 0, bytes);
      sends_[peer]->send(peer, kTag, 0, bytes);
    }
    for (int i = 1; i < world_size_ && !aborted; ++i) {
      peer = (rank_ + i) % world_size_;
      aborted = !receives_[peer]->waitRecv(timeout_) || !sends_[peer]->waitSend(timeout_);
    }
  });
  if (aborted || (!status.ok() && aborted_)) status = absl::CancelledError("collective aborted");
  if (!status.ok() && !absl::IsCancelled(status)) {
    status = absl::UnavailableError(
        absl::StrCat("rank ", peer, " of ", world_size_, " is gone or hung (rank ", rank_, "): ", status.message()));
    // The others shall not wait out their own timeouts.
    (void)Guard("close", [this] { context_->closeConnections(); });
  }
  broken_ = status;
  return status;
}

absl::Status GlooCommunicator::AllReduceSum(float* data, int64_t count) {
  std::vector<const float*> in(world_size_);
  for (int r = 0; r < world_size_; ++r) in[r] = Staging(r);
  for (int64_t begin = 0; begin < count; begin += kChunkElements) {
    const int64_t n = std::min(kChunkElements, count - begin);
    if (absl::Status s = Exchange(data + begin, n); !s.ok()) return s;
    OrderedSum(in.data(), world_size_, data + begin, n);
  }
  return broken_;
}

absl::Status GlooCommunicator::AllGather(const float* in, float* out, int64_t count) {
  for (int64_t begin = 0; begin < count; begin += kChunkElements) {
    const int64_t n = std::min(kChunkElements, count - begin);
    if (absl::Status s = Exchange(in + begin, n); !s.ok()) return s;
    for (int r = 0; r < world_size_; ++r) {
      std::memcpy(out + r * count + begin, Staging(r), n * sizeof(float));
    }
  }
  return broken_;
}

void GlooCommunicator::Abort() {
  aborted_ = true;
  // The flag of a buffer stays up until its next wait, so a call between two waits is caught as well.
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank_) continue;
    receives_[r]->abortWaitRecv();
    sends_[r]->abortWaitSend();
  }
}

// Gloo crashes on a name that does not resolve, so it is asked first here. Errors: INVALID_ARGUMENT with the system's
// words.
absl::Status CheckListenHost(const std::string& host) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::string problem;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0) {
    problem = gai_strerror(error);
  } else {
    const int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0) problem = std::strerror(errno);
    if (fd >= 0) close(fd);
    freeaddrinfo(found);
  }
  if (problem.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("gloo: cannot listen on listen_host \"", host, "\" of this rank: ", problem));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> FormGlooCommunicator(const CommunicatorOptions& options,
                                                                   RendezvousStore* store) {
  const std::string host = options.listen_host.empty() ? "127.0.0.1" : options.listen_host;
  if (absl::Status s = CheckListenHost(host); !s.ok()) return s;
  std::shared_ptr<gloo::transport::Device> device;
  absl::Status status = Guard("listen", [&] {
    gloo::transport::tcp::attr attr(host.c_str());
    device = gloo::transport::tcp::CreateDevice(attr);
  });
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("gloo: rank ", options.rank, " cannot listen on listen_host \"", host, "\": ", status.message()));
  }
  PresenceOptions presence = {absl::StrCat(options.name, "/there"), options.rank, options.world_size, options.timeout};
  if (auto there = ExchangePresence(presence, "", store); !there.ok()) return there.status();
  auto context = std::make_shared<gloo::rendezvous::Context>(options.rank, options.world_size);
  std::unique_ptr<Communicator> communicator;
  status = Guard(absl::StrCat("gloo: rank ", options.rank, " of ", options.world_size, " cannot connect"), [&] {
    context->setTimeout(absl::ToChronoMilliseconds(options.timeout));
    GlooStore gloo_store(store, absl::StrCat(options.name, "/mesh"), options.timeout);
    context->connectFullMesh(gloo_store, device);
    communicator = std::make_unique<GlooCommunicator>(options, context);
  });
  if (!status.ok()) return status;
  // A rank that leaves while another still accepts its connection would end that process: Gloo throws on its own thread
  // there. So nobody goes on before everybody is connected.
  presence.prefix = absl::StrCat(options.name, "/connected");
  if (auto connected = ExchangePresence(presence, "", store); !connected.ok()) return connected.status();
  return communicator;
}

}  // namespace quire::worker
