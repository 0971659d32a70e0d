// How much memory a load takes at its peak: the weights and a tenth more. The kernel is the judge, not a clock: the process may
// have so much private memory (RLIMIT_DATA) and no more, and mapped files are not part of it.
//
// Of a made-up model; of a real one with QUIRE_LOAD_MEMORY_MODEL=DIR in the environment.
#include <glog/logging.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/backend.h"
#include "worker/model/fake_communicator.h"
#include "worker/model/inspect.h"
#include "worker/model/model.h"
#include "worker/model/test_model_files.h"

namespace quire::worker {
namespace {

// A figure of this process in /proc/self/status, in bytes.
int64_t StatusBytes(const std::string& key) {
  std::ifstream in("/proc/self/status");
  std::string word;
  while (in >> word) {
    if (word != key + ":") continue;
    int64_t kib = 0;
    in >> kib;
    return kib << 10;
  }
  LOG(FATAL) << key;
}

void SetLimit(rlim_t bytes) {
  rlimit limit;
  CHECK_EQ(getrlimit(RLIMIT_DATA, &limit), 0);
  limit.rlim_cur = bytes;
  CHECK_EQ(setrlimit(RLIMIT_DATA, &limit), 0);
}

// 166 million bfloat16 weights in two files that are holes, and so take no room on the disk.
std::string MakeModel() {
  using nlohmann::json;
  const std::string dir = MakeDir("load_memory");
  constexpr int64_t kHidden = 1024, kFfn = 4096, kVocab = 32000, kLayers = 8;
  json config = {{"architectures", {"LlamaForCausalLM"}},
                 {"model_type", "llama"},
                 {"hidden_size", kHidden},
                 {"intermediate_size", kFfn},
                 {"vocab_size", kVocab},
                 {"num_hidden_layers", kLayers},
                 {"num_attention_heads", 16},
                 {"hidden_act", "silu"},
                 {"max_position_embeddings", 4096},
                 {"tie_word_embeddings", false},
                 {"rms_norm_eps", 1e-5}};
  WriteFile(dir + "/config.json", config.dump());
  json header = json::object();
  int64_t end = 0;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t bytes = 2;
    for (const int64_t size : shape) bytes *= size;
    header[name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  };
  add("model.embed_tokens.weight", {kVocab, kHidden});
  add("lm_head.weight", {kVocab, kHidden});
  add("model.norm.weight", {kHidden});
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    for (const char* name : {"q", "k", "v", "o"})
      add(absl::StrCat(prefix, "self_attn.", name, "_proj.weight"), {kHidden, kHidden});
    for (const char* name : {"gate", "up"}) add(absl::StrCat(prefix, "mlp.", name, "_proj.weight"), {kFfn, kHidden});
    add(prefix + "mlp.down_proj.weight", {kHidden, kFfn});
    for (const char* name : {"input", "post_attention"})
      add(absl::StrCat(prefix, name, "_layernorm.weight"), {kHidden});
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t size = text.size();
  WriteFile(dir + "/model.safetensors", std::string(reinterpret_cast<const char*>(&size), 8) + text);
  CHECK_EQ(truncate((dir + "/model.safetensors").c_str(), 8 + size + end), 0);
  return dir;
}

absl::Status Load(const std::string& dir, int num_threads, std::unique_ptr<Model>* model,
                  std::unique_ptr<kernels::Backend>* backend, Communicator* comm) {
  kernels::CpuBackendOptions options;
  options.num_threads = num_threads;
  auto made = kernels::CreateCpuBackend(options);
  if (!made.ok()) return made.status();
  *backend = std::move(*made);
  LoadOptions load;
  load.model_dir = dir;
  load.max_num_batched_tokens = 1;  // what steps compute with is not of the load
  load.max_num_logit_rows = 1;
  auto loaded = LoadModel(load, backend->get(), comm);
  if (!loaded.ok()) return loaded.status();
  *model = std::move(*loaded);
  return absl::OkStatus();
}

TEST(LoadMemoryTest, APeakOfTheWeightsAndATenth) {
  pthread_attr_t attributes;  // stacks are private memory too, however little of them is used
  CHECK_EQ(pthread_attr_init(&attributes), 0);
  CHECK_EQ(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
  CHECK_EQ(pthread_setattr_default_np(&attributes), 0);
  const char* real = getenv("QUIRE_LOAD_MEMORY_MODEL");
  const std::string dir = real != nullptr ? real : MakeModel();
  InspectOptions inspect;
  inspect.model_dir = dir;
  const InspectReport report = InspectModel(inspect);
  ASSERT_TRUE(report.problems.empty()) << report.problems[0];
  const int64_t weights = report.ranks.at(0).matrix_bytes + report.ranks[0].vector_bytes;
  ASSERT_GT(weights, int64_t{300} << 20) << "too small to tell weights from what every process has";

  auto comms = MakeFakeGroup(1);
  std::unique_ptr<Model> model;
  std::unique_ptr<kernels::Backend> backend;
  const int64_t before = StatusBytes("VmData");
  SetLimit(before + weights * 9 / 10);
  EXPECT_TRUE(absl::IsResourceExhausted(Load(dir, 2, &model, &backend, comms[0].get()))) << "the limit does not bite";
  SetLimit(before + weights / 10 * 11);
  const absl::Status status = Load(dir, 2, &model, &backend, comms[0].get());
  SetLimit(RLIM_INFINITY);
  ASSERT_TRUE(status.ok()) << status;
  LOG(INFO) << dir << ": weights " << weights << ", private memory before " << before << " and after "
            << StatusBytes("VmData") << ", of it resident " << StatusBytes("RssAnon") << ", mapped files resident "
            << StatusBytes("RssFile");
  EXPECT_GE(StatusBytes("RssAnon"), weights) << "the weights are somewhere else";
}

}  // namespace
}  // namespace quire::worker
