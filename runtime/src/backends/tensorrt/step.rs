//! A step: what its inputs and outputs are bound to, and a context for every engine that runs it.

use std::collections::BTreeMap;
use std::ops::Range;

use cumo_bundle::{Dtype, Value};
use cumo_tensorrt::{Context, DType, DeviceBuffer, Engine};

use super::fault::of_graph;
use super::loaded::{LoadedEngine, choose};
use crate::backend::{BackendError, Buffer, Port, StepSpec};

/// A prepared step.
pub(super) struct Step {
    pub(super) graph: String,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    /// By the index of the engine.
    contexts: BTreeMap<usize, StepContext>,
    /// The engine that takes what is bound, and whether its context has all of it.
    ready: Option<usize>,
}

/// An input or output.
struct Tensor {
    name: String,
    bound: Option<Bound>,
}

/// Where a tensor lies.
struct Bound {
    buffer: Buffer,
    place: DeviceBuffer,
    shape: Vec<i64>,
}

struct StepContext {
    context: Context,
    /// What it was given of each input and output: the address and the shape.
    given: Vec<Option<(u64, Vec<i64>)>>,
    /// Whether the engine has each of them: TensorRT may drop an input that nothing reads.
    takes: Vec<bool>,
    /// How often it was changed.
    version: u64,
}

impl Step {
    /// A step of which nothing is bound yet, with a context on every engine of its graph over this
    /// activation memory: what contexts take is not found missing in the middle of an answer.
    ///
    /// # Errors
    /// [`BackendError::Signature`] where an engine of its graph has other inputs and outputs;
    /// [`BackendError::DeviceFull`].
    pub(super) fn new(
        spec: &StepSpec<'_>,
        engines: &[LoadedEngine],
        activations: &DeviceBuffer,
    ) -> Result<Self, BackendError> {
        for loaded in engines.iter().filter(|it| it.entry.graph == spec.graph) {
            check_signature(&loaded.engine, spec).map_err(|what| BackendError::Signature {
                file: loaded.entry.file.clone().into(),
                what,
            })?;
        }
        let tensors = |values: &[&Value]| {
            let tensor = |value: &&Value| Tensor { name: value.name.clone(), bound: None };
            values.iter().map(tensor).collect()
        };
        let mut step = Step {
            graph: spec.graph.to_owned(),
            inputs: tensors(spec.inputs),
            outputs: tensors(spec.outputs),
            contexts: BTreeMap::new(),
            ready: None,
        };
        let own = engines.iter().enumerate().filter(|(_, it)| it.entry.graph == spec.graph);
        for (index, loaded) in own {
            let context = step.new_context(&loaded.engine, activations)?;
            step.contexts.insert(index, context);
        }
        Ok(step)
    }

    /// Binds an input or output.
    pub(super) fn bind(
        &mut self,
        port: Port,
        buffer: Buffer,
        place: DeviceBuffer,
        shape: &[usize],
    ) {
        self.ready = None;
        let tensor = match port {
            Port::Input(index) => self.inputs.get_mut(index),
            Port::Output(index) => self.outputs.get_mut(index),
        };
        if let Some(tensor) = tensor {
            let shape = shape.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
            tensor.bound = Some(Bound { buffer, place, shape });
        }
    }

    /// Whether a context has memory at one of these addresses.
    pub(super) fn uses(&self, addresses: &Range<u64>) -> bool {
        let given = self.contexts.values().flat_map(|context| &context.given);
        given.flatten().any(|(at, _)| addresses.contains(at))
    }

    /// The engine whose context has all that is bound, and how often that was changed.
    pub(super) fn ready(&self) -> Option<(usize, u64)> {
        let engine = self.ready?;
        Some((engine, self.contexts.get(&engine)?.version))
    }

    /// Lets go of memory, where something is bound to it or a context has it. Passes that were
    /// recorded with it are forgotten elsewhere: they keep it.
    pub(super) fn let_go(&mut self, buffer: Buffer, addresses: &Range<u64>) {
        for tensor in self.inputs.iter_mut().chain(&mut self.outputs) {
            if tensor.bound.as_ref().is_some_and(|bound| bound.buffer == buffer) {
                tensor.bound = None;
                self.ready = None;
            }
        }
        let names = self.inputs.iter().chain(&self.outputs).map(|tensor| &tensor.name);
        for context in self.contexts.values_mut() {
            for (name, given) in names.clone().zip(&mut context.given) {
                if given.as_ref().is_some_and(|(at, _)| addresses.contains(at)) {
                    context.context.unset_tensor(name);
                    *given = None;
                }
            }
        }
    }

