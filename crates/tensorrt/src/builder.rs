//! From an ONNX model to an engine.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use crate::error::Error;
use crate::handle::{BlobHandle, LogTarget, NetworkHandle, RawBuildOptions};
use crate::library::Library;
use crate::message::{Message, Severity};
use crate::network::Layer;
use crate::tensor::Tensor;

/// Makes networks of models. By default, messages from warnings up are kept.
#[derive(Clone)]
pub struct Builder {
    library: Library,
    max_severity: Severity,
}

impl Builder {
    /// A builder of this TensorRT.
    #[must_use]
    pub fn new(library: &Library) -> Self {
        Builder { library: library.clone(), max_severity: Severity::Warning }
    }

    /// Which messages are kept: those that are at least so important.
    #[must_use]
    pub fn messages(mut self, max_severity: Severity) -> Self {
        self.max_severity = max_severity;
        self
    }

    /// Parses an ONNX file; its external data is looked for beside it. Where it holds plugin
    /// nodes, [`Library::load_plugins`] comes before. Flavours other than RTX need the device that
    /// the engine is for.
    ///
    /// The network is strongly typed: every tensor has the type that the model gives it.
    ///
    /// TensorRT's parser does not stand every altered file: of models with random bytes changed,
    /// some end the process. Parse what this project wrote, after comparing its hash.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] with every node that TensorRT does not support;
    /// [`Error::MissingLibrary`] where this TensorRT cannot build; [`Error::MissingDriver`].
    pub fn parse_file(&self, path: &Path) -> Result<Network, Error> {
        let model = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        self.parse(&model, Some(path))
    }

    /// Parses an ONNX model. `path` is where it came from, if it has external data.
    ///
    /// # Errors
    /// As [`Builder::parse_file`].
    pub fn parse(&self, model: &[u8], path: Option<&Path>) -> Result<Network, Error> {
        let log = LogTarget::new(self.max_severity);
        let handle = NetworkHandle::parse(self.library.handle.clone(), log, model, path)?;
        Ok(Network { handle })
    }
}

/// A parsed model, of which engines are built.
pub struct Network {
    handle: NetworkHandle,
}

impl Network {
    /// The network's inputs, in order.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn inputs(&self) -> Result<Vec<Tensor>, Error> {
        self.tensors(true)
    }

    /// The network's outputs, in order.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn outputs(&self) -> Result<Vec<Tensor>, Error> {
        self.tensors(false)
    }

    fn tensors(&self, inputs: bool) -> Result<Vec<Tensor>, Error> {
        let all = self.handle.tensors()?;
        Ok(all.into_iter().filter(|(is_input, _)| *is_input == inputs).map(|(_, t)| t).collect())
    }

    /// The layers as the parser made them, before the builder fuses them: what an engine is made
    /// of can be read here without a device.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn layers(&self) -> Result<Vec<Layer>, Error> {
        (0..self.handle.num_layers())
            .map(|index| {
                let raw = self.handle.layer(index)?;
                let tensors = |is_input, count| -> Result<Vec<_>, Error> {
                    (0..count).map(|i| self.handle.layer_tensor(index, is_input, i)).collect()
                };
                Ok(Layer {
                    inputs: tensors(true, raw.num_inputs)?,
                    outputs: tensors(false, raw.num_outputs)?,
                    name: raw.name,
                    kind: raw.kind,
                    plugin: Some(raw.plugin).filter(|name| !name.is_empty()),
                })
            })
            .collect()
    }

    /// The messages since the last call, those of parsing among them.
    #[must_use]
    pub fn take_messages(&self) -> Vec<Message> {
        self.handle.log().take()
    }

    /// Builds an engine.
    ///
    /// # Errors
    /// [`Error::Profile`] where a profile does not fit the inputs, [`Error::Unsupported`] where
    /// this flavour lacks an option, [`Error::OutOfMemory`], [`Error::Build`].
    pub fn build(&mut self, options: &BuildOptions) -> Result<Built, Error> {
        self.build_with(options, None)
    }

    /// Builds an engine and reports how far it is. The callback may be called from any thread;
    /// `ControlFlow::Break` cancels the build.
    ///
    /// # Errors
    /// As [`Network::build`]; [`Error::Cancelled`].
    ///
    /// # Panics
    /// Goes on with a panic of the callback, after the build was cancelled.
    pub fn build_reporting(
        &mut self,
        options: &BuildOptions,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Built, Error> {
        self.build_with(options, Some(on_progress))
    }

    fn build_with(
        &mut self,
        options: &BuildOptions,
        on_progress: Option<&mut OnProgress<'_>>,
    ) -> Result<Built, Error> {
        let raw = options.raw()?;
        let (engine, timing_cache) = self.handle.build(&raw, on_progress)?;
        let (engine, timing_cache) = (EngineBytes(engine), timing_cache.map(EngineBytes));
        Ok(Built { engine, timing_cache, messages: self.take_messages() })
    }
}

