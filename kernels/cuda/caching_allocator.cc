#include "kernels/cuda/caching_allocator.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace quire::kernels::cuda {
namespace {

int64_t RoundUp(int64_t bytes, int64_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

CachingAllocator::~CachingAllocator() {
  absl::MutexLock lock(&mu_);
  Trim();
  LOG_IF(ERROR, !slabs_.empty()) << slabs_.size() << " slabs of device memory are still in use";
}

// The smallest free piece that holds `bytes`, cut to them; null if there is none.
char* CachingAllocator::TakeFree(int64_t bytes) {
  auto best = pieces_.end();
  for (auto it = pieces_.begin(); it != pieces_.end(); ++it) {
    if (!it->second.free || it->second.bytes < bytes) continue;
    if (best == pieces_.end() || it->second.bytes < best->second.bytes) best = it;
  }
  if (best == pieces_.end()) return nullptr;
  // A large piece is not broken for a small one: its slab would never be whole again.
  if (best->second.bytes > kSlabBytes && bytes <= kSlabBytes / 4) return nullptr;
  const int64_t rest = best->second.bytes - bytes;
  if (rest >= kAlignment) {
    pieces_[best->first + bytes] = {rest, best->second.slab, true};
    best->second.bytes = bytes;
  }
  best->second.free = false;
  return best->first;
}

absl::Status CachingAllocator::AddSlab(int64_t bytes) {
  int64_t size = bytes <= kSlabBytes / 4 ? kSlabBytes : bytes;
  absl::StatusOr<void*> memory = device_->Allocate(size);
  if (!memory.ok() && Trim() > 0) memory = device_->Allocate(size);
  if (!memory.ok() && size > bytes) {  // no room for a slab, maybe for the piece
    size = bytes;
    memory = device_->Allocate(size);
  }
  if (!memory.ok()) {
    const absl::StatusOr<int64_t> left = device_->FreeBytes();
    if (!absl::IsResourceExhausted(memory.status()) || !left.ok()) return memory.status();
    return absl::ResourceExhaustedError(absl::StrCat(device_->facts().name, ": no memory for ", bytes, " bytes, ",
                                                     *left, " of ", device_->facts().total_bytes, " are free"));
  }
  char* slab = static_cast<char*>(*memory);
  slabs_[slab] = size;
  pieces_[slab] = {size, slab, true};
  return absl::OkStatus();
}

int64_t CachingAllocator::Trim() {
  int64_t bytes = 0;
  for (auto it = slabs_.begin(); it != slabs_.end();) {
    const auto piece = pieces_.find(it->first);
    if (piece->second.free && piece->second.bytes == it->second) {
      bytes += it->second;
      device_->Free(it->first);
      pieces_.erase(piece);
      it = slabs_.erase(it);
    } else {
      ++it;
    }
  }
  return bytes;
}

absl::StatusOr<void*> CachingAllocator::Allocate(int64_t bytes) {
  CHECK_GE(bytes, 0);
  const int64_t rounded = RoundUp(std::max<int64_t>(bytes, 1), kAlignment);
  absl::MutexLock lock(&mu_);
  char* memory = TakeFree(rounded);
  if (memory == nullptr) {
    if (absl::Status s = AddSlab(rounded); !s.ok()) return s;
    memory = TakeFree(rounded);
  }
  CHECK(memory != nullptr) << rounded;
  return memory;
}

void CachingAllocator::Free(void* memory) {
  absl::MutexLock lock(&mu_);
  auto it = pieces_.find(static_cast<char*>(memory));
  CHECK(it != pieces_.end() && !it->second.free) << "freed twice, or never allocated";
  it->second.free = true;
  const auto next = std::next(it);
  if (next != pieces_.end() && next->second.free && next->second.slab == it->second.slab) {
    it->second.bytes += next->second.bytes;
    pieces_.erase(next);
  }
  if (it == pieces_.begin()) return;
  const auto before = std::prev(it);
  if (before->second.free && before->second.slab == it->second.slab) {
    before->second.bytes += it->second.bytes;
    pieces_.erase(it);
  }
}

int64_t CachingAllocator::kept_bytes() const {
  absl::MutexLock lock(&mu_);
  int64_t bytes = 0;
  for (const auto& [address, piece] : pieces_) bytes += piece.free ? piece.bytes : 0;
  return bytes;
}

absl::StatusOr<int64_t> CachingAllocator::FreeBytes() {
  absl::StatusOr<int64_t> bytes = device_->FreeBytes();
  if (!bytes.ok()) return bytes;
  return *bytes + kept_bytes();
}

}  // namespace quire::kernels::cuda
