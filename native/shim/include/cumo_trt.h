/*
 * TensorRT behind a C ABI: builder, ONNX parser, runtime, and the CUDA that goes with them.
 *
 * One shared object a flavour of TensorRT (RTX, 11, 10), all with the functions below. None links
 * TensorRT or CUDA: both are loaded when they are needed, so that the shim loads on any machine and
 * says in words what is missing.
 *
 * Conventions
 *  - A function that can fail returns a status; NULL means that all went well. A status is owned
 *    by the caller: cumo_trt_status_free. Out parameters are written on success only, and set to
 *    NULL or 0 otherwise.
 *  - Handles are opaque and owned by the caller from the call that gave them; each has a _free,
 *    which takes NULL. What a handle was made from must be freed after it: library < builder <
 *    network; library < runtime < engine < context; runtime < buffer, stream, event, graph,
 *    kernels.
 *  - Texts are UTF-8 and end with a NUL. Texts that are given out belong to the handle that was
 *    asked, until it is freed. Options and the arrays in them are read during the call only.
 *  - A library, a runtime and an engine may be used by several threads at once. A builder with its
 *    networks, a context, a stream, an event, a graph and kernels may be used by one thread at a
 *    time, and may move between threads.
 *  - Device addresses are 64-bit integers. Shapes are arrays of int64_t, -1 for a dimension that
 *    is not fixed.
 */
#ifndef CUMO_TRT_H
#define CUMO_TRT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define CUMO_TRT_API
#else
#define CUMO_TRT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised with every change of this file that a caller must be compiled for. 2: a device tells its
 * place on the PCI bus; kernels that RTX compiled can be kept; rows are written by a kernel. */
#define CUMO_TRT_ABI_VERSION 2u

/* The longest shape that TensorRT has. */
#define CUMO_TRT_MAX_RANK 8

typedef struct cumo_trt_status cumo_trt_status;
typedef struct cumo_trt_library cumo_trt_library;
typedef struct cumo_trt_builder cumo_trt_builder;
typedef struct cumo_trt_network cumo_trt_network;
typedef struct cumo_trt_blob cumo_trt_blob;
typedef struct cumo_trt_runtime cumo_trt_runtime;
typedef struct cumo_trt_engine cumo_trt_engine;
typedef struct cumo_trt_context cumo_trt_context;
typedef struct cumo_trt_stream cumo_trt_stream;
typedef struct cumo_trt_event cumo_trt_event;
typedef struct cumo_trt_graph cumo_trt_graph;
typedef struct cumo_trt_kernels cumo_trt_kernels;

/* CUMO_TRT_ABI_VERSION of the shim. To be compared before anything else is called. */
CUMO_TRT_API uint32_t cumo_trt_abi_version(void);

/* "rtx", "11" or "10": the flavour that this shim was compiled for. Static. */
CUMO_TRT_API const char* cumo_trt_flavour(void);

/* ---- Status ---------------------------------------------------------------------------------- */

enum {
  CUMO_TRT_CODE_INVALID_ARGUMENT = 1, /* A null, length or enum that no caller should pass. */
  CUMO_TRT_CODE_MISSING_LIBRARY = 2,  /* TensorRT, or a part of it, is not installed. */
  CUMO_TRT_CODE_WRONG_LIBRARY = 3, /* A library is there, and is another version or not TensorRT. */
  CUMO_TRT_CODE_MISSING_DRIVER = 4, /* No NVIDIA driver, or no device. */
  CUMO_TRT_CODE_PLUGIN = 5,         /* A plugin library cannot be loaded. */
  CUMO_TRT_CODE_PARSE = 6,   /* Not ONNX, or with something that this TensorRT does not support. */
  CUMO_TRT_CODE_PROFILE = 7, /* A profile does not fit the network's inputs. */
  CUMO_TRT_CODE_BUILD = 8,   /* The builder refused the network. */
  CUMO_TRT_CODE_CANCELLED = 9,      /* The progress callback asked for it. */
  CUMO_TRT_CODE_UNSUPPORTED = 10,   /* An option that this flavour or version does not have. */
  CUMO_TRT_CODE_WRONG_ENGINE = 11,  /* Not an engine, or for another TensorRT, driver, device. */
  CUMO_TRT_CODE_OUT_OF_MEMORY = 12, /* Of the device, or of the host. */
  CUMO_TRT_CODE_CUDA = 13,          /* Another error of the CUDA driver. */
  CUMO_TRT_CODE_RUN = 14,           /* TensorRT refused a shape, an address or an execution. */
  CUMO_TRT_CODE_INTERNAL = 15       /* An exception that should not have been. */
};

