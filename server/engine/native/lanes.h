// Sixteen floats at a time, on whichever vectors this file is compiled for: AVX-512, or AVX2 by halves.
//
// Both headers define `Floats` and the same functions over it. A float's value never depends on which of the sixteen
// places it stands in, nor on what stands beside it.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace ock {

// What the processor offers, in rising order; every level includes the ones before it. As in server/engine/processor.py.
enum Level : int { kNone = 0, kAvx2 = 1, kVnni = 2, kBf16 = 3, kAmx = 4 };

using bf16 = uint16_t;

inline float to_float(bf16 value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  __builtin_memcpy(&result, &bits, 4);
  return result;
}

inline void prefetch_bytes(const void* from, size_t bytes) {
  for (size_t line = 0; line < bytes; line += 64) _mm_prefetch(static_cast<const char*>(from) + line, _MM_HINT_T0);
}

}  // namespace ock

#ifdef __AVX512F__
#include "lanes_avx512.h"
#else
#include "lanes_avx2.h"
#endif
