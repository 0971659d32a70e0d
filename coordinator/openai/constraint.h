// What an answer must look like: OpenAI's response_format, vLLM's structured_outputs and its older guided_* fields, as the
// one constraint of the clients' protocol.
//
// Pure functions; any thread.
#ifndef QUIRE_COORDINATOR_OPENAI_CONSTRAINT_H_
#define QUIRE_COORDINATOR_OPENAI_CONSTRAINT_H_

#include "coordinator/openai/call.h"
#include "coordinator/openai/fields.h"
#include "proto/generate.pb.h"

namespace quire::openai {

// Reads at most one constraint; two are an error. Schemas go on as JSON with their members in order.
void ReadConstraint(Fields* fields, Call* call, v1::SamplingParams* out);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_CONSTRAINT_H_
