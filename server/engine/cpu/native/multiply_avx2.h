// y = W x for packed weights by AVX2: bfloat16 weights are widened in registers, int8 and int4 weights to int16.
#pragma once

#include "operand_avx2.h"

namespace ock {

constexpr int kPrefetchBytes = 8 * kTileBytes;
constexpr int kRunBytes = 1 << 18;  // of activations that stay in the second-level cache

// `rows` rows by one or both halves of a block, which starts at `weights`. A row's sums are made in the same order
// whatever `rows` and `halves` are, so that they do not depend on the batch.
template <int rows, int halves, class Store>
void multiply_rows_bf16(const Operand& x, int row, const Matrix& w, const uint8_t* weights, int column,
                        const Store& store) {
  Floats sums[rows * halves];
  const float* inputs[rows];
  unrolled<rows>([&](int r) OCK_INLINE { inputs[r] = x.row(row + r); });
  unrolled<rows * halves>([&](int i) OCK_INLINE { sums[i] = zeros(); });
  for (int step = 0; step < w.steps; ++step, weights += 2 * kTileBytes) {
    prefetch_bytes(weights + kPrefetchBytes, halves * kTileBytes);
    for (int group = 0; group < 16; ++group) {
      const int input = step * 32 + group * 2;
      unrolled<halves>([&](int half) OCK_INLINE {
        const uint8_t* at = weights + half * kTileBytes + group * 64;
        const Floats first = {firsts(at), firsts(at + 32)};
        unrolled<rows>([&](int r) OCK_INLINE {
          sums[r * halves + half] = multiply_add(all(inputs[r][input]), first, sums[r * halves + half]);
        });
        const Floats second = {seconds(at), seconds(at + 32)};
        unrolled<rows>([&](int r) OCK_INLINE {
          sums[r * halves + half] = multiply_add(all(inputs[r][input + 1]), second, sums[r * halves + half]);
        });
      });
    }
  }
  unrolled<rows * halves>([&](int i) OCK_INLINE { store(row + i / halves, column + i % halves * 16, sums[i]); });
}

// Integer sums of 16 steps, which no input overflows: each of the lanes adds 256 pairs of products.
constexpr int kExactSteps = 16;

inline __m256i four_inputs(const int16_t* from) {
  int64_t bits;
  std::memcpy(&bits, from, 8);
  return _mm256_set1_epi64x(bits);
}

// From [output of 4][inputs 0 and 1 of each group, inputs 2 and 3] of eight outputs to their sums.
inline __m256 pair_sums(__m256i first, __m256i second) {
  return _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(_mm256_hadd_epi32(first, second), 0xd8));
}

template <int rows, int halves, class Store>
void multiply_rows_int8(const Operand& x, int row, const Matrix& w, const uint8_t* weights, int column,
                        const Store& store) {
  constexpr int kParts = 4;  // of 4 outputs each, in a half
  Floats sums[rows * halves];
  const int16_t* inputs[rows];
  unrolled<rows>([&](int r) OCK_INLINE { inputs[r] = x.whole_row(row + r); });
  unrolled<rows * halves>([&](int i) OCK_INLINE { sums[i] = zeros(); });
  for (int step = 0; step < w.steps;) {
    __m256i exact[rows * halves * kParts];
    unrolled<rows * halves * kParts>([&](int i) OCK_INLINE { exact[i] = _mm256_setzero_si256(); });
    for (const int end = std::min(w.steps, step + kExactSteps); step < end; ++step, weights += 2 * kTileBytes) {
      prefetch_bytes(weights + kPrefetchBytes, halves * kTileBytes);
      for (int group = 0; group < 16; ++group) {
        unrolled<halves * kParts>([&](int i) OCK_INLINE {
          const uint8_t* at = weights + i / kParts * kTileBytes + group * 64 + i % kParts * 16;
          const __m256i four_outputs = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i*)at));
          unrolled<rows>([&](int r) OCK_INLINE {
            __m256i& sum = exact[r * halves * kParts + i];
            const __m256i of_row = four_inputs(inputs[r] + step * 64 + group * 4);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(of_row, four_outputs));
          });
        });
      }
    }
    unrolled<rows * halves>([&](int i) OCK_INLINE {
      const __m256i* of_half = exact + i * kParts;
      sums[i] = sums[i] + Floats{pair_sums(of_half[0], of_half[1]), pair_sums(of_half[2], of_half[3])};
    });
  }
  unrolled<rows * halves>([&](int i) OCK_INLINE {
    const int from = column + i % halves * 16;
    store(row + i / halves, from, sums[i] * (load(w.scale + from) * all(x.scale(row + i / halves))));
  });
}

// Eight bytes as floats.
inline __m256 widen_bytes(const uint8_t* from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from)));
}
inline Floats widen_16_bytes(const uint8_t* from) { return {widen_bytes(from), widen_bytes(from + 8)}; }

