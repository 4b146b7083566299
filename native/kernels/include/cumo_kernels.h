/* Mixture-of-experts kernels, sm_80 to sm_121. C only; knows neither CUDA's types nor TensorRT's.
 *
 *   y[t] = sum over j < k of weights[t, j] * expert(experts[t, j], x[t])
 *   expert(e, x) = fc2[e](act(fc1[e](x)))             or, gated,
 *   expert(e, x) = fc2[e](act(fc1[e](x)) * up[e](x))  where each layer is  x @ matrix + bias.
 *
 * Names of sizes in this file:
 *   tokens    rows of x
 *   in, hidden, out    channels of x, between the layers, of y
 *   experts   num_experts, 1 to CUMO_MOE_MAX_EXPERTS
 *   k         num_experts_per_tok, 1 to experts
 *   pairs     tokens * k: pair p is the j-th choice of token p / k, with j = p % k
 *   T         the type of x, y and the experts' tensors: f16 or bf16
 *
 * All tensors are row-major without gaps, in device memory, 16-byte aligned, and stay the caller's.
 * They must stay as they are until the work in `stream` is done. y must not overlap any input. A
 * matrix is [in, out] of its layer: y = x @ matrix.
 *
 * `stream` is a cudaStream_t; the current device must be the stream's. Every function here only
 * puts kernels into the stream: it allocates nothing, waits for nothing, copies nothing to the
 * host, and may be captured into a CUDA graph. Results are the same in every run: no float is added
 * atomically. Functions may be called by several threads at once, with a workspace each.
 */
#ifndef CUMO_KERNELS_H
#define CUMO_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when a struct or the meaning of a function does. */
#define CUMO_KERNELS_VERSION 1

#define CUMO_MOE_MAX_EXPERTS 1024

typedef enum cumo_kernels_status {
  CUMO_KERNELS_OK = 0,
  CUMO_KERNELS_NULL_POINTER = 1,       /* a tensor or a struct that is needed is null */
  CUMO_KERNELS_MISALIGNED = 2,         /* a pointer is not a multiple of 16 */
  CUMO_KERNELS_BAD_SHAPE = 3,          /* a size, k, or an enum's value is out of its range */
  CUMO_KERNELS_TOO_LARGE = 4,          /* pairs or a grid would not fit 32 bits */
  CUMO_KERNELS_SMALL_WORKSPACE = 5,    /* workspace_bytes is less than cumo_moe_workspace_bytes */
  CUMO_KERNELS_UNSUPPORTED_DEVICE = 6, /* compute capability below 8.0 */
  CUMO_KERNELS_CUDA_ERROR = 7          /* see cumo_kernels_last_cuda_error */
} cumo_kernels_status;

typedef enum cumo_dtype {
  CUMO_DTYPE_F32 = 0, /* logits only */
  CUMO_DTYPE_F16 = 1,
  CUMO_DTYPE_BF16 = 2
} cumo_dtype;

typedef enum cumo_activation {
  CUMO_ACTIVATION_GELU = 0,       /* x * (1 + erf(x / sqrt 2)) / 2 */
  CUMO_ACTIVATION_QUICK_GELU = 1, /* x * sigmoid(1.702 x) */
  CUMO_ACTIVATION_SILU = 2        /* x * sigmoid(x) */
} cumo_activation;

/* CUMO_KERNELS_VERSION of the library that is loaded. */
int32_t cumo_kernels_version(void);

/* A sentence for a status; static, never null. */
const char* cumo_kernels_status_text(int32_t status);

/* The cudaError_t behind this thread's latest CUMO_KERNELS_CUDA_ERROR; 0 before the first. */
int32_t cumo_kernels_last_cuda_error(void);

/* CUMO_KERNELS_OK, or why the current device cannot run the kernels:
 * CUMO_KERNELS_UNSUPPORTED_DEVICE, or CUMO_KERNELS_CUDA_ERROR where there is none. */
int32_t cumo_kernels_check_device(void);

/* Weights and experts of each token: softmax over all experts in f32, the k largest, best first (of
 * equal ones the lower index; NaN after all numbers), divided by their sum.
 *
 *   logits  [tokens, experts], `dtype` f32, f16 or bf16
 *   weights [tokens, k] f32, written
 *   chosen  [tokens, k] i32, written
 */
