/* Rows that go into a cache at a place which the device knows. C only; knows neither CUDA's types
 * nor TensorRT's. Statuses are those of cumo_kernels.h, and what that header says of streams,
 * captures and threads holds here too.
 */
#ifndef CUMO_ROWS_H
#define CUMO_ROWS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cache[b, h, indices[b] + s] = rows[b, h, s] for every s of `sequence` whose place in the cache is
 * in [0, pitch); others are left out, so that nothing is written outside of the cache whatever lies
 * in `indices`.
 *
 *   rows    [batch, heads, sequence, position_bytes]
 *   indices [batch] i64
 *   cache   [batch, heads, pitch, position_bytes], written
 *
 * Row-major without gaps, in device memory, and the caller's until the work in `stream` is done;
 * the cache overlaps neither of the others. Rows and cache may begin at any address: of 16 bytes at
 * a time they are copied where both addresses and position_bytes are multiples of 16. `indices` is
 * a multiple of 8.
 */
typedef struct cumo_write_rows_args {
  int32_t batch; /* this and the two below: 0 or more */
  int32_t heads;
  int32_t sequence;
  int32_t pitch;          /* positions of a head in the cache: 1 or more */
  int32_t position_bytes; /* 1 or more: channels of a head times bytes of an element */
  const void* rows;
  const int64_t* indices;
  void* cache;
} cumo_write_rows_args;

/* Puts one kernel into the stream; none where there are no rows, and then no pointer is looked at.
 */
int32_t cumo_write_rows(const cumo_write_rows_args* args, void* stream);

#ifdef __cplusplus
}
#endif

#endif
