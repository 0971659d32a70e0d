// The phases of a session: see the header for what holds.
#include "worker/service/session.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "proto/plan_digest.h"
#include "proto/protocol.h"
#include "worker/comm/host_id.h"
#include "worker/comm/presence.h"
#include "worker/runtime/memory_planner.h"
#include "worker/runtime/staged_communicator.h"

namespace quire::worker {
namespace {

constexpr absl::Duration kProgressInterval = absl::Milliseconds(100);
// Ranks may load at very different speeds; the coordinator's own deadline is shorter.
constexpr absl::Duration kLoadTogether = absl::Minutes(30);
constexpr int64_t kMaxBatchedTokens = 1 << 20;

uint32_t Microseconds(absl::Duration d) {
  return static_cast<uint32_t>(std::clamp<int64_t>(absl::ToInt64Microseconds(d), 0, UINT32_MAX));
}

int32_t MaxLogitRows(const v1::Load& load) {
  return static_cast<int32_t>(std::max(load.max_logit_rows(), load.max_num_seqs()));
}

}  // namespace

Session::Session(const WorkerContext* context, std::shared_ptr<Outbox> outbox)
    : context_(context), outbox_(std::move(outbox)), store_([this](const std::string& key, const std::string& value) {
        v1::RankMessage message;
        message.mutable_store_put()->set_key(key);
        message.mutable_store_put()->set_value(value);
        outbox_->Send(std::move(message));
      }) {}

Session::~Session() {
  if (thread_.joinable()) thread_.join();
}

void Session::Begin(const v1::Join& join, std::shared_ptr<Session> before) {
  join_ = join;
  thread_ = std::thread([this, before = std::move(before)]() mutable { Run(std::move(before)); });
}

void Session::Receive(v1::CoordinatorMessage* message) {
  if (message->has_store_put()) {
    const v1::StorePut& put = message->store_put();
    if (absl::Status s = store_.Deliver(put.key(), put.value()); !s.ok()) Abort(std::move(s));
    return;
  }
  bool overflow = false;
  {
    absl::MutexLock lock(&mu_);
    if (aborted_) return;
    overflow = queue_.size() >= kMaxQueued;
    if (!overflow) {
      queue_.push_back({{}, absl::Now()});
      queue_.back().message.Swap(message);
    }
  }
  if (overflow) {
    Abort(absl::ResourceExhaustedError(absl::StrCat("more than ", kMaxQueued, " messages wait for the rank; at most ",
                                                    proto::kMaxStepsInFlight, " steps may be in flight")));
  }
}

void Session::Abort(absl::Status status) {
  {
    absl::MutexLock lock(&mu_);
    if (aborted_) return;
    aborted_ = true;
    if (comm_ != nullptr) comm_->Abort();
  }
  store_.Close();
  VLOG(1) << "session ends: " << status;
  outbox_->Close(std::move(status));
}

bool Session::Next(Queued* next) {
  absl::MutexLock lock(&mu_);
  const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return aborted_ || !queue_.empty(); };
  mu_.Await(absl::Condition(&ready));
  if (aborted_) return false;
  *next = std::move(queue_.front());
  queue_.pop_front();
  return true;
}

void Session::Run(std::shared_ptr<Session> before) {
  while (before != nullptr && !before->WaitEnded(absl::Seconds(10))) {
    LOG(WARNING) << "epoch " << join_.epoch() << " waits for the session before it to let go of the device";
  }
  before.reset();
  v1::RankMessage message;
  message.mutable_joined()->set_protocol_version(proto::kProtocolVersion);
  message.mutable_joined()->set_host_id(HostId());
  message.mutable_joined()->set_backend(context_->backend->Name());
  message.mutable_joined()->set_num_threads(context_->num_threads);
  outbox_->Send(std::move(message));
  Queued queued;
  while (Next(&queued)) {
    if (absl::Status s = Handle(queued); !s.ok()) {
      Fail(s);
      break;
    }
  }
  Free();
  LOG(INFO) << "epoch " << join_.epoch() << " is over";
  ended_.Notify();
}

