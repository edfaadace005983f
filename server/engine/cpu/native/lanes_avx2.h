// Sixteen floats as two AVX2 vectors; included by lanes.h.
#pragma once

namespace ock {

struct Floats {
  __m256 low, high;
};

inline Floats all(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
inline Floats zeros() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }

inline Floats operator+(Floats a, Floats b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }

// a * b + c, and c - a * b, rounded once.
inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline Floats subtract_product(Floats a, Floats b, Floats c) {
  return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
}

inline Floats larger(Floats a, Floats b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
inline Floats smaller(Floats a, Floats b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
inline Floats magnitude(Floats a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
inline Floats reciprocal(Floats a) { return all(1.0f) / a; }

// In the first of two places `distance` apart their sum, in the second the first less the second.
template <int distance>
inline Floats sums_and_differences(Floats a) {
  if constexpr (distance == 8) return {_mm256_add_ps(a.low, a.high), _mm256_sub_ps(a.low, a.high)};
  constexpr int second = distance == 4 ? 0xf0 : distance == 2 ? 0xcc : 0xaa, swap = distance == 2 ? 0x4e : 0xb1;
  const auto half = [](__m256 part) {
    const __m256 other = distance == 4 ? _mm256_permute2f128_ps(part, part, 1) : _mm256_permute_ps(part, swap);
    return _mm256_blend_ps(_mm256_add_ps(other, part), _mm256_sub_ps(other, part), second);
  };
  return {half(a.low), half(a.high)};
}

inline float total(Floats a) {
  const __m256 eight = _mm256_add_ps(a.low, a.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float largest(Floats a) {
  const __m256 eight = _mm256_max_ps(a.low, a.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

inline Floats nearest_whole(Floats a) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.low, kNearest), _mm256_round_ps(a.high, kNearest)};
}
// a * 2^n for whole n from -126 to 127.
inline Floats times_power_of_two(Floats a, Floats n) {
  const auto power = [](__m256 part) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(part), _mm256_set1_epi32(127)), 23));
  };
  return a * Floats{power(n.low), power(n.high)};
}

// `a` in the places where `test` is negative, else `b`.
inline Floats where_negative(Floats test, Floats a, Floats b) {
  return {_mm256_blendv_ps(b.low, a.low, test.low), _mm256_blendv_ps(b.high, a.high, test.high)};
}
// `value` in the places where `test` is above `limit`, else zero.
inline Floats where_above(Floats test, Floats limit, Floats value) {
  return {_mm256_and_ps(_mm256_cmp_ps(test.low, limit.low, _CMP_GT_OQ), value.low),
          _mm256_and_ps(_mm256_cmp_ps(test.high, limit.high, _CMP_GT_OQ), value.high)};
}
// `value` in the places where from[place] <= index, else `otherwise`.
inline Floats where_at_most(const int32_t* from, int32_t index, Floats value, Floats otherwise) {
  const auto later = [=](int at) {
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i*)(from + at)), _mm256_set1_epi32(index)));
  };
  return {_mm256_blendv_ps(value.low, otherwise.low, later(0)), _mm256_blendv_ps(value.high, otherwise.high, later(8))};
}

// All ones in the first `count` of eight places.
inline __m256i first_of_eight(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}

inline Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
inline void store(float* to, Floats a) { _mm256_storeu_ps(to, a.low), _mm256_storeu_ps(to + 8, a.high); }
// The first `count` places, all of them from 16 up and none from 0 down; the others read as zero and are not written.
inline Floats load_first(const float* from, int count) {
  if (count >= 16) return load(from);
  return {_mm256_maskload_ps(from, first_of_eight(count)), _mm256_maskload_ps(from + 8, first_of_eight(count - 8))};
}
inline void store_first(float* to, Floats a, int count) {
  if (count >= 16) return store(to, a);
  _mm256_maskstore_ps(to, first_of_eight(count), a.low);
  _mm256_maskstore_ps(to + 8, first_of_eight(count - 8), a.high);
}

// The first `count` places, zero in the others.
inline Floats keep_first(Floats a, int count) {
  if (count >= 16) return a;
  return {_mm256_and_ps(_mm256_castsi256_ps(first_of_eight(count)), a.low),
          _mm256_and_ps(_mm256_castsi256_ps(first_of_eight(count - 8)), a.high)};
}

