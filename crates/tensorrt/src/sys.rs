//! `native/shim/include/cumo_trt.h`, by hand: what each thing is and who owns it stands there.
#![allow(unsafe_code, reason = "declares and loads C functions")]

use std::ffi::{OsStr, c_char, c_void};

/// `CUMO_TRT_ABI_VERSION`.
pub(crate) const ABI_VERSION: u32 = 2;

/// The mark in the ABI's number of the stand-in that tests run without a GPU (`tests/standin`).
pub(crate) const STAND_IN: u32 = 1 << 31;

/// `CUMO_TRT_MAX_RANK`.
pub(crate) const MAX_RANK: usize = 8;

/// `CUMO_TRT_CODE_*`.
pub(crate) mod code {
    pub(crate) const MISSING_LIBRARY: i32 = 2;
    pub(crate) const WRONG_LIBRARY: i32 = 3;
    pub(crate) const MISSING_DRIVER: i32 = 4;
    pub(crate) const PLUGIN: i32 = 5;
    pub(crate) const PARSE: i32 = 6;
    pub(crate) const PROFILE: i32 = 7;
    pub(crate) const BUILD: i32 = 8;
    pub(crate) const CANCELLED: i32 = 9;
    pub(crate) const UNSUPPORTED: i32 = 10;
    pub(crate) const WRONG_ENGINE: i32 = 11;
    pub(crate) const OUT_OF_MEMORY: i32 = 12;
    pub(crate) const CUDA: i32 = 13;
    pub(crate) const RUN: i32 = 14;
}

macro_rules! opaque {
    ($($name:ident)*) => {$(
        #[repr(C)]
        pub(crate) struct $name {
            _opaque: [u8; 0],
        }
    )*};
}

opaque! { Status Library Builder Network Blob Runtime Engine Context Stream Event Graph Kernels }

#[repr(C)]
pub(crate) struct ParseError {
    pub(crate) text: *const c_char,
    pub(crate) name: *const c_char,
    pub(crate) operator_type: *const c_char,
    pub(crate) index: i64,
}

pub(crate) type LogFn = unsafe extern "C" fn(*mut c_void, i32, *const c_char, usize);

#[repr(C)]
pub(crate) struct Log {
    pub(crate) call: Option<LogFn>,
    pub(crate) user: *mut c_void,
    pub(crate) max_severity: i32,
}

#[repr(C)]
pub(crate) struct Tensor {
    pub(crate) name: *const c_char,
    pub(crate) dtype: i32,
    pub(crate) is_input: i32,
    pub(crate) is_host: i32,
    pub(crate) rank: i32,
    pub(crate) shape: [i64; MAX_RANK],
}

#[repr(C)]
pub(crate) struct Layer {
    pub(crate) name: *const c_char,
    pub(crate) kind: *const c_char,
    pub(crate) plugin: *const c_char,
    pub(crate) num_inputs: i32,
    pub(crate) num_outputs: i32,
}

#[repr(C)]
pub(crate) struct Range {
    pub(crate) input: *const c_char,
    pub(crate) rank: usize,
    pub(crate) min: *const i64,
    pub(crate) opt: *const i64,
    pub(crate) max: *const i64,
}

#[repr(C)]
pub(crate) struct Profile {
    pub(crate) ranges: *const Range,
    pub(crate) num_ranges: usize,
}

/// `CUMO_TRT_PROGRESS_*`.
pub(crate) mod progress {
    pub(crate) const START: i32 = 0;
    pub(crate) const STEP: i32 = 1;
}

#[repr(C)]
pub(crate) struct Progress {
    pub(crate) kind: i32,
    pub(crate) steps: i32,
    pub(crate) phase: *const c_char,
    pub(crate) parent: *const c_char,
}

pub(crate) type ProgressFn = unsafe extern "C" fn(*mut c_void, *const Progress) -> i32;

#[repr(C)]
pub(crate) struct BuildOptions {
    pub(crate) struct_bytes: usize,
    pub(crate) profiles: *const Profile,
    pub(crate) num_profiles: usize,
    pub(crate) workspace_bytes: u64,
    pub(crate) compute_capabilities: *const i32,
    pub(crate) num_compute_capabilities: usize,
    pub(crate) optimization_level_plus_1: i32,
    pub(crate) detailed: i32,
    pub(crate) refittable: i32,
    pub(crate) timing_cache: *const c_void,
    pub(crate) timing_cache_bytes: usize,
    pub(crate) progress: Option<ProgressFn>,
    pub(crate) progress_user: *mut c_void,
}

