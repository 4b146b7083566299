//! One step of a plan, prepared: what its inputs and outputs are bound to.

use std::path::Path;

use cumo_bundle::{Binding, Dtype, Manifest, Step, Value};

use crate::activations::Activations;
use crate::backend::{Backend, Buffer, Port, StepId, StepSpec, View};
use crate::cache::Cache;
use crate::error::Error;
use crate::shape::{Shape, Sizes};

/// What a step's time is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Vision,
    Connector,
    Embed,
    Decode,
}

/// A step that the backend has prepared.
#[derive(Debug)]
pub(crate) struct PreparedStep {
    id: StepId,
    stage: Stage,
    ports: Vec<BoundPort>,
}

#[derive(Debug)]
struct BoundPort {
    port: Port,
    place: Place,
    dtype: Dtype,
    shape: Shape,
    /// What it is bound to now.
    buffer: Option<Buffer>,
    dims: Vec<usize>,
}

/// The index of an activation or of a cache slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Activation(usize),
    CacheInput(usize),
    CacheOutput(usize),
}

impl PreparedStep {
    /// Prepares a step of a checked manifest.
    pub(crate) fn new(
        backend: &mut dyn Backend,
        folder: &Path,
        manifest: &Manifest,
        step: &Step,
        stage: Stage,
        activations: &mut Activations,
    ) -> Result<Self, Error> {
        let Some(graph) = manifest.graphs.get(&step.graph) else {
            return Err(Error::NoActivation(step.graph.clone()));
        };
        let bound = |values: &'_ [Value],
                     bindings: &std::collections::BTreeMap<String, Binding>| {
            let pairs = values.iter().filter_map(|value| {
                bindings.get(&value.name).map(|binding| (value.clone(), binding.clone()))
            });
            pairs.collect::<Vec<_>>()
        };
        let inputs = bound(&graph.inputs, &step.inputs);
        let outputs = bound(&graph.outputs, &step.outputs);

        let mut ports = Vec::new();
        let slot = |name: &str| manifest.plan.cache.iter().position(|slot| slot.name == name);
        let missing = |name: &str| Error::NoActivation(name.to_owned());
        for (index, (value, binding)) in inputs.iter().enumerate() {
            let place = match binding {
                Binding::Activation(name) => Place::Activation(activations.add(name, value.dtype)?),
                Binding::Cache(name) => Place::CacheInput(slot(name).ok_or_else(|| missing(name))?),
                Binding::Weight(name) => return Err(missing(name)),
            };
            ports.push(BoundPort::new(&step.graph, Port::Input(index), place, value)?);
        }
        for (index, (value, binding)) in outputs.iter().enumerate() {
            let place = match binding {
                Binding::Activation(name) => Place::Activation(activations.add(name, value.dtype)?),
                Binding::Cache(name) => {
                    Place::CacheOutput(slot(name).ok_or_else(|| missing(name))?)
                }
                Binding::Weight(name) => return Err(missing(name)),
            };
            ports.push(BoundPort::new(&step.graph, Port::Output(index), place, value)?);
        }
        let id = backend.prepare(&StepSpec {
            graph: &step.graph,
            file: &folder.join(&graph.file),
            inputs: &inputs.iter().map(|(value, _)| value).collect::<Vec<_>>(),
            outputs: &outputs.iter().map(|(value, _)| value).collect::<Vec<_>>(),
        })?;
        Ok(PreparedStep { id, stage, ports })
    }

    pub(crate) fn id(&self) -> StepId {
        self.id
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the step makes the activation of this index.
    pub(crate) fn writes(&self, activation: usize) -> bool {
        let writes = |port: &BoundPort| {
            matches!(port.port, Port::Output(_)) && port.place == Place::Activation(activation)
        };
        self.ports.iter().any(writes)
    }

    /// Sees to it that the step's activations have memory for the given sizes.
    pub(crate) fn make_room(
        &self,
        backend: &mut dyn Backend,
        sizes: &Sizes,
        activations: &mut Activations,
    ) -> Result<(), Error> {
        for port in &self.ports {
            if let Place::Activation(index) = port.place {
                activations.make_room(backend, index, port.shape.elements(sizes))?;
            }
        }
        Ok(())
    }

    /// Binds every input and output whose memory or shape is not what it was.
    pub(crate) fn bind(
        &mut self,
        backend: &mut dyn Backend,
        sizes: &Sizes,
        activations: &mut Activations,
        cache: &Cache,
    ) -> Result<(), Error> {
        for port in &mut self.ports {
            let buffer = match port.place {
                Place::Activation(index) => activations.buffer(index)?,
                Place::CacheInput(slot) => cache.input(slot).ok_or_else(no_cache)?,
                Place::CacheOutput(slot) => cache.output(slot).ok_or_else(no_cache)?,
            };
            if port.buffer == Some(buffer) && port.shape.is_resolved(sizes, &port.dims) {
                continue;
            }
            // Not known to be bound until it is.
            port.buffer = None;
            port.shape.resolve_into(sizes, &mut port.dims);
            backend.bind(
                self.id,
                port.port,
                View { buffer, dtype: port.dtype, shape: &port.dims },
            )?;
            port.buffer = Some(buffer);
            if let Place::Activation(index) = port.place {
                activations.set_shape(index, &port.dims);
            }
        }
        Ok(())
    }
}

fn no_cache() -> Error {
    Error::NoActivation("cache".to_owned())
}

impl BoundPort {
    fn new(graph: &str, port: Port, place: Place, value: &Value) -> Result<Self, Error> {
        let shape = Shape::new(graph, value)?;
        Ok(BoundPort { port, place, dtype: value.dtype, shape, buffer: None, dims: Vec::new() })
    }
}
