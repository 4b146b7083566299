//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{
    NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, StringValueParser,
    TypedValueParser,
};
use clap::{Arg, Args, Parser, Subcommand, ValueEnum};
use cumo_bundle::{PromptTemplate, Target};
use cumo_checkpoint::Sources;
use cumo_export::FloatType;
use cumo_export::layered::MoeKind;
use cumo_plan::Device;

/// Exports CuMo checkpoints to bundles of ONNX graphs, without PyTorch.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  cumo-export inspect CuMo-mistral-7b
  cumo-export plan CuMo-mistral-7b --device agx-orin-64gb
  cumo-export onnx CuMo-mistral-7b -o cumo-7b.bundle --dtype f16
  cumo-export engine cumo-7b-trt.bundle -o cumo-7b.engines
  cumo-export onnx stage1 --llm Mistral-7B-Instruct-v0.2 --clip clip-vit-large-patch14-336 -o stage1.bundle"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a checkpoint holds: parts, layers, experts, parameters, types, bytes.
    Inspect(InspectArguments),
    /// Write a bundle: ONNX graphs, weights, tokenizer and manifest in one folder.
    Onnx(OnnxArguments),
    /// Show what a model needs of a device, and how fast the device can be at best.
    Plan(Box<PlanArguments>),
    /// Build TensorRT engines of a bundle or checkpoint, or say what engines are made of.
    Engine(Box<EngineArguments>),
}

/// The folders that a checkpoint is read from.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArguments {
    /// The checkpoint's folder: config.json and weights (safetensors or pytorch_model.bin).
    pub checkpoint: PathBuf,
    /// Folder of the base LLM, for a checkpoint that lacks the LLM's weights (stage 1).
    #[arg(long, value_name = "DIR")]
    pub llm: Option<PathBuf>,
    /// Folder of the CLIP tower, for a checkpoint that lacks its weights or its config.
    #[arg(long, value_name = "DIR")]
    pub clip: Option<PathBuf>,
}

impl CheckpointArguments {
    /// The folders.
    pub(crate) fn sources(&self) -> Sources {
        Sources {
            checkpoint: self.checkpoint.clone(),
            llm: self.llm.clone(),
            clip: self.clip.clone(),
        }
    }
}

/// `cumo-export inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo-export inspect CuMo-mistral-7b
  cumo-export inspect CuMo-mistral-7b --json | jq .parts")]
