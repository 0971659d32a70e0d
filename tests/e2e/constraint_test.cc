// Output of a form, through the real processes: it keeps to its grammar, its bytes do not depend on company, ranks,
// preemption or losses, free requests beside it stay as they are, and a bad or endless grammar ends its own request only.
#include <gtest/gtest.h>
#include <signal.h>

#include <regex>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

constexpr char kSchema[] =
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":12},"age":{"type":"integer","minimum":0,)"
    R"("maximum":99}},"required":["name","age"],"additionalProperties":false})";

quire::v1::GenerateRequest Request(int i) {
  quire::v1::GenerateRequest request = TextRequest("Once upon a time there was a", 60);
  request.set_stream(false);
  quire::v1::SamplingParams* p = request.mutable_sampling_params();
  p->set_temperature(1.0f);
  p->set_seed(i);
  p->set_logprobs(1);
  switch (i % 5) {
    case 0:
      p->set_regex("( big| small){1,3} (dog|cat)");
      p->set_n(2);
      break;
    case 1:
      p->set_json_schema(kSchema);
      break;
    case 2:
      for (const char* choice : {" girl", " boy", " \"bird\""}) p->mutable_choice()->add_choices(choice);
      break;
    case 3:
      p->set_json_object(true);
      break;
    default:
      break;  // free
  }
  return request;
}

void ExpectForm(int i, const quire::v1::GenerateResponse::Complete& choice) {
  const std::string& text = choice.text();
  const bool ended = choice.finish_reason() == "stop";
  switch (i % 5) {
    case 0:
      EXPECT_TRUE(ended) << text;
      EXPECT_TRUE(std::regex_match(text, std::regex("( big| small){1,3} (dog|cat)"))) << text;
      break;
    case 1: {
      if (!ended) break;  // 60 tokens were too few for its white space
      const auto json = nlohmann::json::parse(text, nullptr, false);
      ASSERT_TRUE(json.is_object()) << text;
      EXPECT_EQ(json.size(), 2u) << text;
      EXPECT_TRUE(json["name"].is_string()) << text;
      EXPECT_TRUE(json["age"].is_number_integer() && json["age"] >= 0 && json["age"] <= 99) << text;
      break;
    }
    case 2:
      EXPECT_TRUE(text == " girl" || text == " boy" || text == " \"bird\"") << text;
      break;
    case 3:
      EXPECT_EQ(text.find('{'), text.find_first_not_of(" \n\t")) << text;
      EXPECT_TRUE(!ended || nlohmann::json::parse(text, nullptr, false).is_object()) << text;
      break;
    default:
      break;
  }
}

std::vector<std::string> Answers(Cluster* cluster, int count) {
  std::vector<std::string> answers(count);
  std::vector<std::thread> clients;
  for (int i = 0; i < count; ++i) {
    clients.emplace_back([&, i] {
      const Output out = cluster->Generate(Request(i));
      ASSERT_TRUE(out.ok()) << i << ": " << out.status.error_message();
      for (const auto& choice : out.choices) ExpectForm(i, choice);
      answers[i] = Fingerprint(out);
    });
  }
  for (std::thread& client : clients) client.join();
  return answers;
}

class ConstraintTest : public ::testing::Test {
 protected:
  void SetUp() override {
    static const bool kServed = [] {
      Cluster cluster({"--workers=local:1"});
      return cluster.Generate(Request(2)).status.error_code() != grpc::StatusCode::UNIMPLEMENTED;
    }();
    if (!kServed) GTEST_SKIP() << "built without the grammar library (tools/install_xgrammar.sh)";
  }
};

TEST_F(ConstraintTest, KeepsToItsFormAndToItsBytes) {
  constexpr int kRequests = 40;
  std::vector<std::string> alone;
  {
    Cluster cluster({"--workers=local:1", "--max_num_seqs=2"});
    for (int i = 0; i < kRequests; ++i) {
      const Output out = cluster.Generate(Request(i));
      ASSERT_TRUE(out.ok()) << i << ": " << out.status.error_message();
      for (const auto& choice : out.choices) ExpectForm(i, choice);
      alone.push_back(Fingerprint(out));
    }
    EXPECT_GT(std::set<std::string>(alone.begin(), alone.end()).size(), 20u);
  }
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--workers=local:1"},
        std::vector<std::string>{"--workers=local:2", "--preempt_every_steps=5"}}) {
    Cluster cluster(flags);
    const std::vector<std::string> together = Answers(&cluster, kRequests);
    for (int i = 0; i < kRequests; ++i) EXPECT_EQ(together[i], alone[i]) << "request " << i << " " << flags[0];
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
  }
}

TEST_F(ConstraintTest, BadAndEndlessGrammarsEndTheirOwnRequest) {
  Cluster cluster({"--workers=local:1"});
  quire::v1::GenerateRequest bad = TextRequest("Once", 8);
  bad.mutable_sampling_params()->set_regex("(((");
  const Output refused = cluster.Generate(bad);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << refused.status.error_message();
  EXPECT_EQ(refused.error_param, "sampling_params.regex");
  EXPECT_NE(refused.status.error_message().find("cannot be compiled"), std::string::npos)
      << refused.status.error_message();

  std::string schema = R"({"type":"string"})";
  for (int i = 0; i < 1500; ++i) schema = absl::StrCat(R"({"type":"array","items":)", schema, "}");
  std::thread endless([&] {
    quire::v1::GenerateRequest slow = TextRequest("Once", 8);
    slow.mutable_sampling_params()->set_json_schema(schema);
    const Output out = cluster.Generate(slow);
    EXPECT_EQ(out.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << out.status.error_message();
    EXPECT_EQ(out.error_param, "sampling_params.json_schema");
  });
  for (int i = 0; i < 5; ++i)
    EXPECT_TRUE(cluster.Generate(TextRequest("The", 20)).ok()) << "others are served meanwhile";
  endless.join();
  EXPECT_TRUE(cluster.Generate(Request(0)).ok()) << "and grammars are compiled again";
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
}

TEST_F(ConstraintTest, WhatItCannotGoWithIsNamed) {
  Cluster cluster({"--workers=local:1"});
  quire::v1::GenerateRequest request = TextRequest("Once", 8);
  request.mutable_sampling_params()->set_regex("a");
  request.mutable_sampling_params()->set_ignore_eos(true);
  const Output out = cluster.Generate(request);
  EXPECT_EQ(out.error_param, "sampling_params.ignore_eos") << out.status.error_message();
}

}  // namespace
}  // namespace quire::e2e
