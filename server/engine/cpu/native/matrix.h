// Weight matrices packed once for the kernels.
#pragma once

#include <cmath>
#include <vector>

#include "arena.h"
#include "vector.h"

namespace ock {

constexpr int kTileBytes = 1024;  // 16 rows of 64 bytes
constexpr int kInt4Group = 32;  // inputs that share a scale and a zero
constexpr int kInt4TileBytes = kTileBytes / 2 + 64;
constexpr int kInt8StepBytes = 2 * kTileBytes + 64;
constexpr int kBlockColumns = 32;  // outputs of a block: two tiles side by side

inline int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

// W [outputs, inputs] of y = W x, cut into tiles of 16 outputs by 64 bytes of inputs for each of 16 input groups:
// data[block of 32 outputs][step][tile of 2][group of 16][output of 16][2 bfloat16 or 4 int8 inputs].
//
// int4: a tile is eight groups of [output of 16][4 bytes], the low halves the first 32 of its 64 inputs and the high
// halves the others, and behind them what these halves mean: [half of 2][scale, zero][output of 16] bytes. An input is
// scale of the output * scale byte * (q - zero byte / 16), q from 0 to 15.
//
// int8 that multiplies single bytes: every 64 inputs of an output are spread (vector.h), have their own scale, a
// bfloat16, and stand 128 too high, since what multiplies signed bytes must be unsigned. A step is two tiles and
// [output of 32] scales.
struct Matrix {
  int outputs = 0, inputs = 0, blocks = 0, steps = 0;
  WeightKind kind = kPlain;
  Form form = kFloats;
  const uint8_t* data = nullptr;
  const float* scale = nullptr;    // one an output: int4, and int8 that multiplies two bytes
  const int32_t* sum = nullptr;    // int8: sum of an output's quantised inputs

  int step_inputs() const { return kind == kPlain ? 32 : 64; }
  int step_bytes() const {
    if (kind == kInt4) return 2 * kInt4TileBytes;
    return kind == kInt8 && form == kSpreadByte ? kInt8StepBytes : 2 * kTileBytes;
  }
  const uint8_t* block(int index) const { return data + static_cast<size_t>(index) * steps * step_bytes(); }
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

// 64 inputs of one output, of which `left` are there, into their place in a step.
inline void pack_int8_group(const bf16* from, int left, int output, uint8_t* step) {
  Floats values[4];
  for (int i = 0; i < 4; ++i) values[i] = widen_first(from + i * 16, left - i * 16);
  spread(values);
  Peak peak;
  for (Floats each : values) peak.take(each);
  const bf16 scale = byte_scale(peak.value());
  const Floats inverse = all(1.0f / to_float(scale));
  int8_t bytes[64];
  for (int i = 0; i < 4; ++i) store_int8(bytes + i * 16, values[i] * inverse, 16);
  uint8_t* to = step + output / 16 * kTileBytes + output % 16 * 4;
  for (int i = 0; i < 64; ++i) to[i / 4 * 64 + i % 4] = static_cast<uint8_t>(bytes[i]) ^ 0x80;
  std::memcpy(step + 2 * kTileBytes + output * sizeof(bf16), &scale, sizeof(bf16));
}

inline void pack_int8_steps(uint8_t* data, const Matrix& m, const bf16* weight) {
#pragma omp parallel for
  for (int n = 0; n < m.outputs; ++n) {
    const bf16* row = weight + static_cast<size_t>(n) * m.inputs;
    for (int step = 0; step < m.steps; ++step) {
      uint8_t* to = data + (static_cast<size_t>(n / 32) * m.steps + step) * kInt8StepBytes;
      pack_int8_group(row + step * 64, m.inputs - step * 64, n % 32, to);
    }
  }
}

// Up to 32 inputs of one output: the least and the largest of them and zero.
inline void range_of(const bf16* from, int count, float& least, float& most) {
  least = most = 0.0f;
  for (int k = 0; k < count; ++k) least = std::min(least, to_float(from[k])), most = std::max(most, to_float(from[k]));
}

// One output's inputs rounded to nearest into its tiles, `tiles` bytes apart; the scale of its scale bytes.
inline float pack_int4_row(const bf16* row, int inputs, int output, uint8_t* tile, size_t tiles) {
  Peak peak;
  float widest = 1e-20f, least, most;
  for (int k = 0; k < inputs; k += kInt4Group) {
    range_of(row + k, std::min(kInt4Group, inputs - k), least, most);
    widest = std::max(widest, most - least);
  }
  for (int k = 0; k < inputs; k += 16) peak.take(widen_first(row + k, inputs - k));
  const float scale = widest / 15.0f / 255.0f;
  for (int k = 0; k < inputs; k += kInt4Group) {
    const int count = std::min(kInt4Group, inputs - k), half = k / kInt4Group % 2;
    uint8_t* to = tile + k / (2 * kInt4Group) * tiles;
    range_of(row + k, count, least, most);
    const float code = std::min(255.0f, std::max(1.0f, std::nearbyint((most - least) / 15.0f / scale)));
    const float step = code * scale, zero = std::min(255.0f, std::nearbyint(-least / step * 16.0f));
    for (int i = 0; i < count; ++i) {
      const float q = std::nearbyint(to_float(row[k + i]) / step + zero / 16.0f);
      const int whole = static_cast<int>(std::min(15.0f, std::max(0.0f, q)));
      to[i / 4 * 64 + output * 4 + i % 4] |= whole << (4 * half);
    }
    to[kTileBytes / 2 + half * 32 + output] = static_cast<uint8_t>(code);
    to[kTileBytes / 2 + half * 32 + 16 + output] = static_cast<uint8_t>(zero);
  }
  return std::isfinite(peak.value()) ? scale : peak.value();
}

inline void pack_int4(uint8_t* data, const Matrix& m, const bf16* weight, float* scale) {
  const size_t tile = kInt4TileBytes;
#pragma omp parallel for
  for (int n = 0; n < m.outputs; ++n) {
    uint8_t* first = data + (static_cast<size_t>(n / 32) * m.steps * 2 + n % 32 / 16) * tile;
    scale[n] = pack_int4_row(weight + static_cast<size_t>(n) * m.inputs, m.inputs, n % 16, first, 2 * tile);
  }
}

inline Matrix pack(Arena& arena, const bf16* weight, int outputs, int inputs, WeightKind kind, Form form) {
  Matrix m;
  m.outputs = outputs, m.inputs = inputs, m.kind = kind, m.form = form;
  m.blocks = round_up(outputs, kBlockColumns) / kBlockColumns;
  m.steps = round_up(inputs, m.step_inputs()) / m.step_inputs();
  uint8_t* data = arena.take(static_cast<size_t>(m.blocks) * m.steps * m.step_bytes());
  if (kind == kInt4) {
    auto* scale = reinterpret_cast<float*>(arena.take(sizeof(float) * m.blocks * kBlockColumns));
    pack_int4(data, m, weight, scale);
    m.scale = scale;
  } else if (kind == kInt8 && form == kSpreadByte) {
    pack_int8_steps(data, m, weight);
  } else if (kind == kInt8) {
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

}  // namespace ock
