// The flags of the coordinator and what they mean to its parts. See coordinator_flags.h.
#include "coordinator/coordinator_flags.h"

#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "coordinator/cluster/worker_addresses.h"
#include "proto/cluster_tls.h"

ABSL_FLAG(std::string, model, "",
          "Directory of the model as Hugging Face lays it out (config.json, *.safetensors, tokenizer.json). Workers on "
          "other hosts read the "
          "same path there.");
ABSL_FLAG(std::string, served_model_name, "",
          "Name that requests may give as `model`; default: the directory's last name.");
ABSL_FLAG(std::string, tokenizer, "",
          "Directory with the tokenizer's files (tokenizer.json, tokenizer.model, vocab.json with merges.txt, or "
          "*.tiktoken); default: --model.");
ABSL_FLAG(std::string, chat_template, "",
          "File with a Jinja template that takes the place of the model's own for conversations; empty = the model's "
          "(chat_template.jinja, tokenizer_config.json), else the one built in for its family.");
ABSL_FLAG(bool, skip_tokenizer_init, false,
          "Serve without a tokenizer: requests bring token ids and get token ids back, no text.");
ABSL_FLAG(
    std::string, host, "127.0.0.1",
    "Address to listen on. Another than loopback needs --api_key_file, --ssl_ca_certs or --allow_unauthenticated.");
ABSL_FLAG(int32_t, port, 8000,
          "Port of the HTTP API (OpenAI's, and what probes and people look at); 0 takes a free one (see "
          "--http_port_file), -1 serves none.");
ABSL_FLAG(std::string, http_port_file, "", "File that receives the HTTP port, as --port_file the other one.");
ABSL_FLAG(int32_t, max_connections, 4096, "HTTP connections at most; more are refused with 503.");
ABSL_FLAG(std::string, allowed_origins, "",
          "Origins whose pages may call the HTTP API from a browser, separated by commas (https://chat.example); * = "
          "all; empty = only pages that this server serves.");
ABSL_FLAG(int32_t, grpc_port, 50051, "Port of the gRPC API; 0 takes a free one (see --port_file).");
ABSL_FLAG(std::string, api_key_file, "",
          "File with the keys that may call, one line per key (the tool api_key makes them): every call then needs "
          "'Authorization: Bearer KEY'. Read again when it is replaced; a broken one changes nothing.");
ABSL_FLAG(bool, allow_unauthenticated, false,
          "Serve everybody who reaches --host, though it is not loopback and nobody has to say who he is.");
ABSL_FLAG(bool, open_metrics, false,
          "Whoever reaches --host may read /metrics without a key, as on loopback; it tells sums over all tenants.");
ABSL_FLAG(
    std::string, ssl_certfile, "",
    "TLS for clients: PEM file with the server's certificate and its chain; needs --ssl_keyfile. The files of TLS "
    "are read again when they are replaced.");
ABSL_FLAG(std::string, ssl_keyfile, "", "TLS for clients: PEM file with the key of --ssl_certfile.");
ABSL_FLAG(
    std::string, ssl_ca_certs, "",
    "TLS for clients: PEM file of the CA that every client must have a certificate of; empty = none is asked for.");
ABSL_FLAG(
    std::string, cluster_certfile, "",
    "Mutual TLS with workers on other hosts: PEM file with this coordinator's certificate, which has the URI name "
    "spiffe://ANYTHING/coordinator; needs --cluster_keyfile and --cluster_ca_certs, and workers with theirs.");
ABSL_FLAG(std::string, cluster_keyfile, "", "Mutual TLS with workers: PEM file with the key of --cluster_certfile.");
ABSL_FLAG(std::string, cluster_ca_certs, "",
          "Mutual TLS with workers: PEM file of the CA that signs the cluster's certificates, and nothing else.");
ABSL_FLAG(std::string, port_file, "",
          "File that receives the gRPC port, written in one piece once the first request can be served.");