/* One of the codes above. */
CUMO_TRT_API int32_t cumo_trt_status_code(const cumo_trt_status* status);

/* What went wrong, in a sentence, with TensorRT's own errors after it. Owned by the status. */
CUMO_TRT_API const char* cumo_trt_status_text(const cumo_trt_status* status);

/* One thing that the ONNX parser refused. */
typedef struct {
  const char* text;          /* What the parser says. */
  const char* name;          /* The node's name; empty where it has none or no node is to blame. */
  const char* operator_type; /* The node's operator; may be empty. */
  int64_t index;             /* The node's place in the graph; -1 where no node is to blame. */
} cumo_trt_parse_error;

/* How many there are; 0 unless the code is CUMO_TRT_CODE_PARSE. */
CUMO_TRT_API size_t cumo_trt_status_num_parse_errors(const cumo_trt_status* status);

/* The error at `index`; all empty past the end. Texts are owned by the status. */
CUMO_TRT_API cumo_trt_parse_error cumo_trt_status_parse_error(const cumo_trt_status* status,
                                                              size_t index);

CUMO_TRT_API void cumo_trt_status_free(cumo_trt_status* status);

/* ---- Messages -------------------------------------------------------------------------------- */

enum {
  CUMO_TRT_SEVERITY_INTERNAL_ERROR = 0,
  CUMO_TRT_SEVERITY_ERROR = 1,
  CUMO_TRT_SEVERITY_WARNING = 2,
  CUMO_TRT_SEVERITY_INFO = 3,
  CUMO_TRT_SEVERITY_VERBOSE = 4
};

/*
 * A message of TensorRT's, for the builder or runtime that `user` was given with. May be called
 * from any thread, also from several at once; must not call back into the shim. Messages of threads
 * that TensorRT started itself go to the builder that builds, and while none does to every builder
 * and runtime that is alive. `text` is valid during the call.
 */
typedef void (*cumo_trt_log_fn)(void* user, int32_t severity, const char* text, size_t text_bytes);

typedef struct {
  cumo_trt_log_fn call; /* May be NULL: then messages are dropped, errors still reach the status. */
  void* user;
  int32_t max_severity; /* Less important messages are not passed on. */
} cumo_trt_log;

/* ---- Library --------------------------------------------------------------------------------- */

/*
 * Loads TensorRT's library from `folder`, or by the system's loader where it is NULL. Where only
 * the lean runtime is there, it serves, and cannot build.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_library_open(const char* folder, cumo_trt_library** out);

/* "10.16.1.11". Owned by the library. */
CUMO_TRT_API const char* cumo_trt_library_version(const cumo_trt_library* library);

/* The file that was loaded. Owned by the library. */
CUMO_TRT_API const char* cumo_trt_library_path(const cumo_trt_library* library);

/* 1 where engines can be built, 0 where the library is the lean runtime. */
CUMO_TRT_API int32_t cumo_trt_library_can_build(const cumo_trt_library* library);

/* Registers the plugins of a shared object for every builder and runtime of the process; again: no
 * effect. */
CUMO_TRT_API cumo_trt_status* cumo_trt_library_load_plugins(cumo_trt_library* library,
                                                            const char* path);

/* TensorRT itself stays loaded, as it must while the process has plugins of it. */
CUMO_TRT_API void cumo_trt_library_free(cumo_trt_library* library);

