//! From a checkpoint to a bundle.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use cumo_bundle::{
    BundleWriter, FORMAT, FORMAT_VERSION, FloatType, Manifest, ModelFacts, Plan, PromptTemplate,
    Target,
};
use cumo_checkpoint::{Checkpoint, Sources, TokenizerFile};
use cumo_onnx::{DType, Graph};

use crate::builder::RouterOutputs;
use crate::convert::{DataFile, OddWeight};
use crate::error::Error;
use crate::layered::{self, Assembly, LayerOptions, MoeKind, Version, WeightsFile};
use crate::part::{Part, PartName};
use crate::progress::Progress;
use crate::sources::{self, Unneeded};
use crate::target::{OrtCpu, Portable, Target as Spelling};
use crate::weight::Weight;
use crate::{facts, part, signature};

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
    /// How a mixture of experts is held by graphs for TensorRT, which is the only target with a
    /// choice; by default as a plugin's node.
    pub moe: Option<MoeKind>,
    /// The model's name; by default that of the checkpoint.
    pub name: Option<String>,
    /// What graphs give of their routers.
    pub router_outputs: RouterOutputs,
    /// Whether an existing bundle is replaced.
    pub force: bool,
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
    let model = facts::model_facts(&checkpoint, template);
    let mut manifest = manifest(model, options.target);
    let odd_weights = match form(options)? {
        Form::Parts(spelling) => {
            let parts = build_parts(&checkpoint, spelling, options)?;
            let update = spelling.cache_update(&checkpoint.config.llm);
            manifest.plan = signature::plan(&parts, &checkpoint.config.llm, update);
            write_parts(&mut writer, &parts, &mut manifest, progress)?
        }
        Form::Layers(layers) => {
            let assembly = layered::assemble(&checkpoint, layers)?;
            write_layers(&mut writer, assembly, &mut manifest, progress)?
        }
    };
    if let Some(tokenizer) = &checkpoint.tokenizer {
        copy_tokenizer(&mut writer, tokenizer)?;
    }
    if progress.interrupted() {
        return Err(Error::Interrupted);
    }
    let bytes = writer.finish(manifest)?;
    Ok(Summary { seconds: start.elapsed().as_secs_f64(), bytes, odd_weights, unneeded })
}

/// What a bundle's graphs are.
enum Form {
    /// One a part, with its weights.
    Parts(&'static dyn Spelling),
    /// One a kind of layer, whose weights are inputs.
    Layers(LayerOptions),
}

fn form(options: &OnnxOptions) -> Result<Form, Error> {
    let target = options.target;
    let parts = |spelling| match options.moe {
        None => Ok(Form::Parts(spelling)),
        Some(_) => Err(Error::Moe { target }),
    };
    let layers = |version| match options.dtype {
        FloatType::F16 => Ok(Form::Layers(LayerOptions {
            version,
            moe: options.moe.unwrap_or_default(),
            router_outputs: options.router_outputs,
        })),
        FloatType::F32 => Err(Error::Dtype { target, dtype: options.dtype.name() }),
    };
    match target {
        Target::Onnx => parts(&Portable),
        Target::OrtCpu => parts(&OrtCpu),
        Target::Tensorrt | Target::Tensorrt103 => layers(version(target)),
    }
}

/// Writes one graph a part with its weights beside it.
fn write_parts(
    writer: &mut BundleWriter,
    parts: &[Part],
    manifest: &mut Manifest,
    progress: &dyn Progress,
) -> Result<Vec<OddWeight>, Error> {
    let mut odd_weights = Vec::new();
    for part in parts {
        let name = part.name.name().to_owned();
        manifest.precision.insert(name.clone(), part.precision);
        manifest.graphs.insert(name, signature::graph(part));
        write_graph(writer, (part.name.graph_file(), part.name.name()), &part.graph)?;
        odd_weights.extend(write_data(writer, part, progress)?);
    }
    Ok(odd_weights)
}

/// Writes one graph a kind of layer, its twin, and a file of weights a part.
fn write_layers(
    writer: &mut BundleWriter,
    assembly: Assembly,
    manifest: &mut Manifest,
    progress: &dyn Progress,
) -> Result<Vec<OddWeight>, Error> {
    for kind in &assembly.kinds {
        write_graph(writer, (kind.file(), &kind.name), &kind.graph)?;
        if let Some(twin) = &kind.twin {
            write_graph(writer, (kind.twin_file(), &kind.name), twin)?;
        }
        manifest.graphs.insert(kind.name.clone(), signature::kind(kind));
        manifest.precision.insert(kind.part.name().to_owned(), Assembly::precision());
    }
    let mut odd_weights = Vec::new();
    for (part, weights) in assembly.weights {
        let file = WeightsFile::new(part, weights);
        odd_weights.extend(file.write(writer, progress)?);
        manifest.weights.extend(file.entries());
    }
    manifest.plan = assembly.plan;
    Ok(odd_weights)
}

/// How the graphs of a target with a graph a kind of layer are made; the current one's where the
/// target is another.
pub(crate) fn layer_options(target: Target, moe: MoeKind) -> LayerOptions {
    LayerOptions { version: version(target), moe, router_outputs: RouterOutputs::default() }
}

fn version(target: Target) -> Version {
    match target {
        Target::Tensorrt103 => Version::V10_3,
        _ => Version::Current,
    }
}

fn build_parts(
    checkpoint: &Checkpoint,
    spelling: &dyn Spelling,
    options: &OnnxOptions,
) -> Result<Vec<Part>, Error> {
    let dtype = match options.dtype {
        FloatType::F32 => DType::F32,
        FloatType::F16 => DType::F16,
    };
    let build = |name| Part::build(name, checkpoint, spelling, dtype, options.router_outputs);
    PartName::ALL.into_iter().map(build).collect()
}

fn write_graph(
    writer: &mut BundleWriter,
    (file, name): (String, &str),
    graph: &Graph,
) -> Result<(), Error> {
    let path = writer.path(&file);
    let bytes = graph.encode(name, &part::data_file(name), PRODUCER);
    writer.write_file(&file, |out| {
        out.write_all(&bytes).map_err(|source| Error::Io { path, source })
    })?;
    Ok(())
}

fn write_data(
    writer: &mut BundleWriter,
    part: &Part,
    progress: &dyn Progress,
) -> Result<Vec<OddWeight>, Error> {
    let weights: Vec<Weight> = part.weights.iter().map(|weight| weight.weight.clone()).collect();
    let file = DataFile {
        name: part.name.data_file(),
        part: part.name,
        header: &[],
        names: part.weights.iter().map(|weight| weight.name.as_str()).collect(),
        weights: &weights,
        layout: part.graph.layout(),
    };
    file.write(writer, progress)
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

/// A manifest without graphs and plan.
pub(crate) fn manifest(model: ModelFacts, target: Target) -> Manifest {
    Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        producer: format!("{} {}", PRODUCER.0, PRODUCER.1),
        target,
        precision: Default::default(),
        model,
        graphs: Default::default(),
        plan: Plan {
            cache: Vec::new(),
            encode_images: Vec::new(),
            embed_tokens: Vec::new(),
            decode: Vec::new(),
            attended: Vec::new(),
        },
        weights: Default::default(),
        files: Default::default(),
    }
}
