//! What to build, and how.

use std::path::PathBuf;

use cumo_bundle::Target;
use cumo_checkpoint::Sources;
use cumo_tensorrt::{Flavour, LibraryPlaces};

use crate::layered::MoeKind;

/// What engines are built of.
#[derive(Debug, Clone)]
pub enum EngineInput {
    /// A bundle of target `tensorrt` or `tensorrt-10.3`.
    Bundle(PathBuf),
    /// A checkpoint, which is exported first, to a bundle beside the engines.
    Checkpoint(Sources),
    /// A checkpoint's configuration alone: engines without weights.
    Shapes(Sources),
}

/// Whether weights are linked or copied into the folder of engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsPlace {
    /// Links to the bundle's files.
    Link,
    /// Copies, so that the folder can be moved.
    Copy,
}

/// The largest sizes that engines take; by default the model's, or as documented.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Images in one call; by default 1.
    pub max_images: Option<usize>,
    /// Sequences in one call; by default 1.
    pub batch: Option<usize>,
    /// Positions of one prefill call; by default 2,048, or `max_context` if that is less.
    pub max_prompt: Option<usize>,
    /// Positions of the cache; by default 4,096, or the model's context if that is less.
    pub max_context: Option<usize>,
}

/// What to build, and how.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// What is built of.
    pub input: EngineInput,
    /// The folder to write.
    pub output: PathBuf,
    /// The operators of the graphs, where they are made here.
    pub target: Target,
    /// The TensorRT to build with; by default the one that this machine's device needs, or RTX.
    pub flavour: Option<Flavour>,
    /// Where TensorRT's libraries are, where they are not to be looked for.
    pub libraries: LibraryPlaces,
    /// The largest sizes.
    pub sizes: Sizes,
    /// Most bytes that a layer may use besides its tensors.
    pub workspace_bytes: Option<u64>,
    /// A file of kernel timings, read where it is there, and written.
    pub timing_cache: Option<PathBuf>,
    /// Compute capabilities to build for, as `86` for 8.6; none: all that RTX builds for at once.
    pub devices: Vec<u32>,
    /// Whether weights are constants in the engines.
    pub constant_weights: bool,
    /// How many layers of each kind engines with constant weights take; none: all.
    pub constant_layers: Option<usize>,
    /// How experts are held, where the graphs are made here; for a bundle, what it must have.
    pub moe: Option<MoeKind>,
    /// The plugin's library; by default looked for beside the program.
    pub plugin: Option<PathBuf>,
    /// How weights come into the folder.
    pub weights_place: WeightsPlace,
    /// A folder that keeps engines from one build to the next.
    pub cache: Option<PathBuf>,
    /// Whether an existing folder of engines is replaced.
    pub force: bool,
}
