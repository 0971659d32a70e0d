// Turns the committed ids of one choice into text, incrementally. The engine knows only this interface; frontend/
// implements it with text::IncrementalDecoder. Runs on the engine thread; a pure function of the ids fed so far, so
// that replay rebuilds it.
#ifndef QUIRE_COORDINATOR_REQUEST_OUTPUT_DECODER_H_
#define QUIRE_COORDINATOR_REQUEST_OUTPUT_DECODER_H_

#include <cstdint>
#include <memory>
#include <string>

namespace quire::request {

class OutputDecoder {
 public:
  virtual ~OutputDecoder() = default;
  // A decoder that goes on from here on its own.
  virtual std::unique_ptr<OutputDecoder> Clone() const = 0;
  // Appends to *text the whole UTF-8 characters that `id` completes.
  virtual void Append(int32_t id, std::string* text) = 0;
  // Appends what is still held back (U+FFFD for incomplete characters). Called once, at the end.
  virtual void Finish(std::string* text) = 0;
};

}  // namespace quire::request

#endif  // QUIRE_COORDINATOR_REQUEST_OUTPUT_DECODER_H_