pub(crate) struct InspectArguments {
    /// Where the checkpoint is.
    #[command(flatten)]
    pub checkpoint: CheckpointArguments,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// `cumo-export onnx`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo-export onnx CuMo-mistral-7b -o cumo-7b.bundle --dtype f16
  cumo-export onnx CuMo-mistral-7b -o cumo-7b.bundle --target ort-cpu --force
  cumo-export onnx CuMo-mistral-7b -o cumo-7b-trt.bundle --target tensorrt")]
pub(crate) struct OnnxArguments {
    /// Where the checkpoint is.
    #[command(flatten)]
    pub checkpoint: CheckpointArguments,
    /// The folder to write. It appears when everything is in it, or not at all.
    #[arg(short, long, value_name = "BUNDLE")]
    pub output: PathBuf,
    /// The runtime that the graphs are spelled for.
    #[arg(long, value_enum, default_value = "onnx")]
    pub target: TargetArgument,
    /// The type that weights are stored in. With f16, dense parts multiply in it too; parts that
    /// route, and norms, softmax and logits, compute in f32. For tensorrt and tensorrt-10.3 f16 is
    /// the default and the only one: all parts multiply in it, and compute the rest, routing too, in
    /// f32. For the others the default is f32.
    #[arg(long, value_enum)]
    pub dtype: Option<DtypeArgument>,
    /// How graphs for tensorrt and tensorrt-10.3 hold a mixture of experts: as a node of the CumoMoE
    /// plugin (by default; ONNX Runtime gets twins of these graphs with functions in it), or as a
    /// function of standard operators that computes every expert for every token.
    #[arg(long, value_enum)]
    pub moe: Option<MoeArgument>,
    /// The conversation template. By default `conv_mode` of config.json where it is there, else
    /// that of the original's command line: mistral_instruct_system for Mistral and Mixtral, v1
    /// for Llama.
    #[arg(long, value_parser = template_parser())]
    pub template: Option<PromptTemplate>,
    /// The model's name in the bundle. By default the name of the checkpoint's folder. Where that is
    /// called `checkpoint`, `checkpoint-1000`, `model`, `output` or `final`, and the folder around it
    /// is not, the name of that one.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub name: Option<String>,
    /// Make each router's probabilities outputs of the graphs, beside its choices of experts.
    #[arg(long)]
    pub debug_outputs: bool,
    /// Leave routers' choices of experts out of the graphs' outputs. `cumo bench` then shows no load
    /// of experts.
    #[arg(long, conflicts_with = "debug_outputs")]
    pub no_choices: bool,
    /// Replace the bundle if it exists.
    #[arg(long)]
    pub force: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `cumo-export engine`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo-export engine cumo-7b-trt.bundle -o cumo-7b.engines
  cumo-export engine CuMo-mistral-7b -o cumo-7b.engines --max-images 2 --max-context 8192
  cumo-export engine cumo-7b-trt.bundle -o rtx40.engines --device 8.9 --weights-files copy
  cumo-export engine folder-with-config-only --shapes-only -o shapes.engines
  cumo-export engine cumo-7b-trt.bundle -o constant.engines --weights const --layers 2
  cumo-export engine --explain cumo-7b.engines

A checkpoint is exported first, to the bundle ENGINES.bundle beside the engines, which refer to its \
weights. TensorRT-RTX builds on machines without a GPU, for compute capability 8.0, 8.6, 8.9, 12.0 \
and later, or for those of --device; the other flavours need the GPU that the engines are for. The \
plugin's kernels need 8.0: for 7.5, export with --moe function.

--explain tells the network as TensorRT parsed it, before it fused layers, and what became of it: the \
kernels of the compiled engine, read from its file, and the memory that the builder told. Where \
there is a device for the engines, they are loaded and asked.")]
pub(crate) struct EngineArguments {
    /// A bundle of target tensorrt or tensorrt-10.3, or a checkpoint's folder; with --explain a
    /// folder of engines.
    #[arg(value_name = "BUNDLE|CHECKPOINT|ENGINES")]
    pub input: PathBuf,
    /// The folder to write. It appears when everything is in it, or not at all.
    #[arg(short, long, value_name = "ENGINES", required_unless_present = "explain")]
    pub output: Option<PathBuf>,
    /// Say what engines became: steps, layers as parsed, kernels as compiled, plugin nodes,
    /// precisions, weights, memory.
    #[arg(long, conflicts_with_all = ["output", "shapes_only"])]
    pub explain: bool,
    /// Build from a checkpoint's config.json alone: engines whose weights are exported later.
    #[arg(long)]
    pub shapes_only: bool,
    /// Folder of the base LLM, for a checkpoint that lacks the LLM's weights (stage 1).
    #[arg(long, value_name = "DIR")]
    pub llm: Option<PathBuf>,
    /// Folder of the CLIP tower, for a checkpoint that lacks its weights or its config.
    #[arg(long, value_name = "DIR")]
    pub clip: Option<PathBuf>,
    /// The TensorRT to build with. auto: an installed TensorRT 11 or 10 with a GPU, else RTX.
    #[arg(long, default_value = "auto", value_parser = ["auto", "rtx", "11", "10"])]
    pub flavour: String,
    /// The operators of the graphs, for a checkpoint: tensorrt (10.15 and later, RTX) or
    /// tensorrt-10.3.
    #[arg(long, default_value = "tensorrt", value_parser = ["tensorrt", "tensorrt-10.3"])]
    pub target: String,
    /// Images in one call. By default 1.
    #[arg(long, value_name = "N")]
    pub max_images: Option<usize>,
    /// Positions of one prefill call, images and text. By default 2048, or the cache's if less.
    #[arg(long, value_name = "N")]
    pub max_prompt: Option<usize>,
    /// Positions of the cache. There is an engine for looking at 512, 1024, 2048 and so on up to it.
    /// By default 4096, or the model's context if less.
    #[arg(long, value_name = "N")]
    pub max_context: Option<usize>,
    /// Sequences in one call. By default 1.
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// The most memory in MiB that a layer may use besides its tensors. By default TensorRT's limit.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=16 << 20))]
    pub workspace: Option<u64>,
    /// A file of kernel timings: read where it is there, and written. TensorRT-RTX has none.
    #[arg(long, value_name = "FILE")]
    pub timing_cache: Option<PathBuf>,
    /// Compute capabilities to build for, RTX only. By default all that it supports at once: 8.0,
    /// 8.6, 8.9, 12.0 and later.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = compute_capability)]
    pub device: Vec<u32>,
    /// Weights as inputs of the engines, or as constants in them, the classical way, which needs
    /// three to four times their bytes in memory.
    #[arg(long, default_value = "input", value_parser = ["input", "const"])]
    pub weights: String,
    /// How many layers of each kind engines with constant weights take, for comparison; such engines
    /// compute nothing useful. By default all.
    #[arg(long, value_name = "N")]
    pub layers: Option<usize>,
    /// How experts are held, as for `cumo-export onnx`; a bundle must have them so.
    #[arg(long, value_enum)]
    pub moe: Option<MoeArgument>,
    /// The plugin's library, libcumo_plugin.so. By default CUMO_TRT_PLUGIN, or looked for beside
    /// the shim of CUMO_TRT_SHIM and beside this program.
    #[arg(long, value_name = "PATH")]
    pub plugin: Option<PathBuf>,
    /// How the bundle's weights come into the folder: as links, which hold as long as the bundle
    /// stays where it is, or as copies, with which the folder can be moved.
    #[arg(long, default_value = "link", value_parser = ["link", "copy"])]
    pub weights_files: String,
    /// A folder that keeps engines from one build to the next. Engines of the folder that --force
    /// replaces are taken again in any case, where nothing has changed that they were built of.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Replace the engines if they exist.
    #[arg(long)]
    pub force: bool,
    /// Print the summary, or the explanation, as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `cumo-export plan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cumo-export plan CuMo-mistral-7b --device orin-nano-8gb-super --mode 25W
  cumo-export plan folder-with-config-only --device agx-orin-64gb --context 8192 --images 2
  cumo-export plan CuMo-mistral-7b --memory-gb 32 --bandwidth-gbs 60 --f16-tflops 2 --json
  cumo-export plan CuMo-mistral-7b --device agx-orin-64gb,thor-t4000,rtx-4090
  cumo-export plan --device list

Every precision that can be exported has a row. Of a checkpoint config.json alone is read; of a bundle \
or of engines the manifest, and the weights of its precision are those of its files, to the byte. \
Bounds are what the hardware allows: the time to read each byte that is needed once, or to compute \
each operation, whichever is longer. Activations are an estimate.")]
pub(crate) struct PlanArguments {
    /// A checkpoint's folder, or one with its config.json alone; a bundle; engines.
    #[arg(value_name = "CHECKPOINT|BUNDLE|ENGINES", required_unless_present = "device")]
    pub input: Option<PathBuf>,
    /// Folder of the CLIP tower, for a checkpoint that lacks its config.
    #[arg(long, value_name = "DIR")]
    pub clip: Option<PathBuf>,
    /// A device of the table, or several, which then stand side by side; `list` shows the table.
    #[arg(
        long,
        value_name = "NAME,NAME",
        conflicts_with = "memory_gb",
        value_delimiter = ',',
        value_parser = DeviceName,
        hide_possible_values = true
    )]
    pub device: Vec<String>,
    /// The power mode, which every device must have. By default the device's default.
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Positions that the cache has room for. By default 4096, or the model's or the engines' if less.
    #[arg(long, value_name = "N")]
    pub context: Option<u64>,
    /// Images of a question; 0 is text alone.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub images: u64,
    /// Text tokens of a question. By default 64.
    #[arg(long, value_name = "N")]
    pub prompt_tokens: Option<u64>,
    /// Memory that system and driver need, in GiB. By default 1 on a Jetson, 0.5 of a card.
    #[arg(long, value_name = "GB", value_parser = gibibytes)]
    pub reserve_gb: Option<u64>,
    /// Another device: memory that programs can be given, in GiB.
    #[arg(
        long,
        value_name = "GB",
        allow_negative_numbers = true,
        requires_all = ["bandwidth_gbs", "f16_tflops"]
    )]
    pub memory_gb: Option<f64>,
    /// Another device: memory bandwidth, in GB/s.
    #[arg(long, value_name = "GB/S", allow_negative_numbers = true, requires = "memory_gb")]
    pub bandwidth_gbs: Option<f64>,
    /// Another device: dense f16 products, in TFLOPS.
    #[arg(long, value_name = "TFLOPS", allow_negative_numbers = true, requires = "memory_gb")]
    pub f16_tflops: Option<f64>,
    /// Another device: watts, for bounds of energy.
    #[arg(long, value_name = "W", allow_negative_numbers = true, requires = "memory_gb")]
    pub watts: Option<f64>,
    /// A result of `cumo bench`, to be put beside the bounds and the memory of one device.
    #[arg(long, value_name = "FILE")]
    pub result: Option<PathBuf>,
    /// Print JSON instead of tables: one object, of several devices a list of them.
    #[arg(long)]
    pub json: bool,
}

