// Sixteen floats as one AVX-512 vector; included by lanes.h.
#pragma once

namespace ock {

using Floats = __m512;  // with the compiler's own + - * /

inline Floats all(float value) { return _mm512_set1_ps(value); }
inline Floats zeros() { return _mm512_setzero_ps(); }

// a * b + c, and c - a * b, rounded once.
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats subtract_product(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }

inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline Floats magnitude(Floats a) { return _mm512_abs_ps(a); }
// 1 / a to within a unit in the last place or two; a division takes four times as long.
inline Floats reciprocal(Floats a) {
  const Floats rough = _mm512_rcp14_ps(a);
  return rough * subtract_product(a, rough, all(2.0f));
}

// In the first of two places `distance` apart their sum, in the second the first less the second.
template <int distance>
inline Floats sums_and_differences(Floats a) {
  constexpr __mmask16 second = distance == 8 ? 0xff00 : distance == 4 ? 0xf0f0 : distance == 2 ? 0xcccc : 0xaaaa;
  const Floats signs = _mm512_mask_blend_ps(second, all(1.0f), all(-1.0f));
  if constexpr (distance >= 4) {
    return multiply_add(a, signs, _mm512_shuffle_f32x4(a, a, distance == 8 ? 0x4e : 0xb1));
  } else {
    return multiply_add(a, signs, _mm512_permute_ps(a, distance == 2 ? 0x4e : 0xb1));
  }
}

inline float total(Floats a) { return _mm512_reduce_add_ps(a); }
inline float largest(Floats a) { return _mm512_reduce_max_ps(a); }

inline Floats nearest_whole(Floats a) { return _mm512_roundscale_ps(a, 0); }
// a * 2^n for whole n from -126 to 127.
inline Floats times_power_of_two(Floats a, Floats n) { return _mm512_scalef_ps(a, n); }

// `a` in the places where `test` is negative, else `b`.
inline Floats where_negative(Floats test, Floats a, Floats b) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(test, zeros(), _CMP_LT_OQ), b, a);
}
// `value` in the places where `test` is above `limit`, else zero.
inline Floats where_above(Floats test, Floats limit, Floats value) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(test, limit, _CMP_GT_OQ), value);
}
// `value` in the places where from[place] <= index, else `otherwise`.
inline Floats where_at_most(const int32_t* from, int32_t index, Floats value, Floats otherwise) {
  const __mmask16 seen = _mm512_cmple_epi32_mask(_mm512_loadu_si512(from), _mm512_set1_epi32(index));
  return _mm512_mask_blend_ps(seen, otherwise, value);
}

// The mask of the first `count` of 16 lanes; all of them from 16 up, none from 0 down.
inline __mmask16 first_lanes(int count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}

inline Floats load(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, Floats a) { _mm512_storeu_ps(to, a); }
// The first `count` places, all of them from 16 up and none from 0 down; the others read as zero and are not written.
inline Floats load_first(const float* from, int count) { return _mm512_maskz_loadu_ps(first_lanes(count), from); }
inline void store_first(float* to, Floats a, int count) { _mm512_mask_storeu_ps(to, first_lanes(count), a); }

// The first `count` places, zero in the others.
inline Floats keep_first(Floats a, int count) { return _mm512_maskz_mov_ps(first_lanes(count), a); }

inline Floats widen_first(const bf16* from, int count) {
  const __m256i bits = _mm256_maskz_loadu_epi16(first_lanes(count), from);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

inline __m256i narrow(Floats a) {  // round to nearest even, no AVX512-BF16 needed
  const __m512i bits = _mm512_castps_si512(a);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

inline void narrow_row(const float* from, int size, bf16* to) {
  for (int i = 0; i < size; i += 16) {
    _mm256_mask_storeu_epi16(to + i, first_lanes(size - i), narrow(load_first(from + i, size - i)));
  }
}

// Store the first `count` places rounded to whole numbers from -127 to 127; their sum. The others must be zero.
inline int32_t store_int8(int8_t* to, Floats a, int count) {
  const __m512i rounded = _mm512_cvtps_epi32(a);
  _mm512_mask_cvtepi32_storeu_epi8(to, first_lanes(count), rounded);
  return _mm512_reduce_add_epi32(rounded);
}

// Sixteen units of 4 bytes, one from each of the first `count` rows, which lie `row_bytes` apart; zeros for the others.
inline void gather_units(uint8_t* to, const uint8_t* rows, int row_bytes, int count) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i offsets = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(row_bytes));
  const __m512i units = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), first_lanes(count), offsets, rows, 1);
  _mm512_store_si512(to, units);
}

inline void store_int16(int16_t* to, Floats a) {
  _mm256_storeu_si256((__m256i*)to, _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(a)));
}

// Sixteen whole numbers.
using Wholes = __m512i;
inline Wholes no_wholes() { return _mm512_setzero_si512(); }
inline Wholes add(Wholes a, Wholes b) { return _mm512_add_epi32(a, b); }
inline Floats as_floats(Wholes a) { return _mm512_cvtepi32_ps(a); }
// sum[i] += a[0] * b[2i] + a[1] * b[2i+1].
inline Wholes dot_whole_pairs(Wholes sum, const int16_t* a, const int8_t* b) {
  int32_t pair;
  std::memcpy(&pair, a, 4);
  const __m512i widened = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)b));
  return _mm512_dpwssd_epi32(sum, _mm512_set1_epi32(pair), widened);
}

// One pair of bfloat16 in all places.
using Pair = __m512i;
inline Pair all_pairs(const void* from) { return _mm512_set1_epi32(*static_cast<const int32_t*>(from)); }

// sum[i] += a[2i] * b[2i] + a[2i+1] * b[2i+1], 16 pairs of bfloat16.
template <int level>
inline Floats dot_pairs(Floats sum, Pair a, __m512i b) {
  if constexpr (level >= kBf16) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  } else {
    const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    sum = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a, 16)), _mm512_castsi512_ps(_mm512_slli_epi32(b,
        16)), sum);
    return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(a, high)), _mm512_castsi512_ps(_mm512_and_si512(b,
        high)),
                           sum);
  }
}
template <int level>
inline Floats dot_pairs(Floats sum, Pair a, const bf16* b) {
  return dot_pairs<level>(sum, a, _mm512_loadu_si512(b));
}

}  // namespace ock
