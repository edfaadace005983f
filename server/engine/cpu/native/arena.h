// Memory that is read once a step from end to end.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

namespace ock {

// In huge pages, freed all at once.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  ~Arena() {
    for (auto& [base, size] : chunks_) munmap(base, size);
  }
  uint8_t* take(size_t bytes) {
    bytes = (bytes + 4095) / 4096 * 4096;
    if (chunks_.empty() || used_ + bytes > chunks_.back().second) grow(bytes);
    uint8_t* result = static_cast<uint8_t*>(chunks_.back().first) + used_;
    used_ += bytes;
    return result;
  }

 private:
  void grow(size_t bytes) {
    const size_t size = std::max<size_t>((bytes + (2 << 20) - 1) >> 21 << 21, size_t{16} << 20);
    void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::bad_alloc();
    madvise(base, size, MADV_HUGEPAGE);
    chunks_.emplace_back(base, size);
    used_ = 0;
  }
  std::vector<std::pair<void*, size_t>> chunks_;
  size_t used_ = 0;
};

}  // namespace ock
