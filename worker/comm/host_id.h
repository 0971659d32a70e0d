// Who shares memory with whom, and whose death can be seen. Any thread.
#ifndef QUIRE_WORKER_COMM_HOST_ID_H_
#define QUIRE_WORKER_COMM_HOST_ID_H_

#include <string>

namespace quire::worker {

// Equal in processes that see the same POSIX shared memory: the kernel's boot and the /dev/shm file system.
std::string HostId();

// Equal in processes that see each other's process ids.
std::string PidNamespaceId();

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_HOST_ID_H_
