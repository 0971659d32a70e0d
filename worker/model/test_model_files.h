// A golden model directory taken apart for a test to change, and written back. Tests only; any thread.
#ifndef QUIRE_WORKER_MODEL_TEST_MODEL_FILES_H_
#define QUIRE_WORKER_MODEL_TEST_MODEL_FILES_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace quire::worker {

std::string ReadFile(const std::string& path);
void WriteFile(const std::string& path, const std::string& content);

struct ModelFiles {
  nlohmann::json config;
  nlohmann::json header;
  std::string data;

  // Of tests/goldens/NAME, which has its weights in one file.
  explicit ModelFiles(const std::string& name);

  std::string Safetensors() const;

  // Appends a tensor of zeros.
  void Add(const std::string& name, const std::vector<int64_t>& shape);

  // Gives a tensor's bytes to a name that the model ignores. Requires: gpt2 or llama.
  void Hide(const std::string& name);
};

// An empty directory of the test's own.
std::string MakeDir(const std::string& name);

// The files in such a directory.
std::string WriteDir(const std::string& name, const ModelFiles& files);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_TEST_MODEL_FILES_H_
