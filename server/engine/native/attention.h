// Keys and values in groups of 16 slots, and attention over them for runs of new tokens.
//
// A group's keys of one head are [pair of dimensions][slot of 16][2] and its values [pair of slots][dimension][2], so
// that both products are dot products of pairs, and each is a tile as it lies. Which slots a token sees is not a range:
// each lane of a listed group says from which token of the run on it is visible.
#pragma once

#include <limits>

#include "multiply.h"

namespace ock {

constexpr int kGroupSlots = 16;
constexpr int32_t kNever = std::numeric_limits<int32_t>::max();

struct HeadShape {
  int heads, size, padded;  // padded: size rounded up to 32
  size_t group_values() const { return static_cast<size_t>(kGroupSlots) * padded; }  // of one head
  const bf16* group(const bf16* of, int32_t index, int head) const {
    return of + (static_cast<size_t>(index) * heads + head) * group_values();
  }
};

// Tokens [row, row + count) of the step, and what they see.
struct Run {
  int row, count;
  std::vector<int32_t> groups;
  std::vector<int32_t> visible_from;  // [groups][16]: the first token of the run that sees the lane

  void see(int32_t slot, int32_t from) {
    const int32_t group = slot / kGroupSlots;
    if (groups.empty() || groups.back() != group) {
      groups.push_back(group);
      visible_from.insert(visible_from.end(), kGroupSlots, kNever);
    }
    visible_from[(groups.size() - 1) * kGroupSlots + slot % kGroupSlots] = from;
  }

  // How many of the groups, which are listed in the order of visibility, hold anything that token `index` sees.
  int groups_seen(int index) const {
    int seen = static_cast<int>(groups.size());
    while (seen > 1 && earliest(seen - 1) > index) --seen;
    return seen;
  }

 private:
  int32_t earliest(int group) const {
    return _mm512_reduce_min_epi32(_mm512_loadu_si512(&visible_from[static_cast<size_t>(group) * kGroupSlots]));
  }
};

inline void write_key(bf16* keys, const HeadShape& shape, int slot, int head, const bf16* key) {
  auto* group = reinterpret_cast<uint32_t*>(const_cast<bf16*>(shape.group(keys, slot / kGroupSlots, head)));
  const auto* pairs = reinterpret_cast<const uint32_t*>(key);
  for (int pair = 0; pair < shape.padded / 2; ++pair) group[pair * kGroupSlots + slot % kGroupSlots] = pairs[pair];
}

inline void write_value(bf16* values, const HeadShape& shape, int slot, int head, const bf16* value) {
  bf16* group = const_cast<bf16*>(shape.group(values, slot / kGroupSlots, head));
  bf16* pair = group + static_cast<size_t>(slot % kGroupSlots / 2) * shape.padded * 2;
  const bool second = slot % 2;
  const __mmask32 lanes = second ? 0xaaaaaaaa : 0x55555555;
  for (int dimension = 0; dimension < shape.padded; dimension += 16) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(value + dimension)));
    _mm512_mask_storeu_epi16(pair + dimension * 2, lanes, second ? _mm512_slli_epi32(wide, 16) : wide);
  }
}

struct Scratch {
  std::vector<float> scores;
  std::vector<bf16> weights;
  void fit(size_t rows, size_t lanes) {
    if (scores.size() < rows * lanes + 16) scores.resize(rows * lanes + 16);
    if (weights.size() < rows * lanes + 32) weights.resize(rows * lanes + 32);
  }
};

// Softmax of one row of scores over the lanes that token `index` sees; the sum of the unnormalised weights.
inline float softmax_row(const Run& run, int groups, int index, float scale, float* scores, bf16* weights) {
  const __m512 lowest = _mm512_set1_ps(-1e30f);
  const __m512i now = _mm512_set1_epi32(index);
  __m512 largest = lowest;
  for (int g = 0; g < groups; ++g) {
    const __mmask16 seen = _mm512_cmple_epi32_mask(_mm512_loadu_si512(&run.visible_from[g * 16]), now);
    const __m512 masked = _mm512_mask_blend_ps(seen, lowest, _mm512_loadu_ps(scores + g * 16));
    _mm512_storeu_ps(scores + g * 16, masked);
    largest = _mm512_max_ps(largest, masked);
  }
  const __m512 shift = _mm512_set1_ps(-_mm512_reduce_max_ps(largest) * scale);
  __m512 sum = _mm512_setzero_ps();
  for (int g = 0; g < groups; ++g) {
    const __m512 score = _mm512_loadu_ps(scores + g * 16);
    const __mmask16 seen = _mm512_cmp_ps_mask(score, lowest, _CMP_GT_OQ);
    const __m512 weight = _mm512_maskz_mov_ps(seen, exponential(_mm512_fmadd_ps(score, _mm512_set1_ps(scale), shift)));
    sum = _mm512_add_ps(sum, weight);
    _mm256_storeu_si256((__m256i*)(weights + g * 16), narrow(weight));
  }
  return _mm512_reduce_add_ps(sum);
}

