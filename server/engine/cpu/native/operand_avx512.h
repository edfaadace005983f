// The rows of activations that AVX-512 and AMX multiply.
#pragma once

#include "matrix.h"
#include "vector.h"

namespace ock {

constexpr int kStepBytes = 64;  // of a row of activations, and the inputs that share a scale as single bytes

inline Form form_of(WeightKind kind, Level level) {
  if (kind == kPlain) return kFloats;
  if (kind == kInt4) return kOneByte;
  return level == kAmx ? kTwoBytes : kSpreadByte;
}

// Activations [rows, inputs] in the form that a Matrix multiplies: tiles of 16 rows by 64 bytes of inputs,
// data[run of 16 rows][step][row of 16][64 bytes]. The integer sums do not depend on their order.
//
// kFloats: bfloat16. kTwoBytes: x = scale * (128 * (high - 128) + low), and both bytes are multiplied. kOneByte:
// x = scale of the step * byte. kSpreadByte: so the step's spread inputs, with kSpreadGain taken off the scale.
class Operand {
 public:
  void shape(int rows, int inputs, Form form) {
    form_ = form, inputs_ = inputs;
    steps_ = std::max(1, round_up(inputs, step_inputs()) / step_inputs());  // a rank may hold no input at all
    run_bytes_ = static_cast<size_t>(steps_) * kTileBytes;
    const size_t bytes = round_up(rows, 32) / 16 * run_bytes_, parts = form == kTwoBytes ? 2 : 1;
    if (bytes_.size() < bytes * parts + 64) bytes_.assign(bytes * parts + 64, 0);
    base_ = bytes_.data() + (64 - reinterpret_cast<uintptr_t>(bytes_.data()) % 64) % 64;
    low_ = base_ + bytes;
    const bool bytes_alone = form == kOneByte || form == kSpreadByte;
    const size_t scales = static_cast<size_t>(rows) * (bytes_alone ? steps_ : 1);
    if (scale_.size() < scales) scale_.resize(scales);
    if (bytes_alone && sum_.size() < 2 * scales) sum_.resize(2 * scales);
    for (int row = 0; row < rows; ++row) clear_padding(row);
  }
  size_t run_bytes() const { return run_bytes_; }
  // Step `s` of a row is at row(index) + s * kTileBytes.
  const uint8_t* row(int index) const { return base_ + offset(index); }
  const uint8_t* low_row(int index) const { return low_ + offset(index); }
  float scale(int index) const { return scale_[index]; }
  // Of single bytes: the scales of a row, one a step, and the sums of its bytes, two a step.
  const float* scales(int index) const { return &scale_[static_cast<size_t>(index) * steps_]; }
  const int32_t* sums(int index) const { return &sum_[static_cast<size_t>(index) * 2 * steps_]; }

  // Set 16 bfloat16 inputs of a row; `input` is a multiple of 16.
  void set_16(int index, int input, Floats values) {
    _mm256_storeu_si256((__m256i*)(base_ + offset(index) + input / 32 * kTileBytes + input % 32 * 2), narrow(values));
  }

  // Set a row from floats; what lies between the inputs and the next multiple of 16 is not used.
  void set_row(int index, const float* from) {
    if (form_ == kTwoBytes) return set_two_bytes(index, from);
    if (form_ != kFloats) return set_one_byte(index, from);
    for (int k = 0; k < inputs_; k += 16) set_16(index, k, load_first(from + k, inputs_ - k));
  }

 private:
  int step_inputs() const { return form_ == kFloats ? 32 : 64; }
  size_t offset(int index) const { return index / 16 * run_bytes_ + index % 16 * 64; }

  void set_two_bytes(int index, const float* from) {
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

  void set_one_byte(int index, const float* from) {
    for (int step = 0; step < steps_; ++step) {
      Floats values[4];
      for (int i = 0; i < 4; ++i) {
        const int k = step * kStepBytes + i * 16;
        values[i] = load_first(from + k, inputs_ - k);
      }
      if (form_ == kSpreadByte) spread(values);
      Peak peak;
      for (Floats each : values) peak.take(each);
      const float scale = peak.value() / 127.0f;
      const Floats inverse = all(1.0f / scale);
      __m512i sums[2] = {};
      for (int i = 0; i < 4; ++i) {
        const __m512i q = _mm512_cvtps_epi32(values[i] * inverse);
        sums[i / 2] = _mm512_add_epi32(sums[i / 2], q);
        const size_t at = offset(index) + static_cast<size_t>(step) * kTileBytes + i * 16;
        _mm_storeu_si128((__m128i*)(base_ + at), _mm512_cvtepi32_epi8(q));
      }
      const size_t place = static_cast<size_t>(index) * steps_ + step;
      scale_[place] = form_ == kSpreadByte ? scale / kSpreadGain : scale;
      for (int half : {0, 1}) sum_[2 * place + half] = _mm512_reduce_add_epi32(sums[half]);
    }
  }

  void clear_padding(int row) {  // the weights are zero there, but 0 * NaN is not
    const size_t last = offset(row) + static_cast<size_t>(steps_ - 1) * kTileBytes;
    std::memset(base_ + last, 0, 64);
    if (form_ == kTwoBytes) std::memset(low_ + last, 0, 64);
  }
  Form form_ = kFloats;
  int inputs_ = 0, steps_ = 0;
  size_t run_bytes_ = 0;
  uint8_t *base_ = nullptr, *low_ = nullptr;
  std::vector<uint8_t> bytes_;
  std::vector<float> scale_;
  std::vector<int32_t> sum_;
};

}  // namespace ock
