// The rows of activations that AVX2 multiplies.
#pragma once

#include <numeric>

#include "matrix.h"
#include "vector.h"

namespace ock {

inline Form form_of(WeightKind kind, Level) { return kind == kPlain ? kFloats : kTwoBytes; }

// Activations [rows, inputs]. For bfloat16 weights they stay floats, since AVX2 multiplies nothing narrower. For int8
// weights each row is rounded to 15 bits and a sign; what is lost is below bfloat16's own rounding.
class Operand {
 public:
  void shape(int rows, int inputs, Form form) {
    const bool int8 = form == kTwoBytes;
    int8_ = int8, inputs_ = inputs;
    const int padded = round_up(inputs, 64);
    stride_ = padded + 32;  // rows on different cache sets
    const size_t values = static_cast<size_t>(rows) * stride_;
    if (int8) {
      if (whole_.size() < values) whole_.resize(values), sum_.resize(values / 32);
    } else if (floats_.size() < values) {
      floats_.resize(values);
    }
    if (scale_.size() < static_cast<size_t>(rows)) scale_.resize(rows);
    for (int row = 0; row < rows; ++row) clear_padding(row, inputs / 64 * 64, padded);
  }
  size_t run_bytes() const { return static_cast<size_t>(stride_) * 16 * (int8_ ? sizeof(int16_t) : sizeof(float)); }
  const float* row(int index) const { return &floats_[static_cast<size_t>(index) * stride_]; }
  const int16_t* whole_row(int index) const { return &whole_[static_cast<size_t>(index) * stride_]; }
  float scale(int index) const { return scale_[index]; }
  // Of whole numbers: the sums of every 32 of a row.
  const float* sums(int index) const { return &sum_[static_cast<size_t>(index) * (stride_ / 32)]; }

  // Set 16 float inputs of a row; `input` is a multiple of 16.
  void set_16(int index, int input, Floats values) {
    store(&floats_[static_cast<size_t>(index) * stride_ + input], values);
  }

  // Set a row from floats; what lies between the inputs and the next multiple of 16 is not used.
  void set_row(int index, const float* from) {
    if (!int8_) {
      for (int k = 0; k < inputs_; k += 16) set_16(index, k, load_first(from + k, inputs_ - k));
      return;
    }
    scale_[index] = fifteen_bit_scale(from, inputs_);
    const Floats inverse = all(1.0f / scale_[index]);
    int16_t* to = &whole_[static_cast<size_t>(index) * stride_];
    for (int k = 0; k < inputs_; k += 16) {
      const Floats values = load_first(from + k, inputs_ - k) * inverse;
      const __m256i packed = _mm256_packs_epi32(_mm256_cvtps_epi32(values.low), _mm256_cvtps_epi32(values.high));
      _mm256_storeu_si256((__m256i*)(to + k), _mm256_permute4x64_epi64(packed, 0xd8));
    }
    float* sums = &sum_[static_cast<size_t>(index) * (stride_ / 32)];
    for (int k = 0; k < inputs_; k += 32) {  // below 2^19, so that floats hold them
      sums[k / 32] = static_cast<float>(std::accumulate(to + k, to + std::min(k + 32, round_up(inputs_, 16)), 0));
    }
  }

 private:
  void clear_padding(int row, int from, int to) {  // the weights are zero there, but 0 * NaN is not
    const size_t at = static_cast<size_t>(row) * stride_;
    if (int8_) {
      std::fill(&whole_[at + from], &whole_[at + to], 0);
    } else {
      std::fill(&floats_[at + from], &floats_[at + to], 0.0f);
    }
  }
  bool int8_ = false;
  int inputs_ = 0, stride_ = 0;
  std::vector<float> floats_, scale_, sum_;
  std::vector<int16_t> whole_;
};

}  // namespace ock
