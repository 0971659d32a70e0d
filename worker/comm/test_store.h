// A rendezvous store for tests that fork: a directory of files. Test code.
#ifndef QUIRE_WORKER_COMM_TEST_STORE_H_
#define QUIRE_WORKER_COMM_TEST_STORE_H_

#include <string>

#include "worker/comm/communicator.h"

namespace quire::worker {

class DirectoryStore final : public RendezvousStore {
 public:
  explicit DirectoryStore(std::string directory) : directory_(std::move(directory)) {}

  absl::Status Put(const std::string& key, const std::string& value) override;
  absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) override;

 private:
  std::string Path(std::string key) const;

  const std::string directory_;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_TEST_STORE_H_
