// bazel run //tools/models:inspect -- --model=DIR: what a model directory holds, what it takes to serve it, and everything that stands
// in the way. Exit code 0 if it can be served, 1 if not.
#include "worker/model/inspect.h"

#include <glog/logging.h>
#include <sys/stat.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "coordinator/text/tokenizer.h"
#include "tools/models/inspect_text.h"

ABSL_FLAG(std::string, model, "", "model directory, as Hugging Face has it");
ABSL_FLAG(int32_t, tensor_parallel_size, 1, "ranks that share the model");
ABSL_FLAG(bool, enable_expert_parallel, false, "ranks hold whole experts instead of parts of each");
ABSL_FLAG(int64_t, memory_bytes, 0, "memory of each rank, to say how many tokens fit beside the weights; 0: not said");
ABSL_FLAG(int64_t, block_size, 16, "tokens per block of the cache");
ABSL_FLAG(bool, tensors, false, "list every tensor");
ABSL_FLAG(bool, zeros, false, "count zeros: what pruning left. Reads all weights");

namespace {

bool Exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

// What the tokenizer is made of, or why there is none.
std::string DescribeTokenizer(const std::string& dir, std::string* problem) {
  const auto tokenizer = quire::text::Tokenizer::Load(dir);
  if (!tokenizer.ok()) {
    *problem = absl::StrCat("tokenizer: ", tokenizer.status().message(), " (--skip_tokenizer_init serves ids)");
    return "none that is understood";
  }
  std::string kind = "tiktoken";
  for (const char* file : {"vocab.json", "tokenizer.model", "tokenizer.json"}) {
    if (Exists(absl::StrCat(dir, "/", file))) kind = file;
  }
  return absl::StrCat(kind, ", ", (*tokenizer)->vocab_size(), " ids");
}

std::string DescribeTemplate(const std::string& dir) {
  for (const char* file : {"chat_template.jinja", "chat_template.json"}) {
    if (Exists(absl::StrCat(dir, "/", file))) return file;
  }
  std::ifstream in(dir + "/tokenizer_config.json");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto config = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const bool is_there = config.is_object() && config.contains("chat_template") && !config["chat_template"].is_null();
  return is_there ? "tokenizer_config.json" : "none in the directory";
}

}  // namespace

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  absl::SetProgramUsageMessage(
      "says what a model directory holds, what serving it takes, and all that stands in the way");
  absl::ParseCommandLine(argc, argv);
  quire::worker::InspectOptions options;
  options.model_dir = absl::GetFlag(FLAGS_model);
  options.world_size = absl::GetFlag(FLAGS_tensor_parallel_size);
  options.expert_parallel = absl::GetFlag(FLAGS_enable_expert_parallel);
  options.count_zeros = absl::GetFlag(FLAGS_zeros);
  quire::tools::InspectTextOptions text;
  text.memory_bytes = absl::GetFlag(FLAGS_memory_bytes);
  text.block_size = absl::GetFlag(FLAGS_block_size);
  text.list_tensors = absl::GetFlag(FLAGS_tensors);
  const bool is_good = !options.model_dir.empty() && options.world_size >= 1 && options.world_size <= 1024 &&
                       text.memory_bytes >= 0 && text.block_size >= 1 && text.block_size <= 512;
  if (!is_good) {
    std::cerr << "usage: inspect --model=DIR [--tensor_parallel_size=N] [--memory_bytes=N] [--block_size=N] "
                 "[--tensors] [--zeros]\n";
    return 2;
  }
  quire::worker::InspectReport report = quire::worker::InspectModel(options);
  std::string problem;
  std::cout << quire::tools::InspectText(report, text) << "tokenizer  "
            << DescribeTokenizer(options.model_dir, &problem) << "\ntemplate   " << DescribeTemplate(options.model_dir)
            << "\n";
  if (!problem.empty()) report.problems.push_back(problem);
  if (report.problems.empty()) {
    std::cout << "It can be served.\n";
    return 0;
  }
  std::cout << "It cannot be served as it is:\n";
  for (const std::string& line : report.problems) std::cout << "  - " << line << "\n";
  return 1;
}
