// Weight matrices packed once for the kernels.
#pragma once

#include <cmath>
#include <vector>

#include "arena.h"
#include "vector.h"

namespace ock {

constexpr int kTileBytes = 1024;  // 16 rows of 64 bytes
constexpr int kBlockColumns = 32;  // outputs of a block: two tiles side by side

inline int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

// W [outputs, inputs] of y = W x, cut into tiles of 16 outputs by 64 bytes of inputs for each of 16 input groups:
// data[block of 32 outputs][step][tile of 2][group of 16][output of 16][2 bfloat16 or 4 int8 inputs].
struct Matrix {
  int outputs = 0, inputs = 0, blocks = 0, steps = 0;
  WeightKind kind = kPlain;
  const uint8_t* data = nullptr;
  const float* scale = nullptr;    // int8: one an output
  const int32_t* sum = nullptr;    // int8: sum of an output's quantised inputs

  int step_inputs() const { return kind == kPlain ? 32 : 64; }
  const uint8_t* block(int index) const { return data + static_cast<size_t>(index) * steps * 2 * kTileBytes; }
};

inline uint8_t* tile_row(uint8_t* data, int steps, int unit, int output, int input) {
  const int step_inputs = unit * 16;
  const size_t tile = (static_cast<size_t>(output / 32) * steps + input / step_inputs) * 2 + output % 32 / 16;
  return data + tile * kTileBytes + input % step_inputs / unit * 64 + output % 16 * 4;
}

// Sixteen outputs from `first` on, as rows of `row_bytes`, `unit` inputs in each 4 bytes: one tile row is one gather.
inline void pack_rows(uint8_t* data, const Matrix& m, int first, const uint8_t* rows, int row_bytes, int unit) {
  for (int k = 0; k + unit <= row_bytes * unit / 4; k += unit) {
    gather_units(tile_row(data, m.steps, unit, first, k), rows + k / unit * 4, row_bytes, m.outputs - first);
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
  Peak peak;
  for (int k = 0; k < inputs; k += 16) peak.take(widen_first(row + k, inputs - k));
  scale = peak.value() / 127.0f;
  const Floats divisor = all(scale);
  sum = 0;
  for (int k = 0; k < inputs; k += 16) sum += store_int8(to + k, widen_first(row + k, inputs - k) / divisor, inputs - k);
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

// From -127..127 to 1..255: what multiplies signed single bytes must be unsigned.
inline void make_unsigned(uint8_t* data, const Matrix& m) {
  const size_t block = static_cast<size_t>(m.steps) * 2 * kTileBytes;
#pragma omp parallel for
  for (int index = 0; index < m.blocks; ++index) {
    for (uint8_t* at = data + index * block; at < data + (index + 1) * block; ++at) *at ^= 0x80;
  }
}

inline Matrix pack(Arena& arena, const bf16* weight, int outputs, int inputs, WeightKind kind, Form form) {
  Matrix m;
  m.outputs = outputs, m.inputs = inputs, m.kind = kind;
  m.blocks = round_up(outputs, kBlockColumns) / kBlockColumns;
  m.steps = round_up(inputs, m.step_inputs()) / m.step_inputs();
  uint8_t* data = arena.take(static_cast<size_t>(m.blocks) * m.steps * 2 * kTileBytes);
  if (kind == kInt8) {
    auto* scale = reinterpret_cast<float*>(arena.take(sizeof(float) * m.blocks * kBlockColumns));
    auto* sum = reinterpret_cast<int32_t*>(arena.take(sizeof(int32_t) * m.blocks * kBlockColumns));
    pack_int8(data, m, weight, scale, sum);
    m.scale = scale, m.sum = sum;
    if (form == kOneByte) make_unsigned(data, m);
  } else {
    pack_bf16(data, m, weight);
  }
  m.data = data;
  return m;
}

}  // namespace ock
