// y = W x for packed weights by AMX tiles where the processor has them, by AVX-512 dot products elsewhere.
#pragma once

#include "operand_avx512.h"

namespace ock {

struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
  void set(int tile, int tile_rows, int bytes) { rows[tile] = tile_rows, row_bytes[tile] = bytes; }
};

// The compiler does not know that tile instructions read memory: what they read must have been written.
inline void settle_memory() { __asm__ volatile("" ::: "memory"); }

inline void load_shapes(const TileShapes& shapes) {
  settle_memory();
  __asm__ volatile("ldtilecfg %0" ::"m"(shapes) : "memory");
}

inline void zero_sum_tiles() {
  settle_memory();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

constexpr int kSumTileFloats = 256;

inline void load_sum_tiles(const float* from) {
  _tile_loadd(0, from, 64);
  _tile_loadd(1, from + kSumTileFloats, 64);
  _tile_loadd(2, from + 2 * kSumTileFloats, 64);
  _tile_loadd(3, from + 3 * kSumTileFloats, 64);
}

inline void store_sum_tiles(float* to) {
  _tile_stored(0, to, 64);
  _tile_stored(1, to + kSumTileFloats, 64);
  _tile_stored(2, to + 2 * kSumTileFloats, 64);
  _tile_stored(3, to + 3 * kSumTileFloats, 64);
}

// Tiles 0-3 sums, 4-5 activations, 6-7 weights. Sum tiles 0, 1 belong to activation tile 4; 2, 3 to 5. Fewer than 16
// rows make narrower tiles; otherwise rows past the end are computed and not stored.
inline void shape_multiply_tiles(int rows) {
  TileShapes shapes;
  for (int tile : {0, 1, 2, 3, 4, 5}) shapes.set(tile, rows, 64);
  for (int tile : {6, 7}) shapes.set(tile, 16, 64);
  load_shapes(shapes);
}

constexpr int kPrefetchBytes = 8 * kTileBytes;

// Add to the sum tiles: 32 rows of bfloat16, 16 when `second` is null, or 16 rows of int8 as high and low bytes.
template <bool int8>
void add_products(const uint8_t* first, const uint8_t* second, const uint8_t* weights, int steps, bool fresh) {
  for (int step = 0; step < steps; ++step, weights += 2 * kTileBytes) {
    if (fresh) prefetch_bytes(weights + kPrefetchBytes, 2 * kTileBytes);
    _tile_loadd(6, weights, 64);
    _tile_loadd(4, first + step * kTileBytes, 64);
    _tile_loadd(7, weights + kTileBytes, 64);
    if constexpr (int8) {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      _tile_loadd(5, second + step * kTileBytes, 64);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if (second == nullptr) continue;
      _tile_loadd(5, second + step * kTileBytes, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
}

inline __m512 dequantised(__m512i high, __m512i low, const Matrix& w, int column, float row_scale) {
  const __m512i sum = _mm512_loadu_si512(w.sum + column);
  const __m512 signed_high = _mm512_cvtepi32_ps(_mm512_sub_epi32(high, _mm512_slli_epi32(sum, 7)));
  const __m512 value = _mm512_fmadd_ps(signed_high, _mm512_set1_ps(128.0f), _mm512_cvtepi32_ps(low));
  return _mm512_mul_ps(value, _mm512_mul_ps(_mm512_loadu_ps(w.scale + column), _mm512_set1_ps(row_scale)));
}

// The sums of 32 rows (int8: the high and low sums of 16) by 32 outputs, as the tiles hold them.
struct alignas(64) BlockSums {
  float tiles[4][16][16];
};

template <class Store>
void store_sums(const BlockSums& sums, const Operand& x, int first_row, int rows, const Matrix& w, int block,
                const Store& store) {
  for (int half = 0; half < 2; ++half) {
    const int column = block * kBlockColumns + half * 16;
    for (int r = 0; r < rows; ++r) {
      if (w.kind == kInt8) {
        const __m512i high = _mm512_load_si512(sums.tiles[half][r]), low = _mm512_load_si512(sums.tiles[2 + half][r]);
        store(first_row + r, column, dequantised(high, low, w, column, x.scale(first_row + r)));
      } else {
        store(first_row + r, column, _mm512_load_ps(sums.tiles[r / 16 * 2 + half][r % 16]));
      }
    }
  }
}

constexpr int kChunkSteps = 8;  // of a block's weights: 16 KiB, which stay in the first-level cache for all rows

// Rows [first_row, last_row) of `x` by blocks [first_block, last_block) of `w`.
template <bool int8, class Store>
void multiply_amx(const Operand& x, int first_row, int last_row, const Matrix& w, int first_block, int last_block,
                  const Store& store) {
  const int unit = int8 ? 16 : 32, rows = last_row - first_row, units = (rows + unit - 1) / unit;
  const int chunk = units == 1 ? w.steps : kChunkSteps;
  const size_t ahead = round_up(chunk * 2 * kTileBytes / units, 64);
  std::vector<BlockSums> sums(units);
  shape_multiply_tiles(std::min(rows, 16));
  for (int block = first_block; block < last_block; ++block) {
    for (int step = 0; step < w.steps; step += chunk) {
      const uint8_t* weights = w.block(block) + static_cast<size_t>(step) * 2 * kTileBytes;
      for (int u = 0; u < units; ++u) {
        const int row = first_row + u * unit, at = step * kTileBytes;
        const uint8_t* second = int8 ? x.low_row(row) + at : last_row - row > 16 ? x.row(row + 16) + at : nullptr;
        step == 0 ? zero_sum_tiles() : load_sum_tiles(&sums[u].tiles[0][0][0]);
        add_products<int8>(x.row(row) + at, second, weights, std::min(chunk, w.steps - step), units == 1);
        // While these weights are used from the first-level cache, the next ones come, a part with every unit.
        if (units > 1) prefetch_bytes(weights + chunk * 2 * kTileBytes + u * ahead, ahead);
        store_sum_tiles(&sums[u].tiles[0][0][0]);
      }
    }
    for (int u = 0; u < units; ++u) {
      const int row = first_row + u * unit;
      store_sums(sums[u], x, row, std::min(unit, last_row - row), w, block, store);
    }
  }
}

// One of the passes, of up to eight rows each, that a block of weights is used for, one after the other.
struct Pass {
  int index, count;
};

// Bring weights into the cache while others are used. In a single pass those of two steps at once and then none for a
// step: between such bursts the processor's own prefetching comes along (tried out on an EPYC of 2023, where four rows
// of bfloat16 take half the time that they take when every step prefetches). Eight rows and more are busy enough for the
// next block to come meanwhile, which several passes share out.
template <int rows>
[[gnu::always_inline]] inline void prefetch_weights(const Matrix& w, const uint8_t* weights, int step, Pass pass) {
  if (rows < 8 && pass.count == 1) {
    if (step % 2 == 0) prefetch_bytes(weights + kPrefetchBytes, 2 * w.step_bytes());
  } else if (step % pass.count == pass.index) {
    const uint8_t* next = weights + static_cast<size_t>(w.steps) * w.step_bytes();
    for (int line = 0; line < 2 * kTileBytes; line += 64) _mm_prefetch(next + line, _MM_HINT_T1);
  }
}

template <int level, int rows, class Store>
void multiply_rows_bf16(const Operand& x, int row, const Matrix& w, int block, Pass pass, const Store& store) {
  __m512 left[rows], right[rows];
  unrolled<rows>([&](int r) OCK_INLINE { left[r] = right[r] = zeros(); });
  const uint8_t* weights = w.block(block);
  for (int step = 0; step < w.steps; ++step, weights += 2 * kTileBytes) {
    prefetch_weights<rows>(w, weights, step, pass);
#pragma GCC unroll 16
    for (int group = 0; group < 16; ++group) {
      const __m512i of_left = _mm512_load_si512(weights + group * 64);
      const __m512i of_right = _mm512_load_si512(weights + kTileBytes + group * 64);
      unrolled<rows>([&](int r) OCK_INLINE {
        const Pair pair = all_pairs(x.row(row + r) + step * kTileBytes + group * 4);
        left[r] = dot_pairs<level>(left[r], pair, of_left);
        right[r] = dot_pairs<level>(right[r], pair, of_right);
      });
    }
  }
  unrolled<rows>([&](int r) OCK_INLINE {
    store(row + r, block * kBlockColumns, left[r]);
    store(row + r, block * kBlockColumns + 16, right[r]);
  });
}

// Each step's integer sums are exact, and go into float sums by the row's and the outputs' scales of the step.
template <int rows, class Store>
void multiply_rows_one_byte(const Operand& x, int row, const Matrix& w, int block, Pass pass, const Store& store) {
  alignas(64) Floats sums[2 * rows] = {};  // [row][half]
  const uint8_t* weights = w.block(block);
  const uint8_t* inputs[rows];
  unrolled<rows>([&](int r) OCK_INLINE { inputs[r] = x.row(row + r); });
  for (int step = 0; step < w.steps; ++step, weights += kInt8StepBytes) {
    prefetch_weights<rows>(w, weights, step, pass);
    __m512i left[rows], right[rows];
    unrolled<rows>([&](int r) OCK_INLINE {  // the weights are 128 too large
      left[r] = right[r] = _mm512_set1_epi32(-128 * (x.sums(row + r)[2 * step] + x.sums(row + r)[2 * step + 1]));
    });
#pragma GCC unroll 16
    for (int group = 0; group < 16; ++group) {
      const __m512i of_left = _mm512_load_si512(weights + group * 64);
      const __m512i of_right = _mm512_load_si512(weights + kTileBytes + group * 64);
      unrolled<rows>([&](int r) OCK_INLINE {
        const __m512i of_row = all_pairs(inputs[r] + step * kTileBytes + group * 4);
        left[r] = _mm512_dpbusd_epi32(left[r], of_left, of_row);
        right[r] = _mm512_dpbusd_epi32(right[r], of_right, of_row);
      });
    }
    const auto* scales = reinterpret_cast<const bf16*>(weights + 2 * kTileBytes);
    const Floats left_scale = widen_first(scales, 16), right_scale = widen_first(scales + 16, 16);
    unrolled<rows>([&](int r) OCK_INLINE {
      const Floats scale = all(x.scales(row + r)[step]);
      sums[2 * r] = multiply_add(_mm512_cvtepi32_ps(left[r]), scale * left_scale, sums[2 * r]);
      sums[2 * r + 1] = multiply_add(_mm512_cvtepi32_ps(right[r]), scale * right_scale, sums[2 * r + 1]);
    });
  }
  unrolled<2 * rows>([&](int i) OCK_INLINE { store(row + i / 2, block * kBlockColumns + i % 2 * 16, sums[i]); });
}

// Sixteen bytes as floats.
inline Floats widen_bytes(const uint8_t* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_load_si128((const __m128i*)from)));
}

// One tile of int4: 16 outputs by 64 inputs, added to a row's sums each.
template <int rows>
[[gnu::always_inline]] inline void add_int4_tile(const Operand& x, int row, int step, const uint8_t* const* inputs,
                                                 const uint8_t* tile, Floats* sums, int stride) {
  const __m512i low_halves = _mm512_set1_epi8(15);
  __m512i first[rows], second[rows];
  unrolled<rows>([&](int r) OCK_INLINE { first[r] = second[r] = _mm512_setzero_si512(); });
#pragma GCC unroll 8
  for (int group = 0; group < 8; ++group) {
    const __m512i both = _mm512_load_si512(tile + group * 64);
    const __m512i low = _mm512_and_si512(both, low_halves);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_halves);
    unrolled<rows>([&](int r) OCK_INLINE {
      const uint8_t* of_row = inputs[r] + step * kTileBytes + group * 4;
      first[r] = _mm512_dpbusd_epi32(first[r], low, all_pairs(of_row));
      second[r] = _mm512_dpbusd_epi32(second[r], high, all_pairs(of_row + 32));
    });
  }
  const uint8_t* meaning = tile + kTileBytes / 2;
  const Floats scale = widen_bytes(meaning), other_scale = widen_bytes(meaning + 32);
  const Floats zero = scale * widen_bytes(meaning + 16) * all(1.0f / 16);
  const Floats other_zero = other_scale * widen_bytes(meaning + 48) * all(1.0f / 16);
  unrolled<rows>([&](int r) OCK_INLINE {
    const int32_t* row_sums = x.sums(row + r) + 2 * step;
    Floats sum = subtract_product(zero, all(static_cast<float>(row_sums[0])), scale * _mm512_cvtepi32_ps(first[r]));
    sum = subtract_product(other_zero, all(static_cast<float>(row_sums[1])), sum);
    sum = multiply_add(other_scale, _mm512_cvtepi32_ps(second[r]), sum);
    sums[r * stride] = multiply_add(sum, all(x.scales(row + r)[step]), sums[r * stride]);
  });
}

template <int rows, class Store>
void multiply_rows_int4(const Operand& x, int row, const Matrix& w, int block, Pass pass, const Store& store) {
  alignas(64) Floats sums[2 * rows] = {};  // [row][half]
  const uint8_t* weights = w.block(block);
  const uint8_t* inputs[rows];
  unrolled<rows>([&](int r) OCK_INLINE { inputs[r] = x.row(row + r); });
  for (int step = 0; step < w.steps; ++step, weights += 2 * kInt4TileBytes) {
    prefetch_weights<rows>(w, weights, step, pass);
    add_int4_tile<rows>(x, row, step, inputs, weights, sums, 2);
    add_int4_tile<rows>(x, row, step, inputs, weights + kInt4TileBytes, sums + 1, 2);
  }
  unrolled<2 * rows>([&](int i) OCK_INLINE {
    const int column = block * kBlockColumns + i % 2 * 16;
    store(row + i / 2, column, sums[i] * load(w.scale + column));
  });
}

template <int level, int rows, class Store>
void multiply_rows(const Operand& x, int row, const Matrix& w, int block, Pass pass, const Store& store) {
  if (w.kind == kInt4) return multiply_rows_int4<rows>(x, row, w, block, pass, store);
  if (w.kind == kInt8) return multiply_rows_one_byte<rows>(x, row, w, block, pass, store);
  multiply_rows_bf16<level, rows>(x, row, w, block, pass, store);
}

template <int level, class Store>
void multiply_vector(const Operand& x, int first_row, int last_row, const Matrix& w, int first_block, int last_block,
                     const Store& store) {
  for (int block = first_block; block < last_block; ++block) {
    Pass pass = {0, (last_row - first_row + 7) / 8};
    for (int row = first_row; row < last_row;) {
      int rows = 8;
      while (rows > last_row - row) rows /= 2;
      if (rows == 8) multiply_rows<level, 8>(x, row, w, block, pass, store);
      if (rows == 4) multiply_rows<level, 4>(x, row, w, block, pass, store);
      if (rows == 2) multiply_rows<level, 2>(x, row, w, block, pass, store);
      if (rows == 1) multiply_rows<level, 1>(x, row, w, block, pass, store);
      row += rows, ++pass.index;
    }
  }
}

// Rows [first_row, last_row) of `x` by blocks [first_block, last_block) of `w`, as far as `level` goes.
template <class Store>
void multiply_part(Level level, const Operand& x, int first_row, int last_row, const Matrix& w, int first_block,
                   int last_block, const Store& store) {
  if (level == kAmx && w.kind == kInt8) {
    multiply_amx<true>(x, first_row, last_row, w, first_block, last_block, store);
  } else if (level == kAmx && w.kind == kPlain) {
    multiply_amx<false>(x, first_row, last_row, w, first_block, last_block, store);
  } else if (level >= kBf16) {
    multiply_vector<kBf16>(x, first_row, last_row, w, first_block, last_block, store);
  } else {
    multiply_vector<kVnni>(x, first_row, last_row, w, first_block, last_block, store);
  }
}

constexpr int kRunBytes = 1 << 20;  // of activations that stay in the second-level cache

}  // namespace ock
