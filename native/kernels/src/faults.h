// Faults that tests plant, to show that they are caught: one a build, by -DCUMO_FAULT=number.
// Without it, `planted` is constant false, and compilers leave all of this out.
#pragma once

#ifndef CUMO_FAULT
#define CUMO_FAULT 0
#endif

namespace cumo {

enum class Fault {
  none = 0,
  missing_barrier = 1,         // grouped product: no barrier between a stage's writers and readers
  missing_wait = 2,            // grouped product: copies are not waited for
  wrong_guard = 3,             // grouped product: copies read one past the depth and the columns
  permutation_off_by_one = 4,  // permutation: a pair's place counts the pair itself
  unsorted_tie = 5,            // routing: of equal experts any
  uninitialised_shared = 6,    // permutation: counters are not zeroed
  unguarded_index = 7,         // rows into a cache: an index is not held against the cache's end
};

__host__ __device__ constexpr bool planted(Fault fault) { return CUMO_FAULT == int(fault); }

}  // namespace cumo
