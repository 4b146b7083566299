//! One step of a plan, prepared: what its inputs and outputs are bound to.

use std::collections::BTreeMap;
use std::path::Path;

use cumo_bundle::{Binding, CacheUpdate, Dtype, Manifest, Step, Value, names};

use crate::activations::Activations;
use crate::backend::{Action, Backend, BackendError, Buffer, Port, StepId, StepSpec, View};
use crate::cache::Cache;
use crate::error::Error;
use crate::shape::{Shape, Sizes};
use crate::weights::Weights;

/// What time is counted as: that of steps, and of copies between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Copy,
    Vision,
    Connector,
    Embed,
    Splice,
    Decode,
}

/// What steps are prepared with.
pub(crate) struct Preparation<'a> {
    pub(crate) backend: &'a mut dyn Backend,
    pub(crate) folder: &'a Path,
    pub(crate) manifest: &'a Manifest,
    pub(crate) activations: &'a mut Activations,
    pub(crate) weights: &'a mut Weights,
    /// The first step that was prepared, also where it could not be bound.
    pub(crate) first: &'a mut Option<StepId>,
}

/// A step that the backend has prepared. Its weights are bound.
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
    /// Rows that are put into a slot when the step has run, and the activation that says where.
    CacheRows {
        slot: usize,
        rows: usize,
        index: usize,
    },
}

impl PreparedStep {
    /// Prepares a step of a checked manifest and binds its weights.
    pub(crate) fn new(
        with: &mut Preparation<'_>,
        step: &Step,
        stage: Stage,
    ) -> Result<Self, Error> {
        let Some(graph) = with.manifest.graphs.get(&step.graph) else {
            return Err(Error::NoActivation(step.graph.clone()));
        };
        let inputs = bound(&graph.inputs, &step.inputs);
        let outputs = bound(&graph.outputs, &step.outputs);
        let id = with.backend.prepare(&StepSpec {
            graph: &step.graph,
            file: &with.folder.join(&graph.file),
            twin: graph.twin.as_ref().map(|twin| with.folder.join(twin)).as_deref(),
            inputs: &inputs.iter().map(|(value, _)| *value).collect::<Vec<_>>(),
            outputs: &outputs.iter().map(|(value, _)| *value).collect::<Vec<_>>(),
        })?;
        with.first.get_or_insert(id);
        let mut ports = Vec::new();
        for (index, (value, binding)) in inputs.into_iter().enumerate() {
            let port = Port::Input(index);
            let place = match binding {
                Binding::Activation(name) => with.activation(name, value)?,
                Binding::Cache(name) => Place::CacheInput(with.slot(name)?.0),
                Binding::Weight(name) => {
                    with.bind_weight(id, port, name)?;
                    continue;
                }
            };
            ports.push(BoundPort::new(&step.graph, port, place, value)?);
        }
        for (index, (value, binding)) in outputs.into_iter().enumerate() {
            let place = match binding {
                Binding::Activation(name) => with.activation(name, value)?,
                Binding::Cache(name) => match with.slot(name)? {
                    (slot, CacheUpdate::Rows) => {
                        // The same memory for this output of all steps of the graph: the rows
                        // are in the cache before the next one runs.
                        let name = format!("rows of {}.{}", step.graph, value.name);
                        let rows = with.activations.add(&name, value.dtype)?;
                        let index = with.activations.add(names::WRITE_INDICES, Dtype::I64)?;
                        Place::CacheRows { slot, rows, index }
                    }
                    (slot, CacheUpdate::Append | CacheUpdate::InPlace) => Place::CacheOutput(slot),
                },
                Binding::Weight(name) => return Err(Error::NoActivation(name.clone())),
            };
            ports.push(BoundPort::new(&step.graph, Port::Output(index), place, value)?);
        }
        Ok(PreparedStep { id, stage, ports })
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
            if let Place::Activation(index) | Place::CacheRows { rows: index, .. } = port.place {
                activations.make_room(backend, index, port.shape.elements(sizes))?;
            }
            if let Place::CacheRows { index, .. } = port.place {
                activations.make_room(backend, index, 1)?;
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
                Place::Activation(index) | Place::CacheRows { rows: index, .. } => {
                    activations.buffer(index)?
                }
                Place::CacheInput(slot) => cache.input(slot).ok_or_else(no_cache)?,
                Place::CacheOutput(slot) => cache.output(slot).ok_or_else(no_cache)?,
            };
            if port.buffer != Some(buffer) || !port.shape.is_resolved(sizes, &port.dims) {
                // Not known to be bound until it is.
                port.buffer = None;
                port.shape.resolve_into(sizes, &mut port.dims);
                let view = View { buffer, offset: 0, dtype: port.dtype, shape: &port.dims };
                backend.bind(self.id, port.port, view)?;
                port.buffer = Some(buffer);
            }
            if let Place::Activation(index) = port.place {
                activations.set_shape(index, &port.dims);
            }
        }
        Ok(())
    }

    /// What the step asks of a backend: to be run, and the rows that it makes to be put behind the
    /// cached ones.
    pub(crate) fn add_actions(
        &self,
        sizes: &Sizes,
        activations: &Activations,
        cache: &Cache,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        actions.push(Action::Run(self.id));
        for port in &self.ports {
            if let Place::CacheRows { slot, rows, index } = port.place {
                let (rows, index) = (activations.buffer(rows)?, activations.buffer(index)?);
                let write = cache.row_write(slot, rows, index, sizes.sequence);
                actions.push(Action::WriteRows(write.ok_or_else(no_cache)?));
            }
        }
        Ok(())
    }
}

impl Preparation<'_> {
    fn activation(&mut self, name: &str, value: &Value) -> Result<Place, Error> {
        Ok(Place::Activation(self.activations.add(name, value.dtype)?))
    }

    /// The index of a cache slot, and how it changes.
    fn slot(&self, name: &str) -> Result<(usize, CacheUpdate), Error> {
        let mut slots = self.manifest.plan.cache.iter().enumerate();
        let found = slots.find(|(_, slot)| slot.name == name);
        let missing = || Error::NoActivation(name.to_owned());
        found.map(|(index, slot)| (index, slot.update)).ok_or_else(missing)
    }

    fn bind_weight(&mut self, step: StepId, port: Port, name: &str) -> Result<(), Error> {
        let view = self.weights.view(self.backend, self.folder, self.manifest, name)?;
        self.backend.bind(step, port, view).map_err(|error| match error {
            // It was not when the bundle was opened.
            BackendError::OutOfBounds { offset, end, size } => {
                Error::CutWeights { name: name.to_owned(), offset, end, size }
            }
            error => Error::Backend(error),
        })
    }
}

/// The values that a step binds, in the graph's order.
fn bound<'a>(
    values: &'a [Value],
    bindings: &'a BTreeMap<String, Binding>,
) -> Vec<(&'a Value, &'a Binding)> {
    let pair = |value: &'a Value| Some((value, bindings.get(&value.name)?));
    values.iter().filter_map(pair).collect()
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
