//! The seam between the executor and what runs graphs.
//!
//! A backend owns memory and prepared steps; the executor says which tensor lies in which memory
//! and when a step runs. Nothing here names a library: ONNX Runtime on the host and TensorRT on a
//! device implement the same trait. Whatever can be done once, while a step is prepared, is done
//! there; what is left for each token is to rebind the tensors whose shape changed, and to run.

mod error;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use cumo_bundle::{Dtype, Value};
use serde::Serialize;

pub use crate::actions::{Action, RowWrite};
pub use crate::memory_plan::{MemoryPlan, MemoryUse};
pub use error::BackendError;

/// Memory that a backend owns. Only the backend that gave the number understands it, and it gives
/// none twice, also not after [`Backend::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Buffer(pub u64);

/// A prepared step of a plan. Only the backend that gave the number understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StepId(pub usize);

/// One input or output of a prepared step, by its place in the [`StepSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// The input of this index.
    Input(usize),
    /// The output of this index.
    Output(usize),
}

/// What a step needs to be prepared.
#[derive(Debug)]
pub struct StepSpec<'a> {
    /// The graph's name in the manifest; steps of the same graph share what is loaded for it.
    pub graph: &'a str,
    /// The graph's file.
    pub file: &'a Path,
    /// A file of the same signature without plugin nodes, where the bundle has one.
    pub twin: Option<&'a Path>,
    /// The inputs that will be bound, in the order of [`Port::Input`].
    pub inputs: &'a [&'a Value],
    /// The outputs that will be bound, in the order of [`Port::Output`].
    pub outputs: &'a [&'a Value],
}

/// A tensor in a buffer, row-major and without gaps.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Where it lies.
    pub buffer: Buffer,
    /// Bytes from the buffer's start to its first element, a multiple of an element's size.
    pub offset: usize,
    /// Element type.
    pub dtype: Dtype,
    /// Shape, every dimension known.
    pub shape: &'a [usize],
}

/// Runs of bytes in a buffer that lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// Where they lie.
    pub buffer: Buffer,
    /// Bytes from the buffer's start to the first.
    pub offset: usize,
    /// Bytes from the start of one to the start of the next.
    pub pitch: usize,
}

/// The sizes that a backend's graphs were built for; none where they take any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackendLimits {
    /// The most images of one pass.
    pub images: Option<usize>,
    /// The most new positions of one pass.
    pub sequence: Option<usize>,
    /// Positions that the cache has room for, no more and no fewer.
    pub cache: Option<usize>,
}

/// What runs the steps, for people and for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendFacts {
    /// The library that runs graphs, for example `ONNX Runtime`.
    pub library: String,
    /// Its version.
    pub version: String,
    /// Threads of the host that share the work of one operator; none where a device does the work.
    pub threads: Option<usize>,
    /// The device; none where the host does the work.
    pub device: Option<DeviceFacts>,
}

/// A device with memory of its own, or a part of the host's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceFacts {
    /// Its name, for example `Orin`.
    pub name: String,
    /// `86` for 8.6.
    pub compute_capability: u32,
    /// Device memory in bytes.
    pub total_bytes: u64,
    /// The most device memory that this backend has had at once, in bytes, as it counts: without
    /// what libraries take for their code.
    pub peak_bytes: u64,
    /// Its place on the PCI bus, for example `0000:01:00.0`; none where it has none.
    pub pci_bus_id: Option<String>,
    /// Kernels that are compiled as the model runs; none where there are no such, or they are not
    /// kept.
    pub kernels: Option<KernelFacts>,
}

/// Compiled kernels that are kept for later starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KernelFacts {
    /// Bytes of those of an earlier start; none where all had to be compiled.
    pub found_bytes: Option<u64>,
}

impl fmt::Display for BackendFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (", self.library, self.version)?;
        match (&self.device, self.threads) {
            (Some(device), _) => write!(f, "{})", device.name),
            (None, Some(threads)) => write!(f, "CPU, {threads} threads)"),
            (None, None) => write!(f, "CPU)"),
        }
    }
}

/// Stops the step that runs, from any thread; given `false`, allows steps to run again.
pub type Interrupt = Arc<dyn Fn(bool) + Send + Sync>;

/// Runs the steps of a plan.
pub trait Backend {
    /// What runs the steps.
    fn facts(&self) -> BackendFacts;

    /// The sizes that its graphs were built for.
    fn limits(&self) -> BackendLimits {
        BackendLimits::default()
    }

    /// Memory of `bytes` bytes, all zero.
    ///
    /// # Errors
    /// [`BackendError::OutOfMemory`].
    fn allocate(&mut self, bytes: usize) -> Result<Buffer, BackendError>;