/* ---- Building -------------------------------------------------------------------------------- */

/* Needs no device for RTX; for other flavours, the device that the engine is for. */
CUMO_TRT_API cumo_trt_status* cumo_trt_builder_create(cumo_trt_library* library,
                                                      const cumo_trt_log* log,
                                                      cumo_trt_builder** out);

CUMO_TRT_API void cumo_trt_builder_free(cumo_trt_builder* builder);

/*
 * Parses an ONNX model of `model_bytes`. `model_path` names the file it came from, where its
 * external data is beside it, or is NULL. `library_load_plugins` comes before, for models with
 * plugin nodes. The network is strongly typed: every tensor has the type that the model gives it.
 * TensorRT's parser may end the process on models whose bytes were altered: compare hashes first.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_network_parse(cumo_trt_builder* builder, const void* model,
                                                     size_t model_bytes, const char* model_path,
                                                     cumo_trt_network** out);

enum {
  CUMO_TRT_DTYPE_F32 = 0,
  CUMO_TRT_DTYPE_F16 = 1,
  CUMO_TRT_DTYPE_I8 = 2,
  CUMO_TRT_DTYPE_I32 = 3,
  CUMO_TRT_DTYPE_BOOL = 4,
  CUMO_TRT_DTYPE_U8 = 5,
  CUMO_TRT_DTYPE_F8E4M3 = 6,
  CUMO_TRT_DTYPE_BF16 = 7,
  CUMO_TRT_DTYPE_I64 = 8,
  CUMO_TRT_DTYPE_I4 = 9,
  CUMO_TRT_DTYPE_F4E2M1 = 10,
  CUMO_TRT_DTYPE_E8M0 = 11
};

/* A tensor of a network or engine. */
typedef struct {
  const char* name; /* Owned by the network or engine. */
  int32_t dtype;
  int32_t is_input; /* 1: of the network or engine, or of the layer that was asked. */
  int32_t is_host;  /* 1: TensorRT reads or writes it on the host (shape tensors). */
  int32_t rank;     /* -1: unknown. */
  int64_t shape[CUMO_TRT_MAX_RANK];
} cumo_trt_tensor;

/* Inputs come first. */
CUMO_TRT_API size_t cumo_trt_network_num_tensors(const cumo_trt_network* network);
CUMO_TRT_API cumo_trt_status* cumo_trt_network_tensor(const cumo_trt_network* network, size_t index,
                                                      cumo_trt_tensor* out);

/* A layer as the parser made it, before the builder fuses layers. */
typedef struct {
  const char* name;   /* Owned by the network. */
  const char* kind;   /* "matrix_multiply", "plugin_v3", "kv_cache_update", ...; static. */
  const char* plugin; /* The plugin's name; empty for other layers. Owned by the network. */
  int32_t num_inputs;
  int32_t num_outputs;
} cumo_trt_layer;

CUMO_TRT_API size_t cumo_trt_network_num_layers(const cumo_trt_network* network);
CUMO_TRT_API cumo_trt_status* cumo_trt_network_layer(const cumo_trt_network* network, size_t index,
                                                     cumo_trt_layer* out);

/* A tensor that a layer reads (`is_input` 1) or writes (0). An absent optional input has an empty
 * name and rank -1. */
CUMO_TRT_API cumo_trt_status* cumo_trt_network_layer_tensor(const cumo_trt_network* network,
                                                            size_t layer, int32_t is_input,
                                                            size_t index, cumo_trt_tensor* out);

CUMO_TRT_API void cumo_trt_network_free(cumo_trt_network* network);

/* The shapes of one input: at least, mostly, at most. Each array holds `rank` numbers. */
typedef struct {
  const char* input;
  size_t rank;
  const int64_t* min;
  const int64_t* opt;
  const int64_t* max;
} cumo_trt_range;

/* Shapes of every input that has a dimension that is not fixed; other inputs may be left out. */
typedef struct {
  const cumo_trt_range* ranges;
  size_t num_ranges;
} cumo_trt_profile;

