// A model whose every layer has an attention window of 13 tokens, through real processes with fewer blocks than its
// contexts are long: the golden tokens of Hugging Face, and the same bytes whatever happens to blocks behind the window.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

constexpr char kModel[] = "tests/goldens/mistral_window";
constexpr int kVocab = 67;
constexpr int kContext = 320;  // tokens, 20 blocks

// A tensor of int32 of the golden file.
std::vector<uint32_t> GoldenIds(const std::string& name) {
  std::ifstream file(absl::StrCat(kModel, "/golden.safetensors"), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  const auto header = nlohmann::json::parse(bytes.substr(8, header_size));
  const auto& range = header.at(name).at("data_offsets");
  std::vector<uint32_t> ids((range[1].get<size_t>() - range[0].get<size_t>()) / 4);
  std::memcpy(ids.data(), bytes.data() + 8 + header_size + range[0].get<size_t>(), 4 * ids.size());
  return ids;
}

// Long prompts and long answers, greedy, seeded, several choices, beams; a third of the prompts begins alike.
quire::v1::GenerateRequest MixedRequest(int i) {
  std::mt19937 rng(7 + i);
  std::vector<uint32_t> ids = i % 3 == 0 ? GoldenIds("prompt_24") : std::vector<uint32_t>();
  const int length = 1 + static_cast<int>(rng() % 150);
  for (int k = 0; k < length; ++k) ids.push_back(3 + rng() % (kVocab - 3));
  const uint32_t room = kContext - static_cast<uint32_t>(ids.size());
  quire::v1::GenerateRequest request = IdsRequest(ids, std::min<uint32_t>(room, 20 + rng() % 120));
  quire::v1::SamplingParams* p = request.mutable_sampling_params();
  p->set_ignore_eos(true);
  p->set_logprobs(1);
  if (i % 7 == 2) {
    p->set_use_beam_search(true);
    p->set_beam_width(2);
    p->set_n(2);
  } else if (i % 2 == 1) {
    p->set_temperature(1.0f);
    p->set_seed(100 + i);
    if (i % 5 == 1) p->set_n(2);
  }
  return request;
}

std::vector<std::string> Fingerprints(Cluster* cluster, int num_requests, int at_once) {
  std::vector<std::string> prints(num_requests);
  std::vector<std::thread> clients;
  for (int c = 0; c < at_once; ++c) {
    clients.emplace_back([&, c] {
      for (int i = c; i < num_requests; i += at_once) {
        const Output out = cluster->Generate(MixedRequest(i));
        prints[i] = out.ok() ? Fingerprint(out) : out.status.error_message();
      }
    });
  }
  for (std::thread& t : clients) t.join();
  return prints;
}

std::vector<std::string> Flags(std::vector<std::string> more) {
  more.insert(more.begin(), {absl::StrCat("--model=", kModel), "--skip_tokenizer_init"});
  return more;
}

TEST(WindowTest, GoldenTokensWithFewerBlocksThanTheContextHas) {
  for (const char* ranks : {"--workers=local:1", "--workers=local:2"}) {
    Cluster cluster(
        Flags({ranks, "--num_device_blocks_override=8", "--max_num_seqs=4", "--max_num_batched_tokens=16"}));
    for (const int length : {7, 24}) {
      quire::v1::GenerateRequest request = IdsRequest(GoldenIds(absl::StrCat("prompt_", length)), 64);
      request.mutable_sampling_params()->set_ignore_eos(true);
      const Output out = cluster.Generate(request);
      ASSERT_TRUE(out.ok()) << out.status.error_message();
      EXPECT_EQ(absl::StrJoin(out.choices.at(0).output_ids(), " "),
                absl::StrJoin(GoldenIds(absl::StrCat("greedy_", length)), " "))
          << ranks;
    }
    // To the end of the context: 20 blocks' worth of tokens in 8.
    quire::v1::GenerateRequest request = IdsRequest(GoldenIds("prompt_200"), kContext - 200);
    request.mutable_sampling_params()->set_ignore_eos(true);
    const Output out = cluster.Generate(request);
    ASSERT_TRUE(out.ok()) << out.status.error_message();
    EXPECT_EQ(out.choices.at(0).output_ids_size(), kContext - 200);
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
  }
}

TEST(WindowTest, SameBytesWhateverBecomesOfTheBlocks) {
  constexpr int kRequests = 42;
  const std::string swap = absl::StrCat("--swap_space_bytes=", 64 << 20);
  std::vector<std::string> alone;
  {
    Cluster cluster(Flags({"--max_num_seqs=8", "--enable_prefix_caching=false"}));
    alone = Fingerprints(&cluster, kRequests, 1);
  }
  const std::vector<std::vector<std::string>> shapes = {
      {"--max_num_seqs=32"},
      {"--max_num_seqs=7", "--max_num_batched_tokens=7"},
      {"--workers=local:2", "--max_num_seqs=16", "--max_num_batched_tokens=64"},
      {"--num_device_blocks_override=40", "--max_num_seqs=32", "--max_num_batched_tokens=64", "--preempt_every_steps=6",
       swap},
      {"--preempt_every_steps=5", "--preemption_mode=recompute"},
      {"--preempt_every_steps=7", "--preemption_mode=swap", swap},
      {"--speculative_method=ngram"},
  };
  for (const std::vector<std::string>& shape : shapes) {
    Cluster cluster(Flags(shape));
    for (int turn = 0; turn < 2; ++turn) {  // the second time from the prefix cache
      const std::vector<std::string> together = Fingerprints(&cluster, kRequests, 16);
      for (int i = 0; i < kRequests; ++i) {
        EXPECT_EQ(together[i], alone[i]) << absl::StrJoin(shape, " ") << ", turn " << turn << ", request " << i;
      }
    }
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10))) << absl::StrJoin(shape, " ");
  }
}

}  // namespace
}  // namespace quire::e2e
