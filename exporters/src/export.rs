//! From a checkpoint to a bundle.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use cumo_bundle::{BundleWriter, FORMAT, FORMAT_VERSION, Manifest, PromptTemplate, Target};
use cumo_checkpoint::{Checkpoint, Sources, TokenizerFile};
use cumo_onnx::DType;

use crate::convert::{OddWeight, write_weights};
use crate::error::Error;
use crate::part::{Part, PartName};
use crate::progress::Progress;
use crate::sources::{self, Unneeded};
use crate::target::spelling;
use crate::{facts, signature};

/// The program and version that a bundle names as its producer.
pub const PRODUCER: (&str, &str) = ("cumo-export", env!("CARGO_PKG_VERSION"));

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct OnnxOptions {
    /// The checkpoint's folders.
    pub sources: Sources,
    /// The bundle to write.
    pub output: PathBuf,
    /// How operators are spelled.
    pub target: Target,
    /// The type of weights and activations.
    pub dtype: FloatType,
    /// The conversation template; by default the one of the model's family.
    pub template: Option<PromptTemplate>,
    /// The model's name; by default that of the checkpoint.
    pub name: Option<String>,
    /// Whether routers' probabilities and choices become outputs.
    pub debug_outputs: bool,
    /// Whether an existing bundle is replaced.
    pub force: bool,
}

/// The type of a bundle's weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatType {
    /// Single precision.
    F32,
    /// Half precision weights. Dense parts compute in it too, but for residuals, norms, softmax and
    /// logits; parts that route compute in f32.
    F16,
}

impl FloatType {
    fn graph_type(self) -> DType {
        match self {
            FloatType::F32 => DType::F32,
            FloatType::F16 => DType::F16,
        }
    }
}

/// What an export did.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Wall-clock time.
    pub seconds: f64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Weights with numbers that a model should not have.
    pub odd_weights: Vec<OddWeight>,
    /// Folders that were given and that nothing was taken from.
    pub unneeded: Vec<Unneeded>,
}

/// Exports a checkpoint to a bundle of ONNX graphs. The output folder is whole afterwards, or as it
/// was before.
///
/// # Errors
/// [`Error`]; it names the file, tensor or place in the model.
pub fn export_onnx(options: &OnnxOptions, progress: &dyn Progress) -> Result<Summary, Error> {
    let start = Instant::now();
    let mut writer = BundleWriter::create(&options.output, options.force)?;
    let mut checkpoint = Checkpoint::open(&options.sources)?;
    if let Some(name) = &options.name {
        checkpoint.name.clone_from(name);
    }
    sources::check_output(&checkpoint, &options.sources, &options.output)?;
    let unneeded = sources::unneeded(&checkpoint, &options.sources);
    let template = match options.template {
        Some(template) => template,
        None => facts::default_template(&checkpoint.config)?,
    };
    let parts = build_parts(&checkpoint, options)?;
    let mut odd_weights = Vec::new();
    for part in &parts {
        write_graph(&mut writer, part)?;
        odd_weights.extend(write_data(&mut writer, part, progress)?);
    }
    if let Some(tokenizer) = &checkpoint.tokenizer {
        copy_tokenizer(&mut writer, tokenizer)?;
    }
    if progress.interrupted() {
        return Err(Error::Interrupted);
    }
    let bytes = writer.finish(manifest(&checkpoint, &parts, options.target, template))?;
    Ok(Summary { seconds: start.elapsed().as_secs_f64(), bytes, odd_weights, unneeded })
}

fn build_parts(checkpoint: &Checkpoint, options: &OnnxOptions) -> Result<Vec<Part>, Error> {
    let spelling = spelling(options.target);
    let dtype = options.dtype.graph_type();
    let build = |name| Part::build(name, checkpoint, spelling, dtype, options.debug_outputs);
    PartName::ALL.into_iter().map(build).collect()
}

fn write_graph(writer: &mut BundleWriter, part: &Part) -> Result<(), Error> {
    let (name, data) = (part.name.graph_file(), part.name.data_file());
    let path = writer.path(&name);
    let bytes = part.graph.encode(part.name.name(), &data, PRODUCER);
    writer.write_file(&name, |out| {
        out.write_all(&bytes).map_err(|source| Error::Io { path, source })
    })?;
    Ok(())
}

fn write_data(
    writer: &mut BundleWriter,
    part: &Part,
    progress: &dyn Progress,
) -> Result<Vec<OddWeight>, Error> {
    let name = part.name.data_file();
    let path = writer.path(&name);
    let names: Vec<&str> =
        part.graph.initializers().iter().map(|initializer| initializer.name.as_str()).collect();
    let layout = part.graph.layout();
    progress.begin(part.name.name(), layout.total_bytes());
    let mut odd = Vec::new();
    writer.write_file(&name, |out| {
        let failed = |source| Error::Io { path: path.clone(), source };
        odd = write_weights(&names, &part.weights, layout, out, progress, failed)?;
        Ok::<(), Error>(())
    })?;
    Ok(odd)
}

/// The largest tokenizer file that is copied; the largest published ones have under 40 MB.
const MAX_TOKENIZER_BYTES: u64 = 256 << 20;

fn copy_tokenizer(writer: &mut BundleWriter, tokenizer: &TokenizerFile) -> Result<(), Error> {
    let io = |source| Error::Io { path: tokenizer.path.clone(), source };
    let size = std::fs::metadata(&tokenizer.path).map_err(io)?.len();
    if size > MAX_TOKENIZER_BYTES {
        let what = format!("{size} bytes, a tokenizer has at most {MAX_TOKENIZER_BYTES}");
        return Err(io(std::io::Error::new(std::io::ErrorKind::FileTooLarge, what)));
    }
    let name = tokenizer.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut file = std::fs::File::open(&tokenizer.path).map_err(io)?;
    writer.write_file(&name, |out| std::io::copy(&mut file, out).map(|_| ()).map_err(io))?;
    Ok(())
}

fn manifest(
    checkpoint: &Checkpoint,
    parts: &[Part],
    target: Target,
    template: PromptTemplate,
) -> Manifest {
    let llm = &checkpoint.config.llm;
    let update = spelling(target).cache_update(llm);
    Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        producer: format!("{} {}", PRODUCER.0, PRODUCER.1),
        target,
        precision: parts.iter().map(|part| (part.name.name().to_owned(), part.precision)).collect(),
        model: facts::model_facts(checkpoint, template),
        graphs: parts
            .iter()
            .map(|part| (part.name.name().to_owned(), signature::graph(part)))
            .collect(),
        plan: signature::plan(parts, llm, update),
        files: Default::default(),
    }
}
