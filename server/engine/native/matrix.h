// Weight matrices packed once for the kernels, and the rows of activations that multiply them.
#pragma once

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <vector>

#include "vector.h"

namespace ock {

constexpr int kTileBytes = 1024;  // 16 rows of 64 bytes
constexpr int kBlockColumns = 32;  // outputs of a block: two tiles side by side

inline int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

// Memory that is read once a step from end to end: huge pages, freed all at once.
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

// W [outputs, inputs] of y = W x, cut into tiles of 16 outputs by 64 bytes of inputs for each of 16 input groups:
// data[block of 32 outputs][step][tile of 2][group of 16][output of 16][2 bfloat16 or 4 int8 inputs].
struct Matrix {
  int outputs = 0, inputs = 0, blocks = 0, steps = 0;
  bool int8 = false;
  const uint8_t* data = nullptr;
  const float* scale = nullptr;    // int8: one an output
  const int32_t* sum = nullptr;    // int8: sum of an output's quantised inputs

  int step_inputs() const { return int8 ? 64 : 32; }
  const uint8_t* block(int index) const { return data + static_cast<size_t>(index) * steps * 2 * kTileBytes; }
};

inline uint8_t* tile_row(uint8_t* data, int steps, int unit, int output, int input) {
  const int step_inputs = unit * 16;
  const size_t tile = (static_cast<size_t>(output / 32) * steps + input / step_inputs) * 2 + output % 32 / 16;
  return data + tile * kTileBytes + input % step_inputs / unit * 64 + output % 16 * 4;
}

// Sixteen outputs from `first` on, as rows of `row_bytes`, `unit` inputs in each 4 bytes: one tile row is one gather.
inline void pack_rows(uint8_t* data, const Matrix& m, int first, const uint8_t* rows, int row_bytes, int unit) {
  const __mmask16 outputs = first_lanes(m.outputs - first);
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i offsets = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(row_bytes));
  for (int k = 0; k + unit <= row_bytes * unit / 4; k += unit) {
    const __m512i row = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), outputs, offsets, rows + k / unit * 4, 1);
    _mm512_store_si512(tile_row(data, m.steps, unit, first, k), row);
  }
}

inline void pack_bf16(uint8_t* data, const Matrix& m, const bf16* weight) {
#pragma omp parallel for
  for (int first = 0; first < m.outputs; first += 16) {
    const int end = std::min(m.outputs, first + 16);
    const bf16* rows = weight + static_cast<size_t>(first) * m.inputs;
    if (m.inputs % 2 == 0) {
      pack_rows(data, m, first, reinterpret_cast<const uint8_t*>(rows), m.inputs * 2, 2);
      continue;
    }
    std::vector<bf16> even(static_cast<size_t>(16) * (m.inputs + 1), 0);
    for (int n = first; n < end; ++n) {
      std::copy_n(weight + static_cast<size_t>(n) * m.inputs, m.inputs,
          &even[static_cast<size_t>(n - first) * (m.inputs + 1)]);
    }
    pack_rows(data, m, first, reinterpret_cast<const uint8_t*>(even.data()), (m.inputs + 1) * 2, 2);
  }
}

// One output's inputs rounded to int8: its scale, and the sum of what they were rounded to.
inline void quantise_row(const bf16* row, int inputs, int8_t* to, float& scale, int32_t& sum) {
  __m512 largest = _mm512_set1_ps(1e-12f);
  const auto values = [=](int k) {
    const __m256i bits = _mm256_maskz_loadu_epi16(first_lanes(inputs - k), row + k);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  };
  for (int k = 0; k < inputs; k += 16) largest = _mm512_max_ps(largest, _mm512_abs_ps(values(k)));
  scale = _mm512_reduce_max_ps(largest) / 127.0f;
  const __m512 divisor = _mm512_set1_ps(scale);
  __m512i sums = _mm512_setzero_si512();
  for (int k = 0; k < inputs; k += 16) {
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_div_ps(values(k), divisor));
    sums = _mm512_add_epi32(sums, rounded);
    _mm512_mask_cvtepi32_storeu_epi8(to + k, first_lanes(inputs - k), rounded);
  }
  sum = _mm512_reduce_add_epi32(sums);
}

inline void pack_int8(uint8_t* data, const Matrix& m, const bf16* weight, float* scale, int32_t* sum) {
  const int width = round_up(m.inputs, 4);
#pragma omp parallel for
  for (int first = 0; first < m.outputs; first += 16) {
    std::vector<int8_t> rows(static_cast<size_t>(16) * width, 0);
    for (int n = first; n < std::min(m.outputs, first + 16); ++n) {
      int8_t* to = &rows[static_cast<size_t>(n - first) * width];
      quantise_row(weight + static_cast<size_t>(n) * m.inputs, m.inputs, to, scale[n], sum[n]);
    }
    pack_rows(data, m, first, reinterpret_cast<const uint8_t*>(rows.data()), width, 4);
  }
}

