// Changes JSON files of an input as trees, so that what libFuzzer tries is mostly JSON still and reaches what lies
// behind the JSON parser. Half of the time its own changes of bytes go first.
//
// Linked into libFuzzer's programs alone: it calls back into them.
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace quire::fuzz {
namespace {

using nlohmann::json;
using Rng = std::minstd_rand;

constexpr size_t kStringBytesMax = 512;

size_t Below(Rng* rng, size_t end) { return end == 0 ? 0 : (*rng)() % end; }

// A random place of the tree, and what holds it; null for the root.
json* PickPlace(json* root, Rng* rng, json** parent) {
  json* place = root;
  *parent = nullptr;
  while (place->is_structured() && !place->empty() && Below(rng, 5) != 0) {
    *parent = place;
    place = &*std::next(place->begin(), static_cast<ptrdiff_t>(Below(rng, place->size())));
  }
  return place;
}

void ChangeString(std::string* text, Rng* rng) {
  static const char* const kPieces[] = {
      "a",  " ", "\u2581", "\u00e9", "\u0120",  "\n",   "<s>", "\\p{L}", "+",   "*",          "(",      ")",
      "[^", "]", "|",      "{1,3}",  "(?!\\S)", "(?i:", "$",   "^",      "\\b", "\U0001f600", "\u0301", "<0x41>"};
  const size_t at = Below(rng, text->size() + 1);
  const size_t kind = Below(rng, 3);
  if (kind == 0) text->erase(at, 1 + Below(rng, 4));
  if (kind == 1 && text->size() < kStringBytesMax) text->insert(at, kPieces[Below(rng, std::size(kPieces))]);
  if (kind == 2 && text->size() < kStringBytesMax) text->insert(at, text->substr(Below(rng, text->size()), 16));
}

json SomeValue(Rng* rng) {
  const json values[] = {nullptr,
                         true,
                         false,
                         0,
                         1,
                         -1,
                         2,
                         255,
                         256,
                         4194303,
                         1 << 30,
                         0xFFFFFFFFFFFFFFFFull,
                         0.5,
                         1e300,
                         -1e-300,
                         "",
                         "a",
                         json::array(),
                         json::object(),
                         json::array({"a", "b"}),
                         json::array({0, 1})};
  return values[Below(rng, std::size(values))];
}

void ChangeTree(json* root, Rng* rng) {
  json* parent;
  json* place = PickPlace(root, rng, &parent);
  switch (Below(rng, 6)) {
    case 0:
      *place = SomeValue(rng);
      break;
    case 1: {
      json* unused;
      const json copy = *PickPlace(root, rng, &unused);
      *place = copy;
      break;
    }
    case 2:
      if (parent == nullptr) break;
      if (parent->is_array()) {
        parent->erase(Below(rng, parent->size()));
      } else {
        parent->erase(std::next(parent->begin(), static_cast<ptrdiff_t>(Below(rng, parent->size()))));
      }
      break;
    case 3: {
      json* unused;
      const json copy = *PickPlace(root, rng, &unused);
      if (place->is_array()) place->insert(place->begin() + static_cast<ptrdiff_t>(Below(rng, place->size())), copy);
      if (place->is_object()) (*place)[absl::StrCat("k", Below(rng, 9))] = copy;
      break;
    }
    case 4:
      if (place->is_number_integer()) *place = static_cast<int64_t>(place->get<uint64_t>() + Below(rng, 5) - 2);
      if (place->is_boolean()) *place = !place->get<bool>();
      if (place->is_string()) ChangeString(place->get_ptr<std::string*>(), rng);
      break;
    default:
      if (place->is_object() && !place->empty()) {  // the value of one key under another's name
        const auto from = std::next(place->begin(), static_cast<ptrdiff_t>(Below(rng, place->size())));
        std::string key = from.key();
        const json value = from.value();
        ChangeString(&key, rng);
        (*place)[key] = value;
      }
  }
}

// Empty where no file of the input is JSON.
std::string Changed(const uint8_t* data, size_t size, Rng* rng) {
  constexpr int kFilesMax = 5;
  const std::vector<absl::string_view> views = SplitInput(data, size, kFilesMax);
  std::vector<std::string> files(views.begin(), views.end());
  while (files.size() > 1 && files.back().empty()) files.pop_back();
  std::string& file = files[Below(rng, files.size())];
  json root = json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return "";
  for (size_t i = 0, edits = 1 + Below(rng, 3); i < edits; ++i) ChangeTree(&root, rng);
  file = root.dump(-1, ' ', false, json::error_handler_t::replace);
  return absl::StrJoin(files, kSeparator);
}

}  // namespace
}  // namespace quire::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  std::minstd_rand rng(seed);
  if (rng() % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string changed = quire::fuzz::Changed(data, size, &rng);
  if (changed.empty() || changed.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(changed.begin(), changed.end(), data);
  return changed.size();
}
