// The phases of a formation: see the header for what they promise.
#include "coordinator/cluster/formation.h"

#include <glog/logging.h>
#include <grpcpp/channel.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "coordinator/cluster/load_progress.h"
#include "coordinator/cluster/worker_addresses.h"
#include "proto/protocol.h"
#include "proto/worker.pb.h"

namespace quire::cluster {
namespace {

constexpr absl::Duration kDialPoll = absl::Milliseconds(5);
constexpr int64_t kMaxStorePuts = 4096;
constexpr int64_t kMaxStoreBytes = 16 << 20;

// A name that no other group on any of the hosts uses, nor an earlier epoch of this one.
std::string CollectiveName(uint64_t epoch) {
  std::random_device device;
  return absl::StrFormat("quire-%d-%08x-e%d", getpid(), device(), epoch);
}

absl::Status Annotate(const std::string& name, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(name, ": ", status.message()));
}

}  // namespace

absl::StatusOr<std::string> ChooseCollective(const std::string& asked, const std::vector<std::string>& host_ids,
                                             const std::vector<std::string>& backends) {
  if (asked != "auto" && asked != "shm" && asked != "gloo" && asked != "nccl") {
    return absl::InvalidArgumentError(absl::StrCat("--collective=", asked, " is not one of auto, shm, gloo, nccl"));
  }
  if (host_ids.size() == 1) return std::string("single");
  const auto on_cpu = std::find_if(backends.begin(), backends.end(),
                                   [](const std::string& backend) { return !absl::StartsWith(backend, "cuda/"); });
  const bool all_gpus = backends.size() == host_ids.size() && on_cpu == backends.end();
  if (asked == "nccl" && !all_gpus) {
    return absl::InvalidArgumentError(
        absl::StrCat("--collective=nccl: rank ", on_cpu - backends.begin(), " does not compute on a GPU"));
  }
  if (asked == "auto" && all_gpus) return std::string("nccl");
  const auto differs = std::find_if(host_ids.begin(), host_ids.end(),
                                    [&](const std::string& id) { return id.empty() || id != host_ids[0]; });
  const bool one_host = differs == host_ids.end();
  if (asked == "shm" && !one_host) {
    return absl::InvalidArgumentError(absl::StrCat("--collective=shm: ranks 0 and ", differs - host_ids.begin(),
                                                   " are on different hosts and share no memory"));
  }
  if (asked != "auto") return asked;
  return std::string(one_host ? "shm" : "gloo");
}

Formation::Formation(const FormationOptions& options, uint64_t epoch, std::vector<std::string> addresses,
                     RankMailbox* mailbox, MakeHandlers make_handlers)
    : options_(options),
      epoch_(epoch),
      addresses_(std::move(addresses)),
      mailbox_(mailbox),
      make_handlers_(std::move(make_handlers)),
      world_size_(static_cast<int>(addresses_.size())),
      channels_(addresses_.size()),
      joined_(addresses_.size()),
      loaded_(addresses_.size()) {}

Formation::~Formation() = default;

absl::StatusOr<FormedReplica> Formation::Run() {
  const absl::Time connect_deadline = absl::Now() + options_.connect_timeout;
  absl::Status status = Dial(connect_deadline);
  if (status.ok()) status = Join(connect_deadline);
  if (status.ok()) status = Load();
  if (status.ok()) status = Agree();
  if (!status.ok()) return status;
  return Start();
}

std::string Formation::Name(int rank) const {
  if (absl::StartsWith(addresses_[rank], "unix:")) return absl::StrCat("rank ", rank);
  return absl::StrCat("rank ", rank, " (", addresses_[rank], ")");
}

void Formation::Send(int rank, const worker::v1::CoordinatorMessage& message) {
  streams_[rank]->Send(std::make_shared<const std::string>(message.SerializeAsString()));
}

