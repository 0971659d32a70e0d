// Tables of random requests and servers, and the solo run. See sim_requests.h.
#include "coordinator/engine/testing/sim_requests.h"

#include <algorithm>
#include <functional>
#include <memory>

#include "coordinator/engine/sim_beams.h"
#include "coordinator/engine/sim_replica.h"
#include "coordinator/engine/testing/sim_constraint.h"
#include "coordinator/scheduler/prefill_budget.h"

namespace quire::engine {
namespace {

using request::Request;

// Letters a..j by id, so that stop strings straddle tokens.
class LetterDecoder final : public request::OutputDecoder {
 public:
  std::unique_ptr<OutputDecoder> Clone() const override { return std::make_unique<LetterDecoder>(*this); }
  void Append(int32_t id, std::string* text) override { text->push_back(Letter(id)); }
  void Finish(std::string* text) override {}
  static char Letter(int32_t id) { return static_cast<char>('a' + id % 10); }
};

struct RequestKind {
  double chance;
  void (*shape)(SimLoop* dice, const SimModel& model, Request* request);
};

// Kinds are drawn independently of each other, in this order. One line (or a few) per feature.
const RequestKind kRequestKinds[] = {
    {0.25, [](SimLoop* d, const SimModel&, Request* r) { r->params.n = static_cast<uint32_t>(d->Uniform(2, 5)); }},
    {0.1,
     [](SimLoop* d, const SimModel&, Request* r) {
       r->params.beam_width = static_cast<uint32_t>(d->Uniform(1, 5));
       r->params.n = static_cast<uint32_t>(d->Uniform(1, r->params.beam_width));
       r->params.length_penalty = static_cast<float>(d->Uniform(-1, 3)) / 2;
       r->params.early_stopping = static_cast<request::EarlyStopping>(d->Uniform(0, 2));
     }},
    {0.05,
     [](SimLoop* d, const SimModel&, Request* r) {
       if (r->params.beam_width == 0) r->params.best_of = r->params.n + static_cast<uint32_t>(d->Uniform(1, 2));
     }},
    {0.15,
     [](SimLoop* d, const SimModel& m, Request* r) {
       if (r->params.beam_width > 0) return;
       r->make_constraint = [d, vocab = m.vocab] { return MakeSimConstraint(d, vocab); };
     }},
    {0.2, [](SimLoop* d, const SimModel&,
             Request* r) { r->params.prompt_logprobs = static_cast<int32_t>(d->Uniform(0, 2)); }},
    {0.3, [](SimLoop*, const SimModel&, Request* r) { r->params.ignore_eos = true; }},
    {0.3, [](SimLoop*, const SimModel&, Request* r) { r->params.logprobs = 2; }},
    {0.2, [](SimLoop* d, const SimModel&,
             Request* r) { r->params.min_tokens = static_cast<uint32_t>(d->Uniform(0, r->params.max_tokens)); }},
    {0.15,
     [](SimLoop*, const SimModel&, Request* r) {
       r->params.stop = {"ab", "cde", "jj"};
     }},
    {0.1,
     [](SimLoop*, const SimModel&, Request* r) {
       r->params.stop = {"abc", "bcd", "e"};
     }},
    {0.1,
     [](SimLoop*, const SimModel&, Request* r) {
       r->params.stop = {"a", "ab", "dbc"};
     }},
    {0.1,
     [](SimLoop* d, const SimModel& m, Request* r) {
       r->params.stop_token_ids = {static_cast<int32_t>(d->Uniform(1, m.vocab - 1)), 7};
     }},
    {0.2, [](SimLoop*, const SimModel&, Request* r) { r->params.include_stop_str_in_output = true; }},
    {0.1, [](SimLoop* d, const SimModel&, Request* r) { r->deadline = d->now() + d->Delay(300); }},
    {0.03, [](SimLoop* d, const SimModel&, Request* r) { r->deadline = d->now() + d->Delay(10000); }},
    {0.2,
     [](SimLoop*, const SimModel&, Request* r) {
       r->tenant = "other";
       r->weight = 2;
     }},
    {0.1, [](SimLoop*, const SimModel&, Request* r) { r->tenant = "third"; }},
    {0.25, [](SimLoop* d, const SimModel&,
              Request* r) { r->shared_prefix_tokens = d->Uniform(1, static_cast<int64_t>(r->prompt_ids.size())); }},
    {0.5, [](SimLoop* d, const SimModel&, Request* r) { r->priority = static_cast<int32_t>(d->Uniform(-1, 1)); }},
    {0.02,
     [](SimLoop* d, const SimModel& m, Request* r) {  // larger than the cache, or nearly
       r->params.max_tokens = static_cast<uint32_t>(d->Uniform(1, 2 * m.num_blocks * m.block_size));
     }},
};

struct OptionKind {
  double chance;
  void (*shape)(SimLoop* dice, CoreOptions* options);
};

const OptionKind kOptionKinds[] = {
    {1.0, [](SimLoop* d, CoreOptions* o) { o->scheduler.max_num_seqs = d->Uniform(5, 12); }},
    {0.2, [](SimLoop* d, CoreOptions* o) { o->scheduler.max_num_seqs = d->Uniform(1, 4); }},
    {1.0, [](SimLoop* d,
             CoreOptions* o) { o->scheduler.max_num_batched_tokens = o->scheduler.max_num_seqs + d->Uniform(0, 30); }},
    {1.0, [](SimLoop* d, CoreOptions* o) { o->max_queue_len = d->Uniform(5, 60); }},
    {1.0, [](SimLoop* d, CoreOptions* o) { o->min_step_deadline = absl::Seconds(d->Uniform(1, 30)); }},
    {0.1, [](SimLoop* d, CoreOptions* o) { o->max_queue_tokens = d->Uniform(100, 2000); }},
    {1.0, [](SimLoop*, CoreOptions* o) { o->max_form_attempts = 1000; }},
    {0.15, [](SimLoop* d, CoreOptions* o) { o->max_form_attempts = static_cast<int>(d->Uniform(2, 4)); }},
    {0.5, [](SimLoop* d, CoreOptions* o) { o->first_epoch = static_cast<uint64_t>(d->Uniform(1, int64_t{1} << 41)); }},
    {1.0,
     [](SimLoop* d, CoreOptions* o) {
       o->scheduler.preemption_mode = static_cast<scheduler::PreemptionMode>(d->Uniform(0, 2));
       o->scheduler.policy = static_cast<scheduler::Policy>(d->Uniform(0, 2));
     }},
    {0.7, [](SimLoop* d, CoreOptions* o) { o->scheduler.max_preemptions = d->Uniform(1, 4); }},
    {0.5,
     [](SimLoop* d, CoreOptions* o) {
       o->scheduler.spec.method = static_cast<spec::Method>(d->Uniform(1, 2));
       o->scheduler.spec.num_speculative_tokens = static_cast<int>(d->Uniform(1, 6));
       o->scheduler.spec.prompt_lookup_min = static_cast<int>(d->Uniform(1, 2));
       o->scheduler.max_logit_rows = o->scheduler.max_num_seqs + d->Uniform(0, 20);
     }},
    {0.4, [](SimLoop* d, CoreOptions* o) { o->scheduler.target_step_ms = d->Uniform(1, 60); }},
    {0.3, [](SimLoop*, CoreOptions* o) { o->scheduler.target_step_ms = scheduler::kAutoTarget; }},
    {1.0,
     [](SimLoop* d, CoreOptions* o) {
       o->scheduler.kv = {d->Chance(0.8), "simulated secret"};
     }},
};

}  // namespace

SimModel DrawModel(SimLoop* dice) {
  SimModel model;
  model.block_size = dice->Uniform(1, 8);
  model.num_blocks = dice->Uniform(6, 60);
  model.num_host_blocks = dice->Chance(0.6) ? dice->Uniform(1, 60) : 0;
  model.vocab = static_cast<int32_t>(dice->Uniform(10, 60));
  model.window = dice->Chance(0.3) ? dice->Uniform(1, 40) : 0;
  return model;
}

CoreOptions DrawOptions(SimLoop* dice) {
  CoreOptions options;
  for (const OptionKind& kind : kOptionKinds) {
    if (dice->Chance(kind.chance)) kind.shape(dice, &options);
  }
  return options;
}

Request DrawRequest(SimLoop* dice, const SimModel& model) {
  Request r;
  // Most requests fit into the cache, some barely, some not.
  const int64_t slots = model.num_blocks * model.block_size;
  const int64_t most = dice->Chance(0.8) ? std::clamp<int64_t>(slots / 3, 2, 40) : 40;
  const int64_t prompt = dice->Uniform(1, most);
  // Most prompts begin like others, so that prefixes are shared.
  const int64_t shared = dice->Chance(0.7) ? dice->Uniform(0, prompt) : 0;
  const int32_t family = static_cast<int32_t>(dice->Uniform(0, 1));
  for (int64_t i = 0; i < prompt; ++i) {
    r.prompt_ids.push_back(i < shared ? static_cast<int32_t>(1 + (i + family) % (model.vocab - 1))
                                      : static_cast<int32_t>(dice->Uniform(1, model.vocab - 1)));
  }
  r.params.max_tokens = static_cast<uint32_t>(dice->Uniform(1, most));
  for (const RequestKind& kind : kRequestKinds) {
    if (dice->Chance(kind.chance)) kind.shape(dice, model, &r);
  }
  r.make_decoder = [] { return std::make_unique<LetterDecoder>(); };
  return r;
}

uint64_t TenantSalt(const std::string& tenant) { return tenant.empty() ? 0 : std::hash<std::string>()(tenant); }

namespace {

SoloRun RunChoice(const Request& request, uint32_t choice, int32_t vocab) {
  SoloRun out;
  uint64_t prefix = TenantSalt(request.tenant);
  for (int32_t token : request.prompt_ids) prefix = SimPrefixHash(prefix, token);
  const request::SamplingParams& p = request.params;
  while (out.tokens.size() < p.max_tokens) {
    const TokenMask mask = request.make_constraint == nullptr ? nullptr : SimMask(out.tokens, vocab);
    const int32_t token =
        SimMaskedDraw(prefix, p.seed, choice, static_cast<int64_t>(out.tokens.size()), vocab, mask.get());
    out.tokens.push_back(token);
    prefix = SimPrefixHash(prefix, token);
    const bool may_stop = out.tokens.size() >= p.min_tokens;
    const bool stops = std::count(p.stop_token_ids.begin(), p.stop_token_ids.end(), token) > 0;
    if (may_stop && (stops || (token == 0 && !p.ignore_eos))) {
      if (p.include_stop_str_in_output) out.text.push_back(LetterDecoder::Letter(token));
      return out;
    }
    out.text.push_back(LetterDecoder::Letter(token));
    if (!may_stop) continue;
    size_t matched = 0;  // the longest stop string that ends here
    for (const std::string& stop : p.stop) {
      const bool ends =
          out.text.size() >= stop.size() && out.text.compare(out.text.size() - stop.size(), stop.size(), stop) == 0;
      if (ends) matched = std::max(matched, stop.size());
    }
    if (matched == 0) continue;
    if (!p.include_stop_str_in_output) out.text.resize(out.text.size() - matched);
    return out;
  }
  return out;
}

}  // namespace

std::vector<SoloRun> RunAlone(const Request& request, int32_t vocab) {
  std::vector<SoloRun> out(request::NumPlaces(request.params));
  if (request.params.beam_width == 0) {
    for (uint32_t i = 0; i < out.size(); ++i) out[i] = RunChoice(request, i, vocab);
    return out;
  }
  // A small vocabulary may not have n different texts.
  out.resize(request.params.n);
  const std::vector<SimBeam> beams = SearchAlone(request, vocab, LetterDecoder::Letter);
  for (size_t i = 0; i < std::min(out.size(), beams.size()); ++i) out[i] = {beams[i].tokens, beams[i].text};
  return out;
}

std::vector<TokenLogprobs> ScoreAlone(const Request& request) {
  std::vector<TokenLogprobs> out;
  if (request.params.prompt_logprobs < 0) return out;
  const auto num_top = static_cast<uint32_t>(request.params.prompt_logprobs);
  uint64_t prefix = TenantSalt(request.tenant);
  for (size_t p = 0; p + 1 < request.prompt_ids.size(); ++p) {
    prefix = SimPrefixHash(prefix, request.prompt_ids[p]);
    out.push_back(SimPromptLogprobs(prefix, request.prompt_ids[p + 1], num_top));
  }
  return out;
}

}  // namespace quire::engine