/// A device's name as it is typed; those of the table are offered to shells that complete words.
#[derive(Debug, Clone, Copy)]
struct DeviceName;

impl TypedValueParser for DeviceName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        // What is no device is told later, with names like it.
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Device::ids().chain(["list"]).map(PossibleValue::new)))
    }
}

/// GiB as bytes.
fn gibibytes(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(gib) if (0.0..=1e6).contains(&gib) => Ok((gib * (1_u64 << 30) as f64) as u64),
        _ => Err("write a number from 0 to 1000000, for example 1.5".to_owned()),
    }
}

/// `8.6` as 86.
fn compute_capability(text: &str) -> Result<u32, String> {
    let number = |text: &str| text.parse::<u32>().ok();
    match text.split_once('.').map(|(major, minor)| (number(major), number(minor))) {
        Some((Some(major @ 5..=99), Some(minor @ 0..=9))) => Ok(major * 10 + minor),
        _ => {
            Err("a compute capability is two numbers with a point between, such as 8.6".to_owned())
        }
    }
}

/// `--target`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TargetArgument(pub Target);

impl ValueEnum for TargetArgument {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [TargetArgument; 4] = [
            TargetArgument(Target::Onnx),
            TargetArgument(Target::OrtCpu),
            TargetArgument(Target::Tensorrt),
            TargetArgument(Target::Tensorrt103),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self.0 {
            Target::Onnx => "Standard operators and ai.cumo functions: any ONNX runtime",
            Target::OrtCpu => {
                "ONNX Runtime's fused operators on the CPU; the cache is updated where it lies"
            }
            Target::Tensorrt => {
                "A graph a kind of layer, its weights inputs: TensorRT 10.15 and later, TensorRT-RTX"
            }
            Target::Tensorrt103 => "The same in the operators of TensorRT 10.3 (JetPack 6)",
        };
        Some(PossibleValue::new(self.0.name()).help(help))
    }
}

/// `--moe`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MoeArgument(pub MoeKind);

impl ValueEnum for MoeArgument {
    fn value_variants<'a>() -> &'a [Self] {
        &[MoeArgument(MoeKind::Plugin), MoeArgument(MoeKind::Function)]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self.0 {
            MoeKind::Plugin => "plugin",
            MoeKind::Function => "function",
        }))
    }
}

/// `--dtype`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DtypeArgument(pub FloatType);

impl ValueEnum for DtypeArgument {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [DtypeArgument; 2] = {
            let [first, second] = FloatType::ALL;
            [DtypeArgument(first), DtypeArgument(second)]
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

/// `--template`: the help lists every template there is.
fn template_parser() -> impl TypedValueParser<Value = PromptTemplate> {
    PossibleValuesParser::new(PromptTemplate::ALL.map(PromptTemplate::name))
        .try_map(|name| PromptTemplate::by_name(&name).ok_or("no such template"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn sentences_of_help_texts_are_broken_by_the_terminal_alone() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let prose = |line: &&str| !line.is_empty() && !line.starts_with(' ');
            for line in help.lines().filter(prose) {
                assert!(line.ends_with(['.', ':']), "{}: {line}", command.get_name());
            }
        }
    }
}