    /// Sees to it that a context has all that is bound. Gives the engine and how often its context
    /// was changed.
    ///
    /// # Errors
    /// [`BackendError::Run`] where no engine takes these shapes.
    pub(super) fn make_ready(
        &mut self,
        engines: &[LoadedEngine],
    ) -> Result<(usize, u64), BackendError> {
        let engine = self.choose(engines)?;
        let Some(context) = self.contexts.get_mut(&engine) else {
            return Err(refused(&self.graph, "no context".to_owned()));
        };
        let inputs = self.inputs.len();
        for (place, tensor) in self.inputs.iter().chain(&self.outputs).enumerate() {
            let Some(bound) = &tensor.bound else {
                return Err(refused(&self.graph, format!("`{}` is not bound", tensor.name)));
            };
            context.give(place, tensor, bound, place < inputs).map_err(of_graph(&self.graph))?;
        }
        self.ready = Some(engine);
        Ok((engine, context.version))
    }

    /// The context that runs next. [`Step::make_ready`] comes before it.
    pub(super) fn ready_context(&mut self) -> Option<&mut Context> {
        self.contexts.get_mut(&self.ready?).map(|context| &mut context.context)
    }

    fn new_context(
        &self,
        engine: &Engine,
        activations: &DeviceBuffer,
    ) -> Result<StepContext, BackendError> {
        let mut context = engine.context_without_memory().map_err(of_graph(&self.graph))?;
        context.set_memory(activations).map_err(of_graph(&self.graph))?;
        let has = |tensor: &Tensor| {
            let mut tensors = engine.inputs().iter().chain(engine.outputs());
            tensors.any(|own| own.name == tensor.name)
        };
        let takes: Vec<bool> = self.inputs.iter().chain(&self.outputs).map(has).collect();
        Ok(StepContext { context, given: vec![None; takes.len()], takes, version: 0 })
    }

    fn choose(&self, engines: &[LoadedEngine]) -> Result<usize, BackendError> {
        let shape = |name: &str| {
            let input = self.inputs.iter().find(|input| input.name == name)?;
            Some(input.bound.as_ref()?.shape.as_slice())
        };
        let entries = engines.iter().map(|loaded| &loaded.entry);
        choose(entries, &self.graph, shape).ok_or_else(|| {
            let shapes = self.inputs.iter().filter_map(|input| {
                Some(format!("`{}` {:?}", input.name, input.bound.as_ref()?.shape))
            });
            let shapes = shapes.collect::<Vec<_>>().join(", ");
            refused(&self.graph, format!("none of its engines takes inputs of shape {shapes}"))
        })
    }
}

impl StepContext {
    /// Gives the context a tensor, unless it has it.
    fn give(
        &mut self,
        place: usize,
        tensor: &Tensor,
        bound: &Bound,
        is_input: bool,
    ) -> Result<(), cumo_tensorrt::Error> {
        if !self.takes[place] {
            return Ok(());
        }
        let given = &mut self.given[place];
        let address = bound.place.address();
        if given.as_ref().is_some_and(|(at, shape)| *at == address && *shape == bound.shape) {
            return Ok(());
        }
        // Not known to be given until it is.
        let before = given.take();
        self.version += 1;
        let shape_of = |(_, shape): &(u64, Vec<i64>)| *shape == bound.shape;
        if is_input && !before.as_ref().is_some_and(shape_of) {
            self.context.set_shape(&tensor.name, &bound.shape)?;
        }
        self.context.set_tensor(&tensor.name, &bound.place)?;
        *given = Some((address, bound.shape.clone()));
        Ok(())
    }
}

fn refused(graph: &str, reason: String) -> BackendError {
    BackendError::Run { graph: graph.to_owned(), reason }
}

/// What an engine has otherwise than a step binds, if anything.
fn check_signature(engine: &Engine, spec: &StepSpec<'_>) -> Result<(), String> {
    let sides =
        [("input", engine.inputs(), spec.inputs), ("output", engine.outputs(), spec.outputs)];
    for (side, tensors, values) in sides {
        for tensor in tensors {
            match values.iter().find(|value| value.name == tensor.name) {
                None => {
                    return Err(format!("its {side} `{}` is not in the manifest", tensor.name));
                }
                Some(value) if tensor.dtype != dtype(value.dtype) => {
                    let (name, has, says) = (&tensor.name, tensor.dtype, value.dtype);
                    return Err(format!("{side} `{name}` is {has}, the manifest says {says}"));
                }
                Some(_) => {}
            }
        }
        for value in values {
            if side == "output" && !tensors.iter().any(|tensor| tensor.name == value.name) {
                return Err(format!("it has no output `{}`", value.name));
            }
        }
    }
    Ok(())
}

fn dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
    }
}
