// Sixteen floats at a time, on whichever vectors this file is compiled for: AVX-512, or AVX2 by halves.
//
// Both headers define `Floats` and the same functions over it. A float's value never depends on which of the sixteen
// places it stands in, nor on what stands beside it.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

namespace ock {

// What the processor offers, in rising order; every level includes the ones before it. As in server/engine/parallel/processor.py.
enum Level : int { kNone = 0, kAvx2 = 1, kVnni = 2, kBf16 = 3, kAmx = 4 };

// How a matrix of weights is held. As in server/dtypes.py.
enum WeightKind : int { kPlain = 0, kInt8 = 1, kInt4 = 2 };

// How keys and values are held. As in server/dtypes.py.
enum KvKind : int { kKvPlain = 0, kKvInt8 = 1 };

// What a product reads its activations as, which the kind of the weights and the processor decide.
enum Form : int {
  kFloats,    // bfloat16, or float32 where AVX2 multiplies
  kTwoBytes,  // a row rounded to 15 bits and a sign: what is lost is below bfloat16's own rounding
  kOneByte,   // every 64 inputs of a row rounded to 7 bits and a sign, by their own largest
  kSpreadByte,  // so, too, after `spread` of vector.h, as the weights are
};

using bf16 = uint16_t;

inline float to_float(bf16 value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  __builtin_memcpy(&result, &bits, 4);
  return result;
}

// Always inline: the compiler drops calls of functions that do nothing but prefetch.
[[gnu::always_inline]] inline void prefetch_bytes(const void* from, size_t bytes) {
  for (size_t line = 0; line < bytes; line += 64) _mm_prefetch(static_cast<const char*>(from) + line, _MM_HINT_T0);
}

// For lambdas that must not stay calls: what they share would live in memory.
#define OCK_INLINE __attribute__((always_inline))

// body(0), body(1) up to body(count - 1), written out: arrays indexed by the argument then live in registers.
template <class Body, int... indices>
[[gnu::always_inline]] inline void unrolled(std::integer_sequence<int, indices...>, const Body& body) {
  (body(indices), ...);
}
template <int count, class Body>
[[gnu::always_inline]] inline void unrolled(const Body& body) {
  unrolled(std::make_integer_sequence<int, count>(), body);
}

}  // namespace ock

#ifdef __AVX512F__
#include "lanes_avx512.h"
#else
#include "lanes_avx2.h"
#endif
