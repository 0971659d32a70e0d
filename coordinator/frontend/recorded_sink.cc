#include "coordinator/frontend/recorded_sink.h"

#include <utility>

#include "coordinator/metrics/request_recorder.h"

namespace quire::frontend {
namespace {

metrics::Finish FinishOf(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kStop:
      return metrics::Finish::kStop;
    case engine::FinishReason::kLength:
      return metrics::Finish::kLength;
    case engine::FinishReason::kAbort:
      break;
  }
  return metrics::Finish::kAbort;
}

class RecordedSink final : public engine::RequestSink {
 public:
  RecordedSink(metrics::Metrics* metrics, const metrics::RequestShape& shape, std::unique_ptr<engine::RequestSink> sink)
      : recorder_(metrics, shape), sink_(std::move(sink)) {}

  void OnDelta(const engine::ChoiceDelta& delta) override {
    recorder_.OnTokens(delta.index, static_cast<int64_t>(delta.tokens.size()), delta.cached_tokens);
    if (delta.finished) recorder_.OnChoiceEnd(FinishOf(delta.reason));
    sink_->OnDelta(delta);
  }
  void OnEnd(const absl::Status& status, const engine::RequestTiming& timing) override {
    recorder_.OnEnd(status, {timing.queue, timing.prefill, timing.decode});
    sink_->OnEnd(status, timing);
  }

 private:
  metrics::RequestRecorder recorder_;
  const std::unique_ptr<engine::RequestSink> sink_;
};

}  // namespace

std::unique_ptr<engine::RequestSink> MakeRecordedSink(metrics::Metrics* metrics, int64_t arrival,
                                                      const request::Request& request,
                                                      std::unique_ptr<engine::RequestSink> sink) {
  metrics::RequestShape shape;
  shape.arrival = arrival;
  shape.prompt_tokens = static_cast<int64_t>(request.prompt_ids.size());
  shape.n = request.params.n;
  shape.num_drawn = request.params.best_of;
  shape.max_tokens = request.params.max_tokens;
  return std::make_unique<RecordedSink>(metrics, shape, std::move(sink));
}

}  // namespace quire::frontend
