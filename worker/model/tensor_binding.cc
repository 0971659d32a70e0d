#include "worker/model/tensor_binding.h"

#include <glog/logging.h>

#include <algorithm>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "worker/loader/bounded_json.h"

namespace quire::worker {
namespace {

bool IsPerLayer(const TensorRule& rule) { return absl::StrContains(rule.name, "{N}"); }
bool IsPerExpert(const TensorRule& rule) { return absl::StrContains(rule.name, "{E}"); }

std::string NameOf(const TensorRule& rule, const std::string& prefix, int64_t layer, int64_t expert = 0) {
  return absl::StrReplaceAll(rule.name, {{"{P}", prefix}, {"{N}", absl::StrCat(layer)}, {"{E}", absl::StrCat(expert)}});
}

// The layers that have a rule's tensor, ascending; layer 0 for one that occurs once per model.
std::vector<int64_t> LayersOf(const TensorRule& rule, const ModelSpec& spec) {
  if (!IsPerLayer(rule)) return {0};
  std::vector<int64_t> layers;
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const bool is_wanted =
        rule.layers == InLayers::kAll || spec.HasExperts(layer) == (rule.layers == InLayers::kWithExperts);
    if (is_wanted) layers.push_back(layer);
  }
  return layers;
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

// Rules for one head's part each, in place of those that stand for all heads.
std::vector<TensorRule> ExpandHeads(const std::vector<TensorRule>& rules, const ModelSpec& spec) {
  std::vector<TensorRule> expanded;
  for (const TensorRule& rule : rules) {
    const bool is_per_head = absl::StrContains(rule.name, "{H}");
    const int64_t rows = AxisSize(InfoOf(rule.roles.front()).rows, spec);
    for (int64_t head = 0; head < (is_per_head ? rows / spec.head_dim : 1); ++head) {
      expanded.push_back(rule);
      if (!is_per_head) continue;
      expanded.back().name = absl::StrReplaceAll(rule.name, {{"{H}", absl::StrCat(head)}});
      expanded.back().layout = Layout::kOneHead;
    }
  }
  return expanded;
}

// The family's rules, with those for experts by the names that the file has most of (the first ones where all are
// alike).
std::vector<TensorRule> RulesOf(const FamilyRow& family, const ModelSpec& spec, const std::string& prefix,
                                const Checkpoint& checkpoint) {
  std::vector<TensorRule> rules = family.tensors;
  const std::vector<TensorRule>* best = nullptr;
  int64_t most = -1;
  for (const std::vector<TensorRule>& naming : family.expert_namings) {
    int64_t found = 0;
    for (const TensorRule& rule : naming) {
      for (const int64_t layer : LayersOf(rule, spec)) found += checkpoint.Find(NameOf(rule, prefix, layer)) != nullptr;
    }
    if (found <= most) continue;
    most = found;
    best = &naming;
  }
  if (best != nullptr) rules.insert(rules.end(), best->begin(), best->end());
  return ExpandHeads(rules, spec);
}

std::vector<int64_t> ExpectedShape(const TensorRule& rule, const ModelSpec& spec) {
  int64_t rows = 0;
  for (const Role role : rule.roles) rows += AxisSize(InfoOf(role).rows, spec);
  const Axis cols = InfoOf(rule.roles.front()).cols;
  if (rule.layout == Layout::kOneHead) return {spec.head_dim};
  if (rule.layout == Layout::kHeads) return {rows / spec.head_dim, spec.head_dim};
  if (rule.part == Part::kBias || cols == Axis::kOne) return {rows};
  std::vector<int64_t> shape = {rows, AxisSize(cols, spec)};
  if (rule.layout == Layout::kConcatTransposed) std::swap(shape[0], shape[1]);
  if (rule.layout == Layout::kExperts) shape.insert(shape.begin(), spec.experts.count);
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
        absl::StrCat(who, " is stored as ", tensor.entry.type->name, ", a weight must be a float"));
  }
  if (tensor.computed == nullptr) return absl::OkStatus();
  if (absl::Status s = tensor.computed->CheckValues(); !s.ok()) {
    return absl::Status(s.code(), absl::StrCat(who, " ", s.message()));
  }
  return absl::OkStatus();
}

bool IsWanted(Need need, const ModelSpec& spec) {
  switch (need) {
    case Need::kMust:
    case Need::kMaybe:
      return true;
    case Need::kUnlessTied:
      return !spec.tied_head;
    case Need::kIfHeadNorm:
      return spec.has_head_norm;
    case Need::kIfProjected:
      return spec.embed_cols() != spec.hidden_size;
    case Need::kUnlessPlain:
      return !spec.norms_are_plain;
    case Need::kUnlessParallel:
      return !spec.parallel_residual;
  }
  LOG(FATAL) << "need " << static_cast<int>(need);
}

