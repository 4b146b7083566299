//! Runtimes and engines.

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::library::Library;
use super::{Blob, Log, c_text, fixed_shape, give, give_shape, guard, slice, text};
use crate::device::Device;
use crate::engine::{Header, Port};
use crate::fault::{Fault, Result};
use crate::journal::Journal;
use crate::kernels::Kernels;
use crate::objects::{self, Object};
use crate::session::Session;
use crate::sys::{self, code};

pub(super) struct Runtime {
    pub(super) device: Arc<Device>,
    library: Arc<Library>,
    log: Log,
    /// Its number, of the memory that it owns.
    pub(super) number: usize,
    kernels: Arc<Kernels>,
}

impl Object for Runtime {
    const KIND: &'static str = "runtime";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.device.journal.clone())
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_runtime_create(
    library: *mut sys::Library,
    device: i32,
    log: *const sys::Log,
    out: *mut *mut sys::Runtime,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let parent = objects::number(library);
        let library = objects::get::<Library, _>(library)?;
        let found = library.device()?.clone();
        if device != 0 {
            return Err(Fault::new(
                code::MISSING_DRIVER,
                format!("no device {device}: there is one"),
            ));
        }
        let number = found.state().number();
        // SAFETY: the header.
        let log = unsafe { Log::new(log) };
        log.send(3, "the stand-in is used");
        let kernels = Arc::default();
        let runtime = Runtime { device: found, library, log, number, kernels };
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(runtime), parent)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_runtime_memory(
    runtime: *mut sys::Runtime,
    free_bytes: *mut u64,
    total_bytes: *mut u64,
) -> *mut sys::Status {
    guard(|| {
        let runtime = objects::get::<Runtime, _>(runtime)?;
        let device = &runtime.device;
        let free = device.free_bytes(&*device.call(|| "memory".to_owned())?);
        // SAFETY: the header.
        unsafe { give(free_bytes, free) }?;
        // SAFETY: the header.
        unsafe { give(total_bytes, device.facts.total_bytes) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_runtime_free(runtime: *mut sys::Runtime) {
    let Some(runtime) = objects::free::<Runtime, _>(runtime) else { return };
    let device = &runtime.device;
    let state = device.state();
    let left = state.memory.left(runtime.number);
    let pinned = state.pinned.values().filter(|pinned| pinned.owner == runtime.number);
    for bytes in left.iter().map(|(_, bytes)| *bytes).chain(pinned.map(|pinned| pinned.bytes)) {
        device.journal.violation(format!("a runtime was freed before {bytes} bytes of its memory"));
    }
    device.journal.write_summary();
}

/// An engine with the texts that are given out.
pub(super) struct Engine {
    pub(super) device: Arc<Device>,
    pub(super) header: Arc<Header>,
    pub(super) session: Arc<Session>,
    /// Of its runtime.
    pub(super) kernels: Arc<Kernels>,
    names: Vec<CString>,
    aliases: Vec<(String, CString)>,
    bytes: u64,
}

impl Object for Engine {
    const KIND: &'static str = "engine";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.device.journal.clone())
    }
}

impl Engine {
    fn ports(&self) -> impl Iterator<Item = &Port> {
        self.header.inputs.iter().chain(&self.header.outputs)
    }

    /// Activation memory for the largest shapes of any profile.
    pub(super) fn most_activation_bytes(&self) -> Result<u64> {
        let profiles = 0..self.header.profiles.len();
        profiles
            .map(|profile| self.header.most_activation_bytes(profile))
            .try_fold(0, |most, bytes| Ok(most.max(bytes?)))
    }

    fn check_profile(&self, profile: usize) -> Result<()> {
        match profile < self.header.profiles.len() {
            true => Ok(()),
            false => Err(Fault::argument(format!("there is no profile {profile}"))),
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_load(
    runtime: *mut sys::Runtime,
    engine: *const c_void,
    engine_bytes: usize,
    out: *mut *mut sys::Engine,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let parent = objects::number(runtime);
        let runtime = objects::get::<Runtime, _>(runtime)?;
        // SAFETY: the header.
        let file = unsafe { slice(engine.cast::<u8>(), engine_bytes) }?;
        let loaded = load(&runtime, file).inspect_err(|fault| runtime.log.send(1, &fault.text))?;
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(loaded), parent)) }
    })
}

fn load(runtime: &Runtime, file: &[u8]) -> Result<Engine> {
    let device = runtime.device.clone();
    let mut state = device.call(|| format!("load an engine of {} bytes", file.len()))?;
    device.refuse_in_capture(&mut state, "an engine was loaded")?;
    let (header, model) = Header::decode(file, &runtime.library.settings.version)?;
    let wrong = |text: String| Fault::new(code::WRONG_ENGINE, text);
    let capability = device.facts.compute_capability;
    let is_for = &header.compute_capabilities;
    if !is_for.is_empty() && !is_for.contains(&capability) {
        return Err(wrong(format!("an engine for {is_for:?}, the device is {capability}")));
    }
    if header.needs_plugin && !runtime.library.has_plugin.load(Ordering::Relaxed) {
        return Err(wrong("the engine needs a plugin that is not loaded".to_owned()));
    }
    let bytes = file.len() as u64;
    device.allocation(&mut state, bytes, "an engine")?;
    let session = Session::of(model).map_err(wrong)?;
    state.memory.used_bytes += bytes;
    drop(state);
    let names = header.inputs.iter().chain(&header.outputs).map(|port| c_text(&port.name));
    let aliases = header.aliases.iter().map(|(output, input)| (output.clone(), c_text(input)));
    let (names, aliases) = (names.collect(), aliases.collect());
    let header = Arc::new(header);
    let kernels = runtime.kernels.clone();
    Ok(Engine { device, header, session, kernels, names, aliases, bytes })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_num_tensors(engine: *const sys::Engine) -> usize {
    objects::get::<Engine, _>(engine).map_or(0, |engine| engine.names.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_tensor(
    engine: *const sys::Engine,
    index: usize,
    out: *mut sys::Tensor,
) -> *mut sys::Status {
    guard(|| {
        let engine = objects::get::<Engine, _>(engine)?;
        let found = engine.ports().zip(&engine.names).nth(index);
        let none = || Fault::argument(format!("there is no tensor {index}"));
        let (port, name) = found.ok_or_else(none)?;
        let shape = port.open_shape();
        let tensor = sys::Tensor {
            name: name.as_ptr(),
            dtype: port.dtype.number(),
            is_input: (index < engine.header.inputs.len()).into(),
            is_host: 0,
            rank: i32::try_from(shape.len()).unwrap_or(-1),
            shape: fixed_shape(&shape),
        };
        // SAFETY: the header.
        unsafe { give(out, tensor) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_num_profiles(engine: *const sys::Engine) -> usize {
    objects::get::<Engine, _>(engine).map_or(0, |engine| engine.header.profiles.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_profile(
    engine: *const sys::Engine,
    input: *const c_char,
    profile: usize,
    min: *mut i64,
    opt: *mut i64,
    max: *mut i64,
) -> *mut sys::Status {
    guard(|| {
        let engine = objects::get::<Engine, _>(engine)?;
        // SAFETY: the header.
        let input = unsafe { text(input) }?;
        engine.check_profile(profile)?;
        let port = engine.header.inputs.iter().find(|port| port.name == input);
        let port = port.ok_or_else(|| Fault::argument(format!("there is no input `{input}`")))?;
        let shapes = engine.header.range(profile, port);
        for (out, shape) in [min, opt, max].into_iter().zip(&shapes) {
            // SAFETY: the header.
            unsafe { give_shape(out, shape) }?;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_aliased_input(
    engine: *const sys::Engine,
    output: *const c_char,
) -> *const c_char {
    let empty = c"".as_ptr();
    let Ok(engine) = objects::get::<Engine, _>(engine) else { return empty };
    // SAFETY: the header.
    let Ok(output) = (unsafe { text(output) }) else { return empty };
    let found = engine.aliases.iter().find(|(name, _)| *name == output);
    found.map_or(empty, |(_, input)| input.as_ptr())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_activation_bytes(
    engine: *const sys::Engine,
    profile: usize,
    out: *mut u64,
) -> *mut sys::Status {
    guard(|| {
        let engine = objects::get::<Engine, _>(engine)?;
        engine.check_profile(profile)?;
        // SAFETY: the header.
        unsafe { give(out, engine.header.most_activation_bytes(profile)?) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_inspect(
    engine: *const sys::Engine,
    out: *mut *mut sys::Blob,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let engine = objects::get::<Engine, _>(engine)?;
        let bytes = serde_json::to_vec(&*engine.header).unwrap_or_default();
        let blob = Blob { bytes, journal: engine.device.journal.clone() };
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(blob), 0)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_load_compiled_kernels(
    engine: *mut sys::Engine,
    kernels: *const c_void,
    kernels_bytes: usize,
) -> *mut sys::Status {
    guard(|| {
        let engine = objects::get::<Engine, _>(engine)?;
        drop(engine.device.call(|| format!("take {kernels_bytes} bytes of kernels"))?);
        // SAFETY: the header.
        let kernels = unsafe { slice(kernels.cast::<u8>(), kernels_bytes) }?;
        engine.kernels.load(kernels).map_err(|(is_late, why)| match is_late {
            true => Fault::argument(why),
            false => Fault::new(code::RUN, format!("{kernels_bytes} bytes are no kernels: {why}")),
        })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_runtime_compiled_kernels(
    runtime: *mut sys::Runtime,
    out: *mut *mut sys::Blob,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let runtime = objects::get::<Runtime, _>(runtime)?;
        let device = &runtime.device;
        let mut state = device.call(|| "give kernels".to_owned())?;
        device.refuse_in_capture(&mut state, "kernels were read")?;
        drop(state);
        let Some(bytes) = runtime.kernels.bytes() else { return Ok(()) };
        let blob = Blob { bytes, journal: device.journal.clone() };
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(blob), 0)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_engine_free(engine: *mut sys::Engine) {
    let Some(engine) = objects::free::<Engine, _>(engine) else { return };
    engine.device.state().memory.used_bytes -= engine.bytes;
}
