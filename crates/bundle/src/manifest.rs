//! `manifest.json`: what a bundle says about itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::ModelFacts;
use crate::plan::Plan;

/// The value of the manifest's `format` key.
pub const FORMAT: &str = "cumo-bundle";

/// The manifest's version. A reader refuses any other.
pub const FORMAT_VERSION: u32 = 1;

/// A weight starts at a multiple of this many bytes of its file, so that it starts a page of a
/// mapped file, and a block that is read past the page cache.
pub const WEIGHT_ALIGNMENT: u64 = 4096;

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: String,
    /// Always [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The program and version that wrote the bundle.
    pub producer: String,
    /// How the graphs are spelled.
    pub target: Target,
    /// The types of each part (`vision`, `connector`, `embed`, `llm`).
    pub precision: BTreeMap<String, PartPrecision>,
    /// What the model is, in numbers the runtime needs.
    pub model: ModelFacts,
    /// Every graph, by name.
    pub graphs: BTreeMap<String, Graph>,
    /// What runs, in order.
    pub plan: Plan,
    /// Every weight that a step binds to a graph's input, by name; none where graphs hold their
    /// weights themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, WeightEntry>,
    /// Every file of the bundle but the manifest itself, by path relative to the bundle.
    pub files: BTreeMap<String, FileEntry>,
}

/// The runtime a bundle's graphs are spelled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Standard ONNX operators and `ai.cumo` functions: any ONNX runtime.
    Onnx,
    /// ONNX Runtime's fused operators for its CPU provider.
    OrtCpu,
    /// One graph a kind of layer with its weights as inputs, in the operators of TensorRT 11 and
    /// TensorRT-RTX.
    Tensorrt,
    /// The same in the operators of TensorRT 10.3, JetPack 6's.
    #[serde(rename = "tensorrt-10.3")]
    Tensorrt103,
}

impl Target {
    /// Every target, in the order of the help text.
    pub const ALL: [Target; 4] =
        [Target::Onnx, Target::OrtCpu, Target::Tensorrt, Target::Tensorrt103];

    /// The target's name on the command line and in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Target::Onnx => "onnx",
            Target::OrtCpu => "ort-cpu",
            Target::Tensorrt => "tensorrt",
            Target::Tensorrt103 => "tensorrt-10.3",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The element type of a graph's input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::F16 => 2,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::I64 => 8,
        }
    }

    /// The type's name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::I64 => "i64",
            Dtype::I32 => "i32",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The types of a part of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartPrecision {
    /// The type of its matrices in the file.
    pub weights: Dtype,
    /// The type in which it multiplies them.
    pub activations: Dtype,
}

/// One ONNX file and its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// Path relative to the bundle.
    pub file: String,
    /// Another file of the same signature for runtimes that cannot run `file`: with function bodies
    /// where `file` has plugin nodes. ONNX Runtime is given this one where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
    /// Inputs in the graph's order.
    pub inputs: Vec<Value>,
    /// Outputs in the graph's order.
    pub outputs: Vec<Value>,
}

/// A graph's input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape; a symbol stands for a size known when the graph runs.
    pub shape: Vec<Dim>,
}

/// One dimension of a [`Value`]: a number, or the name of a size known when the graph runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dim {
    /// Known at export.
    Fixed(usize),
    /// Known at run time, for example `batch` or `sequence`.
    Symbol(String),
}

impl Dim {
    /// Whether two shapes can be of one tensor: symbols fit every size.
    pub(crate) fn agree(one: &[Dim], other: &[Dim]) -> bool {
        let fits = |pair: (&Dim, &Dim)| match pair {
            (Dim::Fixed(one), Dim::Fixed(other)) => one == other,
            _ => true,
        };
        one.len() == other.len() && one.iter().zip(other).all(fits)
    }

    /// A shape for people.
    pub(crate) fn list(shape: &[Dim]) -> String {
        let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
        format!("[{}]", dims.join(", "))
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(size) => write!(f, "{size}"),
            Dim::Symbol(name) => f.write_str(name),
        }
    }
}

/// Where a weight lies: a tensor, row-major and without gaps, in one of the bundle's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightEntry {
    /// The file, relative to the bundle.
    pub file: String,
    /// Bytes from the file's start to the tensor's first, a multiple of [`WEIGHT_ALIGNMENT`].
    pub offset: u64,
    /// Element type.
    pub dtype: Dtype,
    /// Shape, every dimension at least one.
    pub shape: Vec<usize>,
}

impl WeightEntry {
    /// The tensor's bytes; none where they are too many to count.
    pub fn bytes(&self) -> Option<u64> {
        let size = self.shape.iter().try_fold(self.dtype.size(), |all, dim| all.checked_mul(*dim));
        size.and_then(|bytes| u64::try_from(bytes).ok())
    }
}

/// Size and hash of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}