enum {
  CUMO_TRT_PROGRESS_START = 0,  /* `steps` is how many steps the phase has. */
  CUMO_TRT_PROGRESS_STEP = 1,   /* `steps` is the step that was done, from 0. */
  CUMO_TRT_PROGRESS_FINISH = 2, /* Also of a phase whose steps were not all done. */
};

/* What the builder reports of its work. Phases nest: `parent` is empty for the outermost. */
typedef struct {
  int32_t kind;
  int32_t steps;
  const char* phase;  /* Valid during the call. */
  const char* parent; /* Valid during the call; empty but for CUMO_TRT_PROGRESS_START. */
} cumo_trt_progress;

/* Gives 0 to go on, another value to cancel. May be called from any thread; must not call back into
 * the shim. */
typedef int32_t (*cumo_trt_progress_fn)(void* user, const cumo_trt_progress* progress);

/* All zero is the default of every option. */
typedef struct {
  size_t struct_bytes; /* sizeof(cumo_trt_build_options): checked. */
  const cumo_trt_profile* profiles;
  size_t num_profiles;
  uint64_t workspace_bytes;            /* The most that a layer may use; 0: the device's memory. */
  const int32_t* compute_capabilities; /* 86 is 8.6. RTX only; none: all that RTX knows. */
  size_t num_compute_capabilities;
  int32_t optimization_level_plus_1; /* 1 to 6 for levels 0 to 5; 0: TensorRT's default. */
  int32_t detailed;   /* 1: the engine keeps what the inspector needs to describe its layers. */
  int32_t refittable; /* 1: weights can be replaced; such engines may be slower. */
  const void* timing_cache; /* Kernel timings of earlier builds; may be NULL. */
  size_t timing_cache_bytes;
  cumo_trt_progress_fn progress; /* May be NULL. */
  void* progress_user;
} cumo_trt_build_options;

/*
 * Builds an engine. `timing_cache` may be NULL; otherwise it gets the cache to keep for later
 * builds, or NULL where this flavour has none. Builds of several threads run one after another.
 * Fails with CUMO_TRT_CODE_PROFILE also where TensorRT would only warn of a profile that the
 * network cannot run with.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_network_build(cumo_trt_network* network,
                                                     const cumo_trt_build_options* options,
                                                     cumo_trt_blob** engine,
                                                     cumo_trt_blob** timing_cache);

/* Bytes on the host. */
CUMO_TRT_API const void* cumo_trt_blob_data(const cumo_trt_blob* blob);
CUMO_TRT_API size_t cumo_trt_blob_bytes(const cumo_trt_blob* blob);
CUMO_TRT_API void cumo_trt_blob_free(cumo_trt_blob* blob);

/* ---- Runtime --------------------------------------------------------------------------------- */

/*
 * Asks the CUDA driver for its devices, takes the one numbered `device`, and makes a runtime on it.
 * All that belongs to the runtime lives on this device.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_runtime_create(cumo_trt_library* library, int32_t device,
                                                      const cumo_trt_log* log,
                                                      cumo_trt_runtime** out);

/* How many devices there are; fails as cumo_trt_runtime_create does. Needs no TensorRT. */
CUMO_TRT_API cumo_trt_status* cumo_trt_num_devices(int32_t* out);

typedef struct {
  char name[256];
  int32_t compute_capability; /* 86 is 8.6. */
  int32_t driver;             /* The newest CUDA that the driver supports: 13000 is 13.0. */
  int32_t multiprocessors;
  int32_t is_integrated; /* 1: host and device share their memory. */
  uint64_t total_bytes;
  char pci_bus_id[32]; /* "0000:01:00.0", as other tools name the device; empty: not known. */
} cumo_trt_device;

CUMO_TRT_API cumo_trt_status* cumo_trt_device_info(int32_t device, cumo_trt_device* out);

