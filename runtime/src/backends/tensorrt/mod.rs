//! The TensorRT backend: a folder of engines, on an NVIDIA device. Not yet seen on a GPU.
//!
//! Everything lies on the device: weights, which are brought there once through pinned memory; the
//! cache, which engines write where it lies; the tensors between steps. What goes over is pixels,
//! ids and positions, and what comes back is one row of logits. A step has a context for each
//! engine that runs it, all over one block of activation memory. Steps are put on one stream and
//! run behind their caller; a pass that repeats is recorded as one CUDA graph.

mod fault;
mod loaded;
mod memory;
mod needed;
mod recorder;
mod step;
mod toolkit;
mod weights;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cumo_bundle::{Binding, Engines, Manifest, WeightsFiles};
use cumo_tensorrt::{DeviceBuffer, DeviceInfo, Graph, LibraryPlaces, Runtime, Staging, Stream};

use super::slots::Slots;
use crate::backend::{
    Backend, BackendError, BackendFacts, BackendLimits, Buffer, DeviceFacts, Interrupt, Port, Rows,
    StepId, StepSpec, View,
};
use crate::error::Error;
use fault::{during, of_graph};
use loaded::LoadedEngine;
use memory::{Given, Ledger};
use recorder::{Recorder, RunOf, Turn};
use step::Step;
use toolkit::Toolkit;

pub use toolkit::{TensorrtFound, find_tensorrt};

/// Bytes of each of the two blocks of pinned memory: the pixels of twelve images of 336 x 336 in
/// f32, and large enough for a disk and a bus to be at full speed.
const STAGING_BYTES: usize = 16 << 20;

/// Settings of the TensorRT backend.
#[derive(Debug, Clone, Default)]
pub struct TensorrtOptions {
    /// The device's place among the machine's NVIDIA devices.
    pub device: usize,
    /// Where TensorRT and the shim are, where they are not to be looked for.
    pub libraries: LibraryPlaces,
    /// The plugin's file, where it is not to be looked for.
    pub plugin: Option<PathBuf>,
    /// Where weights lie.
    pub weights: Weights,
    /// Told as weights are brought to the device.
    pub progress: Progress,
}

/// Where weights lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weights {
    /// In the device's memory.
    #[default]
    Copied,
    /// In the host's, of files that are mapped: for devices that share it.
    InPlace,
}

/// Is called with the bytes of a file of weights that were brought to the device, and with all of
/// the file's.
#[derive(Clone, Default)]
pub struct Progress(pub Option<Arc<dyn Fn(u64, u64) + Send + Sync>>);

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(..)" } else { "Progress(none)" })
    }
}

/// Runs engines with TensorRT.
pub struct TensorrtBackend {
    // The order is that of dropping: what uses comes before what is used.
    recorder: Recorder<Graph>,
    steps: Vec<Step>,
    buffers: Slots<Given>,
    staging: Staging,
    activations: DeviceBuffer,
    stream: Stream,
    engines: Vec<LoadedEngine>,
    runtime: Runtime,
    device: DeviceInfo,
    library: (String, String),
    limits: BackendLimits,
    options: TensorrtOptions,
    ledger: Ledger,
    stop: Arc<AtomicBool>,
    /// Whether steps were put on the stream since it was waited for.
    is_busy: bool,
    runs: Vec<RunOf>,
    notes: Vec<String>,
}

/// The manifest that the executor walks: that of the bundle, with the sizes that engines were built
/// for, and without weights that are in them.
pub(crate) fn runs_as(engines: &Engines) -> Manifest {
    let (mut manifest, limits) = (engines.manifest.bundle.clone(), &engines.manifest.limits);
    manifest.model.llm.context_length = limits.max_context;
    manifest.plan.attended.clone_from(&limits.attended);
    if engines.manifest.weights_files == WeightsFiles::Engines {
        let plan = &mut manifest.plan;
        let phases = [&mut plan.encode_images, &mut plan.embed_tokens, &mut plan.decode];
        for step in phases.into_iter().flatten() {
            step.inputs.retain(|_, binding| !matches!(binding, Binding::Weight(_)));
        }
    }
    manifest
}