ABSL_FLAG(std::string, workers, "local:1",
          "local:N starts N workers on this machine and replaces them when they die; host:port,host:port,... dials "
          "workers that run "
          "already, in rank order, one replica after the other.");
ABSL_FLAG(
    int32_t, tensor_parallel_size, 0,
    "Ranks that share one copy of the model; 0 = all workers. Fewer than the workers: every so many of them, in the "
    "order given, are one replica, and requests are spread over the replicas.");
ABSL_FLAG(
    bool, enable_expert_parallel, false,
    "Of a model with a mixture of experts each rank holds whole experts instead of a part of every one. The output "
    "is the same to the bit on 1, 2 and 4 ranks; the ranks exchange four times as much after such a layer. A draft "
    "model is not concerned.");
ABSL_FLAG(
    std::string, collective, "auto",
    "How ranks exchange sums: shm (one host), gloo (TCP), nccl (GPUs), or auto: nccl if all ranks compute on GPUs, "
    "else shm if all are on one host, else gloo. On GPUs shm and gloo go through host memory: slow, and to the bit "
    "what CPUs do.");
ABSL_FLAG(std::string, worker_binary, "",
          "Worker program of --workers=local:N; default: the one built with this coordinator.");
ABSL_FLAG(std::string, worker_device, "cpu",
          "What each local worker computes on: cpu, auto, or cuda: rank N takes GPU N.");
ABSL_FLAG(int32_t, worker_threads, 0, "Threads of each local worker; 0 = cores / N.");
ABSL_FLAG(absl::Duration, worker_connect_timeout, absl::Seconds(10),
          "How long to try to reach a worker, which may start later than the coordinator.");
ABSL_FLAG(absl::Duration, worker_load_timeout, absl::Minutes(10),
          "How long loading the model may go without any news of any worker.");
ABSL_FLAG(absl::Duration, collective_timeout, absl::Seconds(30),
          "How long a rank waits for the others within one exchange.");
ABSL_FLAG(absl::Duration, step_deadline, absl::Seconds(30),
          "A step that takes longer than this, and than 8 times its predicted time, means that a rank hangs: the "
          "replica is replaced.");
ABSL_FLAG(std::string, dtype, "auto", "Type to compute with: auto (the checkpoint's), float32, float16 or bfloat16.");
ABSL_FLAG(int32_t, max_model_len, 0,
          "Longest context in tokens, prompt and output; 0 = what the model was made for. More is served where its "
          "rope can grow.");
ABSL_FLAG(int32_t, max_num_seqs, 256, "Sequences that are computed together at most.");
ABSL_FLAG(int32_t, max_num_batched_tokens, 2048,
          "Tokens computed by one step at most; longer prompts are computed in chunks.");
ABSL_FLAG(
    int32_t, target_step_ms, -1,
    "Time that a step shall take at most where prompts are computed beside running requests: it says how much of "
    "a prompt goes into a step. 0 = no limit but --max_num_batched_tokens: most tokens per second; -1 = 1.6 times "
    "what the step takes without prompts, more if many requests wait for their first token.");
ABSL_FLAG(int32_t, max_queue_len, 1024,
          "Requests that may wait; more are refused with RESOURCE_EXHAUSTED and a hint when to come back (trailer "
          "retry-after-ms).");
ABSL_FLAG(int64_t, max_queue_tokens, 1 << 20, "Prompt tokens that waiting requests may have together, likewise.");
ABSL_FLAG(int64_t, max_queue_bytes, 256 << 20, "Memory that waiting requests may take together, likewise.");
ABSL_FLAG(int32_t, max_logprobs, 20, "Most log-probabilities per token that a request may ask for.");
ABSL_FLAG(int32_t, block_size, 16, "Tokens per block of the KV cache.");
ABSL_FLAG(std::string, scheduling_policy, "fcfs",
          "Who runs next: fcfs (first come, first served), priority (lower GenerateRequest.priority first, also when "
          "blocks run "
          "out), or fair (the tenant that had the fewest tokens, by weight).");
