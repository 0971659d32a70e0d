// The same bytes alone and in any company, chunked, preempted and forked; goldens through the runner; plans that lie.
#include "worker/runtime/model_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/worker.pb.h"
#include "worker/comm/communicator.h"
#include "worker/runtime/fake_model.h"
#include "worker/runtime/plan_driver.h"

namespace quire::worker {
namespace {

std::unique_ptr<kernels::Backend> TestBackend(bool reference = true) {
  auto backend = kernels::CreateCpuBackend({1, reference});
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

// A model with its cache and runner.
struct Rig {
  Rig(kernels::Backend* backend, Model* model, int32_t num_blocks, int32_t block_size, int32_t max_num_seqs = 128,
      int rank = 0, Model* draft = nullptr) {
    limits = {model->facts().vocab_size,      model->facts().max_model_len, block_size, num_blocks, 0,
              model->facts().attention_window};
    kernels::KvCacheLayout layout = model->CacheLayout(block_size);
    layout.num_blocks = num_blocks;
    cache = *KvCache::Create(layout, 0, backend);
    RunnerOptions options;
    options.rank = rank;
    options.table = limits;
    options.batch = {max_num_seqs, 2048, 1024};
    if (draft != nullptr) {
      kernels::KvCacheLayout draft_layout = draft->CacheLayout(block_size);
      draft_layout.num_blocks = num_blocks;
      draft_cache = *KvCache::Create(draft_layout, 0, backend);
      proposer = std::make_unique<DraftProposer>(backend, draft, draft_cache.get());
    }
    runner = std::make_unique<ModelRunner>(options, backend, model, cache.get(), proposer.get());
  }
  TableLimits limits;
  std::unique_ptr<KvCache> cache, draft_cache;
  std::unique_ptr<DraftProposer> proposer;
  std::unique_ptr<ModelRunner> runner;
};

std::vector<TestRequest> MixedRequests(int count, int32_t vocab, int longest) {
  std::mt19937 random(7);
  std::vector<TestRequest> requests;
  for (int i = 0; i < count; ++i) {
    TestRequest r;
    const int length = 1 + random() % longest;
    for (int t = 0; t < length; ++t) r.prompt.push_back(random() % vocab);
    r.sampling = GreedySampling();
    r.max_tokens = 1 + random() % 20;
    if (i % 2 == 1) {
      r.sampling.set_seed(random());
      r.sampling.set_temperature(0.7f + 0.1f * (i % 5));
      r.sampling.set_top_p(i % 3 == 0 ? 0.9f : 1.0f);
      r.sampling.set_top_k(i % 5 == 0 ? 10 : 0);
    }
    if (i % 3 == 0) r.sampling.set_num_logprobs(i % 4);
    if (i % 4 == 0) {
      r.sampling.set_repetition_penalty(1.3f);
      r.sampling.set_frequency_penalty(0.4f);
      r.sampling.set_presence_penalty(0.2f);
    }
    if (i % 5 == 0) {
      r.sampling.set_min_tokens(5);
      for (uint32_t id : {1, 2, 3}) r.sampling.add_banned_until_min(id);
      r.sampling.mutable_logit_bias()->add_ids(4);
      r.sampling.mutable_logit_bias()->add_values(2.5f);
    }
    if (i % 6 == 2) {
      r.sampling.add_bad_words()->add_ids(5);
      for (uint32_t id : {8, 9}) (i == 2 ? r.sampling.add_bad_words() : r.sampling.mutable_bad_words(0))->add_ids(id);
    }
    if (i % 9 == 4) {
      for (uint32_t id = 2; id < 40; ++id) r.sampling.add_allowed_token_ids(id);
    }
    if (i % 7 == 3) r.num_choices = 3;
    if (i % 4 < 2) r.sampling.mutable_prompt_rows()->set_num_top(i % 4 * 3);
    requests.push_back(std::move(r));
  }
  return requests;
}

void ExpectSameBytes(kernels::Backend* backend, Model* model, int32_t vocab, int num_requests, int num_schedules) {
  const std::vector<TestRequest> requests = MixedRequests(num_requests, vocab, 40);
  std::vector<std::vector<TestOutput>> alone;
  for (const TestRequest& request : requests) {
    Rig rig(backend, model, 200, 16);
    alone.push_back(PlanDriver(rig.runner.get(), rig.limits, 1).Run({request}, {})[0]);
  }
  int preemptions = 0, drafted = 0, accepted = 0;
  for (int seed = 1; seed <= num_schedules; ++seed) {
    Rig rig(backend, model, 600, seed % 3 == 0 ? 32 : 16);
    TestSchedule schedule;
    schedule.seed = seed;
    schedule.max_chunk = seed % 2 == 0 ? 7 : 64;
    schedule.preempt_chance = seed == 1 ? 0 : 0.03;
    if (seed % 4 != 0) schedule.oracle = &alone;
    PlanDriver driver(rig.runner.get(), rig.limits, seed);
    const auto together = driver.Run(requests, schedule);
    preemptions += driver.preemptions();
    drafted += driver.drafted();
    accepted += driver.accepted();
    for (size_t i = 0; i < requests.size(); ++i) {
      for (size_t c = 0; c < alone[i].size(); ++c) {
        EXPECT_EQ(together[i][c].tokens, alone[i][c].tokens) << "request " << i << " choice " << c << " seed " << seed;
        EXPECT_TRUE(together[i][c] == alone[i][c]) << "request " << i << " choice " << c << " seed " << seed;
      }
    }
  }
  EXPECT_GT(preemptions, 0);
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, drafted) << "no draft was wrong";
}

// What is out of an attention window is let go of and never read.
TEST(ModelRunnerTest, SameBytesInAnyCompany) {
  auto backend = TestBackend();
  for (const int32_t window : {0, 1, 17, 24}) {
    FakeModel model(0, window);
    ExpectSameBytes(backend.get(), &model, FakeModel::kVocab, 64, window == 0 ? 30 : 6);
  }
}

// With a draft model that is mostly right, and one that is the model itself: the same bytes, and then every draft is
// accepted but where penalties would have had to see the drafts before.
TEST(ModelRunnerTest, ADraftModelChangesNothing) {
  auto backend = TestBackend();
  FakeModel model;
  std::vector<TestRequest> requests = MixedRequests(40, FakeModel::kVocab, 40);
  std::vector<std::vector<TestOutput>> alone;
  for (const TestRequest& request : requests) {
    Rig rig(backend.get(), &model, 200, 16);
    alone.push_back(PlanDriver(rig.runner.get(), rig.limits, 1).Run({request}, {})[0]);
  }
  for (const uint64_t salt : {0, 77}) {
    int drafted = 0, accepted = 0, preemptions = 0;
    for (int seed = 1; seed <= 10; ++seed) {
      FakeModel draft(salt);
      Rig rig(backend.get(), &model, 600, 16, 128, 0, &draft);
      TestSchedule schedule;
      schedule.seed = seed;
      schedule.max_chunk = 7;
      schedule.preempt_chance = 0.03;
      schedule.oracle = &alone;
      schedule.draft_model = true;
      PlanDriver driver(rig.runner.get(), rig.limits, seed);
      EXPECT_EQ(driver.Run(requests, schedule), alone) << "seed " << seed;
      drafted += driver.drafted();
      accepted += driver.accepted();
      preemptions += driver.preemptions();
    }
    EXPECT_GT(preemptions, 0);
    EXPECT_GT(accepted, drafted / 4);
    EXPECT_LT(accepted, drafted);
    if (salt == 0) {
      EXPECT_GT(accepted, drafted * 9 / 10);
    }
  }
  // Without penalties the model's own guesses are never wrong: its draft cache misses nothing.
  for (TestRequest& request : requests) {
    request.sampling.set_repetition_penalty(1.0f);
    request.sampling.set_frequency_penalty(0);
    request.sampling.set_presence_penalty(0);
  }
  FakeModel draft;
  Rig plain(backend.get(), &model, 600, 16), rig(backend.get(), &model, 600, 16, 128, 0, &draft);
  const auto want = PlanDriver(plain.runner.get(), plain.limits, 1).Run(requests, {});
  TestSchedule schedule;
  schedule.oracle = &want;
  schedule.draft_model = true;
  schedule.preempt_chance = 0.03;
  PlanDriver driver(rig.runner.get(), rig.limits, 2);
  EXPECT_EQ(driver.Run(requests, schedule), want);
  EXPECT_GT(driver.drafted(), 0);
  EXPECT_EQ(driver.accepted(), driver.drafted());
}

TEST(ModelRunnerTest, ChoicesOfAForkDiffer) {
  auto backend = TestBackend();
  FakeModel model;
  Rig rig(backend.get(), &model, 200, 16);
  TestRequest request;
  request.prompt = {5, 6, 7};
  request.sampling = GreedySampling();
  request.sampling.set_temperature(1.5f);
  request.sampling.set_seed(11);
  request.num_choices = 4;
  request.max_tokens = 12;
  const auto choices = PlanDriver(rig.runner.get(), rig.limits, 1).Run({request}, {})[0];
  for (size_t a = 0; a < choices.size(); ++a) {
    for (size_t b = 0; b < a; ++b) EXPECT_NE(choices[a].tokens, choices[b].tokens) << a << " " << b;
  }
  // A choice is what a request of its own with that choice index draws: the fork changes nothing.
  for (uint32_t choice = 0; choice < 4; ++choice) {
    Rig other(backend.get(), &model, 200, 16);
    v1::Step step;
    v1::NewSequence* s = step.add_new_sequences();
    *s = request.sampling;
    s->set_seq(9);
    s->set_choice(choice);
    for (uint32_t t : {5, 6, 7}) s->add_token_ids(t);
    s->set_prompt_len(3);
    s->add_block_ids(17);
    for (uint32_t v : {9, 3, 1}) step.add_prefill(v);
    v1::Done done;
    ASSERT_TRUE(other.runner->Run(step, &done).ok());
    EXPECT_EQ(static_cast<int32_t>(done.tokens(0)), choices[choice].tokens[0]);
  }
}

TEST(ModelRunnerTest, OtherRanksDrawTheSameAndSayNothing) {
  auto backend = TestBackend();
  FakeModel first_model, second_model;
  Rig first(backend.get(), &first_model, 20, 16, 128, 0), second(backend.get(), &second_model, 20, 16, 128, 1);
  v1::Step step;
  v1::NewSequence* s = step.add_new_sequences();
  *s = GreedySampling();
  s->set_temperature(1.0f);
  s->set_seed(3);
  s->set_num_logprobs(2);
  s->mutable_prompt_rows()->set_first(2);
  for (uint32_t t : {5, 6, 7}) s->add_token_ids(t);
  s->set_prompt_len(3);
  s->add_block_ids(4);
  for (uint32_t v : {0, 3, 1}) step.add_prefill(v);
  v1::Step decode;
  decode.add_decode(0);
  for (int i = 0; i < 10; ++i) {
    v1::Done a, b;
    ASSERT_TRUE(first.runner->Run(i == 0 ? step : decode, &a).ok());
    ASSERT_TRUE(second.runner->Run(i == 0 ? step : decode, &b).ok());
    EXPECT_EQ(a.tokens_size(), 1);
    EXPECT_EQ(a.logprobs_size(), 1);
    EXPECT_EQ(a.prompt_logprobs_size(), i == 0 ? 1 : 0);
    if (i == 0) {
      EXPECT_EQ(a.prompt_logprobs(0).sampled_size(), 1) << "of the third token, the second is known";
    }
    EXPECT_EQ(b.tokens_size() + b.logprobs_size() + b.prompt_logprobs_size(), 0);
    EXPECT_EQ(a.device_blocks_used(), b.device_blocks_used());
    EXPECT_EQ(first_model.last_logits(), second_model.last_logits());  // of every token drawn before
  }
}

// One sequence of 20 tokens in two blocks, all but the last computed, then `spoil`.
struct Lie {
  const char* name;
  void (*spoil)(v1::Step*);
  const char* expect;
};

TEST(ModelRunnerTest, ItemsThatCannotBeAreRefused) {
  const Lie lies[] = {
      {"unknown decode", [](v1::Step* s) { s->add_decode(7); }, "sequence 7"},
      {"two items", [](v1::Step* s) { s->add_decode(1), s->add_decode(1); }, "two items"},
      {"prefill past the end",
       [](v1::Step* s) {
         for (uint32_t v : {1, 2, 0}) s->add_prefill(v);
       },
       "20"},
      {"draw before the end",
       [](v1::Step* s) {
         for (uint32_t v : {2, 3, 1}) s->add_prefill(v);
       },
       "20"},
      {"no tokens",
       [](v1::Step* s) {
         for (uint32_t v : {2, 0, 0}) s->add_prefill(v);
       },
       "prefill of 0"},
      {"not triples", [](v1::Step* s) { s->add_prefill(1); }, "groups of 3"},
      {"table too short",
       [](v1::Step* s) {
         for (uint32_t v : {2, 20, 1}) s->add_prefill(v);
       },
       "hold 16"},
      {"too many tokens",
       [](v1::Step* s) {
         for (uint32_t v : {1, 4000, 1}) s->add_prefill(v);
       },
       "2048"},
      {"decode of an unfinished prompt", [](v1::Step* s) { s->add_decode(2); }, "it has 20"},
      {"two writers", [](v1::Step* s) { s->add_decode(1), s->add_decode(3); }, "written by sequences"},
      {"fork from the middle",
       [](v1::Step* s) {
         for (uint32_t v : {2, 40, 1}) s->add_forks(v);
         for (uint32_t v : {2, 3, 0}) s->add_prefill(v);
       },
       "middle of its prefill"},
      {"a forked child with an item",
       [](v1::Step* s) {
         for (uint32_t v : {1, 40, 1}) s->add_forks(v);
         s->add_decode(40);
         for (uint32_t v : {1, 1, 1}) s->add_prefill(v);
       },
       ""},
  };
  auto backend = TestBackend();
  for (const Lie& lie : lies) {
    FakeModel model;
    Rig rig(backend.get(), &model, 20, 16);
    v1::Step step;
    for (uint32_t seq : {1, 2}) {
      v1::NewSequence* s = step.add_new_sequences();
      *s = GreedySampling();
      s->set_seq(seq);
      for (uint32_t t = 0; t < 20; ++t) s->add_token_ids(t);
      s->set_prompt_len(20);
      s->add_block_ids(seq * 2);
      if (seq == 1) s->add_block_ids(seq * 2 + 1);
    }
    for (uint32_t v : {1, 19, 0}) step.add_prefill(v);
    // Sequence 3 claims the blocks of sequence 1 as computed.
    v1::NewSequence* twin = step.add_new_sequences();
    *twin = step.new_sequences(0);
    twin->set_seq(3);
    twin->set_num_computed(19);
    v1::Done done;
    ASSERT_TRUE(rig.runner->Run(step, &done).ok());
    EXPECT_EQ(done.device_blocks_used(), 3u);
    v1::Step bad;
    lie.spoil(&bad);
    const absl::Status status = rig.runner->Run(bad, &done);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << lie.name << ": " << status;
    EXPECT_NE(status.message().find(lie.expect), absl::string_view::npos) << lie.name << ": " << status;
  }
}

TEST(ModelRunnerTest, NoStepIsLongerThanTheModel) {
  auto backend = TestBackend();
  FakeModel model;
  Rig rig(backend.get(), &model, 40, 16);
  v1::Step step;
  v1::NewSequence* s = step.add_new_sequences();
  *s = GreedySampling();
  for (int t = 0; t < FakeModel::kMaxModelLen; ++t) s->add_token_ids(1);
  s->set_prompt_len(FakeModel::kMaxModelLen);
  for (uint32_t b = 0; b < 17; ++b) s->add_block_ids(b);
  for (uint32_t v : {0u, static_cast<uint32_t>(FakeModel::kMaxModelLen), 1u}) step.add_prefill(v);
  v1::Done done;
  ASSERT_TRUE(rig.runner->Run(step, &done).ok());
  v1::Step next;
  next.add_decode(0);
  const absl::Status status = rig.runner->Run(next, &done);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(status.message().find("257"), absl::string_view::npos) << status;
}

// The real decoder on a tiny checkpoint whose greedy continuation `transformers` has recorded.
std::string GoldenDir(const std::string& name) {
  return absl::StrCat(getenv("TEST_SRCDIR"), "/quire/tests/goldens/", name);
}

struct Golden {
  std::vector<int32_t> prompt, greedy;
};

// golden.safetensors: an 8-byte length, a JSON header, the data.
class GoldenFile {
 public:
  explicit GoldenFile(const std::string& name) {
    std::ifstream file(GoldenDir(name) + "/golden.safetensors", std::ios::binary);
    bytes_.assign((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::memcpy(&header_bytes_, bytes_.data(), sizeof(header_bytes_));
    header_ = nlohmann::json::parse(bytes_.substr(8, header_bytes_));
  }
  template <typename T>
  std::vector<T> Read(const std::string& key) const {
    const auto& offsets = header_.at(key).at("data_offsets");
    std::vector<T> values((offsets[1].get<size_t>() - offsets[0].get<size_t>()) / sizeof(T));
    std::memcpy(values.data(), bytes_.data() + 8 + header_bytes_ + offsets[0].get<size_t>(), values.size() * sizeof(T));
    return values;
  }

 private:
  std::string bytes_;
  uint64_t header_bytes_ = 0;
  nlohmann::json header_;
};

Golden ReadGolden(const std::string& name, int length) {
  const GoldenFile file(name);
  return {file.Read<int32_t>(absl::StrCat("prompt_", length)), file.Read<int32_t>(absl::StrCat("greedy_", length))};
}

struct RealModel {
  explicit RealModel(const std::string& name) {
    comm = *CreateCommunicator({.kind = "single"}, nullptr);
    LoadOptions options;
    options.model_dir = GoldenDir(name);
    auto loaded = LoadModel(options, backend.get(), comm.get());
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    model = *std::move(loaded);
  }
  std::unique_ptr<kernels::Backend> backend = TestBackend(/*reference=*/false);
  std::unique_ptr<Communicator> comm;
  std::unique_ptr<Model> model;
};

TEST(GoldenRunnerTest, GreedyTokensEqualTransformers) {
  for (const char* name : {"llama_gqa", "llama_tied", "gpt2"}) {
    RealModel real(name);
    std::vector<TestRequest> requests;
    std::vector<Golden> goldens;
    for (int length : {7, 24}) {
      goldens.push_back(ReadGolden(name, length));
      TestRequest request;
      request.prompt = goldens.back().prompt;
      request.sampling = GreedySampling();
      request.max_tokens = static_cast<int>(goldens.back().greedy.size());
      requests.push_back(request);
    }
    Rig rig(real.backend.get(), real.model.get(), 64, 16);
    TestSchedule schedule;
    schedule.max_chunk = 5;
    schedule.preempt_chance = 0.05;
    const auto outputs = PlanDriver(rig.runner.get(), rig.limits, 3).Run(requests, schedule);
    for (size_t i = 0; i < goldens.size(); ++i) EXPECT_EQ(outputs[i][0].tokens, goldens[i].greedy) << name << " " << i;
  }
}

// Log-softmax of transformers' logits, in double.
std::vector<double> LogSoftmax(const float* logits, int32_t vocab) {
  const double max = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (int32_t v = 0; v < vocab; ++v) sum += std::exp(logits[v] - max);
  std::vector<double> out(vocab);
  for (int32_t v = 0; v < vocab; ++v) out[v] = logits[v] - max - std::log(sum);
  return out;
}

TEST(GoldenRunnerTest, PromptLogprobsEqualTransformers) {
  constexpr int kTop = 5;
  constexpr double kTolerance = 1e-4;
  for (const char* name : {"llama_gqa", "llama_tied", "gpt2"}) {
    RealModel real(name);
    const int32_t vocab = real.model->facts().vocab_size;
    const GoldenFile file(name);
    // 200 tokens are more than one slice.
    for (const int length : {1, 7, 24, 200}) {
      TestRequest request;
      request.prompt = file.Read<int32_t>(absl::StrCat("prompt_", length));
      request.sampling = GreedySampling();
      request.sampling.mutable_prompt_rows()->set_num_top(kTop);
      request.max_tokens = 2;
      const std::vector<float> logits = file.Read<float>(absl::StrCat("logits_", length));
      std::vector<TestOutput> outputs;
      for (const int chunk : {1 << 20, 1, 7, 64}) {
        Rig rig(real.backend.get(), real.model.get(), 64, 16);
        TestSchedule schedule;
        schedule.max_chunk = chunk;
        schedule.preempt_chance = chunk == 7 ? 0.1 : 0;
        outputs.push_back(PlanDriver(rig.runner.get(), rig.limits, 3).Run({request}, schedule)[0][0]);
        EXPECT_TRUE(outputs.back() == outputs.front()) << name << " chunks of " << chunk;
      }
      const TestOutput& got = outputs.front();
      ASSERT_EQ(got.prompt_logprobs.size(), length - 1u) << name;
      ASSERT_EQ(got.prompt_top_ids.size(), (length - 1u) * kTop) << name;
      for (int p = 0; p + 1 < length; ++p) {
        const std::vector<double> want = LogSoftmax(&logits[size_t(p) * vocab], vocab);
        EXPECT_NEAR(got.prompt_logprobs[p], want[request.prompt[p + 1]], kTolerance) << name << " row " << p;
        double least = 0;
        for (int k = 0; k < kTop; ++k) {
          const float value = got.prompt_top_values[p * kTop + k];
          EXPECT_NEAR(value, want[got.prompt_top_ids[p * kTop + k]], kTolerance) << name << " row " << p;
          EXPECT_LE(value, least) << "most probable first";
          least = value;
        }
        const int64_t above = std::count_if(want.begin(), want.end(), [&](double w) { return w > least + kTolerance; });
        EXPECT_LT(above, kTop) << name << " row " << p;
      }
    }
  }
}

TEST(GoldenRunnerTest, SameBytesInAnyCompany) {
  RealModel real("llama_gqa");
  ExpectSameBytes(real.backend.get(), real.model.get(), real.model->facts().vocab_size, 48, 4);
}

}  // namespace
}  // namespace quire::worker
