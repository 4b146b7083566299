//! Builders and networks.

use std::ffi::{CString, c_char, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::library::Library;
use super::{Blob, Log, c_text, fixed_shape, give, guard, slice, text};
use crate::engine::{Header, PERSISTENT_BYTES, Profile};
use crate::fault::{Fault, Result};
use crate::journal::Journal;
use crate::network::{self, LayerTensor};
use crate::objects::{self, Object};
use crate::sys::{self, code};

struct Builder {
    library: Arc<Library>,
    log: Log,
}

impl Object for Builder {
    const KIND: &'static str = "builder";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.library.journal.clone())
    }
}

/// A network with the texts that are given out.
struct Network {
    builder: Arc<Builder>,
    network: network::Network,
    tensors: Vec<(LayerTensor, bool, CString)>,
    layers: Vec<LayerTexts>,
}

struct LayerTexts {
    name: CString,
    kind: CString,
    plugin: CString,
    inputs: Vec<CString>,
    outputs: Vec<CString>,
}

impl Object for Network {
    const KIND: &'static str = "network";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.builder.library.journal.clone())
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_builder_create(
    library: *mut sys::Library,
    log: *const sys::Log,
    out: *mut *mut sys::Builder,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let number = objects::number(library);
        let library = objects::get::<Library, _>(library)?;
        if !library.settings.can_build {
            return Err(Fault::new(code::MISSING_LIBRARY, "the stand-in is a lean runtime"));
        }
        // SAFETY: the header.
        let builder = Builder { library, log: unsafe { Log::new(log) } };
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(builder), number)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_builder_free(builder: *mut sys::Builder) {
    objects::free::<Builder, _>(builder);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_network_parse(
    builder: *mut sys::Builder,
    model: *const c_void,
    model_bytes: usize,
    model_path: *const c_char,
    out: *mut *mut sys::Network,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let number = objects::number(builder);
        let builder = objects::get::<Builder, _>(builder)?;
        // SAFETY: the header.
        let model = unsafe { slice(model.cast::<u8>(), model_bytes) }?;
        let path = match model_path.is_null() {
            true => None,
            // SAFETY: the header.
            false => Some(PathBuf::from(unsafe { text(model_path) }?)),
        };
        let has_plugin = builder.library.has_plugin.load(Ordering::Relaxed);
        let network = network::parse(model, path.as_deref(), has_plugin)?;
        let network = Network::new(builder, network);
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(network), number)) }
    })
}

impl Network {
    fn new(builder: Arc<Builder>, network: network::Network) -> Network {
        let inputs = network.inputs.iter().map(|port| (port, true));
        let ports = inputs.chain(network.outputs.iter().map(|port| (port, false)));
        let tensors = ports.map(|(port, is_input)| {
            let (name, dtype) = (port.name.clone(), port.dtype.number());
            let tensor = LayerTensor { name, dtype, shape: Some(port.open_shape()) };
            let text = c_text(&tensor.name);
            (tensor, is_input, text)
        });
        let tensors = tensors.collect();
        let names = |tensors: &[LayerTensor]| tensors.iter().map(|it| c_text(&it.name)).collect();
        let layers = network.layers.iter().map(|layer| LayerTexts {
            name: c_text(&layer.name),
            kind: c_text(&layer.kind),
            plugin: c_text(&layer.plugin),
            inputs: names(&layer.inputs),
            outputs: names(&layer.outputs),
        });
        Network { layers: layers.collect(), tensors, builder, network }
    }
}

fn raw_tensor(tensor: &LayerTensor, is_input: bool, name: &CString) -> sys::Tensor {
    let shape = tensor.shape.as_deref().filter(|shape| shape.len() <= sys::MAX_RANK);
    sys::Tensor {
        name: name.as_ptr(),
        dtype: tensor.dtype,
        is_input: is_input.into(),
        is_host: 0,
        rank: shape.map_or(-1, |shape| i32::try_from(shape.len()).unwrap_or(-1)),
        shape: fixed_shape(shape.unwrap_or_default()),
    }
}