ABSL_FLAG(
    bool, enable_prefix_caching, true,
    "Keep the KV blocks of ended requests while there is room and share them with later prompts that begin alike.");
ABSL_FLAG(double, gpu_memory_utilization, 0.9,
          "Share of the memory left beside the weights that the KV cache may take; of the host's memory where workers "
          "compute on CPUs.");
ABSL_FLAG(uint64_t, kv_cache_memory_bytes, 0,
          "Bytes of KV cache per rank, instead of --gpu_memory_utilization; 0 = by that.");
ABSL_FLAG(uint64_t, swap_space_bytes, 0,
          "Host memory per rank for the KV blocks of preempted sequences; 0 = they are computed again.");
ABSL_FLAG(
    std::string, preemption_mode, "auto",
    "What becomes of the blocks of a preempted request: swap (to host memory, while there is room), recompute, or auto "
    "(what the measured rates make cheaper).");
ABSL_FLAG(int32_t, max_preemptions_per_request, 8,
          "How often a request may lose its place for want of KV blocks. After that it comes back only when its worst "
          "case fits, and then keeps its place until its end, before all others. 0 = so from the start: nobody is "
          "preempted, and fewer run.");
ABSL_FLAG(int32_t, preempt_every_steps, 0,
          "Testing aid: the request that runs last gives way at every so many steps, though there is room; 0 = never.");
ABSL_FLAG(
    std::string, speculative_method, "none",
    "Guess the next tokens and check them in one step: none, ngram (what followed the last tokens when they stood "
    "earlier in prompt or output), or draft_model (--speculative_model). Never changes a token or log-prob.");
ABSL_FLAG(std::string, speculative_model, "",
          "draft_model: directory of a smaller model with the same vocabulary, on every worker's host.");
ABSL_FLAG(int32_t, num_speculative_tokens, 4,
          "Most tokens guessed at once for a sequence, 1 to 16; fewer where guesses were wrong lately.");
ABSL_FLAG(int32_t, prompt_lookup_min, 2, "ngram: least number of last tokens that must stand earlier.");
ABSL_FLAG(int32_t, prompt_lookup_max, 5, "ngram: most tokens that are compared; the longest match wins.");
ABSL_FLAG(uint32_t, num_device_blocks_override, 0, "At most so many KV blocks, however many fit; 0 = as many as fit.");
ABSL_FLAG(double, peak_bandwidth_gbs, 0,
          "Memory bandwidth of one worker's device in GB/s, for the share that steps use of it (MBU); 0 = not known, "
          "then it is not reported.");
ABSL_FLAG(double, peak_tflops, 0,
          "What one worker's device computes at most in the model's dtype, in TFLOP/s, for the share that steps use of "
          "it (MFU); 0 = not known.");
ABSL_FLAG(absl::Duration, shutdown_timeout, absl::Seconds(15),
          "After SIGTERM or SIGINT: how long running requests may go on before they are ended. A second signal ends at "
          "once.");

namespace quire {
namespace {

// At 9 bytes each they fit a session message.
constexpr int64_t kStepLogprobsMax = 6 << 20;

absl::Status CheckRange(const char* flag, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, " must be from ", least, " to ", most));
}