bool IsPromised(const TensorRule& rule, const ModelSpec& spec) {
  return std::any_of(rule.flags.begin(), rule.flags.end(),
                     [&](const char* flag) { return spec.promised.count(flag) != 0; });
}

// Beside a quantised matrix a bias that is denied is taken: GPTQ's first writers put zeros there for every matrix.
bool IsDenied(const TensorRule& rule, const ModelSpec& spec, const std::string& name, const Checkpoint& checkpoint) {
  const bool all =
      std::all_of(rule.flags.begin(), rule.flags.end(), [&](const char* flag) { return spec.denied.count(flag) != 0; });
  if (rule.flags.empty() || !all) return false;
  const CheckpointTensor* matrix = checkpoint.Find(absl::StrCat(absl::StripSuffix(name, ".bias"), ".weight"));
  return matrix == nullptr || matrix->computed == nullptr;
}

absl::Status Missing(const std::string& model_dir, const std::string& name, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(model_dir, ": tensor '", name, "' is missing", why));
}

bool IsIgnored(const FamilyRow& family, const std::string& name) {
  for (const char* prefix : family.ignored_prefixes) {
    if (absl::StartsWith(name, prefix)) return true;
  }
  return std::any_of(family.ignored_suffixes.begin(), family.ignored_suffixes.end(),
                     [&](const char* suffix) { return absl::EndsWith(absl::StrCat(".", name), suffix); });
}

}  // namespace

std::vector<RowSpan> SpansOf(const BoundTensor& bound, int64_t begin, int64_t count) {
  CHECK_LE(begin + count, bound.rows);
  std::vector<RowSpan> spans;
  for (int64_t row = begin; row < begin + count; ++row) {
    int64_t in_order = row;
    if (bound.paired_dims > 0) {
      const int64_t half = bound.paired_dims / 2, dim = row % bound.head_dim;
      if (dim < bound.paired_dims) in_order = row - dim + 2 * (dim % half) + dim / half;
    }
    const int64_t stored = bound.begin + in_order / bound.run_rows * bound.run_stride + in_order % bound.run_rows;
    if (!spans.empty()) {
      RowSpan& last = spans.back();
      const int64_t step = stored - last.begin - (last.count - 1) * last.step;
      const bool starts_a_step = last.count == 1 && (step == 1 || step == 2);
      if (starts_a_step || (last.count > 1 && step == last.step)) {
        last.step = step;
        ++last.count;
        continue;
      }
    }
    spans.push_back({stored, 1, 1});
  }
  return spans;
}

absl::StatusOr<TensorBinding> TensorBinding::Bind(const FamilyRow& family, const ModelSpec& spec,
                                                  const std::string& model_dir, const Checkpoint& checkpoint) {
  TensorBinding binding(spec);
  std::vector<absl::Status> problems;
  binding.BindAll(family, spec, model_dir, checkpoint, &problems);
  if (!problems.empty()) return problems.front();
  return binding;
}

std::vector<absl::Status> TensorBinding::FindProblems(const FamilyRow& family, const ModelSpec& spec,
                                                      const std::string& model_dir, const Checkpoint& checkpoint) {
  TensorBinding binding(spec);
  std::vector<absl::Status> problems;
  binding.BindAll(family, spec, model_dir, checkpoint, &problems);
  return problems;
}

void TensorBinding::BindAll(const FamilyRow& family, const ModelSpec& spec, const std::string& model_dir,
                            const Checkpoint& checkpoint, std::vector<absl::Status>* problems) {
  std::set<std::string> understood;
  const std::string prefix = FindPrefix(family, checkpoint);
  for (const TensorRule& rule : RulesOf(family, spec, prefix, checkpoint)) {
    BindRule(rule, spec, prefix, model_dir, checkpoint, &understood, problems);
  }
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (understood.count(name) != 0 || IsIgnored(family, name)) continue;
    problems->push_back(absl::InvalidArgumentError(
        absl::StrCat(tensor.file->path(), ": tensor '", Printable(name), "' ", DescribeEntry(tensor.entry),
                     " is not part of this architecture (", spec.num_layers, " layers)")));
  }
}