/* Bytes of device memory that are free, and in all. */
CUMO_TRT_API cumo_trt_status* cumo_trt_runtime_memory(cumo_trt_runtime* runtime,
                                                      uint64_t* free_bytes, uint64_t* total_bytes);

CUMO_TRT_API void cumo_trt_runtime_free(cumo_trt_runtime* runtime);

/* ---- Engine ---------------------------------------------------------------------------------- */

/*
 * Says whether bytes are an engine of this TensorRT, as far as their header tells: what is altered
 * after it is not seen. Needs no device; RTX only, others give CUMO_TRT_CODE_UNSUPPORTED.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_engine_check(cumo_trt_library* library, const void* engine,
                                                    size_t engine_bytes);

/* Loads an engine. The bytes may be freed afterwards. */
CUMO_TRT_API cumo_trt_status* cumo_trt_engine_load(cumo_trt_runtime* runtime, const void* engine,
                                                   size_t engine_bytes, cumo_trt_engine** out);

CUMO_TRT_API size_t cumo_trt_engine_num_tensors(const cumo_trt_engine* engine);
CUMO_TRT_API cumo_trt_status* cumo_trt_engine_tensor(const cumo_trt_engine* engine, size_t index,
                                                     cumo_trt_tensor* out);
CUMO_TRT_API size_t cumo_trt_engine_num_profiles(const cumo_trt_engine* engine);

/* The shapes of an input in a profile; each array has room for CUMO_TRT_MAX_RANK numbers. */
CUMO_TRT_API cumo_trt_status* cumo_trt_engine_profile(const cumo_trt_engine* engine,
                                                      const char* input, size_t profile,
                                                      int64_t* min, int64_t* opt, int64_t* max);

/* The input whose memory an output must share, or an empty text. Static or owned by the engine. */
CUMO_TRT_API const char* cumo_trt_engine_aliased_input(const cumo_trt_engine* engine,
                                                       const char* output);

/* Activation memory of a context, in bytes, at most, for a profile. */
CUMO_TRT_API cumo_trt_status* cumo_trt_engine_activation_bytes(const cumo_trt_engine* engine,
                                                               size_t profile, uint64_t* out);

/* What the builder made of the network: JSON of TensorRT's engine inspector. The blob's text has no
 * NUL. */
CUMO_TRT_API cumo_trt_status* cumo_trt_engine_inspect(const cumo_trt_engine* engine,
                                                      cumo_trt_blob** out);

/*
 * Gives the runtime of an engine the kernels that RTX compiled in an earlier process: contexts that
 * need one of them do not compile it again. Comes before the first context of the runtime. The
 * bytes are those of cumo_trt_runtime_compiled_kernels and become code: that nobody altered them is
 * the caller's care. They may be freed afterwards. CUMO_TRT_CODE_RUN where RTX refuses them, as
 * those of another device, driver or version of RTX, and the runtime is as before;
 * CUMO_TRT_CODE_UNSUPPORTED by other flavours, whose engines hold their kernels.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_engine_load_compiled_kernels(cumo_trt_engine* engine,
                                                                    const void* kernels,
                                                                    size_t kernels_bytes);

/*
 * The kernels that the runtime has: those that were given and those that its contexts compiled so
 * far. NULL where there are none: before the first context, or where RTX keeps none. Waits until no
 * context of the runtime is made or executed by another thread. CUMO_TRT_CODE_UNSUPPORTED by other
 * flavours.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_runtime_compiled_kernels(cumo_trt_runtime* runtime,
                                                                cumo_trt_blob** out);

CUMO_TRT_API void cumo_trt_engine_free(cumo_trt_engine* engine);

/* ---- Context --------------------------------------------------------------------------------- */

