//! The TensorRT backend: a folder of engines, on an NVIDIA device. Not yet seen on a GPU.
//!
//! Everything lies on the device: weights, which are brought there once through pinned memory; the
//! cache, which engines write where it lies; the tensors between steps. What goes over is pixels,
//! ids and positions, and what comes back is the best tokens, or one row of logits. A step has a
//! context for each engine that runs it, all over one block of activation memory. Steps are put on
//! one stream and run behind their caller; a pass that repeats is recorded as one CUDA graph.

mod compiled;
mod fault;
mod kernel_file;
mod loaded;
mod memory;
mod needed;
mod recorder;
mod rows;
mod seam;
mod step;
mod toolkit;
mod weights;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cumo_bundle::{Binding, Engines, Manifest, WeightsFiles};
use cumo_tensorrt::{DeviceBuffer, DeviceInfo, Graph, Kernels, LibraryPlaces};
use cumo_tensorrt::{Runtime, Staging, Stream};

use super::slots::Slots;
use crate::backend::{Action, BackendError, BackendLimits, Buffer, StepId};
use crate::error::Error;
use compiled::CompiledKernels;
use fault::{during, of_graph};
use loaded::LoadedEngine;
use memory::{Given, Ledger};
use recorder::{Part, Recorder, RunOf, Turn};
use step::Step;
use toolkit::Toolkit;

pub use kernel_file::{kept_kernels, kernel_folder, unfinished_kernels};
pub use toolkit::{TensorrtFound, find_tensorrt};

/// Bytes of each of the two blocks of pinned memory: the pixels of twelve images of 336 x 336 in
/// f32, and large enough for a disk and a bus to be at full speed.
const STAGING_BYTES: usize = 16 << 20;

