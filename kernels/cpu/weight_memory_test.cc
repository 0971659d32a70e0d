#include "kernels/cpu/weight_memory.h"

#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace quire::kernels::cpu {
namespace {

bool AllAre(const std::shared_ptr<void>& piece, int64_t bytes, char value) {
  const char* data = static_cast<const char*>(piece.get());
  return std::all_of(data, data + bytes, [=](char c) { return c == value; });
}

TEST(WeightMemory, PiecesAreZeroedAlignedAndApart) {
  std::mt19937 rng(1);
  WeightMemory memory;
  struct Piece {
    std::shared_ptr<void> data;
    int64_t bytes;
    char value;
  };
  std::vector<Piece> pieces;
  int64_t total = 0;
  while (total < 3 * WeightMemory::kSlabBytes) {  // over several slabs, and some with memory of their own
    const int64_t bytes = 1 + static_cast<int64_t>(rng() % (WeightMemory::kOwnBytes + 100000));
    const std::shared_ptr<void> data = memory.Take(bytes).value();
    ASSERT_EQ(reinterpret_cast<uintptr_t>(data.get()) % WeightMemory::kAlign, 0u);
    ASSERT_TRUE(AllAre(data, bytes, 0)) << "piece " << pieces.size() << " of " << bytes << " bytes";
    const char value = static_cast<char>(1 + pieces.size() % 100);
    std::fill_n(static_cast<char*>(data.get()), bytes, value);
    pieces.push_back({data, bytes, value});
    total += bytes;
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    EXPECT_TRUE(AllAre(pieces[i].data, pieces[i].bytes, pieces[i].value)) << "piece " << i;
  }
}

TEST(WeightMemory, SmallOnesShareASlabUntilItsLastPieceGoes) {
  WeightMemory memory;
  std::shared_ptr<void> a = memory.Take(1000).value();
  std::shared_ptr<void> b = memory.Take(1000).value();
  EXPECT_EQ(static_cast<char*>(b.get()) - static_cast<char*>(a.get()), 1024);
  std::fill_n(static_cast<char*>(b.get()), 1000, 'b');
  a.reset();
  EXPECT_TRUE(AllAre(b, 1000, 'b'));
  // Freed bytes are not handed out again, only the rest of the slab.
  const std::shared_ptr<void> c = memory.Take(1000).value();
  EXPECT_EQ(static_cast<char*>(c.get()) - static_cast<char*>(b.get()), 1024);
  const std::weak_ptr<void> last = c;
  EXPECT_EQ(last.use_count(), 2);  // b and c: the memory itself holds none
}

TEST(WeightMemory, TooMuchIsAnError) {
  WeightMemory memory;
  EXPECT_EQ(memory.Take(int64_t{1} << 50).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(memory.Take(1000).ok());
}

}  // namespace
}  // namespace quire::kernels::cpu
