#include "worker/model/model_fixture.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <thread>

#include "worker/loader/mapped_file.h"
#include "worker/loader/safetensors.h"

namespace quire::worker {
namespace {

// Runs f(rank) on one thread per rank; a single rank runs here.
void RunRanks(int world_size, const std::function<void(int)>& f) {
  std::vector<std::thread> threads;
  for (int rank = 1; rank < world_size; ++rank) threads.emplace_back(f, rank);
  f(0);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelFixture>> ModelFixture::Load(const FixtureOptions& options) {
  std::unique_ptr<ModelFixture> fixture(new ModelFixture());
  fixture->block_size_ = options.block_size;
  fixture->slice_rows_ = options.slice_rows;
  auto comms = MakeFakeGroup(options.world_size);
  for (int r = 0; r < options.world_size; ++r) {
    auto rank = std::make_unique<Rank>();
    rank->comm = std::move(comms[r]);
    kernels::CpuBackendOptions backend_options;
    backend_options.num_threads = options.num_threads;
    backend_options.reference = options.reference;
    auto backend = options.make_backend ? options.make_backend() : kernels::CreateCpuBackend(backend_options);
    if (!backend.ok()) return backend.status();
    rank->backend = std::move(*backend);

    LoadOptions load;
    load.model_dir = options.model_dir;
    load.dtype = options.dtype;
    load.rank = r;
    load.world_size = options.world_size;
    load.expert_parallel = options.expert_parallel;
    load.max_model_len = options.max_model_len;
    load.max_num_batched_tokens = kMaxTokensPerStep;
    load.max_num_logit_rows = options.max_logit_rows;
    auto model = LoadModel(load, rank->backend.get(), rank->comm.get());
    if (!model.ok()) return model.status();
    rank->model = std::move(*model);

    rank->cache.layout = rank->model->CacheLayout(options.block_size);
    rank->cache.layout.num_blocks = kMaxBlocksPerSequence * kMaxSequences;
    auto buffer = rank->backend->Allocate(rank->cache.layout.num_blocks * rank->cache.layout.block_bytes());
    if (!buffer.ok()) return buffer.status();
    rank->cache_buffer = std::move(*buffer);
    rank->cache.base = rank->cache_buffer->data();
    fixture->ranks_.push_back(std::move(rank));
  }
  return fixture;
}

// Neighbouring blocks of a sequence lie apart and backwards, so that a mix-up of block and position shows.
int32_t ModelFixture::BlockOf(int sequence_id, int64_t index) const {
  CHECK_LT(index, kMaxBlocksPerSequence);
  return (kMaxBlocksPerSequence - 1 - index) * kMaxSequences + sequence_id;
}

int64_t ModelFixture::NumUnseenBlocks(int64_t position) const {
  const int64_t window = facts().attention_window;
  return window == 0 ? 0 : std::max<int64_t>(0, position - window + 1) / block_size_;
}

void ModelFixture::CheckSlices(Rank* rank, const std::vector<int32_t>& rows, const std::vector<float>& whole) const {
  const int64_t vocab = rank->model->facts().vocab_size;
  for (size_t begin = 0; begin < rows.size(); begin += slice_rows_) {
    const size_t count = std::min<size_t>(slice_rows_, rows.size() - begin);
    const auto logits = rank->model->RowLogits(absl::MakeConstSpan(rows).subspan(begin, count));
    CHECK(logits.ok()) << logits.status();
    CHECK_EQ(logits->num_elements(), static_cast<int64_t>(count) * vocab);
    CHECK_EQ(std::memcmp(logits->as<float>(), &whole[begin * vocab], count * vocab * sizeof(float)), 0)
        << "rows from " << begin << " differ in slices of " << slice_rows_;
  }
}

LogitRows ModelFixture::Step(const std::vector<SequenceChunk>& chunks) {
  std::vector<int32_t> token_ids, positions, query_start = {0}, context_len, block_tables, logit_rows;
  std::vector<int64_t> slots;
  for (const SequenceChunk& chunk : chunks) {
    CHECK_LT(chunk.sequence_id, kMaxSequences);
    int64_t& length = lengths_[chunk.sequence_id];
    const int64_t num_gone = NumUnseenBlocks(length);
    for (size_t i = 0; i < chunk.token_ids.size(); ++i, ++length) {
      const bool is_last = i + 1 == chunk.token_ids.size();
      if (chunk.rows == SequenceChunk::kAllRows || (chunk.rows == SequenceChunk::kLastRow && is_last)) {
        logit_rows.push_back(token_ids.size());
      }
      token_ids.push_back(chunk.token_ids[i]);
      positions.push_back(length);
      slots.push_back(BlockOf(chunk.sequence_id, length / block_size_) * block_size_ + length % block_size_);
    }
    query_start.push_back(token_ids.size());
    context_len.push_back(length);
    for (int b = 0; b < kMaxBlocksPerSequence; ++b) {
      block_tables.push_back(b < num_gone ? -1 : BlockOf(chunk.sequence_id, b));
    }
  }
  ForwardBatch batch;
  batch.token_ids = token_ids;
  batch.positions = positions;
  batch.slot_mapping = slots;
  batch.attend.query_start = query_start;
  batch.attend.context_len = context_len;
  batch.attend.block_tables = block_tables;
  batch.attend.max_blocks = kMaxBlocksPerSequence;
  batch.logit_rows = logit_rows;

  const int64_t vocab_size = facts().vocab_size;
  std::vector<std::vector<float>> flat(ranks_.size());
  RunRanks(ranks_.size(), [&](int r) {
    auto logits = ranks_[r]->model->Forward(batch, ranks_[r]->cache);
    CHECK(logits.ok()) << logits.status();
    CHECK_EQ(logits->dim(0), static_cast<int64_t>(logit_rows.size()));
    CHECK_EQ(logits->dim(1), vocab_size);
    CHECK(logits->contiguous());
    flat[r].assign(logits->as<float>(), logits->as<float>() + logits->num_elements());
    if (slice_rows_ > 0) CheckSlices(ranks_[r].get(), logit_rows, flat[r]);
  });
  for (const auto& other : flat) {
    CHECK_EQ(other.size(), flat[0].size());
    const auto same_bits = [](const float& a, const float& b) { return std::memcmp(&a, &b, sizeof(float)) == 0; };
    CHECK(std::equal(other.begin(), other.end(), flat[0].begin(), same_bits)) << "the ranks differ";
  }
  LogitRows rows;
  for (size_t i = 0; i < logit_rows.size(); ++i) {
    rows.emplace_back(flat[0].begin() + i * vocab_size, flat[0].begin() + (i + 1) * vocab_size);
  }
  return rows;
}

std::vector<int32_t> ModelFixture::Greedy(int sequence_id, const std::vector<int32_t>& prompt, int num_tokens) {
  std::vector<int32_t> out, next = prompt;
  for (int i = 0; i < num_tokens; ++i) {
    out.push_back(ArgMax(Step({{sequence_id, next, SequenceChunk::kLastRow}}).at(0)));
    next = {out.back()};
  }
  return out;
}

std::map<std::string, std::vector<float>> ReadGolden(const std::string& path) {
  auto file = MappedFile::Open(path);
  CHECK(file.ok()) << file.status();
  auto header = ParseSafetensorsHeader(path, {reinterpret_cast<const char*>((*file)->data()), size_t((*file)->size())});
  CHECK(header.ok()) << header.status();
  std::map<std::string, std::vector<float>> tensors;
  for (const SafetensorsEntry& entry : header->entries) {
    const uint8_t* data = (*file)->data() + header->data_begin + entry.begin;
    const bool is_int = std::string(entry.type->name) == "I32";
    CHECK(is_int || std::string(entry.type->name) == "F32") << entry.name;
    std::vector<float>& values = tensors[entry.name];
    for (int64_t i = 0; i < (entry.end - entry.begin) / 4; ++i) {
      int32_t id;
      float value;
      std::memcpy(&id, data + 4 * i, 4);
      std::memcpy(&value, data + 4 * i, 4);
      values.push_back(is_int ? static_cast<float>(id) : value);
    }
  }
  return tensors;
}

int32_t ArgMax(const std::vector<float>& row) {
  return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

std::vector<int32_t> ToIds(const std::vector<float>& values) { return {values.begin(), values.end()}; }

}  // namespace quire::worker
