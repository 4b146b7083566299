//! The command line.

use std::path::PathBuf;

use clap::builder::{
    NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use cumo_bundle::{PromptTemplate, Target};
use cumo_checkpoint::Sources;
use cumo_export::FloatType;
use cumo_export::layered::MoeKind;

/// Exports CuMo checkpoints to bundles of ONNX graphs, without PyTorch.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  cumo-export inspect CuMo-mistral-7b
  cumo-export onnx CuMo-mistral-7b -o cumo-7b.bundle --dtype f16
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
    /// Make each router's probabilities and choices outputs of the graphs.
    #[arg(long)]
    pub debug_outputs: bool,
    /// Replace the bundle if it exists.
    #[arg(long)]
    pub force: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
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
        &[DtypeArgument(FloatType::F32), DtypeArgument(FloatType::F16)]
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
