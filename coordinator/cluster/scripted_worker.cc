// How the script is played: see the header.
#include "coordinator/cluster/scripted_worker.h"

#include <grpcpp/server_builder.h>

#include <chrono>

#include "absl/strings/str_cat.h"

namespace quire::cluster {

worker::v1::RankMessage CorrectDone(const worker::v1::Step& step, uint32_t rank) {
  worker::v1::RankMessage message;
  worker::v1::Done* done = message.mutable_done();
  done->set_epoch(step.epoch());
  done->set_step(step.step());
  done->set_plan_digest(step.plan_digest());
  done->set_rank(rank);
  done->set_device_blocks_used(10 + rank);
  for (int i = 0; rank == 0 && i < step.decode_size(); ++i) {
    done->add_tokens(static_cast<uint32_t>(100 * step.step()) + static_cast<uint32_t>(i));
  }
  return message;
}

namespace {

using Uint32List = google::protobuf::RepeatedField<uint32_t>;

std::vector<std::pair<int32_t, int32_t>> Pairs(const Uint32List& list) {
  std::vector<std::pair<int32_t, int32_t>> pairs;
  for (int i = 0; i + 1 < list.size(); i += 2) pairs.emplace_back(list[i], list[i + 1]);
  return pairs;
}

NewSequence SequenceOf(const worker::v1::NewSequence& from) {
  NewSequence to;
  to.seq = from.seq();
  to.token_ids.assign(from.token_ids().begin(), from.token_ids().end());
  to.prompt_len = from.prompt_len();
  to.num_computed = from.num_computed();
  to.block_ids.assign(from.block_ids().begin(), from.block_ids().end());
  RankSampling& sampling = to.sampling;
  sampling.seed = from.seed();
  sampling.choice = from.choice();
  sampling.temperature = from.temperature();
  sampling.top_p = from.top_p();
  sampling.top_k = from.top_k();
  sampling.min_p = from.min_p();
  sampling.repetition_penalty = from.repetition_penalty();
  sampling.frequency_penalty = from.frequency_penalty();
  sampling.presence_penalty = from.presence_penalty();
  sampling.min_tokens = from.min_tokens();
  sampling.num_logprobs = from.num_logprobs();
  sampling.banned_until_min.assign(from.banned_until_min().begin(), from.banned_until_min().end());
  for (int i = 0; i < from.logit_bias().ids_size(); ++i) {
    sampling.logit_bias.emplace_back(from.logit_bias().ids(i), from.logit_bias().values(i));
  }
  return to;
}

}  // namespace

StepPlan PlanOf(const worker::v1::Step& step) {
  StepPlan plan;
  plan.epoch = step.epoch();
  plan.step = step.step();
  plan.deadline_ms = step.deadline_ms();
  plan.host_frees.assign(step.host_frees().begin(), step.host_frees().end());
  plan.finished.assign(step.finished().begin(), step.finished().end());
  for (const worker::v1::NewSequence& sequence : step.new_sequences())
    plan.new_sequences.push_back(SequenceOf(sequence));
  for (int i = 0; i + 2 < step.forks_size(); i += 3)
    plan.forks.push_back({step.forks(i), step.forks(i + 1), step.forks(i + 2)});
  for (const auto& [seq, block] : Pairs(step.block_appends()))
    plan.block_appends.push_back({static_cast<uint32_t>(seq), block});
  for (int i = 0; i + 2 < step.block_replaces_size(); i += 3) {
    plan.block_replaces.push_back(
        {step.block_replaces(i), step.block_replaces(i + 1), static_cast<int32_t>(step.block_replaces(i + 2))});
  }
  plan.swap_outs = Pairs(step.swap_outs());
  plan.block_copies = Pairs(step.block_copies());
  plan.swap_ins = Pairs(step.swap_ins());
  plan.decode.assign(step.decode().begin(), step.decode().end());
  for (int i = 0; i + 2 < step.prefill_size(); i += 3) {
    plan.prefill.push_back({step.prefill(i), step.prefill(i + 1), step.prefill(i + 2) != 0});
  }
  return plan;
}

ScriptedWorker::Script ScriptedWorker::DefaultScript() {
  Script script;
  script.loaded.set_device_blocks(1000);
  script.loaded.set_host_blocks(50);
  script.loaded.set_load_seconds(0.5);
  worker::v1::ModelInfo* model = script.loaded.mutable_model();
  model->set_vocab_size(32000);
  model->set_max_model_len(2048);
  model->add_eos_token_ids(2);
  model->set_model_type("llama");
  model->add_architectures("LlamaForCausalLM");
  model->set_dtype("bfloat16");
  model->set_weight_bytes(1000);
  model->set_kv_bytes_per_token(64);
  model->set_flops_per_token(1e6);
  model->set_zero_share(0.25);
  return script;
}

ScriptedWorker::ScriptedWorker(Script script) : script_(std::move(script)) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

ScriptedWorker::~ScriptedWorker() { server_->Shutdown(std::chrono::system_clock::now()); }

void ScriptedWorker::SetScript(Script script) {
  absl::MutexLock lock(&mu_);
  script_ = std::move(script);
}

std::vector<worker::v1::CoordinatorMessage> ScriptedWorker::received() const {
  absl::MutexLock lock(&mu_);
  return received_;
}

int ScriptedWorker::num_sessions() const {
  absl::MutexLock lock(&mu_);
  return num_sessions_;
}

bool ScriptedWorker::WaitIdle(absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return num_running_ == 0; };
  return mu_.AwaitWithTimeout(absl::Condition(&idle), timeout);
}