impl TensorrtBackend {
    /// Takes a device, sees whether the model fits before anything of it is allocated, and loads
    /// the folder's engines.
    ///
    /// # Errors
    /// [`Error::Bundle`] where this machine is not the engines', with every difference, or a file
    /// is damaged; [`BackendError::Tensorrt`], [`BackendError::Graph`],
    /// [`BackendError::DeviceMemory`] with what is missing, [`BackendError::DeviceFull`].
    pub fn new(engines: &Engines, options: TensorrtOptions) -> Result<Self, Error> {
        let toolkit = Toolkit::open(engines, &options)?;
        memory::check_unloaded(engines, &toolkit)?;
        let loaded = loaded::load(engines, &toolkit.runtime)?;
        let activation_bytes = loaded::activation_bytes(&loaded)?;
        memory::check(engines, &toolkit, activation_bytes, 0)?;
        let mut ledger = Ledger::default();
        for engine in &loaded {
            ledger.take(loaded::constant_bytes(engines, &engine.entry));
        }
        let Toolkit { runtime, device, library } = toolkit;
        let block = runtime.buffer(activation_bytes).map_err(during("allocating activations"))?;
        ledger.take(activation_bytes);
        let limits = &engines.manifest.limits;
        Ok(TensorrtBackend {
            recorder: Recorder::default(),
            steps: Vec::new(),
            buffers: Slots::default(),
            staging: Staging::new(&runtime, STAGING_BYTES)
                .map_err(during("allocating pinned memory"))?,
            activations: block,
            stream: runtime.stream().map_err(during("making a stream"))?,
            engines: loaded,
            runtime,
            device,
            library: (engines.manifest.tensorrt.flavour.to_string(), library.version()),
            limits: BackendLimits {
                images: Some(limits.max_images),
                sequence: Some(limits.max_prompt),
                cache: Some(limits.max_context),
            },
            options,
            ledger,
            stop: Arc::default(),
            is_busy: false,
            runs: Vec::new(),
            notes: Vec::new(),
        })
    }

    fn given(&self, buffer: Buffer) -> Result<&Given, BackendError> {
        let missing = BackendError::OutOfBounds { offset: 0, end: 0, size: 0 };
        self.buffers.get(buffer).ok_or(missing)
    }

    fn keep(&mut self, place: DeviceBuffer, is_read_only: bool) -> Buffer {
        self.buffers.keep(Given { place, is_read_only })
    }

    fn check_stop(&self) -> Result<(), BackendError> {
        match self.stop.load(Ordering::SeqCst) {
            true => Err(BackendError::Interrupted),
            false => Ok(()),
        }
    }

    /// Gives a step's context all that is bound.
    fn make_ready(&mut self, id: StepId) -> Result<RunOf, BackendError> {
        let step = self.steps.get(id.0).ok_or_else(no_step)?;
        if let Some((engine, version)) = step.ready() {
            return Ok(RunOf { step: id, engine, version });
        }
        // TensorRT does not say that a context may be changed while the device is at its last
        // execution. It happens between pieces of a prompt, and where a rung ends.
        self.wait()?;
        let step = self.steps.get_mut(id.0).ok_or_else(no_step)?;
        let (engine, version) = step.make_ready(&self.engines)?;
        Ok(RunOf { step: id, engine, version })
    }

    /// Waits for the steps on the stream, if there are any.
    fn wait(&mut self) -> Result<(), BackendError> {
        if self.is_busy {
            self.stream.synchronize().map_err(during("waiting for the device"))?;
            self.is_busy = false;
        }
        Ok(())
    }

    /// Puts steps that are ready on the stream.
    fn enqueue(&mut self, steps: &[StepId]) -> Result<(), BackendError> {
        self.is_busy = true;
        for id in steps {
            self.check_stop()?;
            let step = self.steps.get_mut(id.0).ok_or_else(no_step)?;
            let graph = step.graph.clone();
            let context = step.ready_context().ok_or_else(no_step)?;
            context.enqueue(&self.stream).map_err(of_graph(&graph))?;
        }
        Ok(())
    }

