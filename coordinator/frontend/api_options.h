// What the server must know of what it serves, besides what a replica tells when it forms. Plain data.
#ifndef QUIRE_COORDINATOR_FRONTEND_API_OPTIONS_H_
#define QUIRE_COORDINATOR_FRONTEND_API_OPTIONS_H_

#include <cstdint>
#include <memory>
#include <string>

namespace quire::chat {
class ChatFormat;
}

namespace quire::metrics {
class Metrics;
}

namespace quire::frontend {

struct ApiOptions {
  std::string served_model_name;  // the only value of GenerateRequest.model that is not NOT_FOUND
  std::string model_path;         // for GetModelInfo only
  std::string version;            // for GetServerInfo only
  int32_t max_logprobs = 20;
  int64_t max_model_len = 0;   // tokens; 0 = the replica's
  int64_t max_num_seqs = 256;  // as given to the engine
  bool prefix_caching = true;
  bool priorities = false;                              // the engine's policy looks at GenerateRequest.priority
  int64_t max_num_batched_tokens = 0;                   // as given to the engine
  std::shared_ptr<const chat::ChatFormat> chat_format;  // null: conversations are refused
  metrics::Metrics* metrics = nullptr;                  // outlives the API; null: nothing is observed
  // Of one worker's device, for MBU and MFU; 0 = not known, then there are none.
  double peak_bandwidth_gbs = 0;  // 1e9 bytes/s
  double peak_tflops = 0;         // 1e12 operations/s
  std::string no_chat_reason = "the model has no chat template";
};

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_API_OPTIONS_H_
