// Attention of several tokens of a run at once by AMX tiles.
#pragma once

#include "attention.h"

namespace ock {

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
      const Floats factor = all(factors[r]);
      for (int d = 0; d < width; d += 16) {
        store_first(to + d, load(sums + d / 16 * kSumTileFloats + r * 16) * factor, width - d);
      }
    }
  }
}

}  // namespace ock
