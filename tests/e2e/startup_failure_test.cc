// What cannot start says so in one line that names the file, field or address, with an exit code that is not 0, and in
// bounded time.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

namespace fs = std::filesystem;

std::string CopyOfDemo() {
  const std::string dir = TestDir("model");
  for (const auto& entry : fs::directory_iterator(kDemoModel)) {
    fs::copy_file(fs::canonical(entry.path()), fs::path(dir) / entry.path().filename());
    fs::permissions(fs::path(dir) / entry.path().filename(), fs::perms::owner_write, fs::perm_options::add);
  }
  return dir;
}

std::string Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void Write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// Rewrites the JSON header of a safetensors file; the data stays.
void EditHeader(const std::string& dir, const std::function<std::string(std::string)>& edit) {
  const std::string path = dir + "/model.safetensors";
  const std::string bytes = Read(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const std::string data = bytes.substr(8 + length);
  const std::string header = edit(bytes.substr(8, length));
  length = header.size();
  Write(path, std::string(reinterpret_cast<const char*>(&length), 8) + header + data);
}

struct FailCase {
  std::string name;
  std::function<void(const std::string& dir)> damage;
  std::vector<std::string> mentions;
};

// Expects a coordinator with these flags to exit with a failure and to say all of `mentions`.
void ExpectFailure(const std::string& name, const std::vector<std::string>& flags,
                   const std::vector<std::string>& mentions) {
  const std::string dir = TestDir("fail");
  std::vector<std::string> argv = {CoordinatorBinary(), "--grpc_port=0", "--port=0",
                                   absl::StrCat("--port_file=", dir, "/port")};
  argv.insert(argv.end(), flags.begin(), flags.end());
  Process process(argv, dir + "/log");
  const int code = process.Wait(absl::Seconds(40));
  const std::string log = process.Log();
  EXPECT_GT(code, 0) << name << " still runs or succeeded\n" << log;
  EXPECT_LT(code, 128) << name << " died of a signal\n" << log;
  for (const std::string& word : mentions)
    EXPECT_TRUE(absl::StrContains(log, word)) << name << " does not say " << word << "\n" << log;
}

std::vector<FailCase> ModelCases() {
  const std::string first = "model.layers.0.self_attn.q_proj.weight";
  return {
      {"no config", [](const std::string& d) { fs::remove(d + "/config.json"); }, {"config.json"}},
      {"broken config", [](const std::string& d) { Write(d + "/config.json", "{\"hidden_size\": "); }, {"config.json"}},
      {"unknown architecture",
       [](const std::string& d) {
         Write(d + "/config.json",
               absl::StrReplaceAll(Read(d + "/config.json"), {{"LlamaForCausalLM", "NobodyForCausalLM"}}));
       },
       {"NobodyForCausalLM"}},
      {"no weights", [](const std::string& d) { fs::remove(d + "/model.safetensors"); }, {"model.safetensors"}},
      {"truncated weights",
       [](const std::string& d) {
         fs::resize_file(d + "/model.safetensors", fs::file_size(d + "/model.safetensors") - 1000);
       },
       {"model.safetensors"}},
      {"header length lies",
       [](const std::string& d) {
         std::string b = Read(d + "/model.safetensors");
         b[6] = '\x7f';
         Write(d + "/model.safetensors", b);
       },
       {"model.safetensors"}},
      {"a tensor under another name",
       [first](const std::string& d) {
         EditHeader(d, [first](std::string h) {
           return absl::StrReplaceAll(h, {{first, "model.layers.0.self_attn.x_proj.weight"}});
         });
       },
       {"model.layers.0.self_attn."}},
      {"an offset past the end",
       [](const std::string& d) {
         EditHeader(d, [](std::string h) {
           const size_t at = h.find("\"data_offsets\":[") + 16;
           const size_t comma = h.find(',', at), end = h.find(']', comma);
           return h.replace(comma + 1, end - comma - 1, "999999999999");
         });
       },
       {"model.safetensors"}},
      {"a wrong shape",
       [](const std::string& d) {
         EditHeader(d, [](std::string h) {
           const size_t at = h.find("\"shape\":[") + 9;
           return h.insert(at, "1,");
         });
       },
       {"model.safetensors"}},
      {"broken tokenizer", [](const std::string& d) { Write(d + "/tokenizer.json", "[1, 2"); }, {"tokenizer.json"}},
      {"a tokenizer of the wrong kind",
       [](const std::string& d) { Write(d + "/tokenizer.json", "{\"model\": {\"type\": \"Nobody\"}}"); },
       {"tokenizer.json"}},
  };
}

TEST(StartupFailure, BrokenModelDirectories) {
  for (const FailCase& c : ModelCases()) {
    const std::string dir = CopyOfDemo();
    c.damage(dir);
    ExpectFailure(c.name, {absl::StrCat("--model=", dir), "--workers=local:2"}, c.mentions);
  }
}

TEST(StartupFailure, BadFlagsAndMissingModel) {
  ExpectFailure("no model flag", {}, {"--model"});
  ExpectFailure("no such directory", {"--model=nowhere/at/all"}, {"nowhere/at/all"});
  ExpectFailure("ranks do not divide the heads", {absl::StrCat("--model=", kDemoModel), "--workers=local:7"}, {"7"});
  ExpectFailure("workers nonsense", {absl::StrCat("--model=", kDemoModel), "--workers=local:x"}, {"workers"});
  ExpectFailure("unknown dtype", {absl::StrCat("--model=", kDemoModel), "--dtype=int3"}, {"int3"});
}

TEST(StartupFailure, HelpHasEveryFlagInAGroup) {
  const std::string command = absl::StrCat(CoordinatorBinary(), " --max_num_seqs=7 --help");
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string help;
  char buffer[4096];
  for (size_t n = 0; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) help.append(buffer, n);
  EXPECT_NE(pclose(pipe), 0);
  for (const char* part : {"\nmodel:\n", "\nclients:\n", "\nkeys and TLS:\n", "\n    --port (default: 8000)\n"}) {
    EXPECT_TRUE(absl::StrContains(help, part)) << part << help;
  }
  EXPECT_FALSE(absl::StrContains(help, "\nother:\n")) << "coordinator/flag_help.cc names no group of what comes below\n"
                                                      << help;
}

TEST(StartupFailure, APortInUse) {
  Cluster cluster({"--workers=local:1"});
  ExpectFailure("port in use", {absl::StrCat("--model=", kDemoModel), absl::StrCat("--grpc_port=", cluster.port())},
                {absl::StrCat(cluster.port())});
  ExpectFailure("HTTP port in use",
                {absl::StrCat("--model=", kDemoModel), absl::StrCat("--port=", cluster.http_port())},
                {absl::StrCat(cluster.http_port())});
  const std::string dir = TestDir("worker");
  Process worker({WorkerBinary(), absl::StrCat("--listen=127.0.0.1:", cluster.port())}, dir + "/log");
  EXPECT_EQ(worker.Wait(absl::Seconds(20)), 1) << worker.Log();
  EXPECT_TRUE(absl::StrContains(worker.Log(), absl::StrCat(cluster.port()))) << worker.Log();
}

TEST(StartupFailure, AWorkerHostThatDoesNotAnswer) {
  // A socket that is bound and never accepts.
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  socklen_t size = sizeof(address);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string host = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  ExpectFailure("silent worker host",
                {absl::StrCat("--model=", kDemoModel), absl::StrCat("--workers=", host), "--worker_connect_timeout=1s"},
                {host, "Connection refused"});
  close(fd);
}

TEST(StartupFailure, AnOpenDoorThatNobodyAskedFor) {
  const std::string model = absl::StrCat("--model=", kDemoModel);
  ExpectFailure("strangers", {model, "--host=0.0.0.0"},
                {"--host=0.0.0.0", "--api_key_file", "--allow_unauthenticated"});
  ExpectFailure("no key file", {model, "--api_key_file=/none"}, {"--api_key_file: /none: No such file"});
  ExpectFailure("half of TLS", {model, "--ssl_certfile=/none"}, {"--ssl_certfile and --ssl_keyfile go together"});
  ExpectFailure("half of the cluster's TLS", {model, "--workers=127.0.0.1:1", "--cluster_certfile=/none"},
                {"--cluster_certfile, --cluster_keyfile and --cluster_ca_certs go together"});
  const std::string dir = TestDir("worker");
  Process worker({WorkerBinary(), "--listen=0.0.0.0:0"}, dir + "/log");
  EXPECT_EQ(worker.Wait(absl::Seconds(20)), 1);
  EXPECT_TRUE(absl::StrContains(worker.Log(), "--listen=0.0.0.0:0 is open to other machines")) << worker.Log();
}

}  // namespace
}  // namespace quire::e2e
