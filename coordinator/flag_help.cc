#include "coordinator/flag_help.h"

#include <map>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "coordinator/coordinator_flags.h"

namespace quire {
namespace {

constexpr size_t kColumns = 100;
constexpr char kIndent[] = "      ";

struct Group {
  const char* title;
  std::vector<const char*> flags;
};

const std::vector<Group>& Groups() {
  static const auto* const groups = new std::vector<Group>{
      {"model",
       {"model", "served_model_name", "tokenizer", "chat_template", "skip_tokenizer_init", "dtype", "max_model_len"}},
      {"clients",
       {"host", "port", "grpc_port", "http_port_file", "port_file", "max_connections", "allowed_origins",
        "max_logprobs", "shutdown_timeout"}},
      {"keys and TLS",
       {"api_key_file", "allow_unauthenticated", "open_metrics", "ssl_certfile", "ssl_keyfile", "ssl_ca_certs",
        "cluster_certfile", "cluster_keyfile", "cluster_ca_certs"}},
      {"workers",
       {"workers", "tensor_parallel_size", "enable_expert_parallel", "collective", "worker_binary", "worker_device",
        "worker_threads", "worker_connect_timeout", "worker_load_timeout", "collective_timeout", "step_deadline"}},
      {"scheduling",
       {"max_num_seqs", "max_num_batched_tokens", "target_step_ms", "scheduling_policy", "preemption_mode",
        "max_preemptions_per_request", "preempt_every_steps"}},
      {"the queue", {"max_queue_len", "max_queue_tokens", "max_queue_bytes"}},
      {"memory",
       {"gpu_memory_utilization", "kv_cache_memory_bytes", "swap_space_bytes", "block_size",
        "num_device_blocks_override", "enable_prefix_caching"}},
      {"speculation",
       {"speculative_method", "speculative_model", "num_speculative_tokens", "prompt_lookup_min", "prompt_lookup_max"}},
      {"reports", {"peak_bandwidth_gbs", "peak_tflops"}},
  };
  return *groups;
}

// `text` in lines of at most kColumns, each after kIndent.
std::string Wrapped(absl::string_view text) {
  std::string lines, line;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (!line.empty() && sizeof(kIndent) + line.size() + word.size() > kColumns) {
      absl::StrAppend(&lines, kIndent, line, "\n");
      line.clear();
    }
    absl::StrAppend(&line, line.empty() ? "" : " ", word);
  }
  return absl::StrCat(lines, kIndent, line, "\n");
}

std::string Described(const absl::CommandLineFlag& flag) {
  std::string value = flag.DefaultValue();
  if (value.empty()) value = "\"\"";
  return absl::StrCat("    --", flag.Name(), " (default: ", value, ")\n", Wrapped(flag.Help()));
}

}  // namespace

bool TakeHelp(std::vector<char*>* words) {
  for (auto it = words->begin(); it != words->end(); ++it) {
    const absl::string_view word = *it;
    if (word == "--") return false;
    if (word != "--help" && word != "-help") continue;
    words->erase(it);
    return true;
  }
  return false;
}

std::string GroupedHelp(const std::string& usage) {
  std::map<std::string, const absl::CommandLineFlag*> ours;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (absl::EndsWith(flag->Filename(), kFlagsFile)) ours.emplace(std::string(name), flag);
  }
  std::string help = absl::StrCat(usage, "\n\nFlags from ", kFlagsFile, ", by what they are about:\n");
  for (const Group& group : Groups()) {
    absl::StrAppend(&help, "\n", group.title, ":\n");
    for (const char* name : group.flags) {
      const auto it = ours.find(name);
      if (it == ours.end()) continue;
      help += Described(*it->second);
      ours.erase(it);
    }
  }
  if (!ours.empty()) help += "\nother:\n";
  for (const auto& [name, flag] : ours) help += Described(*flag);
  return help;
}

}  // namespace quire
