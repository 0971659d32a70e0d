// Beam search over the hash model of sim_replica.h by the plainest code: whole vocabulary, whole texts, arrays as in the
// reference's own loop. What the core's beams are compared with. Test only.
#ifndef QUIRE_COORDINATOR_ENGINE_SIM_BEAMS_H_
#define QUIRE_COORDINATOR_ENGINE_SIM_BEAMS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "coordinator/request/request.h"

namespace quire::engine {

struct SimBeam {
  std::vector<int32_t> tokens;
  std::string text;
};

// The n best hypotheses of the request, best first. Token 0 ends a text; letter(id) is the text of any other token.
std::vector<SimBeam> SearchAlone(const request::Request& request, int32_t vocab,
                                 const std::function<char(int32_t)>& letter);

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_SIM_BEAMS_H_
