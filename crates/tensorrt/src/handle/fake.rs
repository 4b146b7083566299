//! A runtime on a shim that only notes which of its functions were called, in what order: for tests
//! of who keeps what. Calls are noted by thread.

use std::cell::RefCell;
use std::ffi::c_char;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{LibraryHandle, LogTarget, RuntimeHandle, Shim};
use crate::message::Severity;
use crate::runtime::Runtime;
use crate::sys::{self, Api};

#[derive(Default)]
struct Calls {
    noted: Vec<String>,
    /// Handles and addresses that were given out.
    given: usize,
    /// The function that is to fail.
    failing: Option<&'static str>,
}

thread_local! {
    static CALLS: RefCell<Calls> = RefCell::default();
}

/// What was called since the last time: `fill 0x1000`, `graph_free 0x3000`.
pub(crate) fn calls() -> Vec<String> {
    CALLS.with_borrow_mut(|calls| std::mem::take(&mut calls.noted))
}

/// Makes a function fail from here on.
pub(crate) fn fail(name: Option<&'static str>) {
    CALLS.with_borrow_mut(|calls| calls.failing = name);
}

/// Notes a call; the status that it gives.
fn note(name: &'static str, of: usize) -> *mut sys::Status {
    CALLS.with_borrow_mut(|calls| {
        calls.noted.push(format!("{name} {of:#x}"));
        if calls.failing == Some(name) {
            NonNull::dangling().as_ptr()
        } else {
            std::ptr::null_mut()
        }
    })
}

/// A number that nothing else was given.
fn give() -> usize {
    CALLS.with_borrow_mut(|calls| {
        calls.given += 0x1000;
        calls.given
    })
}

macro_rules! fake {
    ($api:ident: $(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? = $body:expr;)*) => {$(
        $api.$name = {
            #[allow(unused_variables, reason = "some functions only note that they were called")]
            unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? { $body }
            $name
        };
    )*};
}

/// Writes a new handle to where the caller wants it, and notes the call.
macro_rules! make {
    ($name:literal, $out:ident) => {{
        let made = give();
        let status = note($name, made);
        if status.is_null() {
            // SAFETY: the callers in this crate pass the address of a local.
            unsafe { *$out = made as _ };
        }
        status
    }};
}

/// What is asked of a status, and the ends of libraries and runtimes.
fn statuses_and_libraries(api: &mut Api) {
    fake! { api:
        fn status_code(status: *const sys::Status) -> i32 = sys::code::CUDA;
        fn status_text(status: *const sys::Status) -> *const c_char = c"it fails".as_ptr();
        fn status_free(status: *mut sys::Status) = ();
        fn library_free(library: *mut sys::Library) = ();
        fn runtime_free(runtime: *mut sys::Runtime) = ();
    }
}

/// Buffers, and copies to, from and between them.
fn memory(api: &mut Api) {
    fake! { api:
        fn buffer_alloc(runtime: *mut sys::Runtime, bytes: u64, out: *mut u64) -> *mut sys::Status =
            make!("buffer_alloc", out);
        fn buffer_free(runtime: *mut sys::Runtime, address: u64) =
            { note("buffer_free", address as usize); };
        fn copy_to_device(
            stream: *mut sys::Stream, to: u64, from: *const std::ffi::c_void, bytes: usize
        ) -> *mut sys::Status = note("copy_to_device", to as usize);
        fn copy_to_host(
            stream: *mut sys::Stream, to: *mut std::ffi::c_void, from: u64, bytes: usize
        ) -> *mut sys::Status = note("copy_to_host", from as usize);
        fn copy_on_device(stream: *mut sys::Stream, to: u64, from: u64, bytes: usize)
            -> *mut sys::Status = note("copy_on_device", to as usize);
        fn fill(stream: *mut sys::Stream, address: u64, value: u8, bytes: usize)
            -> *mut sys::Status = note("fill", address as usize);
    }
}

