// Arithmetic on sixteen floats that both kinds of vectors share: exp, GELU, the scale of a row.
#pragma once

#include "lanes.h"

namespace ock {

// Relative error below 2e-7. Never below exp(-87): results that are not normal numbers cost hundreds of cycles.
inline Floats exponential(Floats x) {
  x = larger(x, all(-87.0f));
  const Floats n = nearest_whole(x * all(1.44269504088896341f));
  Floats r = subtract_product(n, all(0.693359375f), x);
  r = subtract_product(n, all(-2.12194440e-4f), r);
  Floats p = all(1.9875691500e-4f);
  p = multiply_add(p, r, all(1.3981999507e-3f));
  p = multiply_add(p, r, all(8.3334519073e-3f));
  p = multiply_add(p, r, all(4.1665795894e-2f));
  p = multiply_add(p, r, all(1.6666665459e-1f));
  p = multiply_add(p, r, all(5.0000001201e-1f));
  p = multiply_add(p, r * r, r + all(1.0f));
  return times_power_of_two(p, n);
}

// x * Phi(x), Phi by the error function (Abramowitz and Stegun 7.1.26, absolute error 1.5e-7).
inline Floats gelu_erf(Floats x) {
  const Floats one = all(1.0f);
  const Floats z = magnitude(x) * all(0.70710678118654752f);
  const Floats t = reciprocal(multiply_add(z, all(0.3275911f), one));
  Floats p = all(1.061405429f);
  p = multiply_add(p, t, all(-1.453152027f));
  p = multiply_add(p, t, all(1.421413741f));
  p = multiply_add(p, t, all(-0.284496736f));
  p = multiply_add(p, t, all(0.254829592f));
  p = p * t * exponential(zeros() - z * z);
  const Floats tail = all(0.5f) * p;  // Phi(-|x|)
  return x * where_negative(x, tail, one - tail);
}

// x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)): the tanh form of GELU.
inline Floats gelu_tanh(Floats x) {
  const Floats one = all(1.0f);
  const Floats cubic = multiply_add(x * x, all(0.044715f), one);
  const Floats u = x * cubic * all(-1.5957691216057308f);
  return x * reciprocal(one + exponential(smaller(u, all(80.0f))));
}

// x * sigmoid(x).
inline Floats silu(Floats x) { return x * reciprocal(all(1.0f) + exponential(smaller(zeros() - x, all(80.0f)))); }

// 64 values times a Hadamard matrix, of ones of either sign: what one of them has alone, all share then. The scalar
// product of two such results is kSpreadGain times that of what they were made from.
constexpr float kSpreadGain = 64.0f;
inline void spread(Floats (&values)[4]) {
  for (Floats& each : values) {
    each = sums_and_differences<2>(sums_and_differences<1>(each));
    each = sums_and_differences<8>(sums_and_differences<4>(each));
  }
  const Floats sums[2] = {values[0] + values[1], values[2] + values[3]};
  const Floats differences[2] = {values[0] - values[1], values[2] - values[3]};
  values[0] = sums[0] + sums[1], values[2] = sums[0] - sums[1];
  values[1] = differences[0] + differences[1], values[3] = differences[0] - differences[1];
}

// The largest magnitude of some values: not a number once any of them was not finite, which rounding would hide.
struct Peak {
  Floats most = all(1e-20f), faults = zeros();
  void take(Floats values) {
    most = larger(most, magnitude(values));
    faults = faults + (values - values);
  }
  float value() const { return largest(most) + total(faults); }
};

// What values of at most `peak` are divided by to become signed bytes: a bfloat16 that leaves none above 127. Not a
// number where the peak is none.
inline bf16 byte_scale(float peak) {
  const float exact = peak / 127.0f;
  uint32_t bits;
  __builtin_memcpy(&bits, &exact, 4);
  return static_cast<bf16>((bits >> 16) + 1);
}

// What two-byte products divide a row of activations by to round it to 15 bits and a sign.
inline float fifteen_bit_scale(const float* row, int inputs) {
  Peak peak;
  for (int k = 0; k < inputs; k += 16) peak.take(load_first(row + k, inputs - k));
  return peak.value() / 16256.0f;
}

}  // namespace ock
