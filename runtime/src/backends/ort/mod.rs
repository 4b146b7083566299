//! The ONNX Runtime backend: graphs as ONNX files, memory on the host.

mod external_data;
mod library;
mod raw;
mod session;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use ::ort::session::{NoSelectedOutputs, RunOptions, Session};
use cumo_bundle::{Manifest, Target};

use crate::backend::{
    Backend, BackendError, BackendFacts, Buffer, Interrupt, Port, StepId, StepSpec, View,
};
use crate::backends::slots::Slots;
use crate::machine::{max_threads, physical_cores};
use raw::{Binding, HostBuffer};

pub use library::{LibraryInfo, find_library};

/// The first version 1 whose GroupQueryAttention counts a sliding window as models do.
const SLIDING_WINDOW_MINOR: u32 = 24;

/// Settings of the ONNX Runtime backend.
#[derive(Debug, Clone, Default)]
pub struct OrtOptions {
    /// Threads that share the work of one operator, at most [`max_threads`]; by default, the
    /// machine's physical cores.
    pub threads: Option<NonZeroUsize>,
}

/// Runs ONNX graphs with ONNX Runtime on the CPU.
pub struct OrtBackend {
    threads: usize,
    library: LibraryInfo,
    /// The bundle's files, relative to its folder: all that graphs may read.
    files: Vec<String>,
    sessions: BTreeMap<String, Arc<Session>>,
    steps: Vec<Step>,
    buffers: Slots<Rc<HostBuffer>>,
    /// The bytes that were read last.
    last_read: Vec<u8>,
    run_options: Arc<RunOptions<NoSelectedOutputs>>,
}

struct Step {
    graph: String,
    binding: Binding,
}

impl OrtBackend {
    /// Loads ONNX Runtime's library, from the places that [`find_library`] names. `files` are the
    /// bundle's files, relative to its folder: graphs that name others are refused.
    ///
    /// # Errors
    /// [`BackendError::MissingLibrary`] says what to do; [`BackendError::Library`] where the
    /// library is too old; [`BackendError::Threads`] where more than [`max_threads`] are wanted.
    pub fn new(options: OrtOptions, files: Vec<String>) -> Result<Self, BackendError> {
        let threads = options.threads.map_or_else(physical_cores, NonZeroUsize::get);
        let most = max_threads();
        if threads > most {
            return Err(BackendError::Threads { threads, most });
        }
        let library = library::with_environment(threads, |loaded| Ok(loaded.library.clone()))?;
        let run_options = RunOptions::new().map_err(|error| BackendError::Library {
            library: library.path.clone(),
            reason: error.to_string(),
        })?;
        Ok(OrtBackend {
            threads,
            library,
            files,
            sessions: BTreeMap::new(),
            steps: Vec::new(),
            buffers: Slots::default(),
            last_read: Vec::new(),
            run_options: Arc::new(run_options),
        })
    }

    /// Refuses a bundle with a sliding window on a library whose GroupQueryAttention lets a token see one position more than a
    /// sliding window has, as those before 1.24 do (seen on 1.20.1, 1.22.1 and 1.23.2; not on
    /// 1.24.1): no error would come, and other answers.
    ///
    /// # Errors
    /// [`BackendError::Library`].
    pub(crate) fn check_bundle(&self, bundle: &Manifest) -> Result<(), BackendError> {
        let has_window = bundle.model.llm.sliding_window.is_some();
        let is_affected = has_window && bundle.target == Target::OrtCpu;
        if !is_affected || self.library.is_at_least(SLIDING_WINDOW_MINOR) {
            return Ok(());
        }
        let version = match self.library.version.as_str() {
            "" => "its version is not known",
            version => version,
        };
        Err(BackendError::Library {
            library: self.library.path.clone(),
            reason: format!(
                "this bundle's sliding window needs ONNX Runtime 1.{SLIDING_WINDOW_MINOR} or later \
                 (found: {version}); get a newer one (pip download onnxruntime, docs/jetson.md), or export \
                 with `--target onnx`"
            ),
        })
    }

    fn session(&mut self, graph: &str, file: &Path) -> Result<Arc<Session>, BackendError> {
        if let Some(session) = self.sessions.get(graph) {
            return Ok(session.clone());
        }
        external_data::check(file, &self.files)?;
        let session = Arc::new(session::open(file, self.threads)?);
        self.sessions.insert(graph.to_owned(), session.clone());
        Ok(session)
    }

    fn buffer(&self, buffer: Buffer) -> Result<&Rc<HostBuffer>, BackendError> {
        let missing = BackendError::OutOfBounds { offset: 0, end: 0, size: 0 };
        self.buffers.get(buffer).ok_or(missing)
    }
}

impl Backend for OrtBackend {
    fn facts(&self) -> BackendFacts {
        BackendFacts {
            library: "ONNX Runtime".to_owned(),
            version: self.library.version.clone(),
            threads: Some(self.threads),
            device: None,
        }
    }

    fn allocate(&mut self, bytes: usize) -> Result<Buffer, BackendError> {
        Ok(self.buffers.keep(Rc::new(HostBuffer::zeroed(bytes)?)))
    }

    fn map(&mut self, file: &Path) -> Result<Buffer, BackendError> {
        Ok(self.buffers.keep(Rc::new(HostBuffer::mapped(file)?)))
    }

    fn release(&mut self, buffer: Buffer) {
        // Bindings hold their own reference, so memory that is still bound stays valid.
        drop(self.buffers.take(buffer));
    }

    fn write(&mut self, buffer: Buffer, offset: usize, bytes: &[u8]) -> Result<(), BackendError> {
        self.buffer(buffer)?.write(offset, bytes)
    }

    fn read(&mut self, buffer: Buffer, offset: usize, bytes: usize) -> Result<&[u8], BackendError> {
        let memory = self.buffer(buffer)?.clone();
        memory.read(offset, bytes, &mut self.last_read)?;
        Ok(&self.last_read)
    }

    fn copy(
        &mut self,
        from: (Buffer, usize),
        to: (Buffer, usize),
        bytes: usize,
    ) -> Result<(), BackendError> {
        let source = self.buffer(from.0)?;
        self.buffer(to.0)?.copy_from(to.1, source, from.1, bytes)
    }

    fn prepare(&mut self, spec: &StepSpec<'_>) -> Result<StepId, BackendError> {
        let file = spec.twin.unwrap_or(spec.file);
        let session = self.session(spec.graph, file)?;
        session::check_signature(&session, file, spec)?;
        let binding = Binding::new(session, spec)?;
        self.steps.push(Step { graph: spec.graph.to_owned(), binding });
        Ok(StepId(self.steps.len() - 1))
    }

    fn forget_from(&mut self, first: StepId) {
        self.steps.truncate(first.0);
    }

    fn bind(&mut self, step: StepId, port: Port, view: View<'_>) -> Result<(), BackendError> {
        let memory = self.buffer(view.buffer)?.clone();
        self.steps[step.0].binding.bind(port, memory, &view)
    }

    fn run(&mut self, step: StepId) -> Result<(), BackendError> {
        let step = &mut self.steps[step.0];
        step.binding.run(&self.run_options).map_err(|error| {
            let reason = error.to_string();
            match reason.contains("terminate flag") {
                true => BackendError::Interrupted,
                false => BackendError::Run { graph: step.graph.clone(), reason },
            }
        })
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let options = self.run_options.clone();
        Some(Arc::new(move |stop| {
            // Setting a flag does not fail; were it to, the step would run to its end.
            let _ = if stop { options.terminate() } else { options.unterminate() };
        }))
    }
}
