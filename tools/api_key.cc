// Makes a key for --api_key_file: `bazel run //tools:api_key -- --tenant=acme`. The line for the file goes to stdout,
// so that it can be appended to it (`>> FILE`); the key itself is shown once, on stderr.
#include <cstdio>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "coordinator/access/key_file.h"

ABSL_FLAG(std::string, tenant, "", "Whose key it is: 1 to 64 letters, digits, '.', '_' or '-'. Required.");
ABSL_FLAG(double, weight, 1, "Share of the service against other tenants, 0.001 to 1000 (--scheduling_policy=fair).");
ABSL_FLAG(int64_t, max_live_requests, 0, "Requests of the tenant at a time, all its keys together; 0 = no own limit.");
ABSL_FLAG(uint32_t, max_choices, 0, "Most choices of one request (n, best_of, beams); 0 = the server's limit.");
ABSL_FLAG(int64_t, max_tokens, 0, "Most tokens of one choice; 0 = the server's limit.");
ABSL_FLAG(std::string, tenant_class, "default", "What metrics call tenants of this kind.");

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Makes an API key: the line for --api_key_file on stdout, the key on stderr, once.\n\n"
      "  api_key --tenant=acme --max_live_requests=64 >> keys");
  absl::ParseCommandLine(argc, argv);
  quire::access::Caller caller;
  caller.tenant = absl::GetFlag(FLAGS_tenant);
  caller.weight = absl::GetFlag(FLAGS_weight);
  caller.max_live_requests = absl::GetFlag(FLAGS_max_live_requests);
  caller.max_choices = absl::GetFlag(FLAGS_max_choices);
  caller.max_tokens = absl::GetFlag(FLAGS_max_tokens);
  caller.tenant_class = absl::GetFlag(FLAGS_tenant_class);
  const absl::StatusOr<quire::access::NewKey> made = quire::access::MakeKey(caller);
  if (!made.ok()) {
    std::fprintf(stderr, "no key was made: %s; see --help\n", std::string(made.status().message()).c_str());
    return 1;
  }
  std::fprintf(stderr, "key of '%s', shown only now: %s\n", caller.tenant.c_str(), made->key.c_str());
  std::printf("%s\n", made->line.c_str());
  return 0;
}