inline Floats widen(const bf16* from) {
  const auto half = [=](int at) {
    const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)(from + at)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
  };
  return {half(0), half(8)};
}
inline Floats widen_first(const bf16* from, int count) {
  if (count >= 16) return widen(from);
  bf16 padded[16] = {};
  std::copy_n(from, std::max(count, 0), padded);
  return widen(padded);
}

inline __m256i narrow(Floats a) {  // round to nearest even
  const auto half = [](__m256 part) {
    const __m256i bits = _mm256_castps_si256(part);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  };
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(half(a.low), half(a.high)), 0xd8);
}

inline void narrow_row(const float* from, int size, bf16* to) {
  int i = 0;
  for (; i + 16 <= size; i += 16) _mm256_storeu_si256((__m256i*)(to + i), narrow(load(from + i)));
  if (i == size) return;
  bf16 last[16];
  _mm256_storeu_si256((__m256i*)last, narrow(load_first(from + i, size - i)));
  std::copy_n(last, size - i, to + i);
}

// Store the first `count` places rounded to whole numbers from -127 to 127; their sum. The others must be zero.
inline int32_t store_int8(int8_t* to, Floats a, int count) {
  int32_t rounded[16], sum = 0;
  _mm256_storeu_si256((__m256i*)rounded, _mm256_cvtps_epi32(a.low));
  _mm256_storeu_si256((__m256i*)(rounded + 8), _mm256_cvtps_epi32(a.high));
  for (int i = 0; i < std::min(count, 16); ++i) to[i] = static_cast<int8_t>(rounded[i]);
  for (int32_t each : rounded) sum += each;
  return sum;
}

// Sixteen units of 4 bytes, one from each of the first `count` rows, which lie `row_bytes` apart; zeros for the others.
inline void gather_units(uint8_t* to, const uint8_t* rows, int row_bytes, int count) {
  for (int i = 0; i < std::min(count, 16); ++i) std::memcpy(to + i * 4, rows + static_cast<size_t>(i) * row_bytes, 4);
  if (count < 16) std::memset(to + std::max(count, 0) * 4, 0, (16 - std::max(count, 0)) * 4);
}

inline void store_int16(int16_t* to, Floats a) {
  const __m256i packed = _mm256_packs_epi32(_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high));
  _mm256_storeu_si256((__m256i*)to, _mm256_permute4x64_epi64(packed, 0xd8));
}

// Sixteen whole numbers.
struct Wholes {
  __m256i low, high;
};
inline Wholes no_wholes() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Wholes add(Wholes a, Wholes b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
inline Floats as_floats(Wholes a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }
// sum[i] += a[0] * b[2i] + a[1] * b[2i+1].
inline Wholes dot_whole_pairs(Wholes sum, const int16_t* a, const int8_t* b) {
  int32_t pair;
  std::memcpy(&pair, a, 4);
  const __m256i both = _mm256_set1_epi32(pair);
  const auto half = [=](const int8_t* from) {
    return _mm256_madd_epi16(both, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)from)));
  };
  return {_mm256_add_epi32(sum.low, half(b)), _mm256_add_epi32(sum.high, half(b + 16))};
}

// One pair of bfloat16 in all places, as two floats.
struct Pair {
  __m256 first, second;
};
inline Pair all_pairs(const void* from) {
  const __m256i bits = _mm256_set1_epi32(*static_cast<const int32_t*>(from));
  const __m256i second = _mm256_and_si256(bits, _mm256_set1_epi32(static_cast<int>(0xffff0000)));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(bits, 16)), _mm256_castsi256_ps(second)};
}

// The first and the second of eight pairs of bfloat16, as floats.
inline __m256 firsts(const void* from) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(from)), 16));
}
inline __m256 seconds(const void* from) {
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(static_cast<const __m256i*>(from)), high));
}

// sum[i] += a.first * b[2i] + a.second * b[2i+1], with b 16 pairs of bfloat16.
template <int level>
inline Floats dot_pairs(Floats sum, Pair a, const bf16* b) {
  sum.low = _mm256_fmadd_ps(a.first, firsts(b), sum.low);
  sum.high = _mm256_fmadd_ps(a.first, firsts(b + 16), sum.high);
  sum.low = _mm256_fmadd_ps(a.second, seconds(b), sum.low);
  sum.high = _mm256_fmadd_ps(a.second, seconds(b + 16), sum.high);
  return sum;
}

}  // namespace ock
