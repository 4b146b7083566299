//! Where the graphs come from: a bundle, a checkpoint that is exported first, or shapes alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cumo_bundle::{Bundle, FileEntry, FloatType, Manifest, Target, hash_reader};
use cumo_checkpoint::{Checkpoint, Sources};

use super::error::Error;
use super::link;
use super::options::{EngineInput, EngineOptions};
use super::progress::EngineProgress;
use crate::builder::RouterOutputs;
use crate::export::{OnnxOptions, PRODUCER, export_onnx, layer_options, manifest};
use crate::layered::{self, Assembly, MoeKind, WeightsFile};
use crate::{facts, part, signature};

/// Graphs, and what is said of them.
pub(super) struct Source {
    /// The manifest, of the bundle or as the bundle would have it.
    pub(super) manifest: Manifest,
    /// The graphs' files by graph.
    pub(super) graphs: BTreeMap<String, Vec<u8>>,
    /// The bundle's folder, where there is one: that of the weights.
    pub(super) bundle: Option<PathBuf>,
    /// The folder that the graphs' constants are relative to.
    pub(super) data: Option<link::Data>,
}

/// The hash of a file that is not there: engines of shapes alone have no weights.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The largest graph that is read; those of layers have under 1 MB.
const MAX_GRAPH_BYTES: u64 = 1 << 30;

impl Source {
    /// Finds or makes the graphs; those of a checkpoint, whose tensors are all looked for, as if
    /// there were shapes alone: [`Source::with_weights`] exports it.
    ///
    /// # Errors
    /// [`Error`] of what is not there or does not fit.
    pub(super) fn open(options: &EngineOptions) -> Result<Source, Error> {
        match &options.input {
            EngineInput::Bundle(path) => Source::bundle(path, options),
            EngineInput::Checkpoint(sources) => {
                Checkpoint::open(sources).map_err(crate::Error::from)?;
                Source::shapes(sources, options)
            }
            EngineInput::Shapes(sources) => Source::shapes(sources, options),
        }
    }

    /// The same with the weights of a checkpoint, and with weights as constants where that is asked
    /// for.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub(super) fn with_weights(
        self,
        options: &EngineOptions,
        progress: &dyn EngineProgress,
    ) -> Result<Source, Error> {
        let source = match &options.input {
            EngineInput::Checkpoint(sources) => {
                Source::bundle(&export(sources, options, progress)?, options)?
            }
            EngineInput::Bundle(_) | EngineInput::Shapes(_) => self,
        };
        match options.constant_weights {
            true => link::constants(source, options.constant_layers),
            false => Ok(source),
        }
    }

    fn bundle(path: &Path, options: &EngineOptions) -> Result<Source, Error> {
        let bundle = Bundle::open(path)?;
        let target = bundle.manifest.target;
        if !matches!(target, Target::Tensorrt | Target::Tensorrt103) {
            return Err(Error::Target { path: path.to_owned(), target });
        }
        check_moe(&bundle, options.moe)?;
        let mut graphs = BTreeMap::new();
        for (name, graph) in &bundle.manifest.graphs {
            graphs.insert(name.clone(), read_graph(&bundle, &graph.file)?);
        }
        let (manifest, folder) = (bundle.manifest, Some(bundle.path));
        Ok(Source { manifest, graphs, bundle: folder, data: None })
    }

    /// Graphs of a configuration alone.
    fn shapes(sources: &Sources, options: &EngineOptions) -> Result<Source, Error> {
        let checkpoint = Checkpoint::shapes(sources).map_err(crate::Error::from)?;
        let template = facts::default_template(&checkpoint.config)?;
        let mut manifest = manifest(facts::model_facts(&checkpoint, template), options.target);
        manifest.model.tokenizer = None;
        let layers = layer_options(options.target, options.moe.unwrap_or_default());
        let Assembly { kinds, weights, plan, .. } = layered::assemble(&checkpoint, layers)?;
        let mut graphs = BTreeMap::new();
        for kind in &kinds {
            let bytes = kind.graph.encode(&kind.name, &part::data_file(&kind.name), PRODUCER);
            let mut graph = signature::kind(kind);
            if let Some(twin) = &graph.twin {
                // Not written: it says that the main file has plugin nodes.
                manifest.files.insert(twin.clone(), absent(0));
            }
            graph.file = kind.file();
            manifest.files.insert(kind.file(), entry(&bytes));
            manifest.graphs.insert(kind.name.clone(), graph);
            manifest.precision.insert(kind.part.name().to_owned(), Assembly::precision());
            graphs.insert(kind.name.clone(), bytes);
        }
        for (part, weights) in weights {
            let file = WeightsFile::new(part, weights);
            manifest.files.insert(file.name(), absent(file.total_bytes()));
            manifest.weights.extend(file.entries());
        }
        manifest.plan = plan;
        Ok(Source { manifest, graphs, bundle: None, data: None })
    }

    /// Whether a graph has nodes of the plugin.
    pub(super) fn needs_plugin(&self) -> bool {
        self.manifest.graphs.values().any(|graph| graph.twin.is_some())
    }

    /// The path that a graph is said to come from: its constants lie beside it.
    pub(super) fn path(&self, graph: &str) -> Option<PathBuf> {
        let folder = match &self.data {
            Some(data) => Some(data.folder()),
            None => self.bundle.as_deref(),
        };
        Some(folder?.join(&self.manifest.graphs.get(graph)?.file))
    }
}

