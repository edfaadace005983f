// Attention over keys and values of one byte, each token's head with its own scale.
//
// A group of 16 slots of one head is as in attention.h with bytes for bfloat16, and behind them the slots' scales.
// Queries and weights are rounded to 15 bits and a sign, so that the products are exact sums of whole numbers.
#pragma once

#include "attention.h"

namespace ock {

inline size_t int8_group_bytes(const HeadShape& shape) { return shape.group_values() + kGroupSlots * sizeof(bf16); }

inline const int8_t* int8_group(const void* of, const HeadShape& shape, int32_t index, int head) {
  return static_cast<const int8_t*>(of) + (static_cast<size_t>(index) * shape.heads + head) * int8_group_bytes(shape);
}

// Bytes [padded] of `size` floats, and their scale, which is a bfloat16 that leaves none above 127.
inline bf16 round_to_bytes(const float* from, int size, int8_t* to) {
  Peak peak;
  for (int i = 0; i < size; i += 16) peak.take(load_first(from + i, size - i));
  const bf16 scale = byte_scale(peak.value());
  const Floats inverse = all(1.0f / to_float(scale));
  for (int i = 0; i < size; i += 16) store_int8(to + i, load_first(from + i, size - i) * inverse, size - i);
  return scale;
}

inline void write_scale(int8_t* group, const HeadShape& shape, int slot, bf16 scale) {
  std::memcpy(group + shape.group_values() + slot % kGroupSlots * sizeof(bf16), &scale, sizeof(bf16));
}

inline void write_key_int8(void* keys, const HeadShape& shape, int slot, int head, const float* key, int8_t* scratch) {
  auto* group = const_cast<int8_t*>(int8_group(keys, shape, slot / kGroupSlots, head));
  write_scale(group, shape, slot, round_to_bytes(key, shape.size, scratch));
  for (int pair = 0; pair < shape.padded / 2; ++pair) {
    std::memcpy(group + (pair * kGroupSlots + slot % kGroupSlots) * 2, scratch + pair * 2, 2);
  }
}

inline void write_value_int8(void* values, const HeadShape& shape, int slot, int head, const float* value,
                             int8_t* scratch) {
  auto* group = const_cast<int8_t*>(int8_group(values, shape, slot / kGroupSlots, head));
  write_scale(group, shape, slot, round_to_bytes(value, shape.size, scratch));
  int8_t* pair = group + static_cast<size_t>(slot % kGroupSlots / 2) * shape.padded * 2 + slot % 2;
  for (int dimension = 0; dimension < shape.padded; ++dimension) pair[dimension * 2] = scratch[dimension];
}

// `count` floats as whole numbers of 15 bits and a sign, with zeros up to `padded`; what to multiply them by.
inline float round_to_whole(const float* from, int count, int padded, int16_t* to) {
  const float scale = fifteen_bit_scale(from, count);
  const Floats inverse = all(1.0f / scale);
  for (int i = 0; i < padded; i += 16) store_int16(to + i, load_first(from + i, count - i) * inverse);
  return scale;
}

// Scores of all lanes of the listed groups, seen or not.
inline void score_row_int8(const Run& run, int groups, const HeadShape& shape, int head, const float* query,
                           const void* keys, Scratch& scratch) {
  const Floats query_scale = all(round_to_whole(query, shape.size, shape.padded, scratch.whole_query.data()));
  for (int g = 0; g < groups; ++g) {
    const int8_t* group = int8_group(keys, shape, run.groups[g], head);
    if (g + 1 < groups) prefetch_bytes(int8_group(keys, shape, run.groups[g + 1], head), int8_group_bytes(shape));
    Wholes sums[4] = {no_wholes(), no_wholes(), no_wholes(), no_wholes()};
    for (int pair = 0; pair < shape.padded / 2; pair += 4) {
      unrolled<4>([&](int i) OCK_INLINE {
        sums[i] = dot_whole_pairs(sums[i], &scratch.whole_query[(pair + i) * 2], group + (pair + i) * 32);
      });
    }
    const Floats sum = as_floats(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
    const Floats scale = widen_first(reinterpret_cast<const bf16*>(group + shape.group_values()), 16);
    store(&scratch.scores[g * kGroupSlots], sum * scale * query_scale);
  }
}

// Weights of the seen lanes times their values' scales, in place of the scores; the sum of the weights alone.
inline float softmax_row_int8(const Run& run, int groups, int index, const HeadShape& shape, int head, float scale,
                              const void* values, float* scores) {
  const Floats lowest = all(-1e30f);
  Floats most = lowest, spoiled = zeros();  // no number once something that is seen is none
  for (int g = 0; g < groups; ++g) {
    const Floats masked = where_at_most(&run.visible_from[g * 16], index, load(scores + g * 16), lowest);
    store(scores + g * 16, masked);
    spoiled = multiply_add(masked, zeros(), spoiled);
    most = larger(most, masked);
  }
  const Floats shift = all(-largest(most) * scale);
  Floats sum = zeros();
  for (int g = 0; g < groups; ++g) {
    const Floats score = load(scores + g * 16);
    const Floats weight = exponential(multiply_add(score, all(scale), shift));
    const int8_t* group = int8_group(values, shape, run.groups[g], head);
    const Floats value_scale = widen_first(reinterpret_cast<const bf16*>(group + shape.group_values()), 16);
    sum = sum + where_above(score, lowest, weight);
    const Floats scaled = where_above(score, lowest, weight * value_scale);  // nothing of what is not seen
    store(scores + g * 16, scaled);
    spoiled = multiply_add(scaled, zeros(), spoiled);
  }
  return total(sum) + total(spoiled);
}

constexpr int kExactGroups = 16;  // of whole sums: 256 slots of at most 16256 * 127

template <int width>
void weigh_values_int8(const Run& run, int groups, const HeadShape& shape, int head, const int16_t* weights,
                       const void* values, int from, float factor, float* out) {
  Floats sums[width];
  unrolled<width>([&](int i) OCK_INLINE { sums[i] = zeros(); });
  for (int g = 0; g < groups;) {
    Wholes exact[width];
    unrolled<width>([&](int i) OCK_INLINE { exact[i] = no_wholes(); });
    for (const int end = std::min(groups, g + kExactGroups); g < end; ++g) {
      const int8_t* group = int8_group(values, shape, run.groups[g], head);
      if (g + 1 < groups) prefetch_bytes(int8_group(values, shape, run.groups[g + 1], head), int8_group_bytes(shape));
      for (int pair = 0; pair < kGroupSlots / 2; ++pair) {
        const int8_t* row = group + (static_cast<size_t>(pair) * shape.padded + from) * 2;
        unrolled<width>([&](int i) OCK_INLINE {
          exact[i] = dot_whole_pairs(exact[i], weights + g * kGroupSlots + pair * 2, row + i * 32);
        });
      }
    }
    unrolled<width>([&](int i) OCK_INLINE { sums[i] = sums[i] + as_floats(exact[i]); });
  }
  for (int i = 0; i < width; ++i) {
    const int left = shape.size - from - i * 16;
    if (left <= 0) break;
    store_first(out + from + i * 16, sums[i] * all(factor), left);
  }
}

// One token of a run, one head: query[size] and out[size].
inline void attend_row_int8(const Run& run, int index, const HeadShape& shape, int head, float scale,
                            const float* query, const void* keys, const void* values, float* out,
                            Scratch& scratch) {
  const int groups = run.groups_seen(index), lanes = groups * kGroupSlots;
  scratch.fit_whole(shape.padded, lanes);
  score_row_int8(run, groups, shape, head, query, keys, scratch);
  const float sum = softmax_row_int8(run, groups, index, shape, head, scale, values, scratch.scores.data());
  const float factor = round_to_whole(scratch.scores.data(), lanes, lanes, scratch.whole_weights.data()) / sum;
  int from = 0;
  for (; from + 64 <= shape.padded; from += 64) {
    weigh_values_int8<4>(run, groups, shape, head, scratch.whole_weights.data(), values, from, factor, out);
  }
  if (from < shape.padded) {
    weigh_values_int8<2>(run, groups, shape, head, scratch.whole_weights.data(), values, from, factor, out);
  }
}

}  // namespace ock