fn no_such(what: &str, index: usize) -> Fault {
    Fault::argument(format!("there is no {what} {index}"))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_network_num_tensors(network: *const sys::Network) -> usize {
    objects::get::<Network, _>(network).map_or(0, |network| network.tensors.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_network_tensor(
    network: *const sys::Network,
    index: usize,
    out: *mut sys::Tensor,
) -> *mut sys::Status {
    guard(|| {
        let network = objects::get::<Network, _>(network)?;
        let found = network.tensors.get(index).ok_or_else(|| no_such("tensor", index))?;
        // SAFETY: the header.
        unsafe { give(out, raw_tensor(&found.0, found.1, &found.2)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_network_num_layers(network: *const sys::Network) -> usize {
    objects::get::<Network, _>(network).map_or(0, |network| network.layers.len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_network_layer(
    network: *const sys::Network,
    index: usize,
    out: *mut sys::Layer,
) -> *mut sys::Status {
    guard(|| {
        let network = objects::get::<Network, _>(network)?;
        let texts = network.layers.get(index).ok_or_else(|| no_such("layer", index))?;
        let count = |texts: &[CString]| i32::try_from(texts.len()).unwrap_or(i32::MAX);
        let layer = sys::Layer {
            name: texts.name.as_ptr(),
            kind: texts.kind.as_ptr(),
            plugin: texts.plugin.as_ptr(),
            num_inputs: count(&texts.inputs),
            num_outputs: count(&texts.outputs),
        };
        // SAFETY: the header.
        unsafe { give(out, layer) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_network_layer_tensor(
    network: *const sys::Network,
    layer: usize,
    is_input: i32,
    index: usize,
    out: *mut sys::Tensor,
) -> *mut sys::Status {
    guard(|| {
        let network = objects::get::<Network, _>(network)?;
        let found = network.network.layers.get(layer).zip(network.layers.get(layer));
        let (found, texts) = found.ok_or_else(|| no_such("layer", layer))?;
        let (tensors, texts) = match is_input != 0 {
            true => (&found.inputs, &texts.inputs),
            false => (&found.outputs, &texts.outputs),
        };
        let tensor = tensors.get(index).zip(texts.get(index));
        let (tensor, text) = tensor.ok_or_else(|| no_such("tensor", index))?;
        // SAFETY: the header.
        unsafe { give(out, raw_tensor(tensor, is_input != 0, text)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_network_free(network: *mut sys::Network) {
    objects::free::<Network, _>(network);
}

/// What a build reports; a stand-in's has one phase of two steps.
const PHASE: &std::ffi::CStr = c"Standing in";

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_network_build(
    network: *mut sys::Network,
    options: *const sys::BuildOptions,
    engine: *mut *mut sys::Blob,
    timing_cache: *mut *mut sys::Blob,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(engine, ptr::null_mut()) }?;
        if !timing_cache.is_null() {
            // SAFETY: the header. There is no cache: nothing is timed.
            unsafe { give(timing_cache, ptr::null_mut()) }?;
        }
        let network = objects::get::<Network, _>(network)?;
        // SAFETY: the header.
        let options = unsafe { options.as_ref() };
        let options = options.ok_or_else(|| Fault::argument("there are no options"))?;
        if options.struct_bytes != size_of::<sys::BuildOptions>() {
            return Err(Fault::argument("options of another size"));
        }
        // SAFETY: the header.
        let profiles = unsafe { profiles(options) }?;
        // SAFETY: the header.
        let capabilities =
            unsafe { slice(options.compute_capabilities, options.num_compute_capabilities) }?;
        let library = &network.builder.library;
        network.builder.log.send(3, "the stand-in builds an engine");
        for (kind, steps) in [(sys::progress::START, 2), (sys::progress::STEP, 0)] {
            // SAFETY: the header.
            unsafe { report(options, kind, steps) }?;
        }
        let file = network.network.build(&library.settings.version, &profiles, capabilities)?;
        for (kind, steps) in [(sys::progress::STEP, 1), (2, 0)] {
            // SAFETY: the header.
            unsafe { report(options, kind, steps) }?;
        }
        let log = &network.builder.log;
        let (header, _) = Header::decode(&file, &library.settings.version)?;
        for profile in 0..profiles.len() {
            let bytes = header.most_activation_bytes(profile)?;
            log.send(3, &format!("Total Activation Memory: {bytes} bytes"));
        }
        log.send(3, &format!("Total Weights Memory: {} bytes", file.len()));
        log.send(3, &format!("Total Device Persistent Memory: {PERSISTENT_BYTES} bytes"));
        let blob = Blob { bytes: file, journal: library.journal.clone() };
        // SAFETY: the header.
        unsafe { give(engine, objects::put(Arc::new(blob), 0)) }
    })
}

/// # Safety
/// As the header says.
unsafe fn report(options: &sys::BuildOptions, kind: i32, steps: i32) -> Result<()> {
    let Some(call) = options.progress else { return Ok(()) };
    let progress = sys::Progress { kind, steps, phase: PHASE.as_ptr(), parent: c"".as_ptr() };
    // SAFETY: the caller's promise.
    match unsafe { call(options.progress_user, &progress) } {
        0 => Ok(()),
        _ => Err(Fault::new(code::CANCELLED, "the build was cancelled")),
    }
}

/// # Safety
/// The options' arrays are as the header says.
unsafe fn profiles(options: &sys::BuildOptions) -> Result<Vec<Profile>> {
    // SAFETY: the caller's promise.
    let profiles = unsafe { slice(options.profiles, options.num_profiles) }?;
    let profile = |profile: &sys::Profile| {
        // SAFETY: the caller's promise.
        let ranges = unsafe { slice(profile.ranges, profile.num_ranges) }?;
        let range = |range: &sys::Range| {
            let shape = |shape| {
                // SAFETY: the caller's promise.
                unsafe { slice(shape, range.rank) }.map(<[i64]>::to_vec)
            };
            // SAFETY: the caller's promise.
            let input = unsafe { text(range.input) }?;
            Ok((input, [shape(range.min)?, shape(range.opt)?, shape(range.max)?]))
        };
        ranges.iter().map(range).collect()
    };
    profiles.iter().map(profile).collect()
}
