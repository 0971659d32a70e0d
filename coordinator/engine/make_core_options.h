// The core's options from the engine's, with what only a process can give: a secret, and an epoch from the clock.
#ifndef QUIRE_COORDINATOR_ENGINE_MAKE_CORE_OPTIONS_H_
#define QUIRE_COORDINATOR_ENGINE_MAKE_CORE_OPTIONS_H_

#include <functional>

#include "coordinator/engine/core.h"
#include "coordinator/engine/engine.h"

namespace quire::engine {

// `wake` as in CoreOptions.
CoreOptions MakeCoreOptions(const EngineOptions& options, std::function<void()> wake);

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_MAKE_CORE_OPTIONS_H_