/// A file's entry by its content.
pub(super) fn entry(bytes: &[u8]) -> FileEntry {
    FileEntry { bytes: bytes.len() as u64, sha256: hash(bytes) }
}

/// A file's entry that has no content.
fn absent(bytes: u64) -> FileEntry {
    FileEntry { bytes, sha256: NO_HASH.to_owned() }
}

/// SHA-256 of bytes.
pub(super) fn hash(bytes: &[u8]) -> String {
    // Memory is read without errors.
    hash_reader(bytes, |_| ()).unwrap_or_default()
}

fn check_moe(bundle: &Bundle, asked: Option<MoeKind>) -> Result<(), Error> {
    let has_plugin = bundle.manifest.graphs.values().any(|graph| graph.twin.is_some());
    let model = &bundle.manifest.model;
    let routes = [model.vision.moe, model.vision.connector_moe, model.llm.moe];
    let name = |kind| match kind {
        MoeKind::Plugin => "plugin",
        MoeKind::Function => "function",
    };
    let have = if has_plugin { MoeKind::Plugin } else { MoeKind::Function };
    match asked.filter(|asked| *asked != have && routes.iter().any(Option::is_some)) {
        None => Ok(()),
        Some(want) => {
            let path = bundle.path.clone();
            Err(Error::Moe { path, have: name(have), want: name(want) })
        }
    }
}

fn read_graph(bundle: &Bundle, file: &str) -> Result<Vec<u8>, Error> {
    let path = bundle.file(file);
    let known = bundle.manifest.files.get(file);
    if known.is_none_or(|entry| entry.bytes > MAX_GRAPH_BYTES) {
        let source = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
        return Err(Error::Io { path, source });
    }
    let bytes = std::fs::read(&path).map_err(|source| Error::Io { path, source })?;
    match known.is_some_and(|known| *known == entry(&bytes)) {
        true => Ok(bytes),
        false => Err(Error::Bundle(cumo_bundle::Error::Files {
            path: bundle.path.clone(),
            problems: vec![format!("`{file}` was altered since the bundle was written")],
        })),
    }
}

/// Where the bundle of a checkpoint goes, whose engines go to `output`.
pub(super) fn bundle_beside(output: &Path) -> PathBuf {
    let mut name = output.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".bundle");
    output.with_file_name(name)
}

/// Exports a checkpoint to a bundle beside the engines, which refer to its weights.
fn export(
    sources: &Sources,
    options: &EngineOptions,
    progress: &dyn EngineProgress,
) -> Result<PathBuf, Error> {
    let output = bundle_beside(&options.output);
    let onnx = OnnxOptions {
        sources: sources.clone(),
        output: output.clone(),
        target: options.target,
        dtype: FloatType::F16,
        template: None,
        moe: options.moe,
        name: None,
        router_outputs: RouterOutputs::default(),
        force: options.force,
    };
    match export_onnx(&onnx, &Exporting(progress)) {
        Ok(_) => Ok(output),
        Err(crate::Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => Err(error.into()),
    }
}

/// The progress of the export before the build.
struct Exporting<'a>(&'a dyn EngineProgress);

impl crate::Progress for Exporting<'_> {
    fn begin(&self, part: &str, bytes: u64) {
        self.0.begin(part, bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}
