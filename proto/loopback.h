// Which addresses only this machine reaches: both processes decide by it whether they may listen without asking who
// calls. Pure.
#ifndef QUIRE_PROTO_LOOPBACK_H_
#define QUIRE_PROTO_LOOPBACK_H_

#include "absl/strings/string_view.h"

namespace quire::proto {

// Whether a host is 127.0.0.0/8, ::1 (in brackets or not) or "localhost". No other name is: 127.example.org resolves to
// anything; and no host at all means every address.
bool IsLoopbackHost(absl::string_view host);

}  // namespace quire::proto

#endif  // QUIRE_PROTO_LOOPBACK_H_
