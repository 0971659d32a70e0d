// config.json and generation_config.json, and the model spec that they come to: the input is both files.
#include <glog/logging.h>

#include "absl/status/status.h"
#include "tests/fuzz/fuzz_target.h"
#include "worker/model/families.h"
#include "worker/model/hf_config.h"

namespace {

// A complaint is one of the two kinds, and short enough for a log.
void CheckRefusal(const absl::Status& status) {
  CHECK(absl::IsInvalidArgument(status) || absl::IsUnimplemented(status)) << status;
  CHECK(!status.message().empty());
  CHECK_LT(status.message().size(), 8192u);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto files = quire::fuzz::SplitInput(data, size, 2);
  const auto config = quire::worker::ParseHfConfig("config.json", files[0], files[1]);
  if (!config.ok()) {
    CheckRefusal(config.status());
    return 0;
  }
  const auto family = quire::worker::FindFamily(*config);
  if (!family.ok()) {
    CheckRefusal(family.status());
    return 0;
  }
  const auto spec = quire::worker::MakeModelSpec(**family, *config);
  if (!spec.ok()) {
    CheckRefusal(spec.status());
    return 0;
  }
  quire::fuzz::NoteAccepted();
  CHECK(spec->num_layers > 0 && spec->hidden_size > 0 && spec->ffn_size > 0 && spec->vocab_size > 0);
  CHECK(spec->num_heads > 0 && spec->num_kv_heads > 0 && spec->head_dim > 0);
  CHECK_EQ(spec->num_heads % spec->num_kv_heads, 0);
  CHECK_LE(spec->rope.dims, spec->head_dim);
  for (int32_t id : config->eos_token_ids) CHECK_GE(id, 0);
  return 0;
}
