//! Execution contexts.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::runtime::Engine;
use super::stream::Stream;
use super::{give, give_shape, guard, slice, text};
use crate::device::{Device, State};
use crate::engine::PERSISTENT_BYTES;
use crate::execution::Execution;
use crate::fault::{Fault, Result};
use crate::journal::Journal;
use crate::objects::{self, Object};
use crate::queue::Work;
use crate::sys::{self, code};

pub(super) struct Context {
    engine: Arc<Engine>,
    number: usize,
    /// Activation memory of its own; none where it is given.
    own_bytes: Option<u64>,
    set: Mutex<Set>,
}

/// What was set.
#[derive(Default)]
struct Set {
    profile: usize,
    shapes: BTreeMap<String, Vec<i64>>,
    addresses: BTreeMap<String, u64>,
    memory: Option<(u64, u64)>,
    /// The changes that were there when it was last put on a stream outside a capture.
    settled: Option<u64>,
}

impl Object for Context {
    const KIND: &'static str = "context";

    fn journal(&self) -> Option<Arc<Journal>> {
        Some(self.engine.device.journal.clone())
    }
}

impl Context {
    fn device(&self) -> &Device {
        &self.engine.device
    }

    fn set(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that it will run something else.
    fn change(&self, state: &mut State) {
        *state.contexts.entry(self.number).or_default() += 1;
    }

    /// Shapes of all tensors, fixed ones among them.
    fn shapes(&self, set: &Set) -> Result<BTreeMap<String, Vec<i64>>> {
        self.engine.header.shapes(&set.shapes)
    }
}

/// TensorRT's for tensors (`IExecutionContext::setTensorAddress`) and CUDA's for memory.
const ALIGNMENT: u64 = 256;

fn refused(text: String) -> Fault {
    Fault::new(code::RUN, text)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_context_create(
    engine: *mut sys::Engine,
    is_user_managed: i32,
    out: *mut *mut sys::Context,
) -> *mut sys::Status {
    guard(|| {
        // SAFETY: the header.
        unsafe { give(out, ptr::null_mut()) }?;
        let parent = objects::number(engine);
        let engine = objects::get::<Engine, _>(engine)?;
        let mut state = engine.device.call(|| format!("context of `{}`", engine.header.graph))?;
        engine.device.refuse_in_capture(&mut state, "a context was made")?;
        let own_bytes = match is_user_managed {
            0 => Some(engine.most_activation_bytes()?),
            _ => None,
        };
        let bytes = own_bytes.unwrap_or(0) + PERSISTENT_BYTES;
        engine.device.allocation(&mut state, bytes, "a context")?;
        state.memory.used_bytes += bytes;
        let number = state.number();
        state.contexts.insert(number, 0);
        drop(state);
        engine.kernels.begin();
        let context = Context { engine, number, own_bytes, set: Mutex::default() };
        // SAFETY: the header.
        unsafe { give(out, objects::put(Arc::new(context), parent)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_context_set_memory(
    context: *mut sys::Context,
    address: u64,
    bytes: u64,
) -> *mut sys::Status {
    guard(|| {
        let context = objects::get::<Context, _>(context)?;
        if context.own_bytes.is_some() {
            return Err(refused("the context has activation memory of its own".to_owned()));
        }
        let mut state = context.device().state();
        let found = state.memory.find(address, bytes).map(|_| address.is_multiple_of(ALIGNMENT));
        let wrong = match found {
            Ok(true) => None,
            Ok(false) => Some(format!("{address:#x} is no multiple of {ALIGNMENT}")),
            Err(why) => Some(why),
        };
        if let Some(why) = wrong {
            return Err(context.device().journal.violation(format!("activation memory: {why}")));
        }
        let mut set = context.set();
        if set.memory != Some((address, bytes)) {
            context.change(&mut state);
            set.memory = Some((address, bytes));
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_context_set_profile(
    context: *mut sys::Context,
    profile: usize,
    stream: *mut sys::Stream,
) -> *mut sys::Status {
    guard(|| {
        let context = objects::get::<Context, _>(context)?;
        objects::get::<Stream, _>(stream)?;
        let mut state = context.device().call(|| format!("profile {profile}"))?;
        context.device().refuse_in_capture(&mut state, "a profile was chosen")?;
        if profile >= context.engine.header.profiles.len() {
            return Err(refused(format!("there is no profile {profile}")));
        }
        let mut set = context.set();
        if set.profile != profile {
            context.change(&mut state);
            set.profile = profile;
            set.shapes.clear();
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_context_set_shape(
    context: *mut sys::Context,
    input: *const c_char,
    shape: *const i64,
    rank: usize,
) -> *mut sys::Status {
    guard(|| {
        let context = objects::get::<Context, _>(context)?;
        // SAFETY: the header.
        let (input, shape) = unsafe { (text(input)?, slice(shape, rank)?) };
        let mut set = context.set();
        context.engine.header.check_shape(set.profile, &input, shape)?;
        if set.shapes.get(&input).map(Vec::as_slice) != Some(shape) {
            context.change(&mut context.device().state());
            set.shapes.insert(input, shape.to_vec());
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_context_shape(
    context: *const sys::Context,
    tensor: *const c_char,
    shape: *mut i64,
    rank: *mut usize,
) -> *mut sys::Status {
    guard(|| {
        let context = objects::get::<Context, _>(context)?;
        // SAFETY: the header.
        let tensor = unsafe { text(tensor) }?;
        context.engine.header.port(&tensor)?;
        let shapes = context.shapes(&context.set())?;
        let found = shapes.get(&tensor).map(Vec::as_slice).unwrap_or_default();
        // SAFETY: the header.
        unsafe { give_shape(shape, found) }?;
        // SAFETY: the header.
        unsafe { give(rank, found.len()) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_context_set_address(
    context: *mut sys::Context,
    tensor: *const c_char,
    address: u64,
) -> *mut sys::Status {
    guard(|| {
        let context = objects::get::<Context, _>(context)?;
        // SAFETY: the header.
        let tensor = unsafe { text(tensor) }?;
        context.engine.header.port(&tensor)?;
        if !address.is_multiple_of(ALIGNMENT) {
            let text = format!("`{tensor}` at {address:#x}, which is no multiple of {ALIGNMENT}");
            return Err(context.device().journal.violation(text));
        }
        context.set().addresses.insert(tensor, address);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_context_activation_bytes(
    context: *mut sys::Context,
    out: *mut u64,
) -> *mut sys::Status {
    guard(|| {
        let context = objects::get::<Context, _>(context)?;
        if context.own_bytes.is_some() {
            return Err(refused("the context has activation memory of its own".to_owned()));
        }
        let shapes = context.shapes(&context.set())?;
        check_known(&context, &shapes)?;
        // SAFETY: the header.
        unsafe { give(out, context.engine.header.activation_bytes(&shapes)) }
    })
}

fn check_known(context: &Context, shapes: &BTreeMap<String, Vec<i64>>) -> Result<()> {
    match shapes.iter().find(|(_, shape)| shape.contains(&-1)) {
        None => Ok(()),
        Some((name, shape)) => {
            let graph = &context.engine.header.graph;
            Err(refused(format!("`{graph}`: the shape of `{name}` is not known: {shape:?}")))
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_context_enqueue(
    context: *mut sys::Context,
    stream: *mut sys::Stream,
) -> *mut sys::Status {
    guard(|| {
        let context = objects::get::<Context, _>(context)?;
        let stream = objects::get::<Stream, _>(stream)?;
        let device = context.device();
        let mut set = context.set();
        let shapes = context.shapes(&set)?;
        let header = &context.engine.header;
        let mut state = device.call(|| {
            let shape =
                |port: &crate::engine::Port| format!("{}{:?}", port.name, shapes.get(&port.name));
            let open = header.inputs.iter().filter(|port| port.open_shape().contains(&-1));
            format!("execute `{}` {}", header.graph, open.map(shape).collect::<Vec<_>>().join(" "))
        })?;
        check_known(&context, &shapes)?;
        if let Some(port) = header
            .inputs
            .iter()
            .chain(&header.outputs)
            .find(|port| !set.addresses.contains_key(&port.name))
        {
            let text = format!("`{}`: `{}` has no address", header.graph, port.name);
            return Err(refused(text));
        }
        let needed = header.activation_bytes(&shapes);
        let activations = set.memory.map(|(address, bytes)| (address, needed.min(bytes)));
        if context.own_bytes.is_none() && activations.is_none_or(|(_, bytes)| bytes < needed) {
            let given = set.memory.map_or(0, |(_, bytes)| bytes);
            let text = format!(
                "`{}` needs {needed} bytes of activation memory, has {given}",
                header.graph
            );
            return Err(refused(text));
        }
        let changes = state.contexts.get(&context.number).copied().unwrap_or_default();
        match Device::is_captured(&state, stream.number) {
            true if set.settled != Some(changes) => {
                let what = format!("`{}` was run for the first time with its shapes", header.graph);
                return device.refuse_in_capture(&mut state, &what);
            }
            true => {}
            false => set.settled = Some(changes),
        }
        let compiled = context.engine.kernels.compile(format!("{} {shapes:?}", header.graph));
        device.journal.count().compilations += u64::from(compiled);
        let execution = Execution {
            header: header.clone(),
            session: context.engine.session.clone(),
            context: (context.number, changes),
            shapes,
            addresses: set.addresses.clone(),
            activations,
        };
        device.put(&mut state, stream.number, Work::Execute(Arc::new(execution)))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cumo_trt_context_free(context: *mut sys::Context) {
    let Some(context) = objects::free::<Context, _>(context) else { return };
    let mut state = context.device().state();
    // What it has yet to do is done before, as by TensorRT, whose destructor waits.
    drop(context.device().run_all(&mut state));
    state.contexts.remove(&context.number);
    state.memory.used_bytes -= context.own_bytes.unwrap_or(0) + PERSISTENT_BYTES;
}
