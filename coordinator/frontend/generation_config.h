// The defaults that a model brings along in generation_config.json, for the fields that a client leaves unset.
//
// Pure functions, any thread.
// Invariants:
//   F1  A default is within the limits of the field that it stands in for, so that a request never fails for what its
//   sender did not write.
#ifndef QUIRE_COORDINATOR_FRONTEND_GENERATION_CONFIG_H_
#define QUIRE_COORDINATOR_FRONTEND_GENERATION_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quire::frontend {

inline constexpr size_t kStopStringsMax = 16;
inline constexpr size_t kStopStringBytesMax = 1024;

struct GenerationDefaults {
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<uint32_t> top_k;
  std::optional<uint32_t> max_new_tokens;  // caps the default of max_tokens
  std::optional<uint32_t> min_new_tokens;  // of min_tokens, where max_tokens leaves room
  std::vector<std::string> stop_strings;   // of stop, where there is text to find them in
};

// Reads the keys that have a field of ours and ignores the rest; `do_sample` is ignored as vLLM does. An empty `json`
// has no defaults. What is not JSON or out of range is left out and named in *warnings.
GenerationDefaults ParseGenerationConfig(const std::string& json, std::vector<std::string>* warnings);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_GENERATION_CONFIG_H_
