// Files of torch.save: what tests/goldens/checkpoints/torch holds, what hands can write, and mutations of both.
#include "worker/loader/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/loader/pickle_machine.h"
#include "worker/loader/pickled_tensors.h"
#include "worker/loader/zip_entries.h"

namespace quire::worker {
namespace {

using ::testing::HasSubstr;

std::string ReadGoldenFile(const std::string& name) {
  std::ifstream in("tests/goldens/checkpoints/torch/" + name, std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

int64_t Elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

// The tensor's bytes in row-major order.
std::string RowMajor(const std::string& file, const TorchTensor& tensor) {
  const int64_t element_bytes = tensor.entry.type->bits / 8;
  std::string out;
  for (int64_t i = 0; i < Elements(tensor.entry.shape); ++i) {
    int64_t rest = i, at = tensor.entry.begin;
    for (int axis = static_cast<int>(tensor.entry.shape.size()) - 1; axis >= 0; --axis) {
      at += rest % tensor.entry.shape[axis] * tensor.strides[axis] * element_bytes;
      rest /= tensor.entry.shape[axis];
    }
    EXPECT_LE(at + element_bytes, tensor.entry.end);
    out.append(file, at, element_bytes);
  }
  return out;
}

TEST(TorchFileTest, EveryLayoutAndTypeReadsAsSafetensorsHasIt) {
  const std::string expected = ReadGoldenFile("expected.safetensors");
  auto header = ParseSafetensorsHeader("expected", expected);
  ASSERT_TRUE(header.ok()) << header.status();
  for (const char* name : {"tensors.bin", "tensors_protocol4.bin"}) {
    SCOPED_TRACE(name);
    const std::string file = ReadGoldenFile(name);
    auto tensors = ReadTorchFile(name, file);
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    std::map<std::string, const TorchTensor*> by_name;
    for (const TorchTensor& tensor : *tensors) by_name[tensor.entry.name] = &tensor;
    ASSERT_EQ(by_name.size(), header->entries.size());
    for (const SafetensorsEntry& entry : header->entries) {
      SCOPED_TRACE(entry.name);
      ASSERT_EQ(by_name.count(entry.name), 1u);
      const TorchTensor& tensor = *by_name[entry.name];
      EXPECT_EQ(DescribeEntry(tensor.entry), DescribeEntry(entry));
      EXPECT_EQ(RowMajor(file, tensor), expected.substr(header->data_begin + entry.begin, entry.end - entry.begin));
    }
    EXPECT_EQ(by_name["tied"]->entry.begin, by_name["tied_too"]->entry.begin);
    EXPECT_EQ(by_name["tied_transposed"]->strides, (std::vector<int64_t>{1, 10}));
  }
}

TEST(TorchFileTest, WhatWouldRunIsRefusedByName) {
  struct {
    const char* file;
    absl::StatusCode code;
    const char* message;
  } const cases[] = {
      {"evil_system.bin", absl::StatusCode::kUnimplemented, "'posix.system'"},
      {"evil_protocol4.bin", absl::StatusCode::kUnimplemented, "'posix.system'"},
      {"evil_eval.bin", absl::StatusCode::kUnimplemented, "'__builtin__.eval'"},
      {"evil_getattr.bin", absl::StatusCode::kUnimplemented, "'__builtin__.getattr'"},
      {"evil_hub.bin", absl::StatusCode::kUnimplemented, "'torch.hub.load'"},
      {"evil_partial.bin", absl::StatusCode::kUnimplemented, "'functools.partial'"},
      {"evil_inst.bin", absl::StatusCode::kUnimplemented, "opcode STRING (0x53)"},
      {"evil_newobj.bin", absl::StatusCode::kUnimplemented, "opcode NEWOBJ (0x81)"},
      {"bad_legacy.bin", absl::StatusCode::kUnimplemented, "before torch 1.6"},
      {"bad_compressed.bin", absl::StatusCode::kUnimplemented, "compressed by method 8"},
      {"bad_list.bin", absl::StatusCode::kInvalidArgument, "holds a list, not a dict"},
      {"bad_epoch.bin", absl::StatusCode::kInvalidArgument, "'epoch' is an int"},
      {"bad_nested.bin", absl::StatusCode::kInvalidArgument, "'model' is a dict"},
      {"bad_sparse.bin", absl::StatusCode::kUnimplemented, "'torch._utils._rebuild_sparse_tensor'"},
  };
  for (const auto& bad : cases) {
    auto tensors = ReadTorchFile(bad.file, ReadGoldenFile(bad.file));
    EXPECT_EQ(tensors.status().code(), bad.code) << tensors.status();
    EXPECT_THAT(std::string(tensors.status().message()), HasSubstr(bad.message));
    EXPECT_THAT(std::string(tensors.status().message()), HasSubstr(bad.file));
  }
  EXPECT_NE(access("/tmp/quire_evil", F_OK), 0) << "something ran";
}

// ---- pickles by hand ----

std::string Name(const std::string& module, const std::string& name) {
  return absl::StrCat("c", module, "\n", name, "\n");
}
std::string Text(const std::string& text) {
  const uint32_t size = text.size();
  return absl::StrCat("X", absl::string_view(reinterpret_cast<const char*>(&size), 4), text);
}
std::string Int(int64_t value) {
  return absl::StrCat("\x8a", absl::string_view("\x08", 1),
                      absl::string_view(reinterpret_cast<const char*>(&value), 8));
}
std::string Tuple(const std::vector<int64_t>& values) {
  std::string out = "(";
  for (const int64_t value : values) out += Int(value);
  return out + "t";
}
std::string StorageOf(int64_t elements, const std::string& type = "FloatStorage") {
  return absl::StrCat("(", Text("storage"), Name("torch", type), Text("0"), Text("cpu"), Int(elements), "tQ");
}
std::string TensorOf(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape,
                     const std::vector<int64_t>& strides) {
  return absl::StrCat(Name("torch._utils", "_rebuild_tensor_v2"), "(", storage, Int(offset), Tuple(shape),
                      Tuple(strides), "\x89", Name("collections", "OrderedDict"), ")RtR");
}
std::string DictOf(const std::string& value) { return absl::StrCat("\x80\x02}", Text("a"), value, "s."); }

struct PickleCase {
  const char* what;
  std::string pickle;
  const char* message;
};

std::vector<PickleCase> BadPickles() {
  const int64_t huge = int64_t{1} << 62;
  return {
      {"nothing", "", "truncated"},
      {"no end", "\x80\x02}", "truncated"},
      {"nothing on the stack", "\x80\x02.", "stack is empty"},
      {"protocol 0", std::string("\x80\x00}.", 4), "protocol 0"},
      {"protocol 6", "\x80\x06}.", "protocol 6"},
      {"a mark as result", "\x80\x02(.", "a mark where"},
      {"no mark", "\x80\x02t.", "no mark"},
      {"a name that never ends",
       "\x80\x02"
       "c" +
           std::string(300, 'x'),
       "without an end"},
      {"a text beyond the end", std::string("\x80\x02X\xff\xff\xff\x01", 7), "truncated"},
      {"a text of four GiB", std::string("\x80\x02X\xff\xff\xff\xff", 7), "a text of 4294967295 bytes"},
      {"memo that is not set", "\x80\x02h\x07.", "memo 7 is not set"},
      {"memo out of range", "\x80\x02}r\xff\xff\xff\x7f.", "memo 2147483647 is out of range"},
      {"items for a text", absl::StrCat("\x80\x02", Text("a"), "K\x01K\x02s."), "items for a text"},
      {"a key without a value", "\x80\x02}(K\x01u.", "a key without a value"},
      {"a call of a text", absl::StrCat("\x80\x02", Text("a"), ")R."), "a call of a text"},
      {"a call without a tuple", absl::StrCat("\x80\x02", Name("collections", "OrderedDict"), "]R."), "with a list"},
      {"an OrderedDict of something", absl::StrCat("\x80\x02", Name("collections", "OrderedDict"), "K\x01\x85R."),
       "'collections.OrderedDict' with arguments"},
      {"BUILD of a list", "\x80\x02]}b.", "BUILD"},
      {"an integer of nine bytes",
       "\x80\x02\x8a\x09"
       "123456789.",
       "9 bytes is out of range"},
      {"a name that is a number", absl::StrCat("\x80\x02}K\x01", TensorOf(StorageOf(1), 0, {1}, {1}), "s."),
       "a name is an int"},
      {"twice",
       absl::StrCat("\x80\x02}(", Text("a"), TensorOf(StorageOf(1), 0, {1}, {1}), Text("a"),
                    TensorOf(StorageOf(1), 0, {1}, {1}), "u."),
       "'a' occurs twice"},
      {"a storage as a tensor", DictOf(StorageOf(1)), "'a' is a storage"},
      {"no storage", DictOf(TensorOf(Int(1), 0, {1}, {1})), "has no storage"},
      {"a storage of another kind", DictOf(TensorOf(absl::StrCat("(", Text("module"), "tQ"), 0, {1}, {1})),
       "no storage"},
      {"a negative storage", DictOf(TensorOf(StorageOf(-1), 0, {1}, {1})), "a storage of -1"},
      {"a storage beyond 64 bits", DictOf(TensorOf(StorageOf(huge), 0, {1}, {1})), "a storage of 4611686018427387904"},
      {"beyond the storage", DictOf(TensorOf(StorageOf(6), 0, {2, 3}, {4, 1})), "its storage of 6"},
      {"offset beyond the storage", DictOf(TensorOf(StorageOf(6), 1, {2, 3}, {3, 1})), "begins at 1"},
      {"negative offset", DictOf(TensorOf(StorageOf(6), -1, {1}, {1})), "begins at -1"},
      {"huge offset of nothing", DictOf(TensorOf(StorageOf(6), huge, {0}, {1})), "begins at"},
      {"negative stride", DictOf(TensorOf(StorageOf(6), 5, {6}, {-1})), "strides [-1]"},
      {"negative size", DictOf(TensorOf(StorageOf(6), 0, {-2}, {1})), "sizes [-2]"},
      {"expanded", DictOf(TensorOf(StorageOf(1), 0, {1000, 1000}, {0, 0})), "its storage of 1 "},
      {"overflow of elements", DictOf(TensorOf(StorageOf(6), 0, {huge, huge}, {0, 0})), "does not hold"},
      {"overflow of reach", DictOf(TensorOf(StorageOf(6), 0, {3, 2}, {huge, huge})), "does not hold"},
      {"sizes and strides", DictOf(TensorOf(StorageOf(6), 0, {2, 3}, {1})), "2 sizes and 1 strides"},
      {"nine axes", DictOf(TensorOf(StorageOf(6), 0, std::vector<int64_t>(9, 1), std::vector<int64_t>(9, 1))),
       "at most 8"},
      {"an unknown storage", DictOf(TensorOf(StorageOf(1, "QInt8Storage"), 0, {1}, {1})), "'torch.QInt8Storage'"},
      {"a name of 300 bytes",
       absl::StrCat("\x80\x02}", Text(std::string(300, 'n')), TensorOf(StorageOf(1), 0, {1}, {1}), "s."), "300 bytes"},
  };
}

TEST(PickledTensorsTest, BadPicklesGetOneMessage) {
  for (const PickleCase& bad : BadPickles()) {
    SCOPED_TRACE(bad.what);
    auto tensors = ReadPickledTensors("dir/the_file", bad.pickle);
    ASSERT_FALSE(tensors.ok());
    const std::string message(tensors.status().message());
    EXPECT_THAT(message, HasSubstr("dir/the_file"));
    EXPECT_THAT(message, HasSubstr(bad.message));
    EXPECT_LT(message.size(), 700u);
  }
  auto good = ReadPickledTensors("f", DictOf(TensorOf(StorageOf(6), 0, {2, 3}, {3, 1})));
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(good->at(0).storage_bytes, 24);
}

// Programs that would grow without end meet a limit; each is as small as its author can make it.
TEST(PickledTensorsTest, GrowthIsBounded) {
  const auto times = [](int64_t count, absl::string_view what) {
    std::string out = "\x80\x02";
    for (int64_t i = 0; i < count; ++i) absl::StrAppend(&out, what);
    return out;
  };
  EXPECT_THAT(std::string(ReadPickledTensors("f", times(kPickleValuesMax + 1, "}")).status().message()),
              HasSubstr("values"));
  EXPECT_THAT(
      std::string(ReadPickledTensors("f", absl::StrCat("\x80\x02}q", absl::string_view("\0", 1),
                                                       times(kPickleValuesMax, absl::string_view("h\0", 2)).substr(2)))
                      .status()
                      .message()),
      HasSubstr("stack"));
  // Tuples of tuples: deep, but nothing walks them.
  auto deep = ReadPickledTensors("f", absl::StrCat("\x80\x02}", times(1'000'000, "\x85").substr(2), "."));
  EXPECT_THAT(std::string(deep.status().message()), HasSubstr("holds a tuple"));
}

// Mutations of good files: a read either fails with a message, or every tensor lies inside the file.
TEST(TorchFileTest, MutatedFilesNeverReachOutside) {
  std::mt19937_64 random(20261122);
  int num_accepted = 0;
  for (const char* name : {"tensors.bin", "tensors_protocol4.bin", "evil_system.bin"}) {
    const std::string good = ReadGoldenFile(name);
    const size_t pickle_begin = good.find("data.pkl"), pickle_end = good.find("byteorder");
    for (int round = 0; round < 20000; ++round) {
      std::string file = good;
      const int num_edits = 1 + random() % 3;
      for (int edit = 0; edit < num_edits; ++edit) {
        // In the pickle, in the directory at the end, or anywhere.
        size_t at = random() % file.size();
        if (random() % 3 == 0) at = std::min(file.size() - 1, pickle_begin + random() % (pickle_end - pickle_begin));
        if (random() % 3 == 0) at = file.size() - 1 - random() % std::min<size_t>(file.size(), 1500);
        switch (random() % 8) {
          case 0:
            file.resize(at + 1);
            break;
          case 1:
            file[at] = '\xff';
            break;
          case 2:
            file[at] = "QRbcu(t.\x81\x93\x94\x8a"[random() % 12];
            break;
          default:
            file[at] = static_cast<char>(random());
        }
      }
      auto tensors = ReadTorchFile("f", file);
      if (!tensors.ok()) {
        EXPECT_LT(tensors.status().message().size(), 1000u);
        continue;
      }
      ++num_accepted;
      for (const TorchTensor& tensor : *tensors) {
        ASSERT_GE(tensor.entry.begin, 0);
        ASSERT_LE(tensor.entry.begin, tensor.entry.end);
        ASSERT_LE(tensor.entry.end, static_cast<int64_t>(file.size()));
        ASSERT_LE(Elements(tensor.entry.shape) * tensor.entry.type->bits / 8, static_cast<int64_t>(file.size()));
        RowMajor(file, tensor);
      }
    }
  }
  EXPECT_GT(num_accepted, 1000) << "the mutations are too wild to test anything past the readers";
}

TEST(TorchFileTest, EveryTruncationIsRefused) {
  const std::string good = ReadGoldenFile("tensors.bin");
  for (size_t size = 0; size < good.size(); ++size) {
    auto tensors = ReadTorchFile("f", good.substr(0, size));
    ASSERT_TRUE(absl::IsInvalidArgument(tensors.status())) << size << ": " << tensors.status();
  }
}

}  // namespace
}  // namespace quire::worker
