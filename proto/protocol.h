// Constants of the ranks' protocol that both ends must share. Leaf; constants only.
#ifndef QUIRE_PROTO_PROTOCOL_H_
#define QUIRE_PROTO_PROTOCOL_H_

#include <cstdint>

namespace quire::proto {

// Version of worker.proto's meaning. A rank refuses another version in Join.
constexpr uint32_t kProtocolVersion = 10;

// Largest message on a Session stream, in bytes, both ways: a step that brings 16 sequences of 1 M tokens fits.
constexpr int kMaxSessionMessageBytes = 64 << 20;

// Limits of StorePut.
constexpr int kMaxStoreKeyBytes = 256;
constexpr int kMaxStoreValueBytes = 64 << 10;

// Drafted tokens of one decode item.
constexpr int kMaxDrafts = 16;

// Steps that may be sent and not yet answered.
constexpr int kMaxStepsInFlight = 2;

}  // namespace quire::proto

#endif  // QUIRE_PROTO_PROTOCOL_H_