/// What a build gives.
pub struct Built {
    /// The engine.
    pub engine: EngineBytes,
    /// Kernel timings for later builds on this device; `None` where the flavour measures none.
    pub timing_cache: Option<EngineBytes>,
    /// What TensorRT said since the network was made, or since messages were last taken.
    pub messages: Vec<Message>,
}

/// Bytes that TensorRT allocated on the host.
pub struct EngineBytes(BlobHandle);

impl EngineBytes {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl AsRef<[u8]> for EngineBytes {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// What a build reports to; `ControlFlow::Break` cancels it.
pub type OnProgress<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + Send + 'a;

/// How far a build is. Phases nest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A phase begins.
    Start {
        /// Its name, unique among the phases that are under way.
        phase: &'a str,
        /// The phase that it is part of; empty for the outermost.
        parent: &'a str,
        /// How many steps it has.
        steps: usize,
    },
    /// A step of a phase was done.
    Step {
        /// The phase.
        phase: &'a str,
        /// The step, from 0.
        step: usize,
    },
    /// A phase is over, with or without all of its steps.
    Finish {
        /// The phase.
        phase: &'a str,
    },
}

/// How an engine is built.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    profiles: Vec<Profile>,
    workspace_bytes: Option<u64>,
    compute_capabilities: Vec<i32>,
    optimization_level: Option<u8>,
    detailed: bool,
    refittable: bool,
    timing_cache: Option<Vec<u8>>,
}

impl BuildOptions {
    /// All defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a range of shapes that the engine is made for. By default there is none, which serves
    /// where every input's shape is fixed.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profiles.push(profile);
        self
    }

    /// The most memory in bytes that a layer may use besides its tensors. By default TensorRT's
    /// own limit.
    #[must_use]
    pub fn workspace_bytes(mut self, bytes: u64) -> Self {
        self.workspace_bytes = Some(bytes);
        self
    }

    /// Devices that the engine is for, as `86` for compute capability 8.6. RTX only; by default
    /// all that it builds for at once.
    #[must_use]
    pub fn compute_capabilities(mut self, capabilities: &[i32]) -> Self {
        self.compute_capabilities = capabilities.to_vec();
        self
    }

    /// How long the builder looks for fast kernels, 0 to 5. By default TensorRT's own, 3.
    #[must_use]
    pub fn optimization_level(mut self, level: u8) -> Self {
        self.optimization_level = Some(level);
        self
    }

    /// Whether the engine keeps what the inspector needs to describe every layer. By default not.
    #[must_use]
    pub fn detailed(mut self, detailed: bool) -> Self {
        self.detailed = detailed;
        self
    }

    /// Whether constant weights can be replaced later; such engines may be slower. By default not.
    #[must_use]
    pub fn refittable(mut self, refittable: bool) -> Self {
        self.refittable = refittable;
        self
    }

    /// Kernel timings of an earlier build, [`Built::timing_cache`]. By default none; one of
    /// another version or device is ignored.
    #[must_use]
    pub fn timing_cache(mut self, cache: Vec<u8>) -> Self {
        self.timing_cache = Some(cache);
        self
    }

    fn raw(&self) -> Result<RawBuildOptions<'_>, Error> {
        if let Some(level) = self.optimization_level.filter(|level| *level > 5) {
            let reason = format!("optimization level {level}; there are 0 to 5");
            return Err(Error::Unsupported { reason });
        }
        Ok(RawBuildOptions {
            profiles: &self.profiles,
            workspace_bytes: self.workspace_bytes.unwrap_or(0),
            compute_capabilities: &self.compute_capabilities,
            optimization_level: self.optimization_level.map(i32::from),
            detailed: self.detailed,
            refittable: self.refittable,
            timing_cache: self.timing_cache.as_deref(),
        })
    }
}

/// The shapes that an engine is made for: of every input that is not fixed the smallest, the most
/// frequent and the largest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    ranges: Vec<Range>,
}

/// The shapes of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The input's name.
    pub input: String,
    /// The smallest shape.
    pub min: Vec<i64>,
    /// The shape that the engine is tuned for.
    pub opt: Vec<i64>,
    /// The largest shape.
    pub max: Vec<i64>,
}

impl Profile {
    /// No inputs yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input's shapes: the smallest, the one to tune for, the largest.
    #[must_use]
    pub fn range(mut self, input: &str, min: &[i64], opt: &[i64], max: &[i64]) -> Self {
        let input = input.to_owned();
        self.ranges.push(Range { input, min: min.into(), opt: opt.into(), max: max.into() });
        self
    }

    /// Adds an input's only shape.
    #[must_use]
    pub fn fixed(self, input: &str, shape: &[i64]) -> Self {
        self.range(input, shape, shape, shape)
    }

    /// What was added.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }
}