typedef struct cumo_route_args {
  int32_t tokens; /* 0 or more */
  int32_t num_experts;
  int32_t num_experts_per_tok;
  int32_t dtype; /* cumo_dtype */
  const void* logits;
  float* weights;
  int32_t* chosen;
} cumo_route_args;

int32_t cumo_moe_route(const cumo_route_args* args, void* stream);

/* Sorts pairs by expert, and pairs of one expert by their number. An expert outside of
 * [0, experts) is nobody's: its pair is left out.
 *
 *   chosen  [pairs] i32
 *   offsets [experts + 1] i32, written: rows of expert e are offsets[e] to offsets[e + 1]
 *   rows    [pairs] i32, written up to offsets[experts]: the pair at each place
 */
typedef struct cumo_permute_args {
  int32_t pairs; /* 0 or more */
  int32_t num_experts;
  const int32_t* chosen;
  int32_t* offsets;
  int32_t* rows;
} cumo_permute_args;

int32_t cumo_moe_permute(const cumo_permute_args* args, void* stream);

/* The mixture. Zero means off or, for `tile`, the library's choice. */
typedef struct cumo_moe_shape {
  int32_t tokens; /* 0 or more */
  int32_t in;     /* 1 or more, as hidden and out; multiples of 8 are several times as fast */
  int32_t hidden;
  int32_t out;
  int32_t num_experts;
  int32_t num_experts_per_tok;
  int32_t dtype;      /* CUMO_DTYPE_F16 or CUMO_DTYPE_BF16 */
  int32_t activation; /* cumo_activation */
  int32_t gated;      /* 0 or 1 */
  int32_t biased;     /* 0 or 1 */
  /* For tests and tuning: 0 chosen by size and device; 1 to cumo_moe_tile_count() one tile of
   * the grouped product (with sizes that are not multiples of 8 only tile 3); -1 the matrix-vector
   * path (at most 8 tokens and 32 pairs, sizes that are multiples of 8). */
  int32_t tile;
} cumo_moe_shape;

/* One expert. Null: up where not gated, the biases where not biased (and then ignored). */
typedef struct cumo_moe_expert {
  const void* fc1;      /* [in, hidden] T */
  const void* fc1_bias; /* [hidden] T */
  const void* up;       /* [in, hidden] T */
  const void* up_bias;  /* [hidden] T */
  const void* fc2;      /* [hidden, out] T */
  const void* fc2_bias; /* [out] T */
} cumo_moe_expert;

/* The array `experts` is host memory and is read before the call returns; what it points to is in
 * device memory. An index in `chosen` outside of [0, experts) adds nothing to its token. */
typedef struct cumo_moe_args {
  const void* x;                  /* [tokens, in] T */
  const float* weights;           /* [tokens, k] */
  const int32_t* chosen;          /* [tokens, k] */
  const cumo_moe_expert* experts; /* [experts], host */
  void* y;                        /* [tokens, out] T, written */
} cumo_moe_args;

/* Bytes of workspace that `shape` needs and any shape with fewer tokens, on every device; into
 * *bytes. About (hidden + out) * 2 bytes a pair. */
int32_t cumo_moe_workspace_bytes(const cumo_moe_shape* shape, uint64_t* bytes);

/* Computes y. `workspace`: device memory, 256-byte aligned, written; may be null for zero tokens.
 */
int32_t cumo_moe_forward(const cumo_moe_shape* shape, const cumo_moe_args* args, void* workspace,
                         uint64_t workspace_bytes, void* stream);

/* Tiles of the grouped product, for cumo_moe_shape.tile. */
int32_t cumo_moe_tile_count(void);

/* The tiles, or -1 and -1, that `shape` gets on a device of compute capability `architecture`
 * (10 * major + minor) with so many multiprocessors: tiles[0] of fc1 and up, tiles[1] of fc2. Needs
 * no device. */
int32_t cumo_moe_tiles_for(const cumo_moe_shape* shape, int32_t architecture,
                           int32_t multiprocessors, int32_t tiles[2]);

/* "rows x columns x depth, stages" of a tile, static; null for a number that is none. */
const char* cumo_moe_tile_name(int32_t tile);

#ifdef __cplusplus
}
#endif

#endif