// What is said of the workers' devices.
absl::Status CheckDevice() {
  const double utilization = absl::GetFlag(FLAGS_gpu_memory_utilization);
  if (!(utilization > 0 && utilization <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--gpu_memory_utilization=", utilization, " must be over 0 and at most 1"));
  }
  const struct {
    const char* name;
    double value;
  } peaks[] = {{"peak_bandwidth_gbs", absl::GetFlag(FLAGS_peak_bandwidth_gbs)},
               {"peak_tflops", absl::GetFlag(FLAGS_peak_tflops)}};
  for (const auto& peak : peaks) {
    if (peak.value >= 0 && peak.value <= 1e9) continue;
    return absl::InvalidArgumentError(absl::StrCat("--", peak.name, "=", peak.value, " must be from 0 to 1e9"));
  }
  return absl::OkStatus();
}

absl::StatusOr<scheduler::Policy> ParsePolicy(const std::string& name) {
  if (name == "fcfs") return scheduler::Policy::kFcfs;
  if (name == "priority") return scheduler::Policy::kPriority;
  if (name == "fair") return scheduler::Policy::kFair;
  return absl::InvalidArgumentError(absl::StrCat("--scheduling_policy=", name, " must be fcfs, priority or fair"));
}

absl::StatusOr<scheduler::PreemptionMode> ParsePreemptionMode(const std::string& name) {
  if (name == "auto") return scheduler::PreemptionMode::kAuto;
  if (name == "swap") return scheduler::PreemptionMode::kSwap;
  if (name == "recompute") return scheduler::PreemptionMode::kRecompute;
  return absl::InvalidArgumentError(absl::StrCat("--preemption_mode=", name, " must be auto, swap or recompute"));
}

absl::StatusOr<spec::Method> ParseSpeculativeMethod(const std::string& name) {
  if (name == "none") return spec::Method::kNone;
  if (name == "ngram") return spec::Method::kNgram;
  if (name == "draft_model") return spec::Method::kDraftModel;
  return absl::InvalidArgumentError(absl::StrCat("--speculative_method=", name, " must be none, ngram or draft_model"));
}

// Rows of logits in one step: drafts share those of max_num_seqs sequences, but a few sequences may have some each.
// Requires: CheckFlags found nothing wrong.
int64_t MaxLogitRows() {
  const int64_t seqs = absl::GetFlag(FLAGS_max_num_seqs);
  if (*ParseSpeculativeMethod(absl::GetFlag(FLAGS_speculative_method)) == spec::Method::kNone) return seqs;
  return std::max<int64_t>(seqs, std::min<int64_t>(64, seqs * (1 + absl::GetFlag(FLAGS_num_speculative_tokens))));
}

// Mutual TLS with workers that are dialled, if its files are named.
absl::Status SetClusterTls(const cluster::WorkerAddresses& workers, cluster::FormationOptions* formation) {
  const proto::ClusterTlsFiles files = {absl::GetFlag(FLAGS_cluster_certfile), absl::GetFlag(FLAGS_cluster_keyfile),
                                        absl::GetFlag(FLAGS_cluster_ca_certs)};
  if (!files.enabled()) return absl::OkStatus();
  if (workers.num_local > 0) {
    return absl::InvalidArgumentError(
        "--cluster_certfile is for workers on other hosts; those of --workers=local:N are reached by sockets in a "
        "directory that only this user can enter, without TLS");
  }
  if (absl::Status status = proto::CheckClusterTls(files, proto::ClusterRole::kCoordinator); !status.ok())
    return status;
  formation->credentials = proto::CoordinatorCredentials(files);
  return absl::OkStatus();
}

// `path` without slashes at its end, and from the root: a worker need not share our working directory.
std::string AbsolutePath(const std::string& path) {
  std::unique_ptr<char, decltype(&free)> resolved(realpath(path.c_str(), nullptr), free);
  return resolved == nullptr ? path : std::string(resolved.get());
}

}  // namespace

// The flags of this file with their values, on one line.
std::string EffectiveFlags() {
  std::vector<std::string> flags;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (absl::EndsWith(flag->Filename(), kFlagsFile))
      flags.push_back(absl::StrCat("--", name, "=", flag->CurrentValue()));
  }
  std::sort(flags.begin(), flags.end());
  return absl::StrJoin(flags, " ");
}

