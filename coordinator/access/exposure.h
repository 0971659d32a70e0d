// Who could call a server that listens somewhere, and whether that was meant. Pure.
#ifndef QUIRE_COORDINATOR_ACCESS_EXPOSURE_H_
#define QUIRE_COORDINATOR_ACCESS_EXPOSURE_H_

#include <string>

#include "absl/status/status.h"

namespace quire::access {

struct Exposure {
  std::string host;                    // of --host
  bool keys = false;                   // --api_key_file
  bool tls = false;                    // --ssl_certfile
  bool client_certificates = false;    // --ssl_ca_certs
  bool allow_unauthenticated = false;  // --allow_unauthenticated
};

// No caller may stay unknown unless he is on this machine or it was asked for by name. Errors: FAILED_PRECONDITION that
// says what to do.
absl::Status CheckExposure(const Exposure& exposure);

// For the line that says what is open: "TLS, API keys", "clear text, no keys, this machine only".
std::string DescribeExposure(const Exposure& exposure);

}  // namespace quire::access

#endif  // QUIRE_COORDINATOR_ACCESS_EXPOSURE_H_