absl::Status Formation::Dial(absl::Time deadline) {
  while (true) {
    std::vector<std::string> waiting;
    std::shared_ptr<grpc::Channel> refused;  // of the first that cannot connect
    for (int rank = 0; rank < world_size_; ++rank) {
      const std::string& address = addresses_[rank];
      // Dialling a socket that is not there yet would only earn a back-off.
      if (channels_[rank] == nullptr && absl::StartsWith(address, "unix:/") && access(address.c_str() + 5, F_OK) != 0) {
        waiting.push_back(absl::StrCat(Name(rank), " has not started to listen"));
        continue;
      }
      if (channels_[rank] == nullptr) channels_[rank] = OpenChannel(address, options_.credentials);
      const grpc_connectivity_state state = channels_[rank]->GetState(/*try_to_connect=*/true);
      if (state == GRPC_CHANNEL_READY) continue;
      if (state == GRPC_CHANNEL_TRANSIENT_FAILURE && refused == nullptr) refused = channels_[rank];
      waiting.push_back(absl::StrCat(
          Name(rank), state == GRPC_CHANNEL_TRANSIENT_FAILURE ? " does not accept connections" : " does not answer"));
    }
    if (waiting.empty()) return absl::OkStatus();
    if (absl::Now() >= deadline) {
      const std::string why = refused == nullptr ? "" : WhyNoConnection(refused);
      return absl::UnavailableError(
          absl::StrCat(absl::StrJoin(waiting, ", "), " within ", absl::FormatDuration(options_.connect_timeout),
                       " (--worker_connect_timeout)", why.empty() ? "" : absl::StrCat("; the first: ", why)));
    }
    const RankNews news = mailbox_->Next(std::min(deadline, absl::Now() + kDialPoll));
    if (news.kind == RankNews::Kind::kInterrupted) return absl::CancelledError("interrupted");
    if (news.kind == RankNews::Kind::kEnded) return Annotate(Name(news.rank), news.status);
  }
}

absl::Status Formation::Join(absl::Time deadline) {
  for (int rank = 0; rank < world_size_; ++rank) {
    streams_.push_back(RankStream::Open(channels_[rank], make_handlers_(rank)));
    worker::v1::CoordinatorMessage message;
    message.mutable_join()->set_protocol_version(proto::kProtocolVersion);
    message.mutable_join()->set_epoch(epoch_);
    message.mutable_join()->set_rank(rank);
    message.mutable_join()->set_world_size(world_size_);
    Send(rank, message);
  }
  return Await("join", deadline, [this](int rank, worker::v1::RankMessage* message) -> absl::StatusOr<bool> {
    if (!message->has_joined()) return false;
    if (message->joined().protocol_version() != proto::kProtocolVersion) {
      return absl::FailedPreconditionError(
          absl::StrCat(Name(rank), " speaks version ", message->joined().protocol_version(),
                       " of the ranks' protocol, the coordinator version ", proto::kProtocolVersion));
    }
    joined_[rank].Swap(message->mutable_joined());
    return true;
  });
}

absl::Status Formation::CheckGlooAddresses() const {
  const auto loopback = std::find_if(addresses_.begin(), addresses_.end(), IsLoopback);
  const auto remote = std::find_if_not(addresses_.begin(), addresses_.end(), IsLoopback);
  if (loopback == addresses_.end() || remote == addresses_.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      Name(static_cast<int>(loopback - addresses_.begin())), " has an address that ",
      Name(static_cast<int>(remote - addresses_.begin())), " cannot dial: name its host as the others see it"));
}

absl::Status Formation::Load() {
  std::vector<std::string> host_ids;
  std::vector<std::string> backends;
  for (const worker::v1::Joined& joined : joined_) {
    host_ids.push_back(joined.host_id());
    backends.push_back(joined.backend());
  }
  absl::StatusOr<std::string> collective = ChooseCollective(options_.collective, host_ids, backends);
  if (!collective.ok()) return collective.status();
  collective_ = *std::move(collective);
  if (collective_ == "gloo") {
    const absl::Status status = CheckGlooAddresses();
    if (!status.ok()) return status;
  }
  worker::v1::CoordinatorMessage message;
  worker::v1::Load* load = message.mutable_load();
  load->set_model_dir(options_.load.model_dir);
  load->set_dtype(options_.load.dtype);
  load->set_block_size(options_.load.block_size);
  load->set_max_num_seqs(options_.load.max_num_seqs);
  load->set_max_num_batched_tokens(options_.load.max_num_batched_tokens);
  load->set_max_model_len(options_.load.max_model_len);
  // The ranks of one host divide it among themselves.
  load->set_memory_utilization(options_.load.memory_utilization);
  load->set_kv_cache_memory_bytes(options_.load.kv_cache_memory_bytes);
  load->set_swap_space_bytes(options_.load.swap_space_bytes);
  load->set_speculative_model(options_.load.speculative_model);
  load->set_enable_expert_parallel(options_.load.enable_expert_parallel);
  load->set_max_logit_rows(options_.load.max_logit_rows);
  load->set_collective(collective_);
  load->set_collective_name(CollectiveName(epoch_));
  load->set_collective_timeout_seconds(absl::ToDoubleSeconds(options_.collective_timeout));
  for (int rank = 0; rank < world_size_; ++rank) {
    const std::string host = HostOf(addresses_[rank]);
    load->set_listen_host(host.empty() || host == "localhost" ? "127.0.0.1" : host);
    Send(rank, message);
  }
  LoadProgress progress(world_size_, isatty(STDERR_FILENO) == 1);
  return Await("load the model", absl::InfiniteFuture(),
               [&](int rank, worker::v1::RankMessage* message) -> absl::StatusOr<bool> {
                 if (message->has_load_progress()) {
                   progress.Update(rank, message->load_progress().bytes_loaded(),
                                   message->load_progress().bytes_total(), absl::Now());
                 }
                 if (!message->has_loaded()) return false;
                 loaded_[rank].Swap(message->mutable_loaded());
                 return true;
               });
}

