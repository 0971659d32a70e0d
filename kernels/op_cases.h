// The shapes that every backend must get right: odd sizes, empty calls, groups of heads, block borders. Plain data,
// shared by the conformance tests and by tools/bench:ops --check.
#ifndef QUIRE_KERNELS_OP_CASES_H_
#define QUIRE_KERNELS_OP_CASES_H_

#include <cstdint>
#include <vector>

#include "kernels/backend.h"

namespace quire::kernels {

inline constexpr DType kStoredTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

struct MatMulCase {
  int64_t num_tokens;
  int64_t rows;  // N
  int64_t cols;  // K
};

// N and K that fill no vector, panel, group of panels or cache block; token counts on both sides of every tile height.
inline constexpr MatMulCase kMatMulCases[] = {
    {0, 5, 3},     {1, 1, 1},    {1, 17, 33},   {1, 100, 257},  {2, 64, 128},  {3, 15, 129},
    {5, 31, 7},    {6, 65, 255}, {7, 16, 300},  {12, 130, 64},  {13, 79, 513}, {16, 48, 96},
    {17, 33, 19},  {32, 64, 40}, {33, 200, 65}, {100, 37, 130}, {193, 70, 31}, {260, 18, 20},
    {1, 115, 700}, {3, 240, 90}, {9, 112, 150}, {70, 115, 260},
};

struct SequenceShape {
  int32_t num_queries;
  int32_t context_len;
};

struct AttendCase {
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t block_size;
  std::vector<SequenceShape> sequences;
};

inline std::vector<AttendCase> AttendCases() {
  return {
      {1, 1, 64, 16, {{1, 1}}},
      {4, 4, 16, 16, {{1, 15}, {1, 16}, {1, 17}}},
      {8, 2, 64, 16, {{1, 33}, {7, 7}, {3, 40}, {1, 100}}},
      {9, 3, 64, 16, {{20, 20}, {1, 530}, {2, 513}}},
      {8, 1, 128, 32, {{1, 31}, {5, 33}, {33, 65}}},
      {5, 1, 80, 16, {{17, 17}, {1, 47}}},
      {7, 1, 80, 16, {{0, 5}, {4, 19}}},
      {2, 2, 20, 16, {{1, 18}, {6, 22}}},
      {4, 2, 8, 16, {{1, 3}, {9, 25}}},
      {6, 1, 96, 64, {{1, 1100}, {70, 600}}},
      {3, 3, 24, 48, {{1, 1100}, {40, 560}}},  // blocks that chunks of 512 keys cut
  };
}

// What a model may do to its scores; the slopes are the test's.
struct AttendVariant {
  const char* name;
  int64_t window;
  float softcap;
  bool alibi;
  bool alibi_in_bf16;
};

// Windows of one key, inside a group of 16, over blocks and over chunks of 512.
inline constexpr AttendVariant kAttendVariants[] = {
    {"plain", 0, 0.0f, false, false},         {"window 1", 1, 0.0f, false, false},
    {"window 5", 5, 0.0f, false, false},      {"window 16", 16, 0.0f, false, false},
    {"window 37", 37, 0.0f, false, false},    {"window 515", 515, 0.0f, false, false},
    {"softcap", 0, 1.5f, false, false},       {"softcap, window", 19, 0.7f, false, false},
    {"alibi", 0, 0.0f, true, false},          {"alibi in bf16", 0, 0.0f, true, true},
    {"alibi, window", 70, 0.0f, true, false}, {"all", 520, 2.0f, true, false},
};

enum class ExpertLoad : uint8_t { kRandom, kAllToOne, kLastIdle };

struct ExpertCase {
  int64_t num_tokens;
  int64_t num_experts;
  int64_t num_chosen;
  int64_t first_expert;  // those that lie here
  int64_t num_local;
  int64_t hidden;
  int64_t width;  // of an expert
  ExpertLoad load;
};

// Experts that quarters do not divide, one of many, all chosen; experts elsewhere, without a row, with all rows; rows
// on both sides of every tile height.
inline constexpr ExpertCase kExpertCases[] = {
    {0, 4, 2, 0, 4, 16, 8, ExpertLoad::kRandom},     {1, 1, 1, 0, 1, 17, 5, ExpertLoad::kRandom},
    {1, 8, 2, 0, 8, 64, 48, ExpertLoad::kRandom},    {3, 5, 5, 0, 5, 33, 31, ExpertLoad::kRandom},
    {7, 6, 3, 0, 6, 40, 65, ExpertLoad::kLastIdle},  {19, 4, 2, 0, 4, 130, 24, ExpertLoad::kAllToOne},
    {33, 7, 2, 2, 3, 48, 70, ExpertLoad::kRandom},   {90, 3, 1, 0, 3, 65, 37, ExpertLoad::kRandom},
    {70, 9, 4, 6, 3, 20, 16, ExpertLoad::kLastIdle}, {150, 4, 2, 0, 4, 31, 100, ExpertLoad::kAllToOne},
};

struct RowsCase {
  int64_t num_tokens;
  int64_t width;
};

inline constexpr RowsCase kRowsCases[] = {{0, 8},  {1, 1},   {1, 15},   {1, 16},  {2, 17},
                                          {3, 64}, {5, 100}, {33, 576}, {130, 31}};

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_OP_CASES_H_