absl::Status CheckFlags() {
  if (absl::GetFlag(FLAGS_model).empty()) return absl::InvalidArgumentError("--model=DIR is required; see --help");
  if (absl::Status s = ParsePreemptionMode(absl::GetFlag(FLAGS_preemption_mode)).status(); !s.ok()) return s;
  if (absl::Status s = ParsePolicy(absl::GetFlag(FLAGS_scheduling_policy)).status(); !s.ok()) return s;
  const absl::StatusOr<spec::Method> method = ParseSpeculativeMethod(absl::GetFlag(FLAGS_speculative_method));
  if (!method.ok()) return method.status();
  if ((*method == spec::Method::kDraftModel) == absl::GetFlag(FLAGS_speculative_model).empty()) {
    return absl::InvalidArgumentError("--speculative_method=draft_model and --speculative_model=DIR go together");
  }
  const struct {
    const char* name;
    int64_t value, least, most;
  } ranges[] = {
      {"port", absl::GetFlag(FLAGS_port), -1, 65535},
      {"grpc_port", absl::GetFlag(FLAGS_grpc_port), 0, 65535},
      {"max_connections", absl::GetFlag(FLAGS_max_connections), 1, 1 << 20},
      {"tensor_parallel_size", absl::GetFlag(FLAGS_tensor_parallel_size), 0, cluster::kMaxWorkers},
      {"worker_threads", absl::GetFlag(FLAGS_worker_threads), 0, 1024},
      {"max_model_len", absl::GetFlag(FLAGS_max_model_len), 0, 16 << 20},
      {"max_num_seqs", absl::GetFlag(FLAGS_max_num_seqs), 1, 65536},
      {"max_num_batched_tokens", absl::GetFlag(FLAGS_max_num_batched_tokens), 1, 1 << 20},
      {"target_step_ms", absl::GetFlag(FLAGS_target_step_ms), -1, 3'600'000},
      {"preempt_every_steps", absl::GetFlag(FLAGS_preempt_every_steps), 0, 1 << 20},
      {"max_preemptions_per_request", absl::GetFlag(FLAGS_max_preemptions_per_request), 0, 1 << 20},
      {"max_queue_len", absl::GetFlag(FLAGS_max_queue_len), 1, 1 << 20},
      {"max_queue_tokens", absl::GetFlag(FLAGS_max_queue_tokens), 1, int64_t{1} << 40},
      {"max_queue_bytes", absl::GetFlag(FLAGS_max_queue_bytes), 1, int64_t{1} << 40},
      {"max_logprobs", absl::GetFlag(FLAGS_max_logprobs), 0, 1024},
      {"block_size", absl::GetFlag(FLAGS_block_size), 1, 1024},
      {"num_speculative_tokens", absl::GetFlag(FLAGS_num_speculative_tokens), 1, spec::kMaxDrafts},
      {"prompt_lookup_max", absl::GetFlag(FLAGS_prompt_lookup_max), 1, spec::kMaxLookup},
      {"prompt_lookup_min", absl::GetFlag(FLAGS_prompt_lookup_min), 1, absl::GetFlag(FLAGS_prompt_lookup_max)},
  };
  for (const auto& range : ranges) {
    const absl::Status status = CheckRange(range.name, range.value, range.least, range.most);
    if (!status.ok()) return status;
  }
  if (absl::GetFlag(FLAGS_max_num_batched_tokens) < absl::GetFlag(FLAGS_max_num_seqs)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--max_num_batched_tokens=", absl::GetFlag(FLAGS_max_num_batched_tokens), " must be at least --max_num_seqs=",
        absl::GetFlag(FLAGS_max_num_seqs), ", so that every running sequence gets its token in a step"));
  }
  // A step's answer is one message.
  const int64_t logprobs =
      int64_t{absl::GetFlag(FLAGS_max_num_batched_tokens)} * (1 + absl::GetFlag(FLAGS_max_logprobs));
  if (logprobs > kStepLogprobsMax) {
    return absl::InvalidArgumentError(absl::StrCat("--max_num_batched_tokens x (1 + --max_logprobs) is ", logprobs,
                                                   ", must be at most ", kStepLogprobsMax));
  }
  if (absl::Status status = CheckDevice(); !status.ok()) return status;
  const struct {
    const char* name;
    absl::Duration value;
  } durations[] = {
      {"worker_connect_timeout", absl::GetFlag(FLAGS_worker_connect_timeout)},
      {"worker_load_timeout", absl::GetFlag(FLAGS_worker_load_timeout)},
      {"collective_timeout", absl::GetFlag(FLAGS_collective_timeout)},
      {"step_deadline", absl::GetFlag(FLAGS_step_deadline)},
  };
  for (const auto& duration : durations) {
    // A day is beyond every use, and fits the protocol's milliseconds.
    if (duration.value >= absl::Milliseconds(1) && duration.value <= absl::Hours(24)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--", duration.name, "=", absl::FormatDuration(duration.value), " must be from 1ms to 24h"));
  }
  return absl::OkStatus();
}