// Every 32 inputs are summed exactly, and go into the float sums by their own scale and zero.
template <int rows, class Store>
void multiply_rows_int4(const Operand& x, int row, const Matrix& w, const uint8_t* weights, int column,
                        const Store& store) {
  constexpr int kParts = 4;  // of 4 outputs each
  const __m128i low_halves = _mm_set1_epi8(15);
  Floats sums[rows];
  unrolled<rows>([&](int r) OCK_INLINE { sums[r] = zeros(); });
  for (int step = 0; step < w.steps; ++step, weights += 2 * kInt4TileBytes) {
    prefetch_bytes(weights + kPrefetchBytes, kInt4TileBytes);
    for (int half = 0; half < 2; ++half) {
      __m256i exact[rows * kParts];
      unrolled<rows * kParts>([&](int i) OCK_INLINE { exact[i] = _mm256_setzero_si256(); });
      for (int group = 0; group < 8; ++group) {
        unrolled<kParts>([&](int i) OCK_INLINE {
          const __m128i both = _mm_load_si128((const __m128i*)(weights + group * 64 + i * 16));
          const __m128i bytes = _mm_and_si128(half ? _mm_srli_epi16(both, 4) : both, low_halves);
          const __m256i four_outputs = _mm256_cvtepu8_epi16(bytes);
          unrolled<rows>([&](int r) OCK_INLINE {
            const __m256i of_row = four_inputs(x.whole_row(row + r) + step * 64 + half * 32 + group * 4);
            exact[r * kParts + i] = _mm256_add_epi32(exact[r * kParts + i], _mm256_madd_epi16(of_row, four_outputs));
          });
        });
      }
      const uint8_t* meaning = weights + kTileBytes / 2 + half * 32;
      const Floats scale = widen_16_bytes(meaning), zero = widen_16_bytes(meaning + 16) * all(1.0f / 16);
      unrolled<rows>([&](int r) OCK_INLINE {
        const __m256i* of_row = exact + r * kParts;
        const Floats products = {pair_sums(of_row[0], of_row[1]), pair_sums(of_row[2], of_row[3])};
        const Floats sum = subtract_product(zero, all(x.sums(row + r)[step * 2 + half]), products);
        sums[r] = multiply_add(scale, sum, sums[r]);
      });
    }
  }
  unrolled<rows>([&](int r) OCK_INLINE {
    store(row + r, column, sums[r] * (load(w.scale + column) * all(x.scale(row + r))));
  });
}

// As many rows at once as there are registers for their sums: whole blocks while they fit, else half by half.
template <int rows, class Store>
void multiply_rows(const Operand& x, int row, const Matrix& w, int block, const Store& store) {
  const uint8_t* weights = w.block(block);
  const int column = block * kBlockColumns;
  if (w.kind == kInt4) {
    if constexpr (rows <= 2) {
      multiply_rows_int4<rows>(x, row, w, weights, column, store);
      multiply_rows_int4<rows>(x, row, w, weights + kInt4TileBytes, column + 16, store);
    }
  } else if (w.kind == kInt8) {
    if constexpr (rows == 1) multiply_rows_int8<1, 2>(x, row, w, weights, column, store);
    if constexpr (rows == 2) {
      multiply_rows_int8<2, 1>(x, row, w, weights, column, store);
      multiply_rows_int8<2, 1>(x, row, w, weights + kTileBytes, column + 16, store);
    }
  } else if constexpr (rows <= 2) {
    multiply_rows_bf16<rows, 2>(x, row, w, weights, column, store);
  } else {
    multiply_rows_bf16<rows, 1>(x, row, w, weights, column, store);
    multiply_rows_bf16<rows, 1>(x, row, w, weights + kTileBytes, column + 16, store);
  }
}

// Rows [first_row, last_row) of `x` by blocks [first_block, last_block) of `w`.
template <class Store>
void multiply_part(Level, const Operand& x, int first_row, int last_row, const Matrix& w, int first_block,
                   int last_block, const Store& store) {
  const int most = w.kind == kPlain ? 6 : 2;
  for (int block = first_block; block < last_block; ++block) {
    for (int row = first_row; row < last_row;) {
      const int rows = std::min(most, last_row - row);
      if (rows == 6) multiply_rows<6>(x, row, w, block, store);
      if (rows == 5) multiply_rows<5>(x, row, w, block, store);
      if (rows == 4) multiply_rows<4>(x, row, w, block, store);
      if (rows == 3) multiply_rows<3>(x, row, w, block, store);
      if (rows == 2) multiply_rows<2>(x, row, w, block, store);
      if (rows == 1) multiply_rows<1>(x, row, w, block, store);
      row += rows;
    }
  }
}

}  // namespace ock
