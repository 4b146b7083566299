//! Every check fires, and what is right passes: by the functions of the header.

mod captures;
mod engines;
mod faults;
mod handles;
mod header;
mod kernels;
mod memory;
mod rows;
mod streams;

use std::ffi::{CString, c_void};
use std::ptr;

use cumo_onnx::{DType, GraphBuilder, Opset, dims};

use super::building::*;
use super::context::*;
use super::kernels::*;
use super::library::*;
use super::memory::*;
use super::runtime::*;
use super::status::*;
use super::stream::*;
use super::*;
use crate::folder::StandIn;
use crate::settings::Settings;

/// The code and the text of a failed call, or none.
fn outcome(status: *mut sys::Status) -> Option<(i32, String)> {
    if status.is_null() {
        return None;
    }
    // SAFETY: a status that was just given; it is freed once.
    unsafe {
        let code = cumo_trt_status_code(status);
        let text = CStr::from_ptr(cumo_trt_status_text(status)).to_string_lossy().into_owned();
        cumo_trt_status_free(status);
        Some((code, text))
    }
}

/// Expects that a call went well.
#[track_caller]
fn ok(status: *mut sys::Status) {
    assert_eq!(outcome(status), None);
}

/// Expects a fault with this code, whose text has `part` in it.
#[track_caller]
fn fails(status: *mut sys::Status, code: i32, part: &str) {
    let (found, text) = outcome(status).expect("the call went well");
    assert!(found == code && text.contains(part), "{found}: {text}");
}

/// What an out parameter was given.
#[track_caller]
fn made<T>(call: impl FnOnce(*mut *mut T) -> *mut sys::Status) -> *mut T {
    let mut out = ptr::null_mut();
    ok(call(&mut out));
    assert!(!out.is_null());
    out
}