    /// A file as memory that steps may read, as large as the file. It is not copied to the host's
    /// memory as a whole: the system brings in the pieces that are read, and may drop them again.
    ///
    /// # Errors
    /// [`BackendError::Weights`].
    fn map(&mut self, file: &Path) -> Result<Buffer, BackendError>;

    /// Gives memory back. Steps bound to it must be bound anew before they run.
    fn release(&mut self, buffer: Buffer);

    /// Writes `bytes` into a buffer, `offset` bytes from its start.
    ///
    /// # Errors
    /// [`BackendError::OutOfBounds`] where they do not fit; [`BackendError::ReadOnly`].
    fn write(&mut self, buffer: Buffer, offset: usize, bytes: &[u8]) -> Result<(), BackendError>;

    /// Bytes of a buffer, after every step that was run has written them.
    ///
    /// # Errors
    /// [`BackendError::OutOfBounds`] where the buffer has fewer.
    fn read(&mut self, buffer: Buffer, offset: usize, bytes: usize) -> Result<&[u8], BackendError>;

    /// Copies `bytes` bytes between two places, which may overlap.
    ///
    /// # Errors
    /// [`BackendError::OutOfBounds`] where one of them does not lie inside its buffer;
    /// [`BackendError::ReadOnly`].
    fn copy(
        &mut self,
        from: (Buffer, usize),
        to: (Buffer, usize),
        bytes: usize,
    ) -> Result<(), BackendError>;

    /// Copies `rows` runs of `bytes` bytes between two places, which do not overlap.
    ///
    /// # Errors
    /// As [`Backend::copy`].
    fn copy_rows(
        &mut self,
        from: Rows,
        to: Rows,
        bytes: usize,
        rows: usize,
    ) -> Result<(), BackendError> {
        for row in 0..rows {
            self.copy(
                (from.buffer, from.offset + row * from.pitch),
                (to.buffer, to.offset + row * to.pitch),
                bytes,
            )?;
        }
        Ok(())
    }

    /// Loads a step's graph, if no other step has loaded it, and makes the step ready to be bound.
    ///
    /// # Errors
    /// [`BackendError::Graph`] where the graph cannot be loaded, [`BackendError::Signature`] where
    /// it does not take or give what the manifest says.
    fn prepare(&mut self, spec: &StepSpec<'_>) -> Result<StepId, BackendError>;

    /// Forgets a step and all that were prepared after it, with what they alone hold of a device's
    /// memory. Their numbers may be given again.
    fn forget_from(&mut self, first: StepId);

    /// Says which tensor an input or output is, until it is bound anew. An input and an output may
    /// be bound to the same buffer where the graph updates it in place.
    ///
    /// # Errors
    /// [`BackendError::OutOfBounds`] where the tensor does not lie inside its buffer;
    /// [`BackendError::ReadOnly`] for an output in memory of [`Backend::map`].
    fn bind(&mut self, step: StepId, port: Port, view: View<'_>) -> Result<(), BackendError>;

    /// Runs a step, or puts it behind those that a device has yet to run.
    ///
    /// # Errors
    /// [`BackendError::Run`] with the runtime's message; [`BackendError::Interrupted`].
    fn run(&mut self, step: StepId) -> Result<(), BackendError>;

    /// Writes rows that a step has made into a cache, or puts that behind the steps that a device
    /// has yet to run.
    ///
    /// # Errors
    /// [`BackendError::OutOfBounds`] where the rows, or their place, do not lie inside their
    /// buffers; [`BackendError::ReadOnly`].
    fn write_rows(&mut self, write: &RowWrite) -> Result<(), BackendError> {
        write.copy(self)
    }

    /// Does all that a pass asks for, in this order. `repeats`: it will be asked for again and
    /// again, mostly with the same tensors bound and other positions, so that a device may record it
    /// once and replay it.
    ///
    /// # Errors
    /// As [`Backend::run`] and [`Backend::write_rows`], of the first that fails; those before it are
    /// done.
    fn run_all(&mut self, actions: &[Action], repeats: bool) -> Result<(), BackendError> {
        let _ = repeats;
        actions.iter().try_for_each(|action| match action {
            Action::Run(step) => self.run(*step),
            Action::WriteRows(write) => self.write_rows(write),
        })
    }

    /// Waits until every step that was run has ended: a device works behind its caller.
    ///
    /// # Errors
    /// As [`Backend::run`].
    fn finish(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Keeps on disk what makes a later start faster, where there is such a thing: to be called when
    /// an answer is complete and nobody waits. It does so once; what comes later is kept when the
    /// backend is dropped. What goes wrong is a note.
    fn keep_compiled(&mut self) {}

    /// A way to stop a step that runs, where the backend has one.
    fn interrupt(&self) -> Option<Interrupt>;

    /// What the user should know since the last call, a sentence each: nothing that went wrong, but
    /// what goes slower than it could.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }
}
