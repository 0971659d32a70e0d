// main() of the Google Benchmark binaries: takes --json=FILE, as every benchmark of the tree does, beside the
// library's own flags.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  std::vector<std::string> args;
  for (int i = 0; i < argc; ++i) {
    constexpr char kJson[] = "--json=";
    if (std::strncmp(argv[i], kJson, std::strlen(kJson)) == 0) {
      args.push_back(std::string("--benchmark_out=") + (argv[i] + std::strlen(kJson)));
      args.push_back("--benchmark_out_format=json");
    } else {
      args.push_back(argv[i]);
    }
  }
  std::vector<char*> pointers;
  for (std::string& arg : args) pointers.push_back(arg.data());
  int count = static_cast<int>(pointers.size());
  benchmark::Initialize(&count, pointers.data());
  if (benchmark::ReportUnrecognizedArguments(count, pointers.data())) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
