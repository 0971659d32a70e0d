// How many tokens to draft for one sequence: what was accepted lately decides. Pure; engine thread only.
//
// A draft is worth its row of the batch if it is likely to be reached and right: k drafts are made while
// rate^k >= kWorth, or as much as the step's price of a row. A sequence whose drafts are wrong rests for kRest tokens and then tries again with one.
#ifndef QUIRE_COORDINATOR_SPEC_DRAFT_RATE_H_
#define QUIRE_COORDINATOR_SPEC_DRAFT_RATE_H_

#include <algorithm>
#include <cstdint>

namespace quire::spec {

class DraftRate {
 public:
  static constexpr float kWorth = 0.35f;
  static constexpr int32_t kRest = 24;  // tokens

  // Drafts that are worth trying now, 0 to `most`, if a row of the batch must bring `price` tokens.
  int Length(int most, double price = 0) const {
    if (rest_ > 0) return 0;
    const double worth = std::max<double>(kWorth, price);
    int length = 0;
    for (float p = rate_; length < most && p >= worth; p *= rate_) ++length;
    return length;
  }

  // Tokens that `length` drafts are expected to bring.
  double Expected(int length) const {
    double sum = 0, p = rate_;
    for (int i = 0; i < length; ++i, p *= rate_) sum += p;
    return sum;
  }

  // `accepted` of `drafted` were right. What came after the first wrong one tells nothing.
  void NoteDrafts(int drafted, int accepted) {
    for (int i = 0; i < accepted; ++i) rate_ += kLearn * (1 - rate_);
    if (accepted == drafted) return;
    rate_ -= kLearn * rate_;
    if (rate_ >= kWorth) return;
    rest_ = kRest;
    rate_ = kWorth;
  }

  // Tokens were committed without drafts.
  void NoteUndrafted() { rest_ -= rest_ > 0; }

  float rate() const { return rate_; }

 private:
  static constexpr float kLearn = 0.2f;

  float rate_ = 0.7f;
  int32_t rest_ = 0;
};

}  // namespace quire::spec

#endif  // QUIRE_COORDINATOR_SPEC_DRAFT_RATE_H_