/// An opened stand-in with a runtime and a stream.
struct Rig {
    stand_in: StandIn,
    library: *mut sys::Library,
    runtime: *mut sys::Runtime,
    stream: *mut sys::Stream,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(&Settings::default())
    }

    fn with(settings: &Settings) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = StandIn::without_library(folder.path(), settings).unwrap();
        let place = CString::new(stand_in.folder().to_str().unwrap()).unwrap();
        // SAFETY: as the header says.
        unsafe {
            let library = made(|out| cumo_trt_library_open(place.as_ptr(), out));
            let runtime = made(|out| cumo_trt_runtime_create(library, 0, ptr::null(), out));
            let stream = made(|out| cumo_trt_stream_create(runtime, out));
            Rig { stand_in, library, runtime, stream, _folder: folder }
        }
    }

    /// Device memory.
    fn buffer(&self, bytes: u64) -> u64 {
        let mut address = 0;
        ok(self.alloc(bytes, &mut address));
        address
    }

    fn alloc(&self, bytes: u64, address: &mut u64) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe { cumo_trt_buffer_alloc(self.runtime, bytes, address) }
    }

    /// Bytes of device memory that are free, and in all.
    fn memory(&self) -> (u64, u64) {
        let (mut free, mut total) = (0, 0);
        // SAFETY: as the header says.
        ok(unsafe { cumo_trt_runtime_memory(self.runtime, &mut free, &mut total) });
        (free, total)
    }

    fn free(&self, address: u64) {
        // SAFETY: as the header says.
        unsafe { cumo_trt_buffer_free(self.runtime, address) };
    }

    /// Memory with bytes in it.
    fn filled(&self, bytes: u64) -> u64 {
        let address = self.buffer(bytes);
        ok(self.fill(address, 1, bytes));
        address
    }

    fn fill(&self, address: u64, value: u8, bytes: u64) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe { cumo_trt_fill(self.stream, address, value, bytes as usize) }
    }

    fn write<T>(&self, to: u64, from: &[T]) -> *mut sys::Status {
        // SAFETY: as the header says; every test waits before `from` is gone.
        unsafe { cumo_trt_copy_to_device(self.stream, to, from.as_ptr().cast(), size_of_val(from)) }
    }

    fn read<T>(&self, to: &mut [T], from: u64) -> *mut sys::Status {
        // SAFETY: as in `write`.
        unsafe { cumo_trt_copy_to_host(self.stream, to.as_mut_ptr().cast(), from, size_of_val(to)) }
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe { cumo_trt_copy_on_device(self.stream, to, from, bytes) }
    }

    fn wait(&self) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe { cumo_trt_stream_synchronize(self.stream) }
    }

    fn begin(&self) {
        // SAFETY: as the header says.
        ok(unsafe { cumo_trt_graph_begin(self.stream) });
    }

    fn end(&self, out: &mut *mut sys::Graph) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe { cumo_trt_graph_end(self.stream, out) }
    }

    fn launch(&self, graph: *mut sys::Graph) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe { cumo_trt_graph_launch(graph, self.stream) }
    }

    fn pin(&self, bytes: usize) -> *mut c_void {
        // SAFETY: as the header says.
        made(|out| unsafe { cumo_trt_host_alloc(self.runtime, bytes, out) })
    }

    /// A builder with the network of a model, which are left behind.
    fn parse(&self, model: &[u8], out: &mut *mut sys::Network) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe {
            let builder = made(|out| cumo_trt_builder_create(self.library, ptr::null(), out));
            let (model, bytes) = (model.as_ptr().cast(), model.len());
            cumo_trt_network_parse(builder, model, bytes, ptr::null(), out)
        }
    }

    /// Parses a model and builds its engine.
    fn build(&self, model: &[u8], ranges: &[(&str, [&[i64]; 3])]) -> Vec<u8> {
        // SAFETY: as the header says.
        unsafe {
            let builder = made(|out| cumo_trt_builder_create(self.library, ptr::null(), out));
            let network = made(|out| {
                cumo_trt_network_parse(
                    builder,
                    model.as_ptr().cast(),
                    model.len(),
                    ptr::null(),
                    out,
                )
            });
            let blob = made(|out| {
                with_options(ranges, |options| {
                    cumo_trt_network_build(network, options, out, ptr::null_mut())
                })
            });
            let bytes = cumo_trt_blob_bytes(blob);
            let engine = std::slice::from_raw_parts(cumo_trt_blob_data(blob).cast::<u8>(), bytes);
            let engine = engine.to_vec();
            cumo_trt_blob_free(blob);
            cumo_trt_network_free(network);
            cumo_trt_builder_free(builder);
            engine
        }
    }

    fn load(&self, engine: &[u8], out: &mut *mut sys::Engine) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe { cumo_trt_engine_load(self.runtime, engine.as_ptr().cast(), engine.len(), out) }
    }

    /// A context of [`twice`] for one to four rows, with a shape and tensors.
    fn twice(&self, rows: i64) -> Twice {
        self.twice_after(rows, |_| ())
    }

    /// The same, with something done to the engine before it has a context.
    fn twice_after(&self, rows: i64, action: impl FnOnce(*mut sys::Engine)) -> Twice {
        let engine = self.build(&twice(), &[("x", [&[1, 4], &[2, 4], &[4, 4]])]);
        let engine = made(|out| {
            self.load(&engine, {
                // SAFETY: `made` gives an address to write to.
                unsafe { &mut *out }
            })
        });
        action(engine);
        // SAFETY: as the header says.
        let context = made(|out| unsafe { cumo_trt_context_create(engine, 0, out) });
        let bytes = rows as u64 * 16;
        let twice = Twice { engine, context, x: self.buffer(bytes), y: self.buffer(bytes), rows };
        ok(twice.shape(rows));
        ok(twice.set("x", twice.x));
        ok(twice.set("y", twice.y));
        twice
    }

    /// Frees all, and gives the violations.
    fn end_of_all(self) -> Vec<String> {
        // SAFETY: as the header says.
        unsafe {
            cumo_trt_stream_free(self.stream);
            cumo_trt_runtime_free(self.runtime);
            cumo_trt_library_free(self.library);
        }
        self.stand_in.violations()
    }

    /// Expects that the last violation says this.
    #[track_caller]
    fn was_violated(&self, part: &str) {
        let found = self.stand_in.violations();
        assert!(found.last().is_some_and(|text| text.contains(part)), "{found:?}");
    }
}

