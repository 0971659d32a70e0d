// Certificate authorities and certificates for tests, made in memory; and files that are replaced as Kubernetes does.
// Any thread.
#ifndef QUIRE_PROTO_TESTING_CERTIFICATES_H_
#define QUIRE_PROTO_TESTING_CERTIFICATES_H_

#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"

namespace quire::proto {

struct Credential {
  std::string certificate;  // PEM
  std::string key;          // PEM
};

class TestCa {
 public:
  explicit TestCa(const std::string& name);
  ~TestCa();

  // PEM.
  std::string certificate() const;
  // For `names` as OpenSSL writes them: "URI:spiffe://c/worker/0,DNS:localhost,IP:127.0.0.1". Valid from a day ago until
  // `lifetime` from now, which may be negative.
  Credential Issue(const std::string& names, absl::Duration lifetime = absl::Hours(24)) const;

 private:
  struct Keys;
  std::unique_ptr<Keys> keys_;
};

// A directory whose files are replaced all at once: name -> ..data/name, ..data -> the newest version.
class SwappedFiles {
 public:
  explicit SwappedFiles(std::string dir) : dir_(std::move(dir)) {}

  // Name to content. The names must be the same every time.
  void Put(const std::map<std::string, std::string>& files);
  std::string path(const std::string& name) const { return dir_ + "/" + name; }

 private:
  const std::string dir_;
  int version_ = 0;
};

}  // namespace quire::proto

#endif  // QUIRE_PROTO_TESTING_CERTIFICATES_H_
