//! ONNX Runtime's backend, with a record of what every step was given and what it gave.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use cumo_bundle::{Dtype, Value};
use cumo_runtime::backend::{
    Backend, BackendError, BackendFacts, Buffer, Interrupt, Port, StepId, StepSpec, View,
};
use cumo_runtime::backends::ort::OrtBackend;

/// A tensor that a step was given or gave.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// One run of a step.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) graph: String,
    pub(crate) inputs: Vec<Recorded>,
    pub(crate) outputs: Vec<Recorded>,
    /// For each output the input that lies in the same memory, if one does.
    pub(crate) in_place: Vec<Option<usize>>,
}

impl Call {
    /// The input of this name.
    pub(crate) fn input(&self, name: &str) -> Option<&Recorded> {
        self.inputs.iter().find(|input| input.name == name)
    }
}

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    buffer: Buffer,
    offset: usize,
    dtype: Dtype,
    shape: Vec<usize>,
}

struct Step {
    graph: String,
    inputs: Vec<(String, Option<Place>)>,
    outputs: Vec<(String, Option<Place>)>,
}

/// Records and passes on.
pub(crate) struct Recorder {
    backend: OrtBackend,
    steps: Vec<Step>,
    calls: Rc<RefCell<Vec<Call>>>,
}

impl Recorder {
    /// The calls are put into `calls` while the backend lives elsewhere.
    pub(crate) fn new(backend: OrtBackend, calls: Rc<RefCell<Vec<Call>>>) -> Self {
        Recorder { backend, steps: Vec::new(), calls }
    }

    fn record(&mut self, step: usize, outputs: bool) -> Result<Vec<Recorded>, BackendError> {
        let Recorder { backend, steps, .. } = self;
        let tensors = if outputs { &steps[step].outputs } else { &steps[step].inputs };
        let read = |(name, place): &(String, Option<Place>)| {
            let place = place.as_ref().unwrap();
            let bytes = place.shape.iter().product::<usize>() * place.dtype.size();
            Ok(Recorded {
                name: name.clone(),
                dtype: place.dtype,
                shape: place.shape.clone(),
                bytes: backend.read(place.buffer, place.offset, bytes)?.to_vec(),
            })
        };
        tensors.iter().map(read).collect()
    }
}

impl Backend for Recorder {
    fn facts(&self) -> BackendFacts {
        self.backend.facts()
    }

    fn allocate(&mut self, bytes: usize) -> Result<Buffer, BackendError> {
        self.backend.allocate(bytes)
    }

    fn map(&mut self, file: &Path) -> Result<Buffer, BackendError> {
        self.backend.map(file)
    }

    fn release(&mut self, buffer: Buffer) {
        self.backend.release(buffer);
    }

    fn write(&mut self, buffer: Buffer, offset: usize, bytes: &[u8]) -> Result<(), BackendError> {
        self.backend.write(buffer, offset, bytes)
    }

    fn read(&mut self, buffer: Buffer, offset: usize, bytes: usize) -> Result<&[u8], BackendError> {
        self.backend.read(buffer, offset, bytes)
    }

    fn copy(
        &mut self,
        from: (Buffer, usize),
        to: (Buffer, usize),
        bytes: usize,
    ) -> Result<(), BackendError> {
        self.backend.copy(from, to, bytes)
    }

    fn prepare(&mut self, spec: &StepSpec<'_>) -> Result<StepId, BackendError> {
        let id = self.backend.prepare(spec)?;
        let names = |values: &[&Value]| values.iter().map(|v| (v.name.clone(), None)).collect();
        assert_eq!(id.0, self.steps.len());
        self.steps.push(Step {
            graph: spec.graph.to_owned(),
            inputs: names(spec.inputs),
            outputs: names(spec.outputs),
        });
        Ok(id)
    }

    fn forget_from(&mut self, first: StepId) {
        self.steps.truncate(first.0);
        self.backend.forget_from(first);
    }

    fn bind(&mut self, step: StepId, port: Port, view: View<'_>) -> Result<(), BackendError> {
        self.backend.bind(step, port, view)?;
        let View { buffer, offset, dtype, shape } = view;
        let place = Place { buffer, offset, dtype, shape: shape.to_vec() };
        let step = &mut self.steps[step.0];
        match port {
            Port::Input(index) => step.inputs[index].1 = Some(place),
            Port::Output(index) => step.outputs[index].1 = Some(place),
        }
        Ok(())
    }

    fn run(&mut self, step: StepId) -> Result<(), BackendError> {
        let inputs = self.record(step.0, false)?;
        self.backend.run(step)?;
        let outputs = self.record(step.0, true)?;
        let Step { graph, inputs: given, outputs: made } = &self.steps[step.0];
        let same =
            |output: &(String, Option<Place>)| given.iter().position(|(_, p)| *p == output.1);
        let in_place = made.iter().map(same).collect();
        let graph = graph.clone();
        self.calls.borrow_mut().push(Call { graph, inputs, outputs, in_place });
        Ok(())
    }

    fn interrupt(&self) -> Option<Interrupt> {
        self.backend.interrupt()
    }
}