void TensorBinding::BindRule(const TensorRule& rule, const ModelSpec& spec, const std::string& prefix,
                             const std::string& model_dir, const Checkpoint& checkpoint,
                             std::set<std::string>* understood, std::vector<absl::Status>* problems) {
  const std::vector<int64_t> layers = LayersOf(rule, spec);
  const int64_t num_experts = IsPerExpert(rule) ? spec.experts.count : 1;
  size_t num_found = 0;
  for (size_t i = 0; i < layers.size() * num_experts; ++i) {
    const int64_t layer = layers[i / num_experts], expert = i % num_experts;
    const std::string name = NameOf(rule, prefix, layer, expert);
    understood->insert(name);
    if (!IsWanted(rule.need, spec)) {
      if (rule.need == Need::kUnlessPlain && rule.part == Part::kWeight) {
        At(rule.roles.front(), Part::kWeight, layer, expert).is_ones = true;
      }
      if (rule.need != Need::kUnlessTied) understood->erase(name);
      continue;
    }
    if (rule.need == Need::kMaybe && IsDenied(rule, spec, name, checkpoint)) {
      understood->erase(name);
      continue;
    }
    const CheckpointTensor* tensor = checkpoint.Find(name);
    if (tensor == nullptr) {
      if (rule.need != Need::kMaybe) {
        problems->push_back(Missing(model_dir, name, ""));
      } else if (num_found > 0) {
        problems->push_back(Missing(model_dir, name, ", although earlier layers have it"));
      } else if (IsPromised(rule, spec)) {
        problems->push_back(
            Missing(model_dir, name,
                    absl::StrCat(", which the config's '", absl::StrJoin(rule.flags, "' or '"), "' promises")));
      }
      continue;
    }
    if (rule.need == Need::kMaybe && num_found == 0 && i > 0) {
      const std::string first = NameOf(rule, prefix, layers[0]);
      problems->push_back(Missing(model_dir, first, absl::StrCat(", although layer ", layer, " has it")));
    }
    ++num_found;
    if (absl::Status s = CheckTensor(rule, spec, *tensor); !s.ok()) {
      problems->push_back(std::move(s));
      continue;
    }
    const int64_t num_held = rule.layout == Layout::kExperts ? spec.experts.count : 1;
    for (int64_t e = 0; e < num_held; ++e) BindRoles(rule, spec, *tensor, layer, expert + e);
  }
}

bool TurnsByHead(Role role) {
  return role == Role::kQuery || role == Role::kKey || role == Role::kQueryNorm || role == Role::kKeyNorm;
}

// A group of kGroups is a key head's queries, then that key head, then its value head.
void TensorBinding::BindRoles(const TensorRule& rule, const ModelSpec& spec, const CheckpointTensor& tensor,
                              int64_t layer, int64_t expert) {
  const bool is_grouped = rule.layout == Layout::kGroups;
  const int64_t group_stride = (spec.num_heads / spec.num_kv_heads + 2) * spec.head_dim;
  int64_t begin = 0;
  for (const Role role : rule.roles) {
    const int64_t rows = AxisSize(InfoOf(role).rows, spec);
    BoundTensor& bound = At(role, rule.part, layer, expert);
    if (rule.layout == Layout::kOneHead) {
      bound.heads.push_back(&tensor);
      if (bound.heads.size() > 1) continue;
    }
    CHECK(bound.source == nullptr) << tensor.entry.name << ": two rules for one role";
    bound.source = &tensor;
    bound.transposed = rule.layout == Layout::kConcatTransposed;
    bound.begin = begin;
    bound.rows = rows;
    bound.run_rows = is_grouped ? rows / spec.num_kv_heads : rows;
    bound.run_stride = is_grouped ? group_stride : rows;
    if (spec.rope.stored_in_neighbours && TurnsByHead(role)) {
      bound.paired_dims = spec.rope.dims;
      bound.head_dim = spec.head_dim;
    }
    if (rule.layout == Layout::kExperts) bound.slice = expert;
    begin += bound.run_rows;
  }
}

BoundTensor& TensorBinding::At(Role role, Part part, int64_t layer, int64_t expert) {
  return bound_.at(IndexOf(role, part, layer, expert));
}

const BoundTensor& TensorBinding::Get(Role role, Part part, int64_t layer, int64_t expert) const {
  return bound_.at(IndexOf(role, part, layer, expert));
}

// Layer by layer: its roles, then those of each expert.
int64_t TensorBinding::IndexOf(Role role, Part part, int64_t layer, int64_t expert) const {
  constexpr int64_t kOfExpert = kNumRoles - kFirstExpert;
  const int64_t index = static_cast<int>(role) + (role < kFirstExpertRole ? 0 : expert * kOfExpert);
  return (layer * (kFirstExpert + num_experts_ * kOfExpert) + index) * 2 + static_cast<int>(part);
}

}  // namespace quire::worker
