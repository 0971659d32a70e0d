#include "worker/model/tensor_binding.h"

#include <glog/logging.h>

#include <algorithm>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "worker/loader/bounded_json.h"

namespace quire::worker {
namespace {

bool IsPerLayer(const TensorRule& rule) { return absl::StrContains(rule.name, "{N}"); }

std::string NameOf(const TensorRule& rule, const std::string& prefix, int64_t layer) {
  return absl::StrReplaceAll(rule.name, {{"{P}", prefix}, {"{N}", absl::StrCat(layer)}});
}

// The prefix with which the file has its embedding; the first one where it has none (the message then names that
// tensor).
std::string FindPrefix(const FamilyRow& family, const Checkpoint& checkpoint) {
  for (const TensorRule& rule : family.tensors) {
    if (rule.roles.front() != Role::kEmbedding) continue;
    for (const char* prefix : family.prefixes) {
      if (checkpoint.Find(NameOf(rule, prefix, 0)) != nullptr) return prefix;
    }
  }
  return family.prefixes.front();
}

std::vector<int64_t> ExpectedShape(const TensorRule& rule, const ModelSpec& spec) {
  int64_t rows = 0;
  for (const Role role : rule.roles) rows += AxisSize(InfoOf(role).rows, spec);
  const Axis cols = InfoOf(rule.roles.front()).cols;
  if (rule.part == Part::kBias || cols == Axis::kOne) return {rows};
  std::vector<int64_t> shape = {rows, AxisSize(cols, spec)};
  if (rule.layout == Layout::kConcatTransposed) std::swap(shape[0], shape[1]);
  return shape;
}

absl::Status CheckTensor(const TensorRule& rule, const ModelSpec& spec, const CheckpointTensor& tensor) {
  const std::string who = absl::StrCat(tensor.file->path(), ": tensor '", Printable(tensor.entry.name), "'");
  const std::vector<int64_t> expected = ExpectedShape(rule, spec);
  if (tensor.entry.shape != expected) {
    return absl::InvalidArgumentError(absl::StrCat(who, " is ", DescribeEntry(tensor.entry),
                                                   ", but the config asks for [", absl::StrJoin(expected, ","), "]"));
  }
  if (!tensor.entry.type->dtype.has_value()) {
    return absl::UnimplementedError(
        absl::StrCat(who, " is stored as ", tensor.entry.type->name, ", a weight must be F32, F16 or BF16"));
  }
  return absl::OkStatus();
}

absl::Status Missing(const std::string& model_dir, const std::string& name, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(model_dir, ": tensor '", name, "' is missing", why));
}

bool IsIgnored(const FamilyRow& family, const std::string& name) {
  return std::any_of(family.ignored_suffixes.begin(), family.ignored_suffixes.end(),
                     [&](const char* suffix) { return absl::EndsWith(absl::StrCat(".", name), suffix); });
}

}  // namespace

absl::StatusOr<TensorBinding> TensorBinding::Bind(const FamilyRow& family, const ModelSpec& spec,
                                                  const std::string& model_dir, const Checkpoint& checkpoint) {
  TensorBinding binding(spec.num_layers);
  std::set<std::string> understood;
  const std::string prefix = FindPrefix(family, checkpoint);
  for (const TensorRule& rule : family.tensors) {
    const int64_t num_layers = IsPerLayer(rule) ? spec.num_layers : 1;
    int64_t num_found = 0;
    for (int64_t layer = 0; layer < num_layers; ++layer) {
      const std::string name = NameOf(rule, prefix, layer);
      understood.insert(name);
      if (rule.need == Need::kUnlessTied && spec.tied_head) continue;
      const CheckpointTensor* tensor = checkpoint.Find(name);
      if (tensor == nullptr) {
        if (rule.need != Need::kMaybe) return Missing(model_dir, name, "");
        if (num_found > 0) return Missing(model_dir, name, ", although earlier layers have it");
        continue;
      }
      if (rule.need == Need::kMaybe && num_found != layer) {
        return Missing(model_dir, NameOf(rule, prefix, 0), absl::StrCat(", although layer ", layer, " has it"));
      }
      ++num_found;
      if (absl::Status s = CheckTensor(rule, spec, *tensor); !s.ok()) return s;
      int64_t begin = 0;
      for (const Role role : rule.roles) {
        const int64_t rows = AxisSize(InfoOf(role).rows, spec);
        BoundTensor& bound = binding.At(role, rule.part, layer);
        CHECK(bound.source == nullptr) << name << ": two rules for one role";
        bound = {tensor, rule.layout == Layout::kConcatTransposed, begin, rows};
        begin += rows;
      }
    }
  }
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (understood.count(name) != 0 || IsIgnored(family, name)) continue;
    return absl::InvalidArgumentError(absl::StrCat(tensor.file->path(), ": tensor '", Printable(name), "' ",
                                                   DescribeEntry(tensor.entry), " is not part of this architecture (",
                                                   spec.num_layers, " layers)"));
  }
  return binding;
}

BoundTensor& TensorBinding::At(Role role, Part part, int64_t layer) {
  return bound_.at((layer * kNumRoles + static_cast<int>(role)) * 2 + static_cast<int>(part));
}

const BoundTensor& TensorBinding::Get(Role role, Part part, int64_t layer) const {
  return bound_.at((layer * kNumRoles + static_cast<int>(role)) * 2 + static_cast<int>(part));
}

}  // namespace quire::worker