    /// Records steps that are ready, and have run before, as one graph.
    fn record(&mut self, steps: &[StepId]) -> Result<Graph, cumo_tensorrt::Error> {
        let all = &mut self.steps;
        self.stream.capture(|stream| {
            for id in steps {
                if let Some(context) = all.get_mut(id.0).and_then(Step::ready_context) {
                    context.enqueue(stream)?;
                }
            }
            Ok(())
        })
    }

    fn run_recorded(&mut self, steps: &[StepId]) -> Result<(), BackendError> {
        let playing = || during("running recorded steps");
        self.is_busy = true;
        match self.recorder.turn(&self.runs) {
            Turn::Plain => {
                let done = self.enqueue(steps);
                if done.is_err() {
                    self.recorder.has_failed(&self.runs);
                }
                return done;
            }
            Turn::Play(graph) => return graph.launch(&self.stream).map_err(playing()),
            Turn::Record => {}
        }
        match self.record(steps) {
            Ok(graph) => match self.recorder.keep(graph) {
                Some(graph) => graph.launch(&self.stream).map_err(playing()),
                None => self.enqueue(steps),
            },
            // Nothing has run of what was to be recorded.
            Err(error) => {
                self.recorder.give_up();
                self.notes.push(format!(
                    "decoding steps are put on the device one by one, which is slower: they cannot \
                     be recorded as one CUDA graph ({error})"
                ));
                self.enqueue(steps)
            }
        }
    }

    /// Copies within a buffer where source and target overlap, by way of other memory.
    fn copy_overlapping(
        &self,
        from: &DeviceBuffer,
        to: &DeviceBuffer,
    ) -> Result<(), cumo_tensorrt::Error> {
        let between = self.runtime.buffer(from.bytes())?;
        self.stream.copy(&between, from)?;
        self.stream.copy(to, &between)?;
        self.stream.synchronize()
    }
}

fn no_step() -> BackendError {
    BackendError::Run { graph: String::new(), reason: "there is no such step".to_owned() }
}

impl Drop for TensorrtBackend {
    fn drop(&mut self) {
        // What is dropped after this is not used any more, or the device is lost.
        drop(self.stream.synchronize());
    }
}

impl Backend for TensorrtBackend {
    fn facts(&self) -> BackendFacts {
        BackendFacts {
            library: self.library.0.clone(),
            version: self.library.1.clone(),
            threads: None,
            device: Some(DeviceFacts {
                name: self.device.name.clone(),
                compute_capability: u32::try_from(self.device.compute_capability)
                    .unwrap_or_default(),
                total_bytes: self.device.total_bytes,
                peak_bytes: self.ledger.peak(),
            }),
        }
    }

    fn limits(&self) -> BackendLimits {
        self.limits
    }

    fn allocate(&mut self, bytes: usize) -> Result<Buffer, BackendError> {
        let doing = format!("allocating {bytes} bytes");
        let place = self.runtime.buffer(bytes as u64).map_err(during(&doing))?;
        self.stream.fill(&place, 0).map_err(during(&doing))?;
        self.ledger.take(place.bytes());
        Ok(self.keep(place, false))
    }

    fn map(&mut self, file: &Path) -> Result<Buffer, BackendError> {
        if self.options.weights == Weights::InPlace {
            let place = weights::map(file, &self.runtime)?;
            self.ledger.take(place.bytes());
            return Ok(self.keep(place, true));
        }
        let (runtime, stream, staging) = (&self.runtime, &self.stream, &mut self.staging);
        let place = weights::upload(file, runtime, stream, staging, &self.options.progress)?;
        self.ledger.take(place.bytes());
        Ok(self.keep(place, true))
    }

    fn release(&mut self, buffer: Buffer) {
        let Some(Given { place, .. }) = self.buffers.take(buffer) else { return };
        // What is on the stream may use it; where the device is lost, nothing does.
        drop(self.stream.synchronize());
        let addresses = place.address()..place.address() + place.bytes().max(1);
        for (index, step) in self.steps.iter_mut().enumerate() {
            if step.uses(&addresses) {
                self.recorder.forget(StepId(index));
            }
            step.let_go(buffer, &addresses);
        }
        self.ledger.give_back(place.bytes());
    }

