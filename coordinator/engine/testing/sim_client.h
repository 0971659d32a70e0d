// One simulated client: reads its stream at its own pace through the real frontend::ResponseBuilder, as
// generate_stream.cc does over gRPC (one write in flight, what comes meanwhile waits), and holds all that it is told
// against the solo run. Test only; single thread.
#ifndef QUIRE_COORDINATOR_ENGINE_TESTING_SIM_CLIENT_H_
#define QUIRE_COORDINATOR_ENGINE_TESTING_SIM_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/engine/core.h"
#include "coordinator/engine/testing/sim_loop.h"
#include "coordinator/engine/testing/sim_requests.h"
#include "coordinator/frontend/response_builder.h"
#include "coordinator/request/request.h"

namespace quire::engine {

struct SimClientOptions {
  uint64_t id = 0;
  request::Request request;
  int32_t vocab = 0;
  double read_ms = 0;   // mean time of one write to this reader; 0 = it takes the engine's news directly
  double leaves = 0;    // chance per message that the reader is gone
  bool poison = false;  // kills ranks
  bool lonely = false;  // nothing else may end it: no cancel is on its way
};

class SimClient {
 public:
  // `cancel` is called once if the reader leaves before the end.
  SimClient(SimClientOptions options, SimLoop* loop, std::function<void(uint64_t id)> cancel);

  // As RequestSink.
  void OnDelta(const ChoiceDelta& delta);
  void OnEnd(const absl::Status& status);

  const request::Request& request() const { return options_.request; }
  const SimClientOptions& options() const { return options_; }
  bool ended() const { return ended_; }
  const absl::Status& status() const { return status_; }

  // CHECK-fails unless the client was told its end, and all of its output.
  void CheckDone() const;

 private:
  struct Choice {
    std::vector<int32_t> tokens, received;
    std::string text, received_text;
    bool finished = false;
  };

  void Pump();
  void Written();
  void CheckAgainstSoloRun() const;

  const SimClientOptions options_;
  SimLoop* const loop_;
  const std::function<void(uint64_t id)> cancel_;
  const std::vector<SoloRun> alone_;  // what must come
  std::vector<Choice> choices_;
  std::vector<TokenLogprobs> prompt_logprobs_;
  std::unique_ptr<frontend::ResponseBuilder> builder_;  // null: no stream
  bool writing_ = false, broken_ = false, ended_ = false, finished_ = false;
  absl::Status status_;
  int64_t behind_ = 0;  // news since the write in flight began
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_TESTING_SIM_CLIENT_H_