template <int level>
void score_row(const Run& run, int groups, const HeadShape& shape, int head, const bf16* query, const bf16* keys,
    float* scores) {
  const auto* pairs = reinterpret_cast<const uint32_t*>(query);
  for (int g = 0; g < groups; ++g) {
    const bf16* group = shape.group(keys, run.groups[g], head);
    if (g + 1 < groups) prefetch_bytes(shape.group(keys, run.groups[g + 1], head), shape.group_values() * sizeof(bf16));
    __m512 sums[4] = {};
    for (int pair = 0; pair < shape.padded / 2; pair += 4) {
      for (int i = 0; i < 4; ++i) {
        sums[i] = dot_pairs<level>(sums[i], _mm512_set1_epi32(pairs[pair + i]),
            _mm512_loadu_si512(group + (pair + i) * 32));
      }
    }
    _mm512_storeu_ps(scores + g * 16, _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
  }
}

template <int level, int width>
void weigh_values(const Run& run, int groups, const HeadShape& shape, int head, const bf16* weights,
    const bf16* values, int from,
                  float factor, float* out) {
  __m512 sums[width] = {};
  const auto* pairs = reinterpret_cast<const uint32_t*>(weights);
  for (int g = 0; g < groups; ++g) {
    const bf16* group = shape.group(values, run.groups[g], head);
    if (g + 1 < groups) prefetch_bytes(shape.group(values, run.groups[g + 1], head),
        shape.group_values() * sizeof(bf16));
    for (int pair = 0; pair < kGroupSlots / 2; ++pair) {
      const __m512i weight = _mm512_set1_epi32(pairs[g * 8 + pair]);
      const bf16* row = group + static_cast<size_t>(pair) * shape.padded * 2 + from * 2;
#pragma GCC unroll 4
      for (int i = 0; i < width; ++i) sums[i] = dot_pairs<level>(sums[i], weight, _mm512_loadu_si512(row + i * 32));
    }
  }
  for (int i = 0; i < width; ++i) {
    const int left = shape.size - from - i * 16;
    if (left <= 0) break;
    _mm512_mask_storeu_ps(out + from + i * 16, first_lanes(left), _mm512_mul_ps(sums[i], _mm512_set1_ps(factor)));
  }
}

// One token of a run, one head: out[size].
template <int level>
void attend_row(const Run& run, int index, const HeadShape& shape, int head, float scale, const bf16* query,
                const bf16* keys, const bf16* values, float* out, Scratch& scratch) {
  const int groups = run.groups_seen(index);
  scratch.fit(1, static_cast<size_t>(groups) * kGroupSlots);
  score_row<level>(run, groups, shape, head, query, keys, scratch.scores.data());
  const float sum = softmax_row(run, groups, index, scale, scratch.scores.data(), scratch.weights.data());
  int from = 0;
  for (; from + 64 <= shape.padded; from += 64) {
    weigh_values<level, 4>(run, groups, shape, head, scratch.weights.data(), values, from, 1.0f / sum, out);
  }
  if (from < shape.padded) weigh_values<level, 2>(run, groups, shape, head, scratch.weights.data(), values, from,
      1.0f / sum, out);
}

// Tiles 0-3 sums, 4 queries, 5 keys, 6 weights of 16 slots, 7 values of 16 slots.
inline void shape_attention_tiles(int rows) {
  TileShapes shapes;
  for (int tile : {0, 1, 2, 3, 4}) shapes.set(tile, rows, 64);
  shapes.set(5, 16, 64), shapes.set(6, rows, 32), shapes.set(7, 8, 64);
  load_shapes(shapes);
}

// Tokens [first, first + rows) of a run, at most 16, one head: out[row][out_stride].
inline void attend_tile(const Run& run, int first, int rows, const HeadShape& shape, int head, float scale,
                        const bf16* queries, int query_stride, const bf16* keys, const bf16* values, float* out,
                        int out_stride, Scratch& scratch) {
  const int groups = run.groups_seen(first + rows - 1), lanes = groups * kGroupSlots;
  scratch.fit(16, lanes);
  float* scores = scratch.scores.data();
  bf16* weights = scratch.weights.data();
  shape_attention_tiles(rows);
  for (int g = 0; g < groups; ++g) {
    const bf16* group = shape.group(keys, run.groups[g], head);
    _tile_zero(0);
    for (int from = 0; from < shape.padded; from += 32) {
      _tile_loadd(4, queries + from, query_stride * 2);
      _tile_loadd(5, group + from * kGroupSlots, 64);
      _tile_dpbf16ps(0, 4, 5);
    }
    _tile_stored(0, scores + g * 16, lanes * 4);
  }
  float factors[16];
  for (int r = 0; r < rows; ++r) {
    const size_t at = static_cast<size_t>(r) * lanes;
    factors[r] = 1.0f / softmax_row(run, groups, first + r, scale, scores + at, weights + at);
  }
  alignas(64) float sums[4 * kSumTileFloats];
  for (int from = 0; from < shape.padded; from += 64) {
    const bool wide = from + 32 < shape.padded;
    zero_sum_tiles();
    for (int g = 0; g < groups; ++g) {
      const bf16* group = shape.group(values, run.groups[g], head) + from * 2;
      const int stride = shape.padded * 4;
      _tile_loadd(6, weights + g * 16, lanes * 2);
      _tile_loadd(7, group, stride);
      _tile_dpbf16ps(0, 6, 7);
      _tile_loadd(7, group + 32, stride);
      _tile_dpbf16ps(1, 6, 7);
      if (!wide) continue;
      _tile_loadd(7, group + 64, stride);
      _tile_dpbf16ps(2, 6, 7);
      _tile_loadd(7, group + 96, stride);
      _tile_dpbf16ps(3, 6, 7);
    }
    store_sum_tiles(sums);
    const int width = std::min(64, shape.size - from);
    for (int r = 0; r < rows; ++r) {
      float* to = out + static_cast<size_t>(r) * out_stride + from;
      const __m512 factor = _mm512_set1_ps(factors[r]);
      for (int d = 0; d < width; d += 16) {
        const __m512 sum = _mm512_load_ps(sums + d / 16 * kSumTileFloats + r * 16);
        _mm512_mask_storeu_ps(to + d, first_lanes(width - d), _mm512_mul_ps(sum, factor));
      }
    }
  }
}

}  // namespace ock