/*
 * What one execution after another needs. `is_user_managed` 1: its activation memory is given with
 * cumo_trt_context_set_memory, so that contexts that run one after another can share one block.
 * Contexts of one runtime share the kernels that RTX compiles.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_context_create(cumo_trt_engine* engine,
                                                      int32_t is_user_managed,
                                                      cumo_trt_context** out);
CUMO_TRT_API cumo_trt_status* cumo_trt_context_set_memory(cumo_trt_context* context,
                                                          uint64_t address, uint64_t bytes);
CUMO_TRT_API cumo_trt_status* cumo_trt_context_set_profile(cumo_trt_context* context,
                                                           size_t profile, cumo_trt_stream* stream);
CUMO_TRT_API cumo_trt_status* cumo_trt_context_set_shape(cumo_trt_context* context,
                                                         const char* input, const int64_t* shape,
                                                         size_t rank);

/* The shape of a tensor as it follows from the inputs' shapes; `shape` has room for
 * CUMO_TRT_MAX_RANK numbers. */
CUMO_TRT_API cumo_trt_status* cumo_trt_context_shape(const cumo_trt_context* context,
                                                     const char* tensor, int64_t* shape,
                                                     size_t* rank);

/* Where a tensor lies: a device address, of memory that holds until the executions that use it are
 * done. */
CUMO_TRT_API cumo_trt_status* cumo_trt_context_set_address(cumo_trt_context* context,
                                                           const char* tensor, uint64_t address);

/* Activation bytes for the shapes that were set; contexts with is_user_managed only. */
CUMO_TRT_API cumo_trt_status* cumo_trt_context_activation_bytes(cumo_trt_context* context,
                                                                uint64_t* out);

/* Puts one execution on the stream and returns. The first after a change of shapes is slower: RTX
 * compiles kernels for these shapes before it returns. */
CUMO_TRT_API cumo_trt_status* cumo_trt_context_enqueue(cumo_trt_context* context,
                                                       cumo_trt_stream* stream);
CUMO_TRT_API void cumo_trt_context_free(cumo_trt_context* context);

/* ---- CUDA ------------------------------------------------------------------------------------ */

/* `bytes` of device memory, aligned to 256. Freed with cumo_trt_buffer_free. */
CUMO_TRT_API cumo_trt_status* cumo_trt_buffer_alloc(cumo_trt_runtime* runtime, uint64_t bytes,
                                                    uint64_t* address);
CUMO_TRT_API void cumo_trt_buffer_free(cumo_trt_runtime* runtime, uint64_t address);

/*
 * Host memory that the device copies from and to by itself, beside other work: copies of other host
 * memory may wait for the stream. Aligned to 256, of undefined content. Freed with
 * cumo_trt_host_free, when no copy uses it.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_host_alloc(cumo_trt_runtime* runtime, size_t bytes,
                                                  void** out);
CUMO_TRT_API void cumo_trt_host_free(cumo_trt_runtime* runtime, void* memory);

/*
 * Lets the device read host memory that is the caller's where it lies, also where it may not be
 * written, and gives its device address. `memory` begins a page; it stays where it is until
 * cumo_trt_host_unregister, which comes when no work uses it. CUMO_TRT_CODE_UNSUPPORTED where the
 * device cannot.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_host_register(cumo_trt_runtime* runtime, const void* memory,
                                                     size_t bytes, uint64_t* address);
CUMO_TRT_API void cumo_trt_host_unregister(cumo_trt_runtime* runtime, const void* memory);

/*
 * Copies on a stream. Host memory is to hold until the stream was synchronised; what was copied to
 * the host is there then.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_copy_to_device(cumo_trt_stream* stream, uint64_t to,
                                                      const void* from, size_t bytes);
CUMO_TRT_API cumo_trt_status* cumo_trt_copy_to_host(cumo_trt_stream* stream, void* to,
                                                    uint64_t from, size_t bytes);
CUMO_TRT_API cumo_trt_status* cumo_trt_copy_on_device(cumo_trt_stream* stream, uint64_t to,
                                                      uint64_t from, size_t bytes);
CUMO_TRT_API cumo_trt_status* cumo_trt_fill(cumo_trt_stream* stream, uint64_t address,
                                            uint8_t value, size_t bytes);

/*
 * Copies `rows` runs of `row_bytes`, that lie `from_pitch` and `to_pitch` bytes apart, each at
 * least `row_bytes`. The runs that are read and those that are written do not overlap.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_copy_rows_on_device(cumo_trt_stream* stream, uint64_t to,
                                                           uint64_t to_pitch, uint64_t from,
                                                           uint64_t from_pitch, size_t row_bytes,
                                                           size_t rows);

CUMO_TRT_API cumo_trt_status* cumo_trt_stream_create(cumo_trt_runtime* runtime,
                                                     cumo_trt_stream** out);
CUMO_TRT_API cumo_trt_status* cumo_trt_stream_synchronize(cumo_trt_stream* stream);

/* What is put on the stream from here on waits for the event. */
CUMO_TRT_API cumo_trt_status* cumo_trt_stream_wait(cumo_trt_stream* stream, cumo_trt_event* event);
CUMO_TRT_API void cumo_trt_stream_free(cumo_trt_stream* stream);

