// Beam search through real processes against tests/goldens/beams.json (Hugging Face generate): alone, together with
// sampling traffic, prefilled in small chunks, under preemption of both kinds, on one and two ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

struct Search {
  quire::v1::GenerateRequest request;
  std::vector<std::vector<uint32_t>> texts;  // best first
  std::vector<double> scores;
  std::string name;
};

std::string EarlyStopping(const nlohmann::json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  return value.get<std::string>();
}

std::vector<Search> Searches(const std::string& model) {
  std::ifstream file("tests/goldens/beams.json");
  const nlohmann::json all = nlohmann::json::parse(file);
  std::vector<Search> out;
  for (const nlohmann::json& from : all["searches"]) {
    if (from["model"] != model) continue;
    Search s;
    s.request = IdsRequest(from["prompt"].get<std::vector<uint32_t>>(), from["max_tokens"].get<uint32_t>());
    quire::v1::SamplingParams* p = s.request.mutable_sampling_params();
    p->set_use_beam_search(true);
    p->set_beam_width(from["beam_width"].get<uint32_t>());
    p->set_n(p->beam_width());
    p->set_length_penalty(from["length_penalty"].get<float>());
    p->set_early_stopping(EarlyStopping(from["early_stopping"]));
    for (const nlohmann::json& id : from["stop_token_ids"]) p->add_stop_token_ids(id.get<uint32_t>());
    p->set_min_tokens(from["min_tokens"].get<uint32_t>());
    p->set_logprobs(0);
    s.texts = from["texts"].get<std::vector<std::vector<uint32_t>>>();
    s.scores = from["scores"].get<std::vector<double>>();
    s.name = absl::StrCat(model, " width ", p->beam_width(), " penalty ", p->length_penalty(), " early ",
                          p->early_stopping(), " prompt of ", from["prompt"].size());
    out.push_back(std::move(s));
  }
  return out;
}

void ExpectGolden(const Search& search, const Output& out) {
  ASSERT_TRUE(out.ok()) << search.name << ": " << out.status.error_message();
  ASSERT_EQ(out.choices.size(), search.texts.size()) << search.name;
  for (size_t i = 0; i < out.choices.size(); ++i) {
    EXPECT_EQ(absl::StrJoin(out.choices[i].output_ids(), " "), absl::StrJoin(search.texts[i], " "))
        << search.name << " beam " << i;
    if (!search.request.stream()) continue;
    EXPECT_EQ(absl::StrJoin(out.streamed_ids[i], " "), absl::StrJoin(search.texts[i], " ")) << search.name;
  }
}

// Sampling requests that keep the ranks busy beside the searches.
quire::v1::GenerateRequest OtherTraffic(int i) {
  quire::v1::GenerateRequest request = IdsRequest({11, 12, 13, static_cast<uint32_t>(20 + i % 60)}, 60);
  request.mutable_sampling_params()->set_temperature(1);
  request.mutable_sampling_params()->set_seed(i);
  request.mutable_sampling_params()->set_ignore_eos(true);
  if (i % 4 == 0) request.mutable_sampling_params()->set_n(3);
  return request;
}

std::vector<Output> RunTogether(Cluster* cluster, const std::vector<Search>& searches, int others) {
  std::vector<Output> out(searches.size());
  std::vector<std::thread> clients;
  for (int i = 0; i < others; ++i) {
    clients.emplace_back([cluster, i] { EXPECT_TRUE(cluster->Generate(OtherTraffic(i)).ok()); });
  }
  for (size_t i = 0; i < searches.size(); ++i) {
    clients.emplace_back([&, i] { out[i] = cluster->Generate(searches[i].request); });
  }
  for (std::thread& t : clients) t.join();
  return out;
}

class BeamTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::vector<std::string> Flags(std::vector<std::string> more) const {
    more.push_back(absl::StrCat("--model=tests/goldens/", GetParam()));
    more.push_back("--skip_tokenizer_init");
    return more;
  }
  std::vector<Search> searches_ = Searches(GetParam());
};

