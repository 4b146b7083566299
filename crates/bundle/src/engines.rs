//! `manifest.json` of a folder of TensorRT engines: what they were built of, with, and for.
//!
//! The folder has one engine a graph of the bundle and pass, and refers to the bundle's weights,
//! which are inputs of the engines. What a runtime needs of the bundle (facts, plan, signatures,
//! places of weights) is in the manifest, so that the folder runs without it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::manifest::{Dim, FileEntry, Manifest};
use crate::names;
use crate::plan::{Binding, CacheUpdate, Phase};

/// The value of the manifest's `format` key.
pub const ENGINES_FORMAT: &str = "cumo-engines";

/// The manifest's version. A reader refuses any other.
pub const ENGINES_FORMAT_VERSION: u32 = 1;

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnginesManifest {
    /// Always [`ENGINES_FORMAT`].
    pub format: String,
    /// Always [`ENGINES_FORMAT_VERSION`].
    pub format_version: u32,
    /// The program and version that built the engines.
    pub producer: String,
    /// The TensorRT that built them, which must be the one that runs them.
    pub tensorrt: TensorrtFacts,
    /// The plugin that they need; none where no graph has its nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginFacts>,
    /// The largest sizes that they take.
    pub limits: EngineLimits,
    /// How they were built.
    pub options: EngineOptions,
    /// How the weights' files come to be in the folder.
    pub weights_files: WeightsFiles,
    /// Every engine.
    pub engines: Vec<EngineEntry>,
    /// The manifest of the bundle that they were built of. Of its files, this folder has the
    /// tokenizer's and those of weights, and not the graphs.
    pub bundle: Manifest,
    /// Every file of the folder but the manifest itself, by path relative to the folder.
    pub files: BTreeMap<String, FileEntry>,
}

/// A TensorRT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorrtFacts {
    /// Its flavour.
    pub flavour: TensorrtFlavour,
    /// Its version, all four numbers.
    pub version: String,
    /// Compute capabilities of the devices that the engines are for, as `86` for 8.6; empty: all
    /// that this TensorRT builds portable engines for.
    pub compute_capabilities: Vec<u32>,
}

/// A TensorRT whose engines no other one reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TensorrtFlavour {
    /// TensorRT-RTX.
    #[serde(rename = "rtx")]
    Rtx,
    /// TensorRT 11.
    #[serde(rename = "11")]
    V11,
    /// TensorRT 10.
    #[serde(rename = "10")]
    V10,
}

impl fmt::Display for TensorrtFlavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TensorrtFlavour::Rtx => "TensorRT-RTX",
            TensorrtFlavour::V11 => "TensorRT 11",
            TensorrtFlavour::V10 => "TensorRT 10",
        })
    }
}

/// A compute capability as people write it: 86 gives `8.6`.
pub fn compute_capability_name(capability: u32) -> String {
    format!("{}.{}", capability / 10, capability % 10)
}

/// The plugin whose nodes the engines hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginFacts {
    /// Its name in graphs.
    pub name: String,
    /// Its version in graphs.
    pub version: String,
    /// The form of its fields and inputs in engines; a plugin reads engines of its own alone.
    pub layout_version: u32,
    /// SHA-256 of the library that was there when the engines were built.
    pub sha256: String,
}

/// The largest sizes that the engines take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineLimits {
    /// Images in one call.
    pub max_images: usize,
    /// Sequences in one call.
    pub batch: usize,
    /// Positions of one prefill call, images and text together.
    pub max_prompt: usize,
    /// Positions that the cache has room for.
    pub max_context: usize,
    /// The ladder of cache lengths, rising, the last is `max_context`; empty where no graph depends
    /// on it. [`EngineLimits::rungs`] says of which passes there is an engine a rung.
    pub attended: Vec<usize>,
}