CUMO_TRT_API cumo_trt_status* cumo_trt_event_create(cumo_trt_runtime* runtime,
                                                    cumo_trt_event** out);
CUMO_TRT_API cumo_trt_status* cumo_trt_event_record(cumo_trt_event* event, cumo_trt_stream* stream);
CUMO_TRT_API cumo_trt_status* cumo_trt_event_synchronize(cumo_trt_event* event);

/* Milliseconds between two events that were recorded and are done. */
CUMO_TRT_API cumo_trt_status* cumo_trt_event_elapsed(cumo_trt_event* start, cumo_trt_event* end,
                                                     float* milliseconds);
CUMO_TRT_API void cumo_trt_event_free(cumo_trt_event* event);

/* Between the two calls, what is put on the stream is recorded and not run. */
CUMO_TRT_API cumo_trt_status* cumo_trt_graph_begin(cumo_trt_stream* stream);

/* Ends the recording also where it fails. */
CUMO_TRT_API cumo_trt_status* cumo_trt_graph_end(cumo_trt_stream* stream, cumo_trt_graph** out);
CUMO_TRT_API cumo_trt_status* cumo_trt_graph_launch(cumo_trt_graph* graph, cumo_trt_stream* stream);
CUMO_TRT_API void cumo_trt_graph_free(cumo_trt_graph* graph);

/* ---- Kernels --------------------------------------------------------------------------------- */

/*
 * The kernels of this project's plugin library that a program calls itself, for the runtime's
 * device. No plugin is registered by it. CUMO_TRT_CODE_PLUGIN where the library cannot be loaded,
 * or is older than these kernels; CUMO_TRT_CODE_UNSUPPORTED where the device cannot run them.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_kernels_load(cumo_trt_runtime* runtime, const char* path,
                                                    cumo_trt_kernels** out);

/* Rows for a cache, row-major and without gaps; see cumo_trt_kernels_write_rows. */
typedef struct {
  uint64_t rows;    /* [batch, heads, sequence, position_bytes] */
  uint64_t indices; /* [batch] of int64_t */
  uint64_t cache;   /* [batch, heads, pitch, position_bytes], written */
  int32_t batch;
  int32_t heads;
  int32_t sequence;
  int32_t pitch;
  int32_t position_bytes;
} cumo_trt_write_rows;

/*
 * Puts a kernel on the stream: cache[b, h, indices[b] + s] = rows[b, h, s], for all that lie in the
 * cache; what `indices` holds is read as it runs. As an execution, it runs once before it is
 * captured: CUDA loads kernels at their first use.
 */
CUMO_TRT_API cumo_trt_status* cumo_trt_kernels_write_rows(cumo_trt_kernels* kernels,
                                                          cumo_trt_stream* stream,
                                                          const cumo_trt_write_rows* write);

/* The library stays loaded. */
CUMO_TRT_API void cumo_trt_kernels_free(cumo_trt_kernels* kernels);

#ifdef __cplusplus
}
#endif

#endif