TEST_P(BeamTest, EqualsTransformersAlone) {
  ASSERT_EQ(searches_.size(), 54u);
  Cluster cluster(Flags({"--workers=local:1"}));
  for (Search& search : searches_) {
    search.request.set_stream(false);
    const Output out = cluster.Generate(search.request);
    ExpectGolden(search, out);
    for (size_t i = 0; out.ok() && i < out.choices.size(); ++i) {
      double sum = 0;
      for (const auto& position : out.choices[i].output_logprobs().positions()) sum += position.sampled().logprob();
      const double length = out.choices[i].output_ids_size();
      EXPECT_NEAR(sum / std::pow(length, search.request.sampling_params().length_penalty()), search.scores[i], 2e-5)
          << search.name << " beam " << i;
    }
  }
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
}

TEST_P(BeamTest, EqualsTransformersInEveryCompany) {
  struct Shape {
    int ranks, blocks, tokens, seqs;
    std::string preemption, prefix_caching;
  };
  for (const Shape& shape : {Shape{1, 40, 32, 32, "recompute", "true"}, Shape{2, 40, 64, 48, "swap", "true"},
                             Shape{2, 44, 256, 64, "auto", "false"}, Shape{1, 600, 256, 256, "auto", "true"}}) {
    Cluster cluster(Flags(
        {absl::StrCat("--workers=local:", shape.ranks), absl::StrCat("--num_device_blocks_override=", shape.blocks),
         absl::StrCat("--max_num_batched_tokens=", shape.tokens), absl::StrCat("--max_num_seqs=", shape.seqs),
         absl::StrCat("--preemption_mode=", shape.preemption),
         absl::StrCat("--enable_prefix_caching=", shape.prefix_caching),
         absl::StrCat("--swap_space_bytes=", 64 << 20)}));
    const std::vector<Output> out = RunTogether(&cluster, searches_, 24);
    for (size_t i = 0; i < searches_.size(); ++i) ExpectGolden(searches_[i], out[i]);
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
    const quire::v1::GetLoadsResponse loads = cluster.Loads();
    EXPECT_EQ(loads.num_preemptions() > 0, shape.blocks < 100) << loads.num_preemptions() << " preemptions";
    for (const auto& rank : loads.ranks()) EXPECT_EQ(rank.host_blocks_used(), 0u) << "swapped-out blocks leak";
  }
}

INSTANTIATE_TEST_SUITE_P(Models, BeamTest, ::testing::Values("llama_gqa", "llama_tied", "gpt2"),
                         [](const auto& info) { return std::string(info.param); });

// With text: stop strings end beams, the texts are those of the ids.
TEST(BeamText, StopStringsAndTextsOnTheDemoModel) {
  Cluster cluster({"--workers=local:2"});
  quire::v1::GenerateRequest request = TextRequest("Once upon a time", 40);
  quire::v1::SamplingParams* p = request.mutable_sampling_params();
  p->set_use_beam_search(true);
  p->set_beam_width(4);
  p->set_n(4);
  const Output plain = cluster.Generate(request);
  ASSERT_TRUE(plain.ok()) << plain.status.error_message();
  ASSERT_EQ(plain.choices.size(), 4u);
  std::set<std::string> different;
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_FALSE(plain.streamed_text[i].empty());
    different.insert(plain.streamed_text[i]);
  }
  EXPECT_EQ(different.size(), 4u);
  p->add_stop(".");
  const Output stopped = cluster.Generate(request);
  ASSERT_TRUE(stopped.ok()) << stopped.status.error_message();
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(stopped.streamed_text[i].find('.'), std::string::npos) << stopped.streamed_text[i];
    EXPECT_EQ(stopped.choices[i].finish_reason(), "stop");
    EXPECT_EQ(stopped.choices[i].matched_stop_str(), ".");
  }
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(5)));
}

}  // namespace
}  // namespace quire::e2e
