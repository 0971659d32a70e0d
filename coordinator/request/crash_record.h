// What losses of a replica say of a request that was in flight in them. Plain data of the core; engine thread only.
//
// A request that ends its rank does so again when it is replayed, before it has got anywhere. One that goes on after a
// loss is not the cause, however many losses it sees. So losses count in a row: progress of kProgress tokens between
// two of them clears the request (docs/decisions/0010-crashes-in-a-row.md).
#ifndef QUIRE_COORDINATOR_REQUEST_CRASH_RECORD_H_
#define QUIRE_COORDINATOR_REQUEST_CRASH_RECORD_H_

#include <cstdint>

namespace quire::request {

class CrashRecord {
 public:
  static constexpr int64_t kProgress = 32;  // tokens
  static constexpr int32_t kAlone = 2;      // losses in a row

  // The replica was lost while the request was in flight with so many committed tokens.
  void Note(int64_t output) {
    if (output >= output_ + kProgress) in_a_row_ = 0;
    ++in_a_row_;
    output_ = output;
  }

  // Losses without progress in between, the last one included.
  int32_t in_a_row() const { return in_a_row_; }
  bool any() const { return in_a_row_ > 0; }
  // Whether the request must not run beside others: a further loss would show that it is the cause.
  bool RunsAlone(int64_t output) const { return in_a_row_ >= kAlone && output < output_ + kProgress; }

 private:
  int32_t in_a_row_ = 0;
  int64_t output_ = 0;  // committed tokens at the last loss
};

}  // namespace quire::request

#endif  // QUIRE_COORDINATOR_REQUEST_CRASH_RECORD_H_