/// A context of [`twice`].
struct Twice {
    engine: *mut sys::Engine,
    context: *mut sys::Context,
    x: u64,
    y: u64,
    rows: i64,
}

impl Twice {
    fn shape(&self, rows: i64) -> *mut sys::Status {
        let shape = [rows, 4];
        // SAFETY: as the header says.
        unsafe { cumo_trt_context_set_shape(self.context, c"x".as_ptr(), shape.as_ptr(), 2) }
    }

    fn set(&self, tensor: &str, address: u64) -> *mut sys::Status {
        let tensor = CString::new(tensor).unwrap();
        // SAFETY: as the header says.
        unsafe { cumo_trt_context_set_address(self.context, tensor.as_ptr(), address) }
    }

    /// Another context of the engine, with activation memory of its own or to be given.
    fn another(&self, is_user_managed: bool) -> Twice {
        // SAFETY: as the header says.
        let context = made(|out| unsafe {
            cumo_trt_context_create(self.engine, is_user_managed.into(), out)
        });
        Twice { context, ..*self }
    }

    fn set_memory(&self, address: u64, bytes: u64) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe { cumo_trt_context_set_memory(self.context, address, bytes) }
    }

    fn activation_bytes(&self) -> u64 {
        let mut bytes = 0;
        // SAFETY: as the header says.
        ok(unsafe { cumo_trt_context_activation_bytes(self.context, &mut bytes) });
        bytes
    }

    fn enqueue(&self, rig: &Rig) -> *mut sys::Status {
        // SAFETY: as the header says.
        unsafe { cumo_trt_context_enqueue(self.context, rig.stream) }
    }

    fn free(self, rig: &Rig) {
        // SAFETY: as the header says.
        unsafe {
            cumo_trt_context_free(self.context);
            cumo_trt_engine_free(self.engine);
        }
        rig.free(self.x);
        rig.free(self.y);
    }
}

/// Calls with options of one profile, or without one.
fn with_options<T>(
    ranges: &[(&str, [&[i64]; 3])],
    call: impl FnOnce(*const sys::BuildOptions) -> T,
) -> T {
    let names: Vec<CString> = ranges.iter().map(|(name, _)| CString::new(*name).unwrap()).collect();
    let ranges: Vec<sys::Range> = ranges
        .iter()
        .zip(&names)
        .map(|((_, [min, opt, max]), name)| sys::Range {
            input: name.as_ptr(),
            rank: min.len(),
            min: min.as_ptr(),
            opt: opt.as_ptr(),
            max: max.as_ptr(),
        })
        .collect();
    let profile = sys::Profile { ranges: ranges.as_ptr(), num_ranges: ranges.len() };
    // SAFETY: all bytes zero are the defaults.
    let mut options: sys::BuildOptions = unsafe { std::mem::zeroed() };
    options.struct_bytes = size_of::<sys::BuildOptions>();
    if !ranges.is_empty() {
        (options.profiles, options.num_profiles) = (&profile, 1);
    }
    call(&options)
}

/// `y = x + x`, of any number of rows of four.
fn twice() -> Vec<u8> {
    let mut g = GraphBuilder::new();
    let x = g.input("x", DType::F32, dims!["rows", 4]).unwrap();
    let y = g.add_values(&x, &x).unwrap();
    g.output("y", &y, DType::F32, dims!["rows", 4]).unwrap();
    g.finish().encode("twice", "twice.data", ("test", "1"))
}

/// A cache of eight positions that is updated at an index.
fn cache() -> Vec<u8> {
    let mut g = GraphBuilder::with_opset(Opset::V24);
    let past = g.input("past", DType::F32, dims![1, 1, 8, 4]).unwrap();
    let rows = g.input("rows", DType::F32, dims![1, 1, 1, 4]).unwrap();
    let index = g.input("index", DType::I64, dims![1]).unwrap();
    let present = g.tensor_scatter(&past, &rows, &index).unwrap();
    g.output("present", &present, DType::F32, dims![1, 1, 8, 4]).unwrap();
    g.finish().encode("cache", "cache.data", ("test", "1"))
}