bool ScriptedWorker::SendLoaded(const Script& script, Stream* stream) {
  worker::v1::RankMessage reply;
  reply.mutable_load_progress()->set_bytes_loaded(1);
  reply.mutable_load_progress()->set_bytes_total(1);
  stream->Write(reply);
  if (script.load_error != 0) {
    reply.mutable_failed()->set_code(script.load_error);
    reply.mutable_failed()->set_message("tensor model.norm.weight is missing");
    stream->Write(reply);
    return false;
  }
  for (const auto& [key, value] : script.puts) {
    reply.mutable_store_put()->set_key(key);
    reply.mutable_store_put()->set_value(value);
    stream->Write(reply);
  }
  size_t num_puts = 0;
  worker::v1::CoordinatorMessage message;
  while (num_puts < script.expect_puts && stream->Read(&message)) {
    num_puts += message.has_store_put() ? 1 : 0;
    absl::MutexLock lock(&mu_);
    received_.push_back(message);
  }
  *reply.mutable_loaded() = script.loaded;
  return !script.answers_load || stream->Write(reply);
}

grpc::Status ScriptedWorker::Session(grpc::ServerContext* context, Stream* stream) {
  Script script;
  {
    absl::MutexLock lock(&mu_);
    script = script_;
    ++num_sessions_;
    ++num_running_;
  }
  uint32_t rank = 0;
  worker::v1::CoordinatorMessage message;
  bool more = true;
  while (more && stream->Read(&message)) {
    {
      absl::MutexLock lock(&mu_);
      received_.push_back(message);
    }
    worker::v1::RankMessage reply;
    if (message.has_join()) {
      rank = message.join().rank();
      reply.mutable_joined()->set_protocol_version(script.protocol_version);
      reply.mutable_joined()->set_host_id(script.host_id);
      reply.mutable_joined()->set_backend(script.backend);
      if (script.answers_join) stream->Write(reply);
    } else if (message.has_load()) {
      more = SendLoaded(script, stream);
    } else if (message.has_start()) {
      reply.mutable_started();
      stream->Write(reply);
    } else if (message.has_step() && script.on_step) {
      more = script.on_step(message.step(), rank, stream) == Then::kContinue;
    } else if (message.has_step()) {
      stream->Write(CorrectDone(message.step(), rank));
    }
  }
  absl::MutexLock lock(&mu_);
  --num_running_;
  if (more || script.load_error != 0) return grpc::Status::OK;
  return grpc::Status(grpc::StatusCode::INTERNAL, "the all-reduce broke");
}

}  // namespace quire::cluster