void Session::Fail(const absl::Status& error) {
  {
    absl::MutexLock lock(&mu_);
    if (aborted_) return;  // the error is what the abort made of the work in progress
  }
  const absl::Status status(error.code(), absl::StrCat("rank ", join_.rank(), ": ", error.message()));
  LOG(ERROR) << "epoch " << join_.epoch() << " ends: " << status;
  if (runner_ != nullptr) return Abort(status);
  v1::RankMessage message;
  message.mutable_failed()->set_code(static_cast<uint32_t>(status.code()));
  message.mutable_failed()->set_message(std::string(status.message()));
  outbox_->Send(std::move(message));
  Abort(absl::OkStatus());
}

void Session::Free() {
  if (runner_ != nullptr) context_->on_ready(false);
  runner_.reset();
  proposer_.reset();
  draft_cache_.reset();
  cache_.reset();
  context_->shards->Keep(std::exchange(shard_, {}));
  std::unique_ptr<Communicator> comm;
  {
    absl::MutexLock lock(&mu_);
    comm = std::move(comm_);
    queue_.clear();
  }
}

absl::Status Session::Handle(const Queued& queued) {
  switch (queued.message.message_case()) {
    case v1::CoordinatorMessage::kLoad:
      if (shard_.model != nullptr) return absl::FailedPreconditionError("a second Load");
      return HandleLoad(queued.message.load());
    case v1::CoordinatorMessage::kStart:
      if (shard_.model == nullptr || runner_ != nullptr) return absl::FailedPreconditionError("Start not after Loaded");
      return HandleStart(queued.message.start());
    case v1::CoordinatorMessage::kStep:
      if (runner_ == nullptr) return absl::FailedPreconditionError("a Step before Started");
      return HandleStep(queued.message.step(), queued.received);
    case v1::CoordinatorMessage::kJoin:
      return absl::FailedPreconditionError("a second Join on one stream");
    default:
      return absl::InvalidArgumentError("a message of a kind that this worker does not know");
  }
}

absl::Status Session::HandleLoad(const v1::Load& load) {
  const absl::Time start = absl::Now();
  if (load.block_size() < 16 || load.block_size() > 512 || load.block_size() % 16 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("block_size ", load.block_size(), " must be a multiple of 16, at most 512"));
  }
  if (load.max_num_seqs() < 1 || load.max_num_seqs() > SequenceTable::kMaxSequences) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_num_seqs ", load.max_num_seqs(), " must be 1 to ", SequenceTable::kMaxSequences));
  }
  if (load.max_num_batched_tokens() < 1 || load.max_num_batched_tokens() > kMaxBatchedTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_num_batched_tokens ", load.max_num_batched_tokens(), " must be 1 to ", kMaxBatchedTokens));
  }
  if (load.max_logit_rows() > kMaxBatchedTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_logit_rows ", load.max_logit_rows(), " must be at most ", kMaxBatchedTokens));
  }
  load_ = load;
  if (absl::Status s = FormGroup(load); !s.ok()) return s;
  if (absl::Status s = LoadShard(load); !s.ok()) return s;
  const absl::StatusOr<Sharing> sharing = CountSharing(load);
  if (!sharing.ok()) return sharing.status();
  if (absl::Status s = PlanCache(load, *sharing); !s.ok()) return s;

  const ModelFacts& facts = shard_.model->facts();
  const kernels::KvCacheLayout layout = shard_.model->CacheLayout(load.block_size());
  v1::RankMessage message;
  v1::Loaded* loaded = message.mutable_loaded();
  loaded->set_device_blocks(static_cast<uint32_t>(planned_blocks_));
  loaded->set_host_blocks(static_cast<uint32_t>(planned_host_blocks_));
  loaded->set_load_seconds(absl::ToDoubleSeconds(absl::Now() - start));
  v1::ModelInfo* info = loaded->mutable_model();
  info->set_vocab_size(facts.vocab_size);
  info->set_max_model_len(max_model_len_);
  for (const int32_t id : facts.eos_token_ids) info->add_eos_token_ids(id);
  info->set_model_type(facts.model_type);
  for (const std::string& name : facts.architectures) info->add_architectures(name);
  info->set_dtype(facts.dtype);
  info->set_weight_bytes(facts.weight_bytes);
  info->set_kv_bytes_per_token(layout.block_bytes() / load.block_size());
  if (facts.bos_token_id >= 0) info->set_bos_token_id(facts.bos_token_id);
  info->set_generation_config_json(facts.generation_config_json);
  info->set_flops_per_token(facts.flops_per_token);
  info->set_attention_window(AttentionWindow());
  if (facts.zero_share >= 0) info->set_zero_share(facts.zero_share);
  LOG(INFO) << "rank " << join_.rank() << ": " << facts.model_type << " " << facts.dtype << " loaded in "
            << absl::StrFormat("%.2f", loaded->load_seconds()) << " s, " << facts.weight_bytes
            << " bytes of weights, room for " << planned_blocks_ << " blocks";
  outbox_->Send(std::move(message));
  return absl::OkStatus();
}

