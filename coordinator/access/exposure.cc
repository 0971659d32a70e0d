#include "coordinator/access/exposure.h"

#include "absl/strings/str_cat.h"
#include "proto/loopback.h"

namespace quire::access {

absl::Status CheckExposure(const Exposure& exposure) {
  if (proto::IsLoopbackHost(exposure.host) || exposure.keys || exposure.client_certificates ||
      exposure.allow_unauthenticated) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("--host=", exposure.host,
                   " is open to other machines and nobody would have to say who he is. Give --api_key_file=FILE "
                   "(`bazel run //tools:api_key -- --tenant=NAME >> FILE` makes a key) or --ssl_ca_certs=FILE (clients "
                   "with a certificate), stay on --host=127.0.0.1, or take everybody by --allow_unauthenticated"));
}

std::string DescribeExposure(const Exposure& exposure) {
  std::string text = exposure.tls ? "TLS" : "clear text";
  if (exposure.client_certificates) text += " with client certificates";
  absl::StrAppend(&text, exposure.keys ? ", API keys" : ", no keys");
  if (proto::IsLoopbackHost(exposure.host)) {
    text += ", this machine only";
  } else if (!exposure.keys && !exposure.client_certificates) {
    text += ": OPEN TO WHOEVER REACHES THIS ADDRESS";
  } else if (!exposure.tls) {
    text += ": whoever can listen in on the network reads keys and prompts";
  }
  return text;
}

}  // namespace quire::access
