// The bytes of a step: complete, proved by their digest, and small (C1, C2).
#include "coordinator/cluster/step_codec.h"

#include <gtest/gtest.h>

#include "proto/plan_digest.h"
#include "proto/worker.pb.h"

namespace quire::cluster {
namespace {

StepPlan DecodePlan(uint32_t num_sequences, bool with_appends) {
  StepPlan plan;
  plan.epoch = 1'900'000'000'000;  // epochs count from the clock, in milliseconds
  plan.step = 1'000'000;
  plan.deadline_ms = 30'000;
  for (uint32_t seq = 0; seq < num_sequences; ++seq) {
    plan.decode.push_back(seq);
    if (with_appends && seq % 16 == 0) plan.block_appends.push_back({seq, static_cast<int32_t>(20'000 + 37 * seq)});
  }
  return plan;
}

worker::v1::Step Parse(const EncodedStep& encoded) {
  worker::v1::CoordinatorMessage message;
  EXPECT_TRUE(message.ParseFromString(*encoded.bytes));
  EXPECT_TRUE(message.has_step());
  return message.step();
}

TEST(StepCodecTest, DecodeStepsStaySmall) {
  StepEncoder encoder;
  for (const uint32_t n : {1u, 2u, 16u, 64u, 255u, 256u, 257u, 1024u}) {
    for (const bool with_appends : {false, true}) {
      const EncodedStep encoded = encoder.Encode(DecodePlan(n, with_appends));
      EXPECT_LT(encoded.bytes->size(), 6 * n + 64) << n << " sequences, appends " << with_appends;
    }
  }
  // A step of 256, the size that the budget is stated for, within 6 bytes a sequence all told.
  EXPECT_LT(encoder.Encode(DecodePlan(256, true)).bytes->size(), 6u * 256u);
}

TEST(StepCodecTest, ReplyStaysSmall) {
  worker::v1::RankMessage message;
  for (uint32_t i = 0; i < 256; ++i) message.mutable_done()->add_tokens(100'000 + i);
  message.mutable_done()->set_step(1'000'000);
  message.mutable_done()->set_plan_digest(~0ull);
  message.mutable_done()->set_exec_us(10'000);
  EXPECT_LT(message.ByteSizeLong(), 6u * 256u);
}

TEST(StepCodecTest, EveryFieldArrives) {
  StepPlan plan;
  plan.epoch = 7;
  plan.step = 9;
  plan.deadline_ms = 1234;
  plan.finished = {5, 6};
  NewSequence sequence;
  sequence.seq = 4;
  sequence.token_ids = {11, 12, 13, 14};
  sequence.prompt_len = 3;
  sequence.num_computed = 2;
  sequence.block_ids = {90, 91};
  sequence.sampling.seed = 0x8000'0000'0000'0001u;
  sequence.sampling.choice = 2;
  sequence.sampling.temperature = 0.5f;
  sequence.sampling.top_p = 0.9f;
  sequence.sampling.top_k = 40;
  sequence.sampling.min_p = 0.05f;
  sequence.sampling.repetition_penalty = 1.1f;
  sequence.sampling.frequency_penalty = 0.2f;
  sequence.sampling.presence_penalty = -0.3f;
  sequence.sampling.min_tokens = 8;
  sequence.sampling.num_logprobs = 5;
  sequence.sampling.banned_until_min = {2, 3};
  sequence.sampling.logit_bias = {{17, -100.0f}};
  sequence.sampling.prompt_rows = PromptRows{2, 4};
  sequence.sampling.bad_words = {{31, 32}, {33}};
  sequence.sampling.allowed_token_ids = {41, 42};
  plan.new_sequences = {sequence};
  plan.forks = {{1, 2, 3}};
  plan.block_appends = {{4, 92}};
  plan.block_replaces = {{4, 1, 93}};
  plan.host_frees = {3};
  plan.swap_outs = {{20, 1}};
  plan.block_copies = {{21, 22}};
  plan.swap_ins = {{2, 23}};
  plan.decode = {8, 300};
  plan.prefill = {{4, 2, true}, {9, 100, false}};
  plan.drafts = {{1, 2}};
  plan.draft_ids = {71, 72};
  plan.masks = {{8, std::make_shared<const std::vector<uint32_t>>(std::vector<uint32_t>{0, 0x81, 0, 0, 0, 0})},
                {4, std::make_shared<const std::vector<uint32_t>>(std::vector<uint32_t>{0xffffffff, 1})}};
  StepEncoder encoder;
  encoder.Encode(DecodePlan(100, true));  // leaves nothing behind
  const EncodedStep encoded = encoder.Encode(plan);
  const worker::v1::Step step = Parse(encoded);

  EXPECT_EQ(
      step.ShortDebugString(),
      "epoch: 7 step: 9 plan_digest: " + std::to_string(encoded.expected.digest) +
          " deadline_ms: 1234 new_sequences { seq: 4 token_ids: 11 token_ids: 12 token_ids: 13 token_ids: 14 "
          "prompt_len: 3 "
          "block_ids: 90 block_ids: 91 seed: 9223372036854775809 choice: 2 temperature: 0.5 top_p: 0.9 top_k: 40 "
          "min_p: 0.05 "
          "repetition_penalty: 1.1 frequency_penalty: 0.2 presence_penalty: -0.3 min_tokens: 8 banned_until_min: 2 "
          "banned_until_min: 3 num_logprobs: 5 logit_bias { ids: 17 values: -100 } num_computed: 2 prompt_rows { "
          "first: 2 num_top: 4 } bad_words { ids: 31 ids: 32 } bad_words { ids: 33 } "
          "allowed_token_ids: 41 allowed_token_ids: 42 } decode: 8 decode: "
          "300 "
          "prefill: 4 prefill: 2 prefill: 1 prefill: 9 prefill: 100 prefill: 0 block_appends: 4 block_appends: 92 "
          "finished: 5 "
          "finished: 6 forks: 1 forks: 2 forks: 3 block_copies: 21 block_copies: 22 swap_outs: 20 swap_outs: 1 "
          "swap_ins: 2 "
          "swap_ins: 23 block_replaces: 4 block_replaces: 1 block_replaces: 93 host_frees: 3 drafts: 1 drafts: 2 "
          "draft_ids: 71 draft_ids: 72 masks { seq: 8 allowed_ids: 32 allowed_ids: 39 } masks { seq: 4 words: "
          "4294967295 "
          "words: 1 }");
  EXPECT_EQ(encoded.expected.epoch, 7u);
  EXPECT_EQ(encoded.expected.step, 9u);
  EXPECT_EQ(encoded.expected.num_tokens, 4u) << "two decodes, a prefill that samples, a fork";
  EXPECT_EQ(encoded.expected.drafts, std::vector<uint32_t>{2});
}

TEST(StepCodecTest, DigestIsThatOfTheBytes) {
  StepEncoder encoder;
  const EncodedStep encoded = encoder.Encode(DecodePlan(10, true));
  EXPECT_EQ(proto::PlanDigest(Parse(encoded)), encoded.expected.digest);
  StepPlan other = DecodePlan(10, true);
  other.decode.back() += 1;
  EXPECT_NE(encoder.Encode(other).expected.digest, encoded.expected.digest);
}

TEST(StepCodecTest, DoneArrives) {
  worker::v1::Done done;
  done.set_epoch(1);
  done.set_step(2);
  done.set_plan_digest(3);
  done.set_rank(4);
  done.add_tokens(5);
  worker::v1::Logprobs* logprobs = done.add_logprobs();
  logprobs->set_sampled(-0.5f);
  logprobs->add_top_ids(6);
  logprobs->add_top_values(-0.25f);
  logprobs->add_top_ids(7);  // without its value: left out
  done.set_device_blocks_total(100);
  done.set_device_blocks_used(40);
  done.set_host_blocks_total(50);
  done.set_host_blocks_used(20);
  done.set_exec_us(1000);
  done.set_collective_us(200);
  done.set_wait_us(30);
  const RankReply reply = DecodeDone(done);
  EXPECT_EQ(reply.epoch, 1u);
  EXPECT_EQ(reply.step, 2u);
  EXPECT_EQ(reply.digest, 3u);
  EXPECT_EQ(reply.rank, 4u);
  EXPECT_EQ(reply.tokens, std::vector<int32_t>{5});
  ASSERT_EQ(reply.logprobs.size(), 1u);
  EXPECT_EQ(reply.logprobs[0].sampled, -0.5f);
  EXPECT_EQ(reply.logprobs[0].top, (std::vector<std::pair<int32_t, float>>{{6, -0.25f}}));
  EXPECT_EQ(reply.usage.device_blocks_total, 100u);
  EXPECT_EQ(reply.usage.device_blocks_used, 40u);
  EXPECT_EQ(reply.usage.host_blocks_total, 50u);
  EXPECT_EQ(reply.usage.host_blocks_used, 20u);
  EXPECT_EQ(reply.usage.exec_us, 1000u);
  EXPECT_EQ(reply.usage.collective_us, 200u);
  EXPECT_EQ(reply.usage.wait_us, 30u);
}

}  // namespace
}  // namespace quire::cluster