#[repr(C)]
pub(crate) struct Device {
    pub(crate) name: [c_char; 256],
    pub(crate) compute_capability: i32,
    pub(crate) driver: i32,
    pub(crate) multiprocessors: i32,
    pub(crate) is_integrated: i32,
    pub(crate) total_bytes: u64,
    pub(crate) pci_bus_id: [c_char; 32],
}

#[repr(C)]
pub(crate) struct WriteRows {
    pub(crate) rows: u64,
    pub(crate) indices: u64,
    pub(crate) cache: u64,
    pub(crate) batch: i32,
    pub(crate) heads: i32,
    pub(crate) sequence: i32,
    pub(crate) pitch: i32,
    pub(crate) position_bytes: i32,
}

/// The functions of a loaded shim, without their prefix.
macro_rules! api {
    ($(fn $name:ident($($type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        pub(crate) struct Api {
            $(pub(crate) $name: unsafe extern "C" fn($($type),*) $(-> $result)?,)*
            // Last: the functions above are in it.
            _library: Option<libloading::Library>,
        }

        impl Api {
            /// Loads a shim and looks all functions up.
            ///
            /// # Safety
            /// The file's initialisers run, and functions of these names are taken to be those
            /// of the header. The caller says that the file is a shim of this project.
            pub(crate) unsafe fn load(file: &OsStr) -> Result<Self, libloading::Error> {
                // SAFETY: the caller says that the file is a shim; its initialisers do nothing.
                let library = unsafe { libloading::Library::new(file) }?;
                Ok(Api {
                    $($name: {
                        let name = concat!("cumo_trt_", stringify!($name));
                        // SAFETY: the header gives the function of this name this type; the
                        // pointer is kept beside the library, which is dropped after it.
                        *unsafe { library.get(name.as_bytes()) }?
                    },)*
                    _library: Some(library),
                })
            }

            /// The ABI's number of a library that lacks functions of the header, if it tells one.
            ///
            /// # Safety
            /// As [`Api::load`].
            pub(crate) unsafe fn abi_of(file: &OsStr) -> Option<u32> {
                // SAFETY: the caller says that the file is a shim; its initialisers do nothing.
                let library = unsafe { libloading::Library::new(file) }.ok()?;
                // SAFETY: this function has had the same type in every version of the shim.
                unsafe {
                    let abi = library.get::<unsafe extern "C" fn() -> u32>(b"cumo_trt_abi_version");
                    Some(abi.ok()?())
                }
            }

            /// Functions of no shim, which end the process; a test replaces those that it needs.
            #[cfg(test)]
            pub(crate) fn absent() -> Self {
                Api {
                    $($name: {
                        unsafe extern "C" fn absent($(_: $type),*) $(-> $result)? {
                            panic!(concat!("cumo_trt_", stringify!($name), " is not replaced"))
                        }
                        absent
                    },)*
                    _library: None,
                }
            }
        }
    };
}

api! {
    fn abi_version() -> u32;
    fn flavour() -> *const c_char;
    fn status_code(*const Status) -> i32;
    fn status_text(*const Status) -> *const c_char;
    fn status_num_parse_errors(*const Status) -> usize;
    fn status_parse_error(*const Status, usize) -> ParseError;
    fn status_free(*mut Status);
    fn library_open(*const c_char, *mut *mut Library) -> *mut Status;
    fn library_version(*const Library) -> *const c_char;
    fn library_path(*const Library) -> *const c_char;
    fn library_can_build(*const Library) -> i32;
    fn library_load_plugins(*mut Library, *const c_char) -> *mut Status;
    fn library_free(*mut Library);
    fn builder_create(*mut Library, *const Log, *mut *mut Builder) -> *mut Status;
    fn builder_free(*mut Builder);
    fn network_parse(
        *mut Builder, *const c_void, usize, *const c_char, *mut *mut Network,
    ) -> *mut Status;
    fn network_num_tensors(*const Network) -> usize;
    fn network_tensor(*const Network, usize, *mut Tensor) -> *mut Status;
    fn network_num_layers(*const Network) -> usize;
    fn network_layer(*const Network, usize, *mut Layer) -> *mut Status;
    fn network_layer_tensor(*const Network, usize, i32, usize, *mut Tensor) -> *mut Status;
    fn network_free(*mut Network);
    fn network_build(
        *mut Network, *const BuildOptions, *mut *mut Blob, *mut *mut Blob,
    ) -> *mut Status;
    fn blob_data(*const Blob) -> *const c_void;
    fn blob_bytes(*const Blob) -> usize;
    fn blob_free(*mut Blob);
    fn num_devices(*mut i32) -> *mut Status;
    fn device_info(i32, *mut Device) -> *mut Status;
    fn runtime_create(*mut Library, i32, *const Log, *mut *mut Runtime) -> *mut Status;
    fn runtime_memory(*mut Runtime, *mut u64, *mut u64) -> *mut Status;
    fn runtime_free(*mut Runtime);
    fn engine_check(*mut Library, *const c_void, usize) -> *mut Status;
    fn engine_load(*mut Runtime, *const c_void, usize, *mut *mut Engine) -> *mut Status;
    fn engine_num_tensors(*const Engine) -> usize;
    fn engine_tensor(*const Engine, usize, *mut Tensor) -> *mut Status;
    fn engine_num_profiles(*const Engine) -> usize;
    fn engine_profile(
        *const Engine, *const c_char, usize, *mut i64, *mut i64, *mut i64,
    ) -> *mut Status;
    fn engine_aliased_input(*const Engine, *const c_char) -> *const c_char;
    fn engine_activation_bytes(*const Engine, usize, *mut u64) -> *mut Status;
    fn engine_inspect(*const Engine, *mut *mut Blob) -> *mut Status;
    fn engine_load_compiled_kernels(*mut Engine, *const c_void, usize) -> *mut Status;
    fn runtime_compiled_kernels(*mut Runtime, *mut *mut Blob) -> *mut Status;
    fn engine_free(*mut Engine);
    fn context_create(*mut Engine, i32, *mut *mut Context) -> *mut Status;
    fn context_set_memory(*mut Context, u64, u64) -> *mut Status;
    fn context_set_profile(*mut Context, usize, *mut Stream) -> *mut Status;
    fn context_set_shape(*mut Context, *const c_char, *const i64, usize) -> *mut Status;
    fn context_shape(*const Context, *const c_char, *mut i64, *mut usize) -> *mut Status;
    fn context_set_address(*mut Context, *const c_char, u64) -> *mut Status;
    fn context_activation_bytes(*mut Context, *mut u64) -> *mut Status;
    fn context_enqueue(*mut Context, *mut Stream) -> *mut Status;
    fn context_free(*mut Context);
    fn buffer_alloc(*mut Runtime, u64, *mut u64) -> *mut Status;
    fn buffer_free(*mut Runtime, u64);
    fn host_alloc(*mut Runtime, usize, *mut *mut c_void) -> *mut Status;
    fn host_free(*mut Runtime, *mut c_void);
    fn host_register(*mut Runtime, *const c_void, usize, *mut u64) -> *mut Status;
    fn host_unregister(*mut Runtime, *const c_void);
    fn copy_to_device(*mut Stream, u64, *const c_void, usize) -> *mut Status;
    fn copy_to_host(*mut Stream, *mut c_void, u64, usize) -> *mut Status;
    fn copy_on_device(*mut Stream, u64, u64, usize) -> *mut Status;
    fn copy_rows_on_device(*mut Stream, u64, u64, u64, u64, usize, usize) -> *mut Status;
    fn fill(*mut Stream, u64, u8, usize) -> *mut Status;
    fn stream_create(*mut Runtime, *mut *mut Stream) -> *mut Status;
    fn stream_synchronize(*mut Stream) -> *mut Status;
    fn stream_wait(*mut Stream, *mut Event) -> *mut Status;
    fn stream_free(*mut Stream);
    fn event_create(*mut Runtime, *mut *mut Event) -> *mut Status;
    fn event_record(*mut Event, *mut Stream) -> *mut Status;
    fn event_synchronize(*mut Event) -> *mut Status;
    fn event_elapsed(*mut Event, *mut Event, *mut f32) -> *mut Status;
    fn event_free(*mut Event);
    fn graph_begin(*mut Stream) -> *mut Status;
    fn graph_end(*mut Stream, *mut *mut Graph) -> *mut Status;
    fn graph_launch(*mut Graph, *mut Stream) -> *mut Status;
    fn graph_free(*mut Graph);
    fn kernels_load(*mut Runtime, *const c_char, *mut *mut Kernels) -> *mut Status;
    fn kernels_write_rows(*mut Kernels, *mut Stream, *const WriteRows) -> *mut Status;
    fn kernels_free(*mut Kernels);
}
