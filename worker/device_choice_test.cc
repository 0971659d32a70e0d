#include "worker/device_choice.h"

#include "gtest/gtest.h"

namespace quire::worker {
namespace {

TEST(ParseDevice, Table) {
  const struct {
    const char* text;
    bool cuda, cpu;
    int index;
  } cases[] = {
      {"cpu", false, true, 0},    {"auto", true, true, 0},    {"cuda", true, false, 0},
      {"cuda:0", true, false, 0}, {"cuda:7", true, false, 7},
  };
  for (const auto& c : cases) {
    const auto choice = ParseDevice(c.text);
    ASSERT_TRUE(choice.ok()) << choice.status();
    EXPECT_EQ(choice->cuda, c.cuda) << c.text;
    EXPECT_EQ(choice->cpu, c.cpu) << c.text;
    EXPECT_EQ(choice->index, c.index) << c.text;
  }
  for (const char* text :
       {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda: 1", "cuda:99999999999", "cuda:1024", "CPU"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseDevice(text).status())) << text;
  }
}

}  // namespace
}  // namespace quire::worker