absl::Status Session::FormGroup(const v1::Load& load) {
  CommunicatorOptions options;
  options.kind = load.collective();
  options.rank = static_cast<int>(join_.rank());
  options.world_size = static_cast<int>(join_.world_size());
  options.name = load.collective_name();
  options.listen_host = load.listen_host();
  if (load.collective_timeout_seconds() > 0) options.timeout = absl::Seconds(load.collective_timeout_seconds());
  options.stream = context_->backend->traits().compute_queue;
  absl::StatusOr<std::unique_ptr<Communicator>> formed = CreateCommunicator(options, &store_);
  if (!formed.ok()) return formed.status();
  const bool through_host = options.world_size > 1 && options.kind != "nccl";
  if (through_host && !context_->backend->traits().memory_id.empty()) {
    formed = std::make_unique<StagedCommunicator>(*std::move(formed), context_->backend);
  }
  absl::MutexLock lock(&mu_);
  comm_ = *std::move(formed);
  // An Abort that came while the group formed found no communicator.
  if (aborted_) comm_->Abort();
  return absl::OkStatus();
}

absl::Status Session::LoadShard(const v1::Load& load) {
  LoadOptions options;
  options.model_dir = load.model_dir();
  options.dtype = load.dtype().empty() ? "auto" : load.dtype();
  options.rank = static_cast<int>(join_.rank());
  options.world_size = static_cast<int>(join_.world_size());
  options.expert_parallel = load.enable_expert_parallel();
  options.max_model_len = load.max_model_len();
  options.max_num_batched_tokens = load.max_num_batched_tokens();
  options.max_num_logit_rows = MaxLogitRows(load);
  options.progress = [this](int64_t loaded, int64_t total) { ReportProgress(loaded, total); };
  const std::string key = ShardKey(options);
  shard_ = context_->shards->Take(key);
  if (shard_.model == nullptr) {
    shard_.key = key;
    shard_.comm = std::make_unique<CommunicatorSlot>(options.rank, options.world_size);
    shard_.comm->Use(comm_.get());
    absl::StatusOr<std::unique_ptr<Model>> model = context_->load_model(options, context_->backend, shard_.comm.get());
    if (!model.ok()) return model.status();
    shard_.model = *std::move(model);
  } else {
    LOG(INFO) << "rank " << join_.rank() << ": the shard is still here";
    shard_.comm->Use(comm_.get());
    ReportProgress(shard_.model->facts().weight_bytes, shard_.model->facts().weight_bytes);
  }
  const int32_t longest = shard_.model->facts().max_model_len;
  if (load.max_model_len() > static_cast<uint32_t>(longest)) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_model_len ", load.max_model_len(), " is over the model's own limit of ", longest));
  }
  max_model_len_ = load.max_model_len() == 0 ? longest : static_cast<int32_t>(load.max_model_len());
  return LoadDraft(load, std::move(options));
}

