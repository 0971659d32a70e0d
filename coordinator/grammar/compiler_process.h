// Compiles grammars in a process of its own: what a client sends may take the library any time or memory, or end it, and
// there is no way to stop a thread. The process is this program again (RunCompilerIfAsked), with a limit on its memory;
// it is started when the first grammar comes, and killed when one takes too long.
//
// Thread rule: one thread uses a CompilerProcess; another one may call it off.
// Invariants:
//   P1  Compile returns within its time limit, whatever the source is, and soon once it is called off.
//   P2  The process ends with the thread that started it, and with this object.
//   P3  It inherits no descriptor but its one socket.
#ifndef QUIRE_COORDINATOR_GRAMMAR_COMPILER_PROCESS_H_
#define QUIRE_COORDINATOR_GRAMMAR_COMPILER_PROCESS_H_

#include <sys/types.h>

#include <atomic>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/grammar/grammar_source.h"

namespace quire::grammar {

class CompilerProcess final {
 public:
  // `program` calls RunCompilerIfAsked first thing in its main. `token_bytes` as Vocabulary::Make takes them.
  CompilerProcess(std::string program, std::vector<std::string> token_bytes, size_t memory_bytes);
  ~CompilerProcess();

  // What CompileToBytes gives. Errors: INVALID_ARGUMENT the library's; RESOURCE_EXHAUSTED too much time or memory;
  // INTERNAL no process can be had.
  absl::StatusOr<std::string> Compile(const GrammarSource& source, absl::Duration timeout);

  // Compile gives up now and from now on. Any thread.
  void CallOff() { called_off_ = true; }

 private:
  absl::Status Start(absl::Time deadline);
  void Kill();

  const std::string program_;
  const std::string vocabulary_;  // as it is sent
  const size_t memory_bytes_;
  pid_t pid_ = -1;
  int socket_ = -1;
  std::atomic<bool> called_off_{false};
};

// In main, before anything else: in the compiler's process this serves and does not return.
void RunCompilerIfAsked(int argc, char** argv);

}  // namespace quire::grammar

#endif  // QUIRE_COORDINATOR_GRAMMAR_COMPILER_PROCESS_H_
