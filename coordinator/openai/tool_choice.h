// Which tools a model may or must call, and where its calls are found in the output.
//
// Pure functions; any thread.
#ifndef QUIRE_COORDINATOR_OPENAI_TOOL_CHOICE_H_
#define QUIRE_COORDINATOR_OPENAI_TOOL_CHOICE_H_

#include "coordinator/openai/call.h"
#include "coordinator/openai/fields.h"
#include "proto/generate.pb.h"

namespace quire::openai {

// Reads tool_choice and parallel_tool_calls. A choice that forces a call becomes a constraint: of a named tool, its
// arguments alone are written; of "required", a list of {"name", "parameters"}. Requires: constraints were read.
void ReadToolChoice(Fields* fields, Call* call, v1::SamplingParams* out);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_TOOL_CHOICE_H_