absl::Status Formation::Agree() const {
  const worker::v1::ModelInfo& first = loaded_[0].model();
  for (int rank = 0; rank < world_size_; ++rank) {
    const worker::v1::ModelInfo& model = loaded_[rank].model();
    const auto differ = [&](const char* what, const auto& mine, const auto& theirs) {
      return absl::FailedPreconditionError(absl::StrCat("the ranks disagree on ", what, ": ", Name(rank), " reports ",
                                                        mine, ", ", Name(0), " ", theirs,
                                                        "; do all hosts see the same model?"));
    };
    if (model.vocab_size() != first.vocab_size()) return differ("vocab_size", model.vocab_size(), first.vocab_size());
    if (model.max_model_len() != first.max_model_len()) {
      return differ("max_model_len", model.max_model_len(), first.max_model_len());
    }
    if (model.attention_window() != first.attention_window()) {
      return differ("attention_window", model.attention_window(), first.attention_window());
    }
    if (model.dtype() != first.dtype()) return differ("dtype", model.dtype(), first.dtype());
    if (model.model_type() != first.model_type()) return differ("model_type", model.model_type(), first.model_type());
    const std::string eos = absl::StrJoin(model.eos_token_ids(), " ");
    const std::string first_eos = absl::StrJoin(first.eos_token_ids(), " ");
    if (eos != first_eos) return differ("eos_token_ids", eos, first_eos);
    if (loaded_[rank].device_blocks() == 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat(Name(rank), " has no room for one block of ", options_.load.block_size, " tokens (",
                       model.kv_bytes_per_token() * options_.load.block_size,
                       " bytes); see --gpu_memory_utilization and --kv_cache_memory_bytes"));
    }
  }
  if (first.vocab_size() == 0 || first.vocab_size() > INT32_MAX || first.max_model_len() == 0 ||
      first.max_model_len() > INT32_MAX) {
    return absl::FailedPreconditionError(absl::StrCat("the ranks report a vocabulary of ", first.vocab_size(),
                                                      " and a longest context of ", first.max_model_len(), " tokens"));
  }
  return absl::OkStatus();
}

absl::StatusOr<FormedReplica> Formation::Start() {
  const worker::v1::ModelInfo& model = loaded_[0].model();
  FormedReplica formed;
  uint32_t device_blocks = loaded_[0].device_blocks();
  uint32_t host_blocks = loaded_[0].host_blocks();
  ReplicaDescription& description = formed.description;
  double zero_bytes = 0;
  for (int rank = 0; rank < world_size_; ++rank) {
    const worker::v1::Loaded& loaded = loaded_[rank];
    device_blocks = std::min(device_blocks, loaded.device_blocks());
    host_blocks = std::min(host_blocks, loaded.host_blocks());
    description.backends.push_back(joined_[rank].backend());
    description.weight_bytes += loaded.model().weight_bytes();
    zero_bytes += loaded.model().zero_share() * static_cast<double>(loaded.model().weight_bytes());
    description.kv_bytes_per_token += loaded.model().kv_bytes_per_token();
    description.flops_per_token += loaded.model().flops_per_token();
    description.load_seconds = std::max(description.load_seconds, loaded.load_seconds());
  }
  if (options_.load.num_device_blocks_override > 0) {
    device_blocks = std::min(device_blocks, options_.load.num_device_blocks_override);
  }
  if (model.has_zero_share() && description.weight_bytes > 0) {
    description.zero_share = zero_bytes / static_cast<double>(description.weight_bytes);
  }
  description.model_type = model.model_type();
  description.architectures.assign(model.architectures().begin(), model.architectures().end());
  description.dtype = model.dtype();
  description.collective = collective_;
  if (model.has_bos_token_id()) description.bos_token_id = static_cast<int32_t>(model.bos_token_id());
  description.generation_config_json = model.generation_config_json();
  formed.info.epoch = epoch_;
  formed.info.vocab_size = static_cast<int32_t>(model.vocab_size());
  formed.info.max_model_len = static_cast<int32_t>(model.max_model_len());
  formed.info.eos_token_ids.assign(model.eos_token_ids().begin(), model.eos_token_ids().end());
  formed.info.attention_window = static_cast<int32_t>(std::min<uint32_t>(model.attention_window(), INT32_MAX));
  formed.info.device_blocks = device_blocks;
  formed.info.host_blocks = host_blocks;
  formed.info.block_size = static_cast<int32_t>(options_.load.block_size);

  worker::v1::CoordinatorMessage message;
  message.mutable_start()->set_device_blocks(device_blocks);
  message.mutable_start()->set_host_blocks(host_blocks);
  for (int rank = 0; rank < world_size_; ++rank) Send(rank, message);
  const absl::Status status =
      Await("start", absl::InfiniteFuture(),
            [](int rank, worker::v1::RankMessage* message) -> absl::StatusOr<bool> { return message->has_started(); });
  if (!status.ok()) return status;
  return formed;
}

