// How many products a second this machine's cores do when nothing has to come from memory.
#pragma once

#include <time.h>

#include <chrono>

#include "multiply.h"

namespace ock {

// Of weights of `kind` by 64 rows, all threads together, the best of `repeats` passes; every thread has its own matrix,
// which stays in its cache.
inline double product_rate(WeightKind kind, Level level, int repeats) {
  constexpr int kRows = 64, kInputs = 1024, kOutputs = 128, kPasses = 20;
  const Form form = form_of(kind, level);
  double best = 0, kept = 0;
#pragma omp parallel reduction(+ : kept)
  {
    Arena arena;
    const std::vector<bf16> weight(static_cast<size_t>(kInputs) * kOutputs, 0x3c01);
    const Matrix matrix = pack(arena, weight.data(), kOutputs, kInputs, kind, form);
    const std::vector<float> row(kInputs + 16, 0.5f);
    Operand rows;
    rows.shape(kRows, kInputs, form);
    for (int r = 0; r < kRows; ++r) rows.set_row(r, row.data());
    std::vector<float> out(static_cast<size_t>(kRows) * (kOutputs + 16));
    float* to = out.data();
    for (int repeat = 0; repeat < repeats; ++repeat) {
#pragma omp barrier
      const auto start = std::chrono::steady_clock::now();
      for (int pass = 0; pass < kPasses; ++pass) {
        multiply_part(level, rows, 0, kRows, matrix, 0, matrix.blocks, [=](int r, int column, Floats sums) {
          store(to + r * (kOutputs + 16) + column, sums);
        });
      }
#pragma omp barrier
#pragma omp master
      {
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        const double products = static_cast<double>(kRows) * kInputs * kOutputs * kPasses * omp_get_num_threads();
        best = std::max(best, products / seconds.count());
      }
    }
    kept += out[0];
  }
  return kept == 0.0 ? 0.0 : best;  // the sums are used, so that the products are not left out
}

inline double thread_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

// Seconds of this thread's own processor time for `rows` rows by one matrix that comes from memory, the best of
// `repeats` passes over more of them than a cache holds. What else runs on the machine counts little.
inline double product_seconds(WeightKind kind, Level level, int rows, int repeats) {
  constexpr int kInputs = 1024, kOutputs = 4096, kMatrices = 16;
  const Form form = form_of(kind, level);
  Arena arena;
  const std::vector<bf16> weight(static_cast<size_t>(kInputs) * kOutputs, 0x3c01);
  std::vector<Matrix> matrices;
  for (int i = 0; i < kMatrices; ++i) matrices.push_back(pack(arena, weight.data(), kOutputs, kInputs, kind, form));
  const std::vector<float> row(kInputs + 16, 0.5f);
  Operand operand;
  operand.shape(rows, kInputs, form);
  for (int r = 0; r < rows; ++r) operand.set_row(r, row.data());
  std::vector<float> out(static_cast<size_t>(rows) * (kOutputs + 16));
  float* to = out.data();
  double best = 1e9;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const double start = thread_seconds();
    for (const Matrix& matrix : matrices) {
      multiply_part(level, operand, 0, rows, matrix, 0, matrix.blocks, [=](int r, int column, Floats sums) {
        store(to + static_cast<size_t>(r) * (kOutputs + 16) + column, sums);
      });
    }
    best = std::min(best, (thread_seconds() - start) / kMatrices);
  }
  return out[0] == 0.0f ? 0.0 : best;
}

}  // namespace ock
