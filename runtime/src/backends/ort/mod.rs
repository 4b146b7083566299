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

/// A version of ONNX Runtime that a bundle needs.
struct Needed {
    /// The least version 1.
    minor: u32,
    /// What needs it.
    what: &'static str,
    /// What there is besides a newer library.
    instead: &'static str,
    /// Whether an older library gives wrong answers and no error, so that one whose version is not
    /// known is refused too.
    is_silent: bool,
}

impl Needed {
    /// What a bundle needs; none where every version that loads runs it.
    ///
    /// GroupQueryAttention before 1.24 lets a token see one position more than a sliding window has
    /// (seen on 1.20.1, 1.22.1 and 1.23.2; not on 1.24.1). Versions before 1.24 refuse opset 24, and
    /// those before 1.25 have no TensorScatter of it (seen on 1.20.1, 1.22.1, 1.23.2, 1.24.1 and
    /// 1.24.4; 1.25.0 runs it).
    fn by(bundle: &Manifest) -> Option<Needed> {
        match bundle.target {
            Target::OrtCpu if bundle.model.llm.sliding_window.is_some() => Some(Needed {
                minor: 24,
                what: "this bundle's sliding window",
                instead: "export with `--target onnx`",
                is_silent: true,
            }),
            Target::Tensorrt => Some(Needed {
                minor: 25,
                what: "on a processor, a bundle of target `tensorrt` (opset 24)",
                instead: "export with `--target ort-cpu`; on an NVIDIA GPU, build engines of it with \
                          `cumo-export engine` and run those",
                is_silent: false,
            }),
            Target::Onnx | Target::OrtCpu | Target::Tensorrt103 => None,
        }
    }
}

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

    /// Refuses a bundle that the library is too old for.
    ///
    /// # Errors
    /// [`BackendError::Library`].
    pub(crate) fn check_bundle(&self, bundle: &Manifest) -> Result<(), BackendError> {
        check_version(&self.library, bundle)
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

fn check_version(library: &LibraryInfo, bundle: &Manifest) -> Result<(), BackendError> {
    let Some(Needed { minor, what, instead, is_silent }) = Needed::by(bundle) else {
        return Ok(());
    };
    let version = match library.version.as_str() {
        "" if !is_silent => return Ok(()),
        "" => "its version is not known",
        version => version,
    };
    if library.is_at_least(minor) {
        return Ok(());
    }
    Err(BackendError::Library {
        library: library.path.clone(),
        reason: format!(
            "{what} needs ONNX Runtime 1.{minor} or later (found: {version}); get a newer one (pip \
             download --no-deps --only-binary=:all: --python-version 3.12 onnxruntime; docs/jetson.md), \
             or {instead}"
        ),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Form, bundle};

    /// What is said of a bundle of a target on a library of a version; nothing where it runs.
    fn refusal(target: Target, has_window: bool, version: &str) -> Option<String> {
        let library = LibraryInfo { path: "libx.so".into(), version: version.to_owned() };
        let mut manifest = bundle(Form::LayersInPlace).manifest;
        manifest.target = target;
        manifest.model.llm.sliding_window = has_window.then_some(16);
        check_version(&library, &manifest).err().map(|error| error.to_string())
    }

    #[test]
    fn a_library_that_is_too_old_for_a_bundle_is_named_with_what_to_do() {
        let message = refusal(Target::Tensorrt, false, "1.24.4").unwrap();
        for part in [
            "libx.so cannot be used: ",
            "ONNX Runtime 1.25 or later (found: 1.24.4)",
            "cumo-export engine",
        ] {
            assert!(message.contains(part), "{part} not in {message}");
        }
        let message = refusal(Target::OrtCpu, true, "1.23.2").unwrap();
        for part in ["sliding window", "1.24 or later (found: 1.23.2)", "`--target onnx`"] {
            assert!(message.contains(part), "{part} not in {message}");
        }
        for (target, has_window, version) in [
            (Target::Tensorrt, true, "1.25.0"),
            (Target::Tensorrt103, true, "1.20.1"),
            (Target::Onnx, true, "1.20.1"),
            (Target::OrtCpu, true, "1.24.1"),
            (Target::OrtCpu, false, "1.20.1"),
        ] {
            assert_eq!(refusal(target, has_window, version), None);
        }
    }

    #[test]
    fn a_library_of_no_known_version_is_refused_only_where_it_would_answer_wrongly() {
        assert!(refusal(Target::OrtCpu, true, "").unwrap().contains("its version is not known"));
        assert_eq!(refusal(Target::Tensorrt, false, ""), None);
    }
}
