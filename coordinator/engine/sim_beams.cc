// See sim_beams.h.
#include "coordinator/engine/sim_beams.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "coordinator/engine/sim_replica.h"
#include "coordinator/engine/testing/sim_requests.h"

namespace quire::engine {
namespace {

struct Text {
  SimBeam beam;
  uint64_t prefix = 0;
  float sum = 0;
  bool ended = false;
  float final_score = 0;
};

// The text with one token more. Says whether it ends by an end token, a stop string or its length.
Text Extend(const Text& from, int32_t token, const request::SamplingParams& p,
            const std::function<char(int32_t)>& letter) {
  Text to = from;
  to.beam.tokens.push_back(token);
  to.prefix = SimPrefixHash(from.prefix, token);
  to.sum = SimLogprob(from.prefix, token) + from.sum;
  const bool may_stop = to.beam.tokens.size() >= p.min_tokens;
  to.ended = to.beam.tokens.size() == p.max_tokens;
  const bool stops = std::count(p.stop_token_ids.begin(), p.stop_token_ids.end(), token) > 0;
  if (may_stop && (stops || (token == 0 && !p.ignore_eos))) {
    to.ended = true;
    if (p.include_stop_str_in_output) to.beam.text.push_back(letter(token));
    return to;
  }
  to.beam.text.push_back(letter(token));
  size_t cut = 0;
  for (const std::string& stop : p.stop) {
    const std::string& text = to.beam.text;
    const bool match = text.size() >= stop.size() && text.compare(text.size() - stop.size(), stop.size(), stop) == 0;
    if (may_stop && match) cut = std::max(cut, stop.size());
  }
  to.ended = to.ended || cut > 0;
  if (!p.include_stop_str_in_output) to.beam.text.resize(to.beam.text.size() - cut);
  return to;
}

}  // namespace

std::vector<SimBeam> SearchAlone(const request::Request& request, int32_t vocab,
                                 const std::function<char(int32_t)>& letter) {
  const request::SamplingParams& p = request.params;
  const size_t width = p.beam_width;
  std::set<int32_t> end_ids(p.stop_token_ids.begin(), p.stop_token_ids.end());
  end_ids.insert(0);
  std::vector<Text> running(1), done;
  running[0].prefix = TenantSalt(request.tenant);
  for (int32_t token : request.prompt_ids) running[0].prefix = SimPrefixHash(running[0].prefix, token);
  for (uint32_t length = 1; length <= p.max_tokens; ++length) {
    std::vector<Text> all;
    for (const Text& from : running) {
      for (int32_t token = 0; token < vocab; ++token) {
        if (end_ids.count(token) > 0 && length <= p.min_tokens) continue;
        all.push_back(Extend(from, token, p, letter));
      }
    }
    std::stable_sort(all.begin(), all.end(), [](const Text& a, const Text& b) { return a.sum > b.sum; });
    all.resize(std::min(all.size(), std::max<size_t>(2, 1 + end_ids.size()) * width));
    running.clear();
    for (size_t i = 0; i < all.size(); ++i) {
      if (!all[i].ended && running.size() < width) running.push_back(all[i]);
      if (!all[i].ended || i >= width) continue;
      all[i].final_score = all[i].sum / static_cast<float>(std::pow(length, static_cast<double>(p.length_penalty)));
      done.push_back(all[i]);
    }
    std::stable_sort(done.begin(), done.end(),
                     [](const Text& a, const Text& b) { return a.final_score > b.final_score; });
    done.resize(std::min(done.size(), width));
    if (running.empty()) break;
    if (done.size() < width) continue;
    if (p.early_stopping == request::EarlyStopping::kTrue) break;
    const bool far = p.early_stopping == request::EarlyStopping::kNever && p.length_penalty > 0;
    const double reach = std::pow(far ? p.max_tokens : length, static_cast<double>(p.length_penalty));
    if (running[0].sum / static_cast<float>(reach) <= done.back().final_score) break;
  }
  std::vector<SimBeam> out;
  for (size_t i = 0; i < std::min<size_t>(p.n, done.size()); ++i) out.push_back(done[i].beam);
  return out;
}

}  // namespace quire::engine
