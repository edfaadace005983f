// What this processor, and the system, let the kernels use; and how fast its memory is.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>

#include "matrix.h"

namespace ock {

// Whether the system lets this process use tile registers (asked once; Linux grants them on request).
inline bool tiles_granted() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

inline Level processor_level() {
  __builtin_cpu_init();
  const bool base = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
  if (!base) return kNone;
  if (!__builtin_cpu_supports("avx512bf16")) return kVnni;
  uint32_t a = 7, b = 0, c = 0, d = 0;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  const bool tiles = (d >> 22 & 1) && (d >> 24 & 1) && (d >> 25 & 1);  // bf16, tile, int8
  return tiles && tiles_granted() ? kAmx : kBf16;
}

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
      __m512i sums = _mm512_setzero_si512();
      for (int line = 0; line < 2048; line += 64) sums = _mm512_add_epi64(sums, _mm512_load_si512(from + line));
      total += _mm512_reduce_add_epi64(sums);
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, bytes / seconds.count());
  }
  return total == 0 ? 0.0 : best;  // the sum is used, so that the reads are not left out
}

}  // namespace ock
