#include "tools/models/inspect_text.h"

#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace quire::tools {
namespace {

using worker::InspectedRank;
using worker::InspectedTensor;
using worker::InspectReport;
using worker::ModelSpec;

std::string Size(int64_t bytes) {
  if (bytes >= int64_t{1} << 30) return absl::StrFormat("%.2f GiB", static_cast<double>(bytes) / (1 << 30));
  if (bytes >= 1 << 20) return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return absl::StrCat(bytes, " bytes");
}

std::string Percent(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

void AppendSpec(const ModelSpec& spec, std::string* out) {
  absl::StrAppend(out, "spec       ", spec.num_layers, " layers, hidden ", spec.hidden_size, ", ", spec.num_heads,
                  " heads on ", spec.num_kv_heads, " key heads of ", spec.head_dim, ", mlp ", spec.ffn_size,
                  spec.gated ? " gated" : "", ", vocabulary ", spec.vocab_size, spec.tied_head ? ", tied head" : "",
                  ", up to ", spec.max_position, " tokens\n");
  if (spec.experts.count > 0) {
    absl::StrAppend(out, "experts    ", spec.experts.count, ", ", spec.experts.chosen, " per token\n");
  }
}

// How many tensors there are of each type, and their bytes.
void AppendTypes(const std::vector<InspectedTensor>& tensors, std::string* out) {
  std::map<std::string, std::pair<int, int64_t>> types;
  for (const InspectedTensor& tensor : tensors) {
    std::string type = tensor.shape.substr(0, tensor.shape.find('['));
    if (absl::StrContains(tensor.shape, "computed")) type += " (computed)";
    ++types[type].first;
    types[type].second += tensor.file_bytes;
  }
  std::vector<std::string> parts;
  for (const auto& [type, count] : types) {
    parts.push_back(absl::StrCat(count.first, " ", type, " of ", Size(count.second)));
  }
  absl::StrAppend(out, "tensors    ", absl::StrJoin(parts, ", "), "\n");
}

void AppendRanks(const InspectReport& report, const InspectTextOptions& options, std::string* out) {
  int64_t least = -1;
  for (size_t i = 0; i < report.ranks.size(); ++i) {
    const InspectedRank& rank = report.ranks[i];
    absl::StrAppend(out, "rank ", i, "     weights ", Size(rank.matrix_bytes + rank.vector_bytes), " as ", report.dtype,
                    " and ", Size(rank.mapped_bytes), " of mapped tables; cache ", rank.kv_token_bytes,
                    " bytes per token, ", Size(rank.kv_token_bytes * options.block_size), " per block of ",
                    options.block_size, "\n");
    const int64_t tokens = TokensThatFit(rank, options.memory_bytes, options.block_size);
    least = least < 0 ? tokens : std::min(least, tokens);
  }
  if (options.memory_bytes == 0 || report.ranks.empty()) return;
  absl::StrAppend(out, "fit        ", Size(options.memory_bytes), " per rank hold the weights and ", least,
                  " tokens of cache");
  if (report.spec.has_value()) {
    absl::StrAppend(out, ", ", absl::StrFormat("%.1f", static_cast<double>(least) / report.spec->max_position),
                    " sequences of full length");
  }
  absl::StrAppend(out, "\n");
}

}  // namespace

int64_t TokensThatFit(const InspectedRank& rank, int64_t memory_bytes, int64_t block_size) {
  const int64_t left = memory_bytes - rank.matrix_bytes - rank.vector_bytes;
  const int64_t block_bytes = rank.kv_token_bytes * block_size;
  return left <= 0 || block_bytes == 0 ? 0 : left / block_bytes * block_size;
}

std::string InspectText(const InspectReport& report, const InspectTextOptions& options) {
  std::string out;
  const std::string names =
      report.architectures.empty() ? std::string("no architectures") : absl::StrJoin(report.architectures, ", ");
  absl::StrAppend(&out, "family     ", names, ", model_type '", report.model_type,
                  "': ", report.family_is_known ? "known" : "UNKNOWN", "\n");
  if (report.spec.has_value()) AppendSpec(*report.spec, &out);
  if (!report.tensors.empty()) AppendTypes(report.tensors, &out);
  if (!report.quantization.empty()) absl::StrAppend(&out, "quantised  ", report.quantization, "; widened on load\n");
  if (report.zero_share >= 0) absl::StrAppend(&out, "zeros      ", Percent(report.zero_share), " of all weights\n");
  if (options.list_tensors) {
    for (const InspectedTensor& tensor : report.tensors) {
      absl::StrAppend(&out, "  ", tensor.name, "  ", tensor.shape, "  ", Size(tensor.file_bytes),
                      tensor.zero_share > 0 ? absl::StrCat("  ", Percent(tensor.zero_share), " zeros") : "", "\n");
    }
  }
  AppendRanks(report, options, &out);
  return out;
}

}  // namespace quire::tools