    fn write(&mut self, buffer: Buffer, offset: usize, bytes: &[u8]) -> Result<(), BackendError> {
        let place = self.given(buffer)?.writable(offset, bytes.len())?;
        let written = self.staging.write(&self.stream, &place, bytes);
        written.map_err(during("copying to the device"))
    }

    fn read(&mut self, buffer: Buffer, offset: usize, bytes: usize) -> Result<&[u8], BackendError> {
        let place = self.given(buffer)?.piece(offset, bytes)?;
        let bytes = self.staging.read(&self.stream, &place);
        let bytes = bytes.map_err(during("waiting for the device"))?;
        self.is_busy = false;
        Ok(bytes)
    }

    fn copy(
        &mut self,
        from: (Buffer, usize),
        to: (Buffer, usize),
        bytes: usize,
    ) -> Result<(), BackendError> {
        let source = self.given(from.0)?.piece(from.1, bytes)?;
        let target = self.given(to.0)?.writable(to.1, bytes)?;
        let copied = match from.0 == to.0 && from.1.abs_diff(to.1) < bytes {
            true => self.copy_overlapping(&source, &target),
            false => self.stream.copy(&target, &source),
        };
        copied.map_err(during("copying on the device"))
    }

    fn copy_rows(
        &mut self,
        from: Rows,
        to: Rows,
        bytes: usize,
        rows: usize,
    ) -> Result<(), BackendError> {
        if rows == 0 || bytes == 0 {
            return Ok(());
        }
        let span = |side: Rows| (rows - 1).saturating_mul(side.pitch).saturating_add(bytes);
        let source = self.given(from.buffer)?.piece(from.offset, span(from))?;
        let target = self.given(to.buffer)?.writable(to.offset, span(to))?;
        let place = |buffer, pitch: usize| cumo_tensorrt::Rows { buffer, pitch: pitch as u64 };
        let (source, target) = (place(&source, from.pitch), place(&target, to.pitch));
        let copied = self.stream.copy_rows(target, source, bytes, rows);
        copied.map_err(during("copying on the device"))
    }

    fn prepare(&mut self, spec: &StepSpec<'_>) -> Result<StepId, BackendError> {
        let step = Step::new(spec, &self.engines, &self.activations)?;
        let own = self.engines.iter().filter(|it| it.entry.graph == spec.graph);
        own.for_each(|it| self.ledger.take(it.entry.figures.persistent_bytes.unwrap_or(0)));
        self.steps.push(step);
        Ok(StepId(self.steps.len() - 1))
    }

    fn bind(&mut self, step: StepId, port: Port, view: View<'_>) -> Result<(), BackendError> {
        let elements = view.shape.iter().fold(1, |all: usize, size| all.saturating_mul(*size));
        let bytes = elements.saturating_mul(view.dtype.size());
        let given = self.given(view.buffer)?;
        let place = match port {
            Port::Input(_) => given.piece(view.offset, bytes)?,
            Port::Output(_) => given.writable(view.offset, bytes)?,
        };
        let step = self.steps.get_mut(step.0).ok_or_else(no_step)?;
        step.bind(port, view.buffer, place, view.shape);
        Ok(())
    }

    fn run(&mut self, step: StepId) -> Result<(), BackendError> {
        self.run_all(&[step], false)
    }

    fn run_all(&mut self, steps: &[StepId], repeats: bool) -> Result<(), BackendError> {
        self.check_stop()?;
        self.runs.clear();
        for step in steps {
            let run = self.make_ready(*step)?;
            // It may have waited for the device.
            self.check_stop()?;
            self.runs.push(run);
        }
        match repeats {
            true => self.run_recorded(steps),
            false => self.enqueue(steps),
        }
    }

    fn finish(&mut self) -> Result<(), BackendError> {
        self.is_busy = true;
        self.wait()
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let stop = self.stop.clone();
        Some(Arc::new(move |value| stop.store(value, Ordering::SeqCst)))
    }

    fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}