/// The most pieces that a copy within a buffer is put on the stream in, before it goes by way of
/// memory that is allocated for it. Not yet measured on a GPU.
const MOST_PIECES: u64 = 32;

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
    /// The folder in which kernels that TensorRT-RTX compiles are kept for later starts, as
    /// [`kernel_folder`] tells it; none: every start compiles them.
    pub kernels: Option<PathBuf>,
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
    /// What writes rows into the cache, where engines leave that to the runtime; without it, they
    /// are copied.
    kernels: Option<Kernels>,
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
    /// Of the pass that runs.
    parts: Vec<Part>,
    compiled: CompiledKernels,
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
        let mut notes = Vec::new();
        let compiled = CompiledKernels::open(engines, &loaded, &toolkit, &options, &mut notes);
        let mut ledger = Ledger::default();
        for engine in &loaded {
            ledger.take(loaded::constant_bytes(engines, &engine.entry));
        }
        let kernels = rows::kernels(engines, &options, &toolkit, &mut notes)?;
        let Toolkit { runtime, device, library } = toolkit;
        let block = runtime.buffer(activation_bytes).map_err(during("allocating activations"))?;
        ledger.take(activation_bytes);
        let limits = &engines.manifest.limits;
        Ok(TensorrtBackend {
            recorder: Recorder::default(),
            steps: Vec::new(),
            kernels,
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
            parts: Vec::new(),
            compiled,
            notes,
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
        // Other shapes may need other kernels.
        self.compiled.change();
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

    /// Puts steps that are ready, and rows that were checked, on the stream.
    fn enqueue(&mut self, actions: &[Action]) -> Result<(), BackendError> {
        self.is_busy = true;
        for action in actions {
            self.check_stop()?;
            match action {
                Action::Run(id) => {
                    let step = self.steps.get_mut(id.0).ok_or_else(no_step)?;
                    let graph = step.graph.clone();
                    let context = step.ready_context().ok_or_else(no_step)?;
                    context.enqueue(&self.stream).map_err(of_graph(&graph))?;
                }
                Action::WriteRows(write) => self.put_rows(write)?,
            }
        }
        Ok(())
    }

    /// Records what is ready, and has run before, as one graph.
    fn record(&mut self, actions: &[Action]) -> Result<Graph, cumo_tensorrt::Error> {
        let (steps, buffers, kernels) = (&mut self.steps, &self.buffers, &self.kernels);
        self.stream.capture(|stream| {
            for action in actions {
                match action {
                    Action::Run(id) => {
                        let context = steps.get_mut(id.0).and_then(Step::ready_context);
                        context.ok_or_else(not_recorded)?.enqueue(stream)?;
                    }
                    Action::WriteRows(write) => {
                        let rows = rows::new_rows(buffers, write);
                        let (Some(kernels), Some(rows)) = (kernels, rows) else {
                            return Err(not_recorded());
                        };
                        stream.write_rows(kernels, &rows)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Runs a pass that comes again: with rows that kernels write, as one graph; without, what lies
    /// between rows, whose places change with every pass.
    fn run_repeated(&mut self, actions: &[Action]) -> Result<(), BackendError> {
        let has_kernels = self.kernels.is_some();
        let is_run = |action: &Action| matches!(action, Action::Run(_));
        let mut start = 0;
        for piece in actions.chunk_by(|a, b| has_kernels || (is_run(a) && is_run(b))) {
            let end = start + piece.len();
            self.run_recorded(piece, start..end)?;
            start = end;
        }
        Ok(())
    }

    fn run_recorded(&mut self, actions: &[Action], own: Range<usize>) -> Result<(), BackendError> {
        let playing = || during("running recorded steps");
        self.is_busy = true;
        let parts = self.parts.get(own.clone()).unwrap_or_default();
        match self.recorder.turn(parts) {
            Turn::Plain => {
                let done = self.enqueue(actions);
                if done.is_err() {
                    self.recorder.has_failed(self.parts.get(own).unwrap_or_default());
                }
                return done;
            }
            Turn::Play(graph) => return graph.launch(&self.stream).map_err(playing()),
            Turn::Record => {}
        }
        match self.record(actions) {
            Ok(graph) => match self.recorder.keep(graph) {
                Some(graph) => graph.launch(&self.stream).map_err(playing()),
                None => self.enqueue(actions),
            },
            // Nothing has run of what was to be recorded.
            Err(error) => {
                self.recorder.give_up();
                self.notes.push(format!(
                    "decoding steps are put on the device one by one, which is slower: they cannot \
                     be recorded as one CUDA graph ({error})"
                ));
                self.enqueue(actions)
            }
        }
    }

    /// Copies within a buffer where source and target overlap: in pieces as long as they are apart,
    /// or where these are many, by way of other memory.
    fn copy_overlapping(
        &self,
        from: &DeviceBuffer,
        to: &DeviceBuffer,
    ) -> Result<(), cumo_tensorrt::Error> {
        let (bytes, apart) = (from.bytes(), from.address().abs_diff(to.address()));
        if apart == 0 {
            return Ok(());
        }
        let pieces = bytes.div_ceil(apart);
        if pieces <= MOST_PIECES {
            return (0..pieces).try_for_each(|piece| {
                // What lies where a piece goes has been copied before.
                let piece = if to.address() > from.address() { pieces - 1 - piece } else { piece };
                let (offset, length) = (piece * apart, apart.min(bytes - piece * apart));
                self.stream.copy(&to.slice(offset, length)?, &from.slice(offset, length)?)
            });
        }
        let between = self.runtime.buffer(from.bytes())?;
        self.stream.copy(&between, from)?;
        self.stream.copy(to, &between)?;
        self.stream.synchronize()
    }
}

/// A graph without one of its actions would compute something else.
fn not_recorded() -> cumo_tensorrt::Error {
    cumo_tensorrt::Error::Internal { reason: "a step that is not ready was to be recorded".into() }
}

fn no_step() -> BackendError {
    BackendError::Run { graph: String::new(), reason: "there is no such step".to_owned() }
}

impl Drop for TensorrtBackend {
    fn drop(&mut self) {
        // What is dropped after this is not used any more, or the device is lost.
        if self.stream.synchronize().is_ok() {
            // Nobody is left to tell.
            drop(self.compiled.keep(&self.runtime));
        }
    }
}
