// y = W x for packed weights by AVX2: bfloat16 weights are widened in registers, int8 weights to int16.
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
  Floats sums[rows][halves];
  const float* inputs[rows];
  for (int r = 0; r < rows; ++r) inputs[r] = x.row(row + r);
  for (auto& of_row : sums) std::fill(of_row, of_row + halves, zeros());
  for (int step = 0; step < w.steps; ++step, weights += 2 * kTileBytes) {
    prefetch_bytes(weights + kPrefetchBytes, halves * kTileBytes);
    for (int group = 0; group < 16; ++group) {
      const uint8_t* at = weights + group * 64;
      const int input = step * 32 + group * 2;
      for (int half = 0; half < halves; ++half, at += kTileBytes) {
        const Floats first = {firsts(at), firsts(at + 32)};
#pragma GCC unroll 6
        for (int r = 0; r < rows; ++r) sums[r][half] = multiply_add(all(inputs[r][input]), first, sums[r][half]);
        const Floats second = {seconds(at), seconds(at + 32)};
#pragma GCC unroll 6
        for (int r = 0; r < rows; ++r) sums[r][half] = multiply_add(all(inputs[r][input + 1]), second, sums[r][half]);
      }
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int half = 0; half < halves; ++half) store(row + r, column + half * 16, sums[r][half]);
  }
}

// Integer sums of 16 steps, which no input overflows: each of the lanes adds 256 pairs of products.
constexpr int kExactSteps = 16;

struct Integers {  // [output of 16][inputs 0 and 1 of each group, inputs 2 and 3]
  __m256i parts[4];
  Floats sums() const {
    const auto pair = [](__m256i a, __m256i b) {
      return _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8));
    };
    return {pair(parts[0], parts[1]), pair(parts[2], parts[3])};
  }
};

template <int rows, int halves, class Store>
void multiply_rows_int8(const Operand& x, int row, const Matrix& w, const uint8_t* weights, int column,
                        const Store& store) {
  Floats sums[rows][halves];
  for (auto& of_row : sums) std::fill(of_row, of_row + halves, zeros());
  const int16_t* inputs[rows];
  for (int r = 0; r < rows; ++r) inputs[r] = x.whole_row(row + r);
  for (int step = 0; step < w.steps;) {
    Integers exact[rows][halves] = {};
    for (const int end = std::min(w.steps, step + kExactSteps); step < end; ++step, weights += 2 * kTileBytes) {
      prefetch_bytes(weights + kPrefetchBytes, halves * kTileBytes);
      for (int group = 0; group < 16; ++group) {
        __m256i four_inputs[rows];
        for (int r = 0; r < rows; ++r) {
          int64_t bits;
          std::memcpy(&bits, inputs[r] + step * 64 + group * 4, 8);
          four_inputs[r] = _mm256_set1_epi64x(bits);
        }
        for (int half = 0; half < halves; ++half) {
          const auto* at = reinterpret_cast<const __m128i*>(weights + half * kTileBytes + group * 64);
#pragma GCC unroll 4
          for (int part = 0; part < 4; ++part) {
            const __m256i four_outputs = _mm256_cvtepi8_epi16(_mm_load_si128(at + part));
#pragma GCC unroll 3
            for (int r = 0; r < rows; ++r) {
              __m256i& sum = exact[r][half].parts[part];
              sum = _mm256_add_epi32(sum, _mm256_madd_epi16(four_inputs[r], four_outputs));
            }
          }
        }
      }
    }
    for (int r = 0; r < rows; ++r) {
      for (int half = 0; half < halves; ++half) sums[r][half] = sums[r][half] + exact[r][half].sums();
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int half = 0; half < halves; ++half) {
      const Floats scale = load(w.scale + column + half * 16) * all(x.scale(row + r));
      store(row + r, column + half * 16, sums[r][half] * scale);
    }
  }
}

// As many rows at once as there are registers for their sums.
template <int rows, class Store>
void multiply_rows(const Operand& x, int row, const Matrix& w, int block, const Store& store) {
  const uint8_t* weights = w.block(block);
  const int column = block * kBlockColumns;
  if constexpr (rows == 1) {
    w.int8 ? multiply_rows_int8<1, 2>(x, row, w, weights, column, store)
           : multiply_rows_bf16<1, 2>(x, row, w, weights, column, store);
  } else {
    for (int half = 0; half < 2; ++half, weights += kTileBytes) {
      if constexpr (rows <= 3) {
        if (w.int8) multiply_rows_int8<rows, 1>(x, row, w, weights, column + half * 16, store);
      }
      if (!w.int8) multiply_rows_bf16<rows, 1>(x, row, w, weights, column + half * 16, store);
    }
  }
}

// Rows [first_row, last_row) of `x` by blocks [first_block, last_block) of `w`.
template <class Store>
void multiply_part(Level, const Operand& x, int first_row, int last_row, const Matrix& w, int first_block,
                   int last_block, const Store& store) {
  const int most = w.int8 ? 3 : 6;
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
