#include "worker/model/test_model_files.h"

#include <glog/logging.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace quire::worker {

using nlohmann::json;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  CHECK(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

ModelFiles::ModelFiles(const std::string& name) {
  const std::string dir = "tests/goldens/" + name;
  config = json::parse(ReadFile(dir + "/config.json"));
  const std::string file = ReadFile(dir + "/model.safetensors");
  uint64_t size;
  std::memcpy(&size, file.data(), 8);
  header = json::parse(file.substr(8, size));
  data = file.substr(8 + size);
}

std::string ModelFiles::Safetensors() const {
  const std::string text = header.dump();
  const uint64_t size = text.size();
  return absl::StrCat(std::string(reinterpret_cast<const char*>(&size), 8), text, data);
}

void ModelFiles::Add(const std::string& name, const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t dim : shape) elements *= dim;
  header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {data.size(), data.size() + 4 * elements}}};
  data.append(4 * elements, '\0');
}

void ModelFiles::Hide(const std::string& name) {
  const bool is_gpt2 = config.at("model_type") == "gpt2";
  header[is_gpt2 ? "h.9.attn.bias" : "model.layers.9.self_attn.rotary_emb.inv_freq"] = header.at(name);
  header.erase(name);
}

std::string MakeDir(const std::string& name) {
  const std::string dir = absl::StrCat(::testing::TempDir(), "/load_model_", name);
  CHECK_EQ(std::system(absl::StrCat("rm -rf '", dir, "'").c_str()), 0);
  CHECK_EQ(mkdir(dir.c_str(), 0755), 0);
  return dir;
}

std::string WriteDir(const std::string& name, const ModelFiles& files) {
  const std::string dir = MakeDir(name);
  WriteFile(dir + "/config.json", files.config.dump());
  WriteFile(dir + "/model.safetensors", files.Safetensors());
  return dir;
}

}  // namespace quire::worker
