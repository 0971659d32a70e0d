#include "tools/bench/serve_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace quire::bench {
namespace {

double Percentile(const std::vector<double>& sorted, double share) {
  const double rank = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(rank);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (rank - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

double Ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

std::string Line(const char* name, const Distribution& d) {
  return absl::StrFormat("%-24s %9.2f %9.2f %9.2f %9.2f\n", name, d.mean, d.p50, d.p90, d.p99);
}

nlohmann::json ToJson(const Distribution& d) {
  return {{"mean", d.mean}, {"p50", d.p50}, {"p90", d.p90}, {"p99", d.p99}};
}

}  // namespace

Distribution Summarize(std::vector<double> seconds) {
  Distribution d;
  if (seconds.empty()) return d;
  std::sort(seconds.begin(), seconds.end());
  double sum = 0;
  for (const double s : seconds) sum += s;
  d.mean = sum / static_cast<double>(seconds.size()) * 1e3;
  d.p50 = Percentile(seconds, 0.50) * 1e3;
  d.p90 = Percentile(seconds, 0.90) * 1e3;
  d.p99 = Percentile(seconds, 0.99) * 1e3;
  return d;
}

Report MakeReport(const RunResult& run, const ModelCost& cost, const Ceilings& ceilings, const ServerTimes& times) {
  Report report;
  report.seconds = run.seconds;
  std::vector<double> ttft, tpot, itl, e2e;
  for (const RequestRecord& r : run.records) {
    if (!r.ok) {
      ++report.failed;
      if (report.first_error.empty()) report.first_error = r.error;
      continue;
    }
    ++report.completed;
    report.input_tokens += r.input_tokens;
    report.output_tokens += r.output_tokens;
    ttft.push_back(r.ttft);
    e2e.push_back(r.e2e);
    if (r.output_tokens > 1) tpot.push_back((r.last_token - r.ttft) / static_cast<double>(r.output_tokens - 1));
    itl.insert(itl.end(), r.gaps.begin(), r.gaps.end());
  }
  const auto output = static_cast<double>(report.output_tokens);
  const auto input = static_cast<double>(report.input_tokens);
  report.output_rate = Ratio(output, run.seconds);
  report.total_rate = Ratio(input + output, run.seconds);
  report.ttft = Summarize(std::move(ttft));
  report.tpot = Summarize(std::move(tpot));
  report.itl = Summarize(std::move(itl));
  report.e2e = Summarize(std::move(e2e));
  // A step reads the weights once, and the keys and values of everything that it runs.
  const double step_bytes = cost.weight_bytes + cost.kv_bytes_per_token * run.mean_used_tokens;
  report.mbu = Ratio(Ratio(step_bytes, report.tpot.p50 * 1e-3), ceilings.read_bytes_per_second);
  // The last token of an answer is never fed back.
  const double fed = input + output - static_cast<double>(report.completed);
  const double flops = 2 * ((cost.elements - cost.head_elements) * fed + cost.head_elements * output);
  report.mfu = Ratio(Ratio(flops, run.seconds), ceilings.fma_flops_per_second);
  report.worker_share = Ratio(times.worker_p50, times.step_p50);
  return report;
}

std::string FormatReport(const Report& r, const Ceilings& ceilings, const ServerTimes& times,
                         const Overhead& overhead) {
  std::string out = absl::StrFormat("completed / failed       %9d / %d\n", r.completed, r.failed);
  if (!r.first_error.empty()) absl::StrAppend(&out, "first error              ", r.first_error, "\n");
  absl::StrAppendFormat(&out, "duration                 %9.2f s\n", r.seconds);
  absl::StrAppendFormat(&out, "tokens in / out          %9d / %d\n", r.input_tokens, r.output_tokens);
  absl::StrAppendFormat(&out, "output / total rate      %9.2f / %.2f tok/s\n\n", r.output_rate, r.total_rate);
  absl::StrAppendFormat(&out, "%-24s %9s %9s %9s %9s\n", "ms", "mean", "p50", "p90", "p99");
  absl::StrAppend(&out, Line("time to first token", r.ttft), Line("time per output token", r.tpot),
                  Line("between chunks", r.itl), Line("end to end", r.e2e));
  absl::StrAppendFormat(&out, "\nrecent steps, p50        %9.3f ms, of which the slowest worker %.3f ms (%.1f %%)\n",
                        times.step_p50 * 1e3, times.worker_p50 * 1e3, 100 * r.worker_share);
  if (overhead.measured) {
    absl::StrAppendFormat(
        &out,
        "first token beside work  %9.3f ms (TTFT p50 %.3f ms - worker p50 %.3f ms, %d requests of one "
        "token, one by one)\n",
        (overhead.ttft_p50 - overhead.worker_p50) * 1e3, overhead.ttft_p50 * 1e3, overhead.worker_p50 * 1e3,
        overhead.num_probes);
  }
  if (r.mbu > 0) {
    absl::StrAppendFormat(&out, "memory bandwidth used    %9.1f %% of %.1f GB/s read, measured now\n", 100 * r.mbu,
                          ceilings.read_bytes_per_second * 1e-9);
  }
  if (r.mfu > 0) {
    absl::StrAppendFormat(&out, "f32 multiply-adds used   %9.1f %% of %.1f GFLOP/s, measured now\n", 100 * r.mfu,
                          ceilings.fma_flops_per_second * 1e-9);
  }
  return out;
}

std::string ReportJson(const Report& r, const RunResult& run, const ModelCost& cost, const Ceilings& ceilings,
                       const ServerTimes& times, const Overhead& overhead, const std::string& config) {
  nlohmann::json json;
  json["config"] = nlohmann::json::parse(config, nullptr, /*allow_exceptions=*/false);
  json["completed"] = r.completed;
  json["failed"] = r.failed;
  json["first_error"] = r.first_error;
  json["timed_out"] = run.timed_out;
  json["duration_seconds"] = r.seconds;
  json["input_tokens"] = r.input_tokens;
  json["output_tokens"] = r.output_tokens;
  json["output_tokens_per_second"] = r.output_rate;
  json["total_tokens_per_second"] = r.total_rate;
  json["ttft_ms"] = ToJson(r.ttft);
  json["tpot_ms"] = ToJson(r.tpot);
  json["itl_ms"] = ToJson(r.itl);
  json["e2e_ms"] = ToJson(r.e2e);
  json["server_steps"] = run.steps;
  json["mean_running_requests"] = run.mean_running;
  json["mean_used_tokens"] = run.mean_used_tokens;
  json["step_ms_p50"] = times.step_p50 * 1e3;
  json["worker_ms_p50"] = times.worker_p50 * 1e3;
  json["weight_bytes"] = cost.weight_bytes;
  json["kv_bytes_per_token"] = cost.kv_bytes_per_token;
  json["matrix_elements"] = cost.elements;
  json["head_elements"] = cost.head_elements;
  json["read_gb_per_second"] = ceilings.read_bytes_per_second * 1e-9;
  json["best_read_gb_per_second"] = ceilings.best_read_bytes_per_second * 1e-9;
  json["fma_gflop_per_second"] = ceilings.fma_flops_per_second * 1e-9;
  json["mbu"] = r.mbu > 0 ? nlohmann::json(r.mbu) : nlohmann::json();
  json["mfu"] = r.mfu > 0 ? nlohmann::json(r.mfu) : nlohmann::json();
  if (overhead.measured) {
    json["first_token_overhead_ms"] = (overhead.ttft_p50 - overhead.worker_p50) * 1e3;
    json["probe_ttft_ms_p50"] = overhead.ttft_p50 * 1e3;
    json["probe_worker_ms_p50"] = overhead.worker_p50 * 1e3;
  }
  return json.dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace quire::bench