absl::Status Session::LoadDraft(const v1::Load& load, LoadOptions options) {
  if (load.speculative_model().empty()) {
    shard_.draft.reset();
    return absl::OkStatus();
  }
  options.model_dir = load.speculative_model();
  options.expert_parallel = false;  // asked for the model, whose experts are many
  options.max_num_logit_rows = load.max_num_seqs();
  options.progress = nullptr;
  const std::string key = ShardKey(options);
  if (shard_.draft == nullptr || key.empty() || key != shard_.draft_key) {
    shard_.draft.reset();
    absl::StatusOr<std::unique_ptr<Model>> draft = context_->load_model(options, context_->backend, shard_.comm.get());
    if (!draft.ok()) {
      return absl::Status(draft.status().code(), absl::StrCat("draft model: ", draft.status().message()));
    }
    shard_.draft = *std::move(draft);
    shard_.draft_key = key;
  }
  const ModelFacts& draft = shard_.draft->facts();
  if (draft.vocab_size != shard_.model->facts().vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat("draft model ", options.model_dir, " has a vocabulary of ",
                                                   draft.vocab_size, ", the model one of ",
                                                   shard_.model->facts().vocab_size, "; they must be the same"));
  }
  if (draft.max_model_len < max_model_len_) {
    return absl::InvalidArgumentError(absl::StrCat("draft model ", options.model_dir, " has at most ",
                                                   draft.max_model_len, " tokens of context, max_model_len is ",
                                                   max_model_len_, "; lower max_model_len"));
  }
  return absl::OkStatus();
}

// A draft model computes the last token again when all its drafts were right, and may have another window: with one all
// blocks stay.
int32_t Session::AttentionWindow() const {
  return shard_.draft != nullptr ? 0 : shard_.model->facts().attention_window;
}

kernels::KvCacheLayout Session::DraftLayout() const { return shard_.draft->CacheLayout(load_.block_size()); }

void Session::ReportProgress(int64_t bytes_loaded, int64_t bytes_total) {
  const absl::Time now = absl::Now();
  if (bytes_loaded < bytes_total && now - last_progress_ < kProgressInterval) return;
  last_progress_ = now;
  v1::RankMessage message;
  message.mutable_load_progress()->set_bytes_loaded(bytes_loaded);
  message.mutable_load_progress()->set_bytes_total(bytes_total);
  outbox_->Send(std::move(message));
}

absl::StatusOr<Session::Sharing> Session::CountSharing(const v1::Load& load) {
  if (join_.world_size() == 1) return Sharing();
  // All ranks have loaded when this returns, so that all measure the same free memory.
  const PresenceOptions presence = {absl::StrCat(load.collective_name(), "/loaded"), static_cast<int>(join_.rank()),
                                    static_cast<int>(join_.world_size()), kLoadTogether};
  const std::string host = absl::StrCat(HostId(), "/");
  const std::string memory = absl::StrCat(host, context_->backend->traits().memory_id);
  auto places = ExchangePresence(presence, memory, &store_);
  if (!places.ok()) return places.status();
  Sharing sharing;
  sharing.memory = std::count(places->begin(), places->end(), memory);
  sharing.host = std::count_if(places->begin(), places->end(),
                               [&](const std::string& place) { return absl::StartsWith(place, host); });
  return sharing;
}

absl::Status Session::PlanCache(const v1::Load& load, const Sharing& sharing) {
  const absl::StatusOr<int64_t> host_bytes = MeasureFreeMemory();
  if (!host_bytes.ok()) return host_bytes.status();
  MemoryRequest request;
  request.free_bytes = *host_bytes;
  request.ranks_sharing = sharing.memory;
  if (!context_->backend->traits().memory_id.empty()) {
    const absl::StatusOr<int64_t> device_bytes = context_->backend->FreeBytes();
    if (!device_bytes.ok()) return device_bytes.status();
    request.free_bytes = *device_bytes;
    request.host_free_bytes = *host_bytes;
    request.ranks_of_host = sharing.host;
  }
  request.utilization = load.memory_utilization();
  request.kv_cache_memory_bytes = static_cast<int64_t>(load.kv_cache_memory_bytes());
  request.swap_space_bytes = static_cast<int64_t>(load.swap_space_bytes());
  request.block_bytes = shard_.model->CacheLayout(load.block_size()).block_bytes();
  request.max_logit_rows = MaxLogitRows(load);
  if (shard_.draft != nullptr) {  // both caches have every block
    request.block_bytes += DraftLayout().block_bytes();
    request.max_logit_rows += load.max_num_seqs();
  }
  request.block_size = load.block_size();
  request.max_num_seqs = load.max_num_seqs();
  request.max_model_len = max_model_len_;
  request.max_num_batched_tokens = load.max_num_batched_tokens();
  request.attention_window = AttentionWindow();
  request.vocab_size = shard_.model->facts().vocab_size;
  const absl::StatusOr<MemoryPlan> plan = PlanMemory(request);
  if (!plan.ok()) return plan.status();
  planned_blocks_ = plan->device_blocks;
  planned_host_blocks_ = plan->host_blocks;
  return absl::OkStatus();
}

