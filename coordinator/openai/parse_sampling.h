// The part of a call that both endpoints have: sampling, and what surrounds a request.
//
// Pure functions; any thread.
#ifndef QUIRE_COORDINATOR_OPENAI_PARSE_SAMPLING_H_
#define QUIRE_COORDINATOR_OPENAI_PARSE_SAMPLING_H_

#include "coordinator/openai/call.h"
#include "coordinator/openai/fields.h"
#include "proto/generate.pb.h"

namespace quire::openai {

// Sampling parameters but for log-probs of the output, which the endpoints ask for each in its own way.
void ReadSampling(Fields* fields, Call* call, v1::SamplingParams* out);

// Model, stream and its options, priority, request id, shared prefix.
void ReadEnvelope(Fields* fields, Call* call, v1::GenerateRequest* out);

// Asks of no effect, and what is refused at both endpoints.
void RefuseUnserved(Fields* fields);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_PARSE_SAMPLING_H_
