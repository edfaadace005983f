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
    const int32_t* from = &visible_from[static_cast<size_t>(group) * kGroupSlots];
    return *std::min_element(from, from + kGroupSlots);
  }
};

inline void write_key(bf16* keys, const HeadShape& shape, int slot, int head, const bf16* key) {
  auto* group = reinterpret_cast<uint32_t*>(const_cast<bf16*>(shape.group(keys, slot / kGroupSlots, head)));
  const auto* pairs = reinterpret_cast<const uint32_t*>(key);
  for (int pair = 0; pair < shape.padded / 2; ++pair) group[pair * kGroupSlots + slot % kGroupSlots] = pairs[pair];
}

inline void write_value(bf16* values, const HeadShape& shape, int slot, int head, const bf16* value) {
  bf16* group = const_cast<bf16*>(shape.group(values, slot / kGroupSlots, head));
  bf16* pair = group + static_cast<size_t>(slot % kGroupSlots / 2) * shape.padded * 2 + slot % 2;
  for (int dimension = 0; dimension < shape.padded; ++dimension) pair[dimension * 2] = value[dimension];
}

struct Scratch {
  std::vector<float> scores;
  std::vector<bf16> weights;
  std::vector<int16_t> whole_query, whole_weights;  // of attention_int8.h
  void fit(size_t rows, size_t lanes) {
    if (scores.size() < rows * lanes + 16) scores.resize(rows * lanes + 16);
    if (weights.size() < rows * lanes + 32) weights.resize(rows * lanes + 32);
  }
  void fit_whole(int padded, size_t lanes) {
    if (scores.size() < lanes + 16) scores.resize(lanes + 16);
    if (whole_query.size() < static_cast<size_t>(padded)) whole_query.resize(padded);
    if (whole_weights.size() < lanes) whole_weights.resize(lanes);
  }
};

// Softmax of one row of scores over the lanes that token `index` sees; the sum of the unnormalised weights.
inline float softmax_row(const Run& run, int groups, int index, float scale, float* scores, bf16* weights) {
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
    const Floats weight = where_above(score, lowest, exponential(multiply_add(score, all(scale), shift)));
    sum = sum + weight;
    _mm256_storeu_si256((__m256i*)(weights + g * 16), narrow(weight));
  }
  return total(sum) + total(spoiled);
}

template <int level>
void score_row(const Run& run, int groups, const HeadShape& shape, int head, const bf16* query, const bf16* keys,
    float* scores) {
  for (int g = 0; g < groups; ++g) {
    const bf16* group = shape.group(keys, run.groups[g], head);
    if (g + 1 < groups) prefetch_bytes(shape.group(keys, run.groups[g + 1], head), shape.group_values() * sizeof(bf16));
    Floats sums[4] = {};
    for (int pair = 0; pair < shape.padded / 2; pair += 4) {
      unrolled<4>([&](int i) OCK_INLINE {
        sums[i] = dot_pairs<level>(sums[i], all_pairs(query + (pair + i) * 2), group + (pair + i) * 32);
      });
    }
    store(scores + g * 16, (sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
}

template <int level, int width>
void weigh_values(const Run& run, int groups, const HeadShape& shape, int head, const bf16* weights,
                  const bf16* values, int from, float factor, float* out) {
  Floats sums[width] = {};
  for (int g = 0; g < groups; ++g) {
    const bf16* group = shape.group(values, run.groups[g], head);
    if (g + 1 < groups) prefetch_bytes(shape.group(values, run.groups[g + 1], head),
        shape.group_values() * sizeof(bf16));
    for (int pair = 0; pair < kGroupSlots / 2; ++pair) {
      const Pair weight = all_pairs(weights + g * kGroupSlots + pair * 2);
      const bf16* row = group + static_cast<size_t>(pair) * shape.padded * 2 + from * 2;
      unrolled<width>([&](int i) OCK_INLINE { sums[i] = dot_pairs<level>(sums[i], weight, row + i * 32); });
    }
  }
  for (int i = 0; i < width; ++i) {
    const int left = shape.size - from - i * 16;
    if (left <= 0) break;
    store_first(out + from + i * 16, sums[i] * all(factor), left);
  }
}

inline bool all_finite(const float* values, int count) {
  Floats sum = zeros();  // nothing times zero is zero, unless it is no finite number
  for (int i = 0; i < count; i += 16) sum = multiply_add(load_first(values + i, count - i), zeros(), sum);
  return total(sum) == 0.0f;
}

// As weigh_values of all widths, over copies of the groups in which what token `index` does not see is zero: a slot of
// somebody else's may hold what is no number, and that times a weight of zero is no number either.
template <int level>
void weigh_visible(const Run& run, int groups, int index, const HeadShape& shape, int head, const bf16* weights,
                   const bf16* values, float factor, float* out) {
  const HeadShape alone{1, shape.size, shape.padded};
  std::vector<bf16> copies(groups * alone.group_values() + 32);
  Run copied{run.row, run.count, {}, {}};
  for (int g = 0; g < groups; ++g) {
    const bf16* from = shape.group(values, run.groups[g], head);
    bf16* to = copies.data() + g * alone.group_values();
    copied.groups.push_back(g);
    for (int slot = 0; slot < kGroupSlots; ++slot) {
      if (run.visible_from[g * kGroupSlots + slot] > index) continue;
      const size_t at = static_cast<size_t>(slot / 2) * shape.padded * 2 + slot % 2;
      for (int d = 0; d < shape.padded; ++d) to[at + d * 2] = from[at + d * 2];
    }
  }
  for (int from = 0; from < shape.padded; from += 32) {
    weigh_values<level, 2>(copied, groups, alone, 0, weights, copies.data(), from, factor, out);
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
  if (!all_finite(out, shape.size)) {
    weigh_visible<level>(run, groups, index, shape, head, scratch.weights.data(), values, 1.0f / sum, out);
  }
}

}  // namespace ock