absl::Status Session::HandleStart(const v1::Start& start) {
  if (start.device_blocks() < 1 || start.device_blocks() > planned_blocks_ ||
      start.host_blocks() > planned_host_blocks_) {
    return absl::InvalidArgumentError(absl::StrCat("start with ", start.device_blocks(), " device and ",
                                                   start.host_blocks(), " host blocks, this rank offered ",
                                                   planned_blocks_, " and ", planned_host_blocks_));
  }
  kernels::KvCacheLayout layout = shard_.model->CacheLayout(load_.block_size());
  layout.num_blocks = start.device_blocks();
  auto cache = KvCache::Create(layout, start.host_blocks(), context_->backend);
  if (!cache.ok()) return cache.status();
  cache_ = *std::move(cache);
  RunnerOptions options;
  options.rank = static_cast<int>(join_.rank());
  options.table = {shard_.model->facts().vocab_size,          max_model_len_,
                   static_cast<int32_t>(load_.block_size()),  static_cast<int32_t>(start.device_blocks()),
                   static_cast<int32_t>(start.host_blocks()), AttentionWindow()};
  options.batch = {static_cast<int32_t>(load_.max_num_seqs()), static_cast<int32_t>(load_.max_num_batched_tokens()),
                   MaxLogitRows(load_)};
  if (shard_.draft != nullptr) {
    kernels::KvCacheLayout draft_layout = DraftLayout();
    draft_layout.num_blocks = start.device_blocks();
    auto draft_cache = KvCache::Create(draft_layout, start.host_blocks(), context_->backend);
    if (!draft_cache.ok()) return draft_cache.status();
    draft_cache_ = *std::move(draft_cache);
    proposer_ = std::make_unique<DraftProposer>(context_->backend, shard_.draft.get(), draft_cache_.get());
  }
  runner_ =
      std::make_unique<ModelRunner>(options, context_->backend, shard_.model.get(), cache_.get(), proposer_.get());
  v1::RankMessage message;
  message.mutable_started();
  context_->on_ready(true);
  outbox_->Send(std::move(message));
  last_reply_ = absl::Now();
  return absl::OkStatus();
}

absl::Status Session::HandleStep(const v1::Step& step, absl::Time received) {
  const uint64_t digest = proto::PlanDigest(step);
  if (step.epoch() != join_.epoch()) {
    return absl::FailedPreconditionError(
        absl::StrCat("step ", step.step(), " of epoch ", step.epoch(), ", this session is epoch ", join_.epoch()));
  }
  if (digest != step.plan_digest()) {
    return absl::InvalidArgumentError(absl::StrFormat("step %d: plan_digest %x, but the plan that arrived has %x",
                                                      step.step(), step.plan_digest(), digest));
  }
  if (step.step() == last_step_ && last_step_ > 0 && digest == last_done_.done().plan_digest()) {
    outbox_->Send(last_done_);
    return absl::OkStatus();
  }
  if (step.step() != last_step_ + 1) {
    return absl::FailedPreconditionError(absl::StrCat("step ", step.step(), " after step ", last_step_));
  }
  // The inner message is cleared, not the oneof: its arrays keep their room.
  v1::Done* done = last_done_.mutable_done();
  done->Clear();
  absl::Status status = runner_->Run(step, done);
  // The device has come to the end of the step: what its collectives were worth is known now.
  if (status.ok()) status = shard_.comm->Finished();
  if (!status.ok()) return absl::Status(status.code(), absl::StrCat("step ", step.step(), ": ", status.message()));
  last_step_ = step.step();
  done->set_epoch(step.epoch());
  done->set_step(step.step());
  done->set_plan_digest(digest);
  done->set_rank(join_.rank());
  done->set_wait_us(Microseconds(received - last_reply_));
  // A step that arrived while the one before it ran starts to count when its turn has come.
  const absl::Time begin = std::max(received, last_reply_);
  last_reply_ = absl::Now();
  done->set_exec_us(Microseconds(last_reply_ - begin));
  outbox_->Send(last_done_);
  return absl::OkStatus();
}

}  // namespace quire::worker