/// Streams, events and recorded graphs.
fn streams(api: &mut Api) {
    fake! { api:
        fn stream_create(runtime: *mut sys::Runtime, out: *mut *mut sys::Stream) -> *mut sys::Status =
            make!("stream_create", out);
        fn stream_synchronize(stream: *mut sys::Stream) -> *mut sys::Status =
            note("stream_synchronize", stream as usize);
        fn stream_wait(stream: *mut sys::Stream, event: *mut sys::Event) -> *mut sys::Status =
            note("stream_wait", stream as usize);
        fn stream_free(stream: *mut sys::Stream) = { note("stream_free", stream as usize); };
        fn event_create(runtime: *mut sys::Runtime, out: *mut *mut sys::Event) -> *mut sys::Status =
            make!("event_create", out);
        fn event_record(event: *mut sys::Event, stream: *mut sys::Stream) -> *mut sys::Status =
            note("event_record", event as usize);
        fn event_free(event: *mut sys::Event) = { note("event_free", event as usize); };
        fn graph_begin(stream: *mut sys::Stream) -> *mut sys::Status =
            note("graph_begin", stream as usize);
        fn graph_end(stream: *mut sys::Stream, out: *mut *mut sys::Graph) -> *mut sys::Status =
            make!("graph_end", out);
        fn graph_launch(graph: *mut sys::Graph, stream: *mut sys::Stream) -> *mut sys::Status =
            note("graph_launch", graph as usize);
        fn graph_free(graph: *mut sys::Graph) = { note("graph_free", graph as usize); };
        fn kernels_load(
            runtime: *mut sys::Runtime, path: *const c_char, out: *mut *mut sys::Kernels
        ) -> *mut sys::Status = make!("kernels_load", out);
        fn kernels_write_rows(
            kernels: *mut sys::Kernels, stream: *mut sys::Stream, write: *const sys::WriteRows
        ) -> *mut sys::Status = {
            // SAFETY: the callers in this crate pass the address of a local.
            note("kernels_write_rows", unsafe { (*write).cache } as usize)
        };
        fn kernels_free(kernels: *mut sys::Kernels) =
            { note("kernels_free", kernels as usize); };
    }
}

/// Engines of one input `x` of two elements, and their contexts.
fn engines(api: &mut Api) {
    fake! { api:
        fn engine_load(
            runtime: *mut sys::Runtime, bytes: *const std::ffi::c_void, length: usize,
            out: *mut *mut sys::Engine
        ) -> *mut sys::Status = make!("engine_load", out);
        fn engine_num_tensors(engine: *const sys::Engine) -> usize = 1;
        fn engine_tensor(engine: *const sys::Engine, index: usize, out: *mut sys::Tensor)
            -> *mut sys::Status = {
                // SAFETY: the callers in this crate pass the address of a local.
                unsafe {
                    (*out).name = c"x".as_ptr();
                    (*out).is_input = 1;
                    (*out).rank = 1;
                    (*out).shape[0] = 2;
                }
                std::ptr::null_mut()
            };
        fn engine_num_profiles(engine: *const sys::Engine) -> usize = 1;
        fn engine_free(engine: *mut sys::Engine) = { note("engine_free", engine as usize); };
        fn context_create(
            engine: *mut sys::Engine, is_user_managed: i32, out: *mut *mut sys::Context
        ) -> *mut sys::Status = make!("context_create", out);
        fn context_shape(
            context: *const sys::Context, tensor: *const c_char, shape: *mut i64, rank: *mut usize
        ) -> *mut sys::Status = {
            // SAFETY: the callers in this crate pass an array and a local.
            unsafe { (*shape, *rank) = (2, 1) };
            std::ptr::null_mut()
        };
        fn context_set_address(context: *mut sys::Context, tensor: *const c_char, address: u64)
            -> *mut sys::Status = std::ptr::null_mut();
        fn context_set_memory(context: *mut sys::Context, address: u64, bytes: u64)
            -> *mut sys::Status = std::ptr::null_mut();
        fn engine_activation_bytes(engine: *const sys::Engine, profile: usize, out: *mut u64)
            -> *mut sys::Status = {
                // SAFETY: the callers in this crate pass the address of a local.
                unsafe { *out = 256 };
                std::ptr::null_mut()
            };
        fn context_activation_bytes(context: *mut sys::Context, out: *mut u64)
            -> *mut sys::Status = {
                // SAFETY: the callers in this crate pass the address of a local.
                unsafe { *out = 256 };
                std::ptr::null_mut()
            };
        fn context_enqueue(context: *mut sys::Context, stream: *mut sys::Stream)
            -> *mut sys::Status = note("context_enqueue", context as usize);
        fn context_free(context: *mut sys::Context) = { note("context_free", context as usize); };
    }
}

/// A runtime whose every call is noted.
pub(crate) fn runtime() -> Runtime {
    let mut api = Api::absent();
    statuses_and_libraries(&mut api);
    memory(&mut api);
    streams(&mut api);
    engines(&mut api);
    let shim = Arc::new(Shim { api });
    let library = LibraryHandle { shim: shim.clone(), pointer: NonNull::dangling() };
    let handle = RuntimeHandle {
        shim,
        pointer: NonNull::dangling(),
        log: LogTarget::new(Severity::Warning),
        _library: Arc::new(library),
    };
    Runtime { handle: Arc::new(handle) }
}