impl EngineLimits {
    /// The rungs that a pass of a bundle's graph needs an engine each for; one without a rung where
    /// an engine takes them all, or they do not matter. One position is decoded by an engine that
    /// knows how far it looks; and the length of a cache that is updated in place is a number to
    /// TensorRT, in every pass.
    pub fn rungs(&self, bundle: &Manifest, graph: &str, pass: Pass) -> Vec<Option<usize>> {
        let is_rung = |dim: &Dim| matches!(dim, Dim::Symbol(name) if name == names::ATTENDED);
        let by_rung = match pass {
            Pass::Images => false,
            Pass::Decode => bundle.graphs.get(graph).is_some_and(|graph| {
                graph.inputs.iter().any(|input| input.shape.iter().any(is_rung))
            }),
            Pass::Prefill => {
                let steps = bundle.plan.decode.iter().filter(|step| step.graph == graph);
                let made: Vec<&Binding> = steps.flat_map(|step| step.outputs.values()).collect();
                bundle.plan.cache.iter().any(|slot| {
                    slot.update == CacheUpdate::InPlace
                        && slot.shape.iter().any(is_rung)
                        && made
                            .iter()
                            .any(|it| matches!(it, Binding::Cache(name) if *name == slot.name))
                })
            }
        };
        match by_rung {
            true => self.attended.iter().copied().map(Some).collect(),
            false => vec![None],
        }
    }

    /// Positions of one prefill call of an engine for a rung, or for all.
    pub fn max_prompt_at(&self, rung: Option<usize>) -> usize {
        rung.map_or(self.max_prompt, |rung| rung.min(self.max_prompt))
    }
}

/// How engines were built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineOptions {
    /// Most bytes that a layer may use besides its tensors; none: TensorRT's own limit.
    pub workspace_bytes: Option<u64>,
    /// Whether weights are constants in the engines instead of their inputs.
    pub constant_weights: bool,
}

/// How the weights' files come to be in the folder of engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsFiles {
    /// As links to the bundle's files, which must stay where they are.
    Link,
    /// As copies.
    Copy,
    /// Not at all: the weights are in the engines.
    Engines,
    /// Not at all: the engines were built of shapes alone, and weights have yet to be exported.
    Absent,
}

/// What an engine is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// Images to embeddings.
    Images,
    /// A prompt, or a piece of one: any number of positions.
    Prefill,
    /// One position.
    Decode,
}

impl Pass {
    /// The passes that run the steps of a phase of the plan.
    pub fn of(phase: Phase) -> &'static [Pass] {
        match phase {
            Phase::EncodeImages => &[Pass::Images],
            Phase::EmbedTokens | Phase::Decode => &[Pass::Prefill, Pass::Decode],
        }
    }

    /// Its name in the manifest and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Images => "images",
            Pass::Prefill => "prefill",
            Pass::Decode => "decode",
        }
    }
}

/// One engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineEntry {
    /// Its file, relative to the folder.
    pub file: String,
    /// The graph of the bundle that it computes: it serves every step of this graph.
    pub graph: String,
    /// What it is run for.
    pub pass: Pass,
    /// The rung of the ladder that it attends to; none where it takes any, or does not depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attended: Option<usize>,
    /// Shapes of the inputs that are not fixed.
    pub profile: BTreeMap<String, ShapeRange>,
    /// SHA-256 of all that it was built of.
    pub key: String,
    /// What its network was made of.
    pub contents: EngineContents,
    /// What the builder said of it.
    pub figures: EngineFigures,
}

/// The shapes that an engine takes at one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeRange {
    /// The smallest.
    pub min: Vec<usize>,
    /// The one that it is tuned for.
    pub opt: Vec<usize>,
    /// The largest.
    pub max: Vec<usize>,
}

/// What an engine's network was made of, as TensorRT parsed it: before its layers were fused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineContents {
    /// Layers by kind.
    pub layers: BTreeMap<String, usize>,
    /// Plugin nodes by the plugin's name.
    pub plugins: BTreeMap<String, usize>,
    /// Matrix products, convolutions and attentions by the type they multiply in.
    pub products: BTreeMap<String, usize>,
    /// Names of those that multiply in f32.
    pub f32_products: Vec<String>,
    /// Outputs that are an input's memory: caches that are updated in place.
    pub caches_in_place: usize,
}

/// What TensorRT's builder said of an engine in its log, none of what it did not say. It is known
/// without a device, for the largest shapes of the profile; what a loaded engine says counts more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineFigures {
    /// Device memory for what is between the layers, workspaces too, in bytes: a context needs it as
    /// it runs, and contexts that run one after another can share it.
    pub activation_bytes: Option<u64>,
    /// Device memory that a context keeps beside it, in bytes.
    pub persistent_bytes: Option<u64>,
    /// Constants in the engine, in bytes.
    pub weights_bytes: Option<u64>,
    /// How long the build took, in milliseconds of wall-clock time.
    pub build_milliseconds: u64,
}
