// How the digest is made: see the header for what it promises.
#include "proto/plan_digest.h"

#include <cstring>

#include "proto/worker.pb.h"

namespace quire::proto {
namespace {

// Two 32-bit values go in per multiplication; the length goes in first, so a list's end cannot be confused with its
// content.
class Mixer {
 public:
  void Add(uint64_t value) {
    // Folding the 128-bit product keeps the high bits, which a plain multiplication would lose.
    const unsigned __int128 product =
        static_cast<unsigned __int128>(state_ ^ value ^ 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
    // The addition keeps a zero product from absorbing what came before.
    state_ = (static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64)) + 0x2545f4914f6cdd1du * ++count_;
  }

  void Add(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    Add(static_cast<uint64_t>(bits));
  }

  template <typename T>
  void AddList(const google::protobuf::RepeatedField<T>& list) {
    static_assert(sizeof(T) == 4, "pairs of 32-bit elements");
    const int size = list.size();
    const T* data = list.data();
    Add(static_cast<uint64_t>(size));
    int i = 0;
    for (; i + 2 <= size; i += 2) Add(Bits(data[i]) | (Bits(data[i + 1]) << 32));
    if (i < size) Add(Bits(data[i]));
  }

  uint64_t Finish() {
    Add(count_);
    return state_;
  }

 private:
  template <typename T>
  static uint64_t Bits(T value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
  }

  uint64_t state_ = 0;
  uint64_t count_ = 0;
};

void AddSequence(const worker::v1::NewSequence& s, Mixer* m) {
  m->Add(uint64_t{s.seq()});
  m->AddList(s.token_ids());
  m->Add(uint64_t{s.prompt_len()});
  m->Add(uint64_t{s.num_computed()});
  m->AddList(s.block_ids());
  m->Add(uint64_t{s.seed()});
  m->Add(uint64_t{s.choice()});
  m->Add(s.temperature());
  m->Add(s.top_p());
  m->Add(uint64_t{s.top_k()});
  m->Add(s.min_p());
  m->Add(s.repetition_penalty());
  m->Add(s.frequency_penalty());
  m->Add(s.presence_penalty());
  m->Add(uint64_t{s.min_tokens()});
  m->AddList(s.banned_until_min());
  m->Add(static_cast<uint64_t>(static_cast<int64_t>(s.num_logprobs())));
  m->Add(uint64_t{s.has_logit_bias()});
  m->AddList(s.logit_bias().ids());
  m->AddList(s.logit_bias().values());
  m->Add(uint64_t{s.given_tokens()});
  m->Add(uint64_t{s.has_prompt_rows()});
  m->Add(uint64_t{s.prompt_rows().first()});
  m->Add(uint64_t{s.prompt_rows().num_top()});
  m->Add(static_cast<uint64_t>(s.bad_words_size()));
  for (const worker::v1::TokenIds& word : s.bad_words()) m->AddList(word.ids());
  m->AddList(s.allowed_token_ids());
}

}  // namespace

uint64_t PlanDigest(const worker::v1::Step& step) {
  Mixer m;
  m.Add(uint64_t{step.epoch()});
  m.Add(uint64_t{step.step()});
  m.Add(uint64_t{step.deadline_ms()});
  m.Add(static_cast<uint64_t>(step.new_sequences_size()));
  for (const worker::v1::NewSequence& s : step.new_sequences()) AddSequence(s, &m);
  m.AddList(step.decode());
  m.AddList(step.prefill());
  m.AddList(step.block_appends());
  m.AddList(step.host_frees());
  m.AddList(step.finished());
  m.AddList(step.forks());
  m.AddList(step.block_copies());
  m.AddList(step.swap_outs());
  m.AddList(step.swap_ins());
  m.AddList(step.block_replaces());
  m.AddList(step.branches());
  m.AddList(step.given());
  m.AddList(step.drafts());
  m.AddList(step.draft_ids());
  m.Add(static_cast<uint64_t>(step.masks_size()));
  for (const worker::v1::TokenMask& mask : step.masks()) {
    m.Add(uint64_t{mask.seq()});
    m.AddList(mask.allowed_ids());
    m.AddList(mask.words());
  }
  return m.Finish();
}

}  // namespace quire::proto