std::string ServedModelName() {
  if (!absl::GetFlag(FLAGS_served_model_name).empty()) return absl::GetFlag(FLAGS_served_model_name);
  std::string path = absl::GetFlag(FLAGS_model);
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

// One for each replica.
absl::StatusOr<std::vector<cluster::GrpcWorkerGroupOptions>> GroupOptions() {
  absl::StatusOr<cluster::WorkerAddresses> workers = cluster::ParseWorkerAddresses(absl::GetFlag(FLAGS_workers));
  if (!workers.ok()) return workers.status();
  const absl::StatusOr<std::vector<cluster::WorkerAddresses>> replicas =
      cluster::GroupByReplica(*workers, absl::GetFlag(FLAGS_tensor_parallel_size));
  if (!replicas.ok()) return replicas.status();
  cluster::GrpcWorkerGroupOptions options;
  options.local.num_on_host = workers->num_local;
  options.local.binary = absl::GetFlag(FLAGS_worker_binary);
  options.local.num_threads = absl::GetFlag(FLAGS_worker_threads);
  options.local.device = absl::GetFlag(FLAGS_worker_device);
  cluster::FormationOptions& formation = options.formation;
  if (absl::Status status = SetClusterTls(*workers, &formation); !status.ok()) return status;
  formation.collective = absl::GetFlag(FLAGS_collective);
  formation.connect_timeout = absl::GetFlag(FLAGS_worker_connect_timeout);
  formation.stall_timeout = absl::GetFlag(FLAGS_worker_load_timeout);
  formation.collective_timeout = absl::GetFlag(FLAGS_collective_timeout);
  formation.load.model_dir = AbsolutePath(absl::GetFlag(FLAGS_model));
  formation.load.dtype = absl::GetFlag(FLAGS_dtype);
  formation.load.block_size = static_cast<uint32_t>(absl::GetFlag(FLAGS_block_size));
  formation.load.max_num_seqs = static_cast<uint32_t>(absl::GetFlag(FLAGS_max_num_seqs));
  formation.load.max_num_batched_tokens = static_cast<uint32_t>(absl::GetFlag(FLAGS_max_num_batched_tokens));
  formation.load.max_model_len = static_cast<uint32_t>(absl::GetFlag(FLAGS_max_model_len));
  formation.load.memory_utilization = absl::GetFlag(FLAGS_gpu_memory_utilization);
  formation.load.kv_cache_memory_bytes = absl::GetFlag(FLAGS_kv_cache_memory_bytes);
  formation.load.swap_space_bytes = absl::GetFlag(FLAGS_swap_space_bytes);
  if (!absl::GetFlag(FLAGS_speculative_model).empty()) {
    formation.load.speculative_model = AbsolutePath(absl::GetFlag(FLAGS_speculative_model));
  }
  formation.load.enable_expert_parallel = absl::GetFlag(FLAGS_enable_expert_parallel);
  formation.load.max_logit_rows = static_cast<uint32_t>(MaxLogitRows());
  formation.load.num_device_blocks_override = absl::GetFlag(FLAGS_num_device_blocks_override);
  std::vector<cluster::GrpcWorkerGroupOptions> groups;
  for (size_t r = 0; r < replicas->size(); ++r) {
    options.workers = (*replicas)[r];
    if (replicas->size() > 1) options.log_prefix = absl::StrCat("[replica ", r, "] ");
    // Replicas of one host divide its memory among themselves, as the ranks of one replica do.
    options.formation.load.memory_utilization =
        absl::GetFlag(FLAGS_gpu_memory_utilization) / cluster::NumOnSameHost(*replicas, r);
    groups.push_back(options);
  }
  return groups;
}

// Requires: CheckFlags found nothing wrong.
engine::EngineOptions EngineOptions() {
  engine::EngineOptions options;
  options.max_num_seqs = absl::GetFlag(FLAGS_max_num_seqs);
  options.max_num_batched_tokens = absl::GetFlag(FLAGS_max_num_batched_tokens);
  options.target_step_ms = absl::GetFlag(FLAGS_target_step_ms);
  options.preempt_every_steps = absl::GetFlag(FLAGS_preempt_every_steps);
  options.max_preemptions_per_request = absl::GetFlag(FLAGS_max_preemptions_per_request);
  options.max_queue_len = absl::GetFlag(FLAGS_max_queue_len);
  options.max_queue_tokens = absl::GetFlag(FLAGS_max_queue_tokens);
  options.max_queue_bytes = absl::GetFlag(FLAGS_max_queue_bytes);
  options.enable_prefix_caching = absl::GetFlag(FLAGS_enable_prefix_caching);
  options.preemption_mode = *ParsePreemptionMode(absl::GetFlag(FLAGS_preemption_mode));
  options.scheduling_policy = *ParsePolicy(absl::GetFlag(FLAGS_scheduling_policy));
  options.min_step_deadline = absl::GetFlag(FLAGS_step_deadline);
  options.max_logit_rows = MaxLogitRows();
  options.spec.method = *ParseSpeculativeMethod(absl::GetFlag(FLAGS_speculative_method));
  options.spec.num_speculative_tokens = absl::GetFlag(FLAGS_num_speculative_tokens);
  options.spec.prompt_lookup_min = absl::GetFlag(FLAGS_prompt_lookup_min);
  options.spec.prompt_lookup_max = absl::GetFlag(FLAGS_prompt_lookup_max);
  return options;
}

frontend::ApiOptions ApiOptions() {
  frontend::ApiOptions options;
  options.served_model_name = ServedModelName();
  options.model_path = absl::GetFlag(FLAGS_model);
  options.version = kVersion;
  options.max_logprobs = absl::GetFlag(FLAGS_max_logprobs);
  options.priorities = absl::GetFlag(FLAGS_scheduling_policy) == "priority";
  options.prefix_caching = absl::GetFlag(FLAGS_enable_prefix_caching);
  options.max_model_len = absl::GetFlag(FLAGS_max_model_len);
  options.max_num_seqs = absl::GetFlag(FLAGS_max_num_seqs);
  options.max_num_batched_tokens = absl::GetFlag(FLAGS_max_num_batched_tokens);
  options.peak_bandwidth_gbs = absl::GetFlag(FLAGS_peak_bandwidth_gbs);
  options.peak_tflops = absl::GetFlag(FLAGS_peak_tflops);
  return options;
}

http::HttpServerOptions HttpOptions() {
  http::HttpServerOptions options;
  options.host = absl::GetFlag(FLAGS_host);
  options.port = absl::GetFlag(FLAGS_port);
  options.max_connections = absl::GetFlag(FLAGS_max_connections);
  options.allowed_origins = absl::StrSplit(absl::GetFlag(FLAGS_allowed_origins), ',', absl::SkipWhitespace());
  return options;
}

frontend::ServerOptions ServerOptions() {
  frontend::ServerOptions options;
  options.host = absl::GetFlag(FLAGS_host);
  options.port = absl::GetFlag(FLAGS_grpc_port);
  return options;
}

}  // namespace quire
