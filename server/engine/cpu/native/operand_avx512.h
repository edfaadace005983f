// The rows of activations that AVX-512 and AMX multiply.
#pragma once

#include "matrix.h"
#include "vector.h"

namespace ock {

// Activations [rows, inputs] in the form that a Matrix of the same kind multiplies: tiles of 16 rows by 64 bytes of
// inputs, data[run of 16 rows][step][row of 16][64 bytes]. bfloat16: as they are. int8: each row is rounded to 15 bits,
// x = scale * (128 * (high - 128) + low), and both bytes are multiplied; what is lost is below bfloat16's own rounding,
// and the integer sums do not depend on their order.
class Operand {
 public:
  void shape(int rows, int inputs, WeightKind kind) {
    const bool int8 = kind == kInt8;
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
  void set_16(int index, int input, Floats values) {
    _mm256_storeu_si256((__m256i*)(base_ + offset(index) + input / 32 * kTileBytes + input % 32 * 2), narrow(values));
  }

  // Set a row from floats; what lies between the inputs and the next multiple of 16 is not used.
  void set_row(int index, const float* from) {
    if (!int8_) {
      for (int k = 0; k < inputs_; k += 16) set_16(index, k, load_first(from + k, inputs_ - k));
      return;
    }
    scale_[index] = fifteen_bit_scale(from, inputs_);
    const Floats inverse = all(1.0f / scale_[index]);
    for (int k = 0; k < inputs_; k += 16) {
      __m512i q = _mm512_cvtps_epi32(load_first(from + k, inputs_ - k) * inverse);
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
