// Float types of files, widened. Pure; any thread.
#ifndef QUIRE_WORKER_LOADER_STORED_FLOATS_H_
#define QUIRE_WORKER_LOADER_STORED_FLOATS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/loader/computed_rows.h"
#include "worker/loader/safetensors.h"

namespace quire::worker {

// All values of an 8 bit float type, by their bits; null for any other type. NaN is NaN, of either sign.
// Source: OCP's 8-bit floating point specification (E4M3, E5M2), and for FNUZ: no infinity, no -0, bias one higher.
const float* FloatsOf8Bits(const StoredType& type);

// True for types that ReadStoredFloat reads: F64, F32, F16, BF16 and the 8 bit floats.
bool IsStoredFloat(const StoredType& type);

// Element `index` of an array of such a type. F64 is rounded.
float ReadStoredFloat(const StoredType& type, const uint8_t* data, int64_t index);

// `count` elements of an array of such a type as one row per element. CheckValues: an F64 that no float equals.
std::unique_ptr<ComputedRows> WidenedFloats(const StoredType& type, const uint8_t* data, int64_t count);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_STORED_FLOATS_H_
