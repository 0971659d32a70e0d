// LoadModel: from a directory to a decoder.
#include <glog/logging.h>

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/half.h"
#include "worker/loader/checkpoint.h"
#include "worker/model/decoder.h"
#include "worker/model/dense_options.h"
#include "worker/model/families.h"
#include "worker/model/hf_config.h"
#include "worker/model/model.h"
#include "worker/model/shard.h"
#include "worker/model/tensor_binding.h"
#include "worker/model/weights.h"

namespace quire::worker {
namespace {

using kernels::DType;

absl::Status CheckOptions(const LoadOptions& options) {
  constexpr int64_t kTokensMax = 1 << 20;
  if (options.max_num_batched_tokens < 1 || options.max_num_batched_tokens > kTokensMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_num_batched_tokens ", options.max_num_batched_tokens, " is not in [1, ", kTokensMax, "]"));
  }
  if (options.max_num_logit_rows < 1 || options.max_num_logit_rows > kTokensMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_num_logit_rows ", options.max_num_logit_rows, " is not in [1, ", kTokensMax, "]"));
  }
  if (options.world_size < 1 || options.rank < 0 || options.rank >= options.world_size) {
    return absl::InvalidArgumentError(absl::StrCat("rank ", options.rank, " is not in [0, ", options.world_size, ")"));
  }
  return absl::OkStatus();
}

absl::StatusOr<DType> ChooseDType(const std::string& wish, const TensorBinding& binding) {
  if (wish == "auto") return CheckpointDType(binding);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (wish == kernels::DTypeName(dtype)) return dtype;
  }
  return absl::InvalidArgumentError(absl::StrCat("dtype '", wish, "' is not auto, float32, float16 or bfloat16"));
}

// The nearest number that the type has, as the library rounds its constants.
float RoundedTo(DType dtype, float value) {
  float rounded = value;
  kernels::Dispatch(dtype, [&](auto zero) { rounded = kernels::Widen(kernels::Narrow<decltype(zero)>(value)); });
  return rounded;
}

// Widens what is quantised, and says what that costs.
absl::Status MakeDenseTensors(const LoadOptions& options, const HfConfig& config, const FamilyRow& family,
                              Checkpoint* checkpoint) {
  auto report = MakeDense(MakeDenseOptions(options.model_dir, config, family), checkpoint);
  if (!report.ok()) return report.status();
  if (report->num_tensors > 0 && options.rank == 0) {
    LOG(WARNING) << options.model_dir << ": " << report->num_tensors << " matrices are quantised (" << report->method
                 << ") and widened on load: " << (report->stored_bytes >> 20) << " MiB in the files, "
                 << (2 * report->elements >> 20) << " MiB of memory at 16 bits";
  }
  return absl::OkStatus();
}

// A trained weight is hardly ever zero; one that is quantised is often.
void LogZeros(const LoadOptions& options, double zero_share) {
  constexpr double kPruned = 0.01;
  if (zero_share < kPruned) return;
  LOG(INFO) << options.model_dir << ": " << 100 * zero_share << " % of rank " << options.rank
            << "'s weights are zero (pruned); they are computed with like all others";
}

ModelFacts MakeFacts(const HfConfig& config, const ModelSpec& spec, const Weights& weights) {
  ModelFacts facts;
  facts.vocab_size = static_cast<int32_t>(spec.vocab_size);
  facts.max_model_len = static_cast<int32_t>(spec.max_position);
  facts.attention_window = static_cast<int32_t>(spec.OldestVisibleWindow());
  facts.eos_token_ids = config.eos_token_ids;
  facts.bos_token_id = config.bos_token_id;
  facts.model_type = config.model_type;
  facts.architectures = config.architectures;
  facts.dtype = kernels::DTypeName(weights.stored);
  facts.weight_bytes = weights.matrix_bytes;
  facts.flops_per_token = 2.0 * static_cast<double>(weights.matrix_elements);
  facts.generation_config_json = config.generation_config_json;
  return facts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> LoadModel(const LoadOptions& options, kernels::Backend* backend,
                                                 Communicator* comm) {
  if (absl::Status s = CheckOptions(options); !s.ok()) return s;
  auto config = ReadHfConfig(options.model_dir);
  if (!config.ok()) return config.status();
  auto family = FindFamily(*config);
  if (!family.ok()) return family.status();
  auto spec = MakeModelSpec(**family, *config, options.max_model_len);
  if (!spec.ok()) return spec.status();
  auto shard = MakeShard(*spec, options.rank, options.world_size, options.expert_parallel);
  if (!shard.ok()) return shard.status();
  CHECK_EQ(comm->rank(), options.rank);
  CHECK_EQ(comm->world_size(), options.world_size);

  auto checkpoint = Checkpoint::Open(options.model_dir);
  if (!checkpoint.ok()) return checkpoint.status();
  if (absl::Status s = MakeDenseTensors(options, *config, **family, checkpoint->get()); !s.ok()) return s;
  auto binding = TensorBinding::Bind(**family, *spec, options.model_dir, **checkpoint);
  if (!binding.ok()) return binding.status();
  auto dtype = ChooseDType(options.dtype, *binding);
  if (!dtype.ok()) return dtype.status();
  if (spec->embedding_scale_is_root) {
    spec->embedding_scale = RoundedTo(*dtype, std::sqrt(static_cast<float>(spec->hidden_size)));
  }
  WeightOptions weight_options;
  weight_options.stored = *dtype;
  weight_options.progress = options.progress;
  auto weights = LoadWeights(*spec, *shard, *binding, std::move(*checkpoint), weight_options, backend);
  if (!weights.ok()) return weights.status();

  ModelFacts facts = MakeFacts(*config, *spec, *weights);
  const bool is_quantised = binding->Get(Role::kQuery, Part::kWeight).source->computed != nullptr;
  if (!is_quantised) {
    facts.zero_share = static_cast<double>(weights->source_zeros) / static_cast<double>(weights->source_elements);
    LogZeros(options, facts.zero_share);
  }
  DecoderOptions decoder_options;
  decoder_options.max_num_batched_tokens = options.max_num_batched_tokens;
  decoder_options.max_num_logit_rows = options.max_num_logit_rows;
  auto decoder = Decoder::Create(decoder_options, *spec, *shard, std::move(*weights), std::move(facts), backend, comm);
  if (!decoder.ok()) return decoder.status();
  return std::unique_ptr<Model>(std::move(*decoder));
}

}  // namespace quire::worker
