// How fast this machine's memory is read.
#pragma once

#include <omp.h>

#include <chrono>

#include "arena.h"
#include "lanes.h"

namespace ock {

// Bytes a second that the threads of this process read together from memory, the best of `repeats` passes.
inline double read_bandwidth(size_t bytes, int repeats) {
  Arena arena;
  uint8_t* data = arena.take(bytes);
#pragma omp parallel for
  for (size_t at = 0; at < bytes; at += 4096) data[at] = 1;
  double best = 0;
  int64_t total = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
#pragma omp parallel for reduction(+ : total)
    for (size_t at = 0; at < bytes / 2048; ++at) {
      const uint8_t* from = data + at * 2048;
      prefetch_bytes(from + 8192, 2048);
      __m256i sums = _mm256_setzero_si256();
      for (int part = 0; part < 2048; part += 32) {
        sums = _mm256_add_epi64(sums, _mm256_load_si256((const __m256i*)(from + part)));
      }
      total += _mm256_extract_epi64(_mm256_hadd_epi32(sums, sums), 0);
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, bytes / seconds.count());
  }
  return total == 0 ? 0.0 : best;  // the sum is used, so that the reads are not left out
}

}  // namespace ock