absl::Status Formation::Await(const char* what, absl::Time deadline, const TakeMessage& take) {
  std::vector<bool> has(world_size_, false);
  int missing = world_size_;
  while (missing > 0) {
    const absl::Time until = std::min(deadline, absl::Now() + options_.stall_timeout);
    const RankNews news = mailbox_->Next(until);
    switch (news.kind) {
      case RankNews::Kind::kInterrupted:
        return absl::CancelledError("interrupted");
      case RankNews::Kind::kTimeout: {
        std::vector<std::string> late;
        for (int rank = 0; rank < world_size_; ++rank) {
          if (!has[rank]) late.push_back(Name(rank));
        }
        return absl::DeadlineExceededError(
            absl::StrCat(absl::StrJoin(late, ", "), " did not ", what, " within ",
                         absl::FormatDuration(until == deadline ? options_.connect_timeout : options_.stall_timeout)));
      }
      case RankNews::Kind::kEnded:
        if (news.status.ok())
          return absl::UnavailableError(absl::StrCat(Name(news.rank), " left before it could ", what));
        return Annotate(Name(news.rank), news.status);
      case RankNews::Kind::kMessage:
        break;
    }
    worker::v1::RankMessage* message = news.message.get();
    if (message->has_failed()) {
      const int code = static_cast<int>(message->failed().code());
      absl::string_view why = message->failed().message();
      // Workers name their rank in some errors; here its address comes with it.
      absl::ConsumePrefix(&why, absl::StrCat("rank ", news.rank, ": "));
      return absl::Status(code == 0 ? absl::StatusCode::kInternal : static_cast<absl::StatusCode>(code),
                          absl::StrCat(Name(news.rank), " could not ", what, ": ", why));
    }
    if (message->has_store_put()) {
      const absl::Status status = Relay(news.rank, message->store_put());
      if (!status.ok()) return status;
      continue;
    }
    const absl::StatusOr<bool> taken = take(news.rank, message);
    if (!taken.ok()) return taken.status();
    if (*taken && has[news.rank]) {
      return absl::InternalError(absl::StrCat(Name(news.rank), " answered twice to the order to ", what));
    }
    if (!*taken && !message->has_load_progress()) {
      return absl::InternalError(absl::StrCat(Name(news.rank), " sent message ",
                                              static_cast<int>(message->message_case()), " while it was to ", what));
    }
    if (!*taken) continue;
    has[news.rank] = true;
    --missing;
  }
  return absl::OkStatus();
}

absl::Status Formation::Relay(int from, const worker::v1::StorePut& put) {
  if (put.key().empty() || put.key().size() > proto::kMaxStoreKeyBytes ||
      put.value().size() > proto::kMaxStoreValueBytes) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "%s puts a key of %d and a value of %d bytes into the store, the limits are 1 to %d and %d", Name(from),
        put.key().size(), put.value().size(), proto::kMaxStoreKeyBytes, proto::kMaxStoreValueBytes));
  }
  num_puts_ += 1;
  put_bytes_ += static_cast<int64_t>(put.key().size() + put.value().size());
  if (num_puts_ > kMaxStorePuts || put_bytes_ > kMaxStoreBytes) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the ranks' store holds %d entries of %d bytes, the limits are %d and %d", num_puts_,
                        put_bytes_, kMaxStorePuts, kMaxStoreBytes));
  }
  worker::v1::CoordinatorMessage message;
  *message.mutable_store_put() = put;
  const auto bytes = std::make_shared<const std::string>(message.SerializeAsString());
  for (int rank = 0; rank < world_size_; ++rank) {
    if (rank != from) streams_[rank]->Send(bytes);
  }
  return absl::OkStatus();
}

}  // namespace quire::cluster
