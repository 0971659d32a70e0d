// Looks at a certificate's files before they are used: gRPC only logs what is wrong with them, and then refuses
// everybody. Any thread.
#ifndef QUIRE_PROTO_PEM_FILES_H_
#define QUIRE_PROTO_PEM_FILES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace quire::proto {

struct CertificateFacts {
  std::vector<std::string> uri_names;
  absl::Time not_before;
  absl::Time not_after;
};

// The first certificate of a file, whose key is in another one. Errors: FAILED_PRECONDITION with the path: not readable,
// no certificate, no key without a pass phrase, or the key of another certificate.
absl::StatusOr<CertificateFacts> ReadCertificate(const std::string& certificate_path, const std::string& key_path);

// Errors: FAILED_PRECONDITION with the path, unless there is one certificate at least and nothing else.
absl::Status CheckCaFile(const std::string& path);

}  // namespace quire::proto

#endif  // QUIRE_PROTO_PEM_FILES_H_
