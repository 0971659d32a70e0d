// The claims of the sharing benchmark, on shorter traces.
#include <gtest/gtest.h>

#include "tools/bench/sharing_sim.h"

namespace quire::bench {
namespace {

SharingFigures FiguresOf(LengthShape shape, uint32_t n, uint32_t beam_width, double rate, int64_t count = 400) {
  TraceOptions trace;
  trace.count = count;
  trace.rate = rate;
  trace.shape = shape;
  trace.n = n;
  trace.beam_width = beam_width;
  const SharingFigures figures = RunTrace({}, MakeTrace(trace));
  EXPECT_EQ(figures.preemptions, 0) << "the cache is large enough, or the figures mean something else";
  return figures;
}

TEST(SharingTest, LessThanFourPercentOfTheSlotsAreEmpty) {
  const SharingFigures figures = FiguresOf(LengthShape::kShareGpt, 1, 0, 16);
  EXPECT_GT(figures.waste, 0.005) << "half of a last block is empty on average";
  EXPECT_LT(figures.waste, 0.04);
  EXPECT_EQ(figures.saved, 0) << "nothing is shared without forks and prefix cache";
}

TEST(SharingTest, ParallelSamplesSaveWhatThePaperReports) {
  EXPECT_NEAR(FiguresOf(LengthShape::kAlpaca, 2, 0, 40).saved, 0.061, 0.02);
  EXPECT_NEAR(FiguresOf(LengthShape::kAlpaca, 6, 0, 14).saved, 0.098, 0.03);
}

TEST(SharingTest, BeamsSaveNoLessThanThePaperReports) {
  EXPECT_GT(FiguresOf(LengthShape::kAlpaca, 1, 2, 40).saved, 0.35);
  EXPECT_GT(FiguresOf(LengthShape::kAlpaca, 1, 6, 14).saved, 0.55);
}

TEST(SharingTest, EightChoicesOverOnePromptShareIt) {
  for (const int64_t prompt_len : {512, 500}) {
    const SharingFigures figures = RunTrace({}, {{absl::ZeroDuration(), prompt_len, 256, 8, 0}});
    EXPECT_EQ(figures.prefill_tokens, prompt_len) << "once";
    EXPECT_EQ(figures.forks, 7);
    EXPECT_LE(figures.above_ideal, 0.02);
    EXPECT_GE(figures.above_ideal, 0) << "the ideal is wrong";
    EXPECT_EQ(figures.block_copies, prompt_len % 16 == 0 ? 0 : 7) << "the last block of the prompt, but for one";
  }
}

}  // namespace
}  // namespace quire::bench
