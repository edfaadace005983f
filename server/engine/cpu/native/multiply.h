// y = W x for packed weights. `store(row, column, values)` receives 16 outputs of one row at a time.
#pragma once

#include <omp.h>

#ifdef __AVX512F__
#include "multiply_avx512.h"
#else
#include "multiply_avx2.h"
#endif

namespace ock {

// All rows by the whole matrix, the matrix's blocks shared between threads. A run of rows small enough to stay in
// the second-level cache goes through all weights before the next one.
template <class Store>
void multiply(Level level, const Operand& x, int rows, const Matrix& w, const Store& store) {
  const int run = std::max(64, static_cast<int>(kRunBytes / x.run_bytes()) / 2 * 32);
#pragma omp parallel
  {
    const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const int first = w.blocks * thread / threads, last = w.blocks * (thread + 1) / threads;
    for (int row = 0; row < rows; row += run) {
      multiply_part(level, x, row, std::min(rows, row + run), w, first, last, store);
    }
  }
}

}  // namespace ock