inline Matrix pack(Arena& arena, const bf16* weight, int outputs, int inputs, bool int8) {
  Matrix m;
  m.outputs = outputs, m.inputs = inputs, m.int8 = int8;
  m.blocks = round_up(outputs, kBlockColumns) / kBlockColumns;
  m.steps = round_up(inputs, m.step_inputs()) / m.step_inputs();
  uint8_t* data = arena.take(static_cast<size_t>(m.blocks) * m.steps * 2 * kTileBytes);
  if (int8) {
    auto* scale = reinterpret_cast<float*>(arena.take(sizeof(float) * m.blocks * kBlockColumns));
    auto* sum = reinterpret_cast<int32_t*>(arena.take(sizeof(int32_t) * m.blocks * kBlockColumns));
    pack_int8(data, m, weight, scale, sum);
    m.scale = scale, m.sum = sum;
  } else {
    pack_bf16(data, m, weight);
  }
  m.data = data;
  return m;
}

// Activations [rows, inputs] in the form that a Matrix of the same kind multiplies: tiles of 16 rows by 64 bytes of
// inputs, data[run of 16 rows][step][row of 16][64 bytes]. bfloat16: as they are. int8: each row is rounded to 15 bits,
// x = scale * (128 * (high - 128) + low), and both bytes are multiplied; what is lost is below bfloat16's own rounding,
// and the integer sums do not depend on their order.
class Operand {
 public:
  void shape(int rows, int inputs, bool int8) {
    int8_ = int8, inputs_ = inputs;
    const int steps = round_up(inputs, int8 ? 64 : 32) / (int8 ? 64 : 32);
    run_bytes_ = static_cast<size_t>(steps) * kTileBytes;
    const size_t bytes = round_up(rows, 32) / 16 * run_bytes_;
    if (bytes_.size() < bytes * 2 + 64) bytes_.assign(bytes * 2 + 64, 0);
    base_ = bytes_.data() + (64 - reinterpret_cast<uintptr_t>(bytes_.data()) % 64) % 64;
    low_ = base_ + bytes;
    if (scale_.size() < static_cast<size_t>(rows)) scale_.resize(rows);
    for (int row = 0; row < rows; ++row) clear_padding(row, steps);
  }
  size_t run_bytes() const { return run_bytes_; }
  // Step `s` of a row is at row(index) + s * kTileBytes.
  const uint8_t* row(int index) const { return base_ + offset(index); }
  const uint8_t* low_row(int index) const { return low_ + offset(index); }
  float scale(int index) const { return scale_[index]; }

  // Set 16 bfloat16 inputs of a row; `input` is a multiple of 16.
  void set_16(int index, int input, __m256i values) {
    _mm256_storeu_si256((__m256i*)(base_ + offset(index) + input / 32 * kTileBytes + input % 32 * 2), values);
  }

  // Set a row from floats; what lies between the inputs and the next multiple of 16 is not used.
  void set_row(int index, const float* from) {
    if (!int8_) {
      for (int k = 0; k < inputs_; k += 16) set_16(index, k, narrow(_mm512_maskz_loadu_ps(first_lanes(inputs_ - k),
          from + k)));
      return;
    }
    __m512 largest = _mm512_set1_ps(1e-20f);
    for (int k = 0; k < inputs_; k += 16) {
      largest = _mm512_max_ps(largest, _mm512_abs_ps(_mm512_maskz_loadu_ps(first_lanes(inputs_ - k), from + k)));
    }
    scale_[index] = _mm512_reduce_max_ps(largest) / 16256.0f;
    const __m512 inverse = _mm512_set1_ps(1.0f / scale_[index]);
    for (int k = 0; k < inputs_; k += 16) {
      __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(first_lanes(inputs_ - k), from + k), inverse));
      q = _mm512_add_epi32(q, _mm512_set1_epi32(16384));
      const size_t at = offset(index) + k / 64 * kTileBytes + k % 64;
      _mm_storeu_si128((__m128i*)(base_ + at), _mm512_cvtepi32_epi8(_mm512_srli_epi32(q, 7)));
      _mm_storeu_si128((__m128i*)(low_ + at), _mm512_cvtepi32_epi8(_mm512_and_si512(q, _mm512_set1_epi32(127))));
    }
  }

 private:
  size_t offset(int index) const { return index / 16 * run_bytes_ + index % 16 * 64; }
  void clear_padding(int row, int steps) {  // the weights are zero there, but 0 * NaN is not
    const size_t last = offset(row) + static_cast<size_t>(steps - 1) * kTileBytes;
    std::memset(base_ + last, 0, 64);
    std::memset(low_ + last, 0, 64);
  }
  bool int8_ = false;
  int inputs_ = 0;
  size_t run_bytes_ = 0;
  uint8_t *base_ = nullptr, *low_ = nullptr;
  std::vector<uint8_t> bytes_;
  std::vector<float> scale_;
};

}  // namespace ock
