//! The bundle: the folder that `cumo-export` writes and `cumo` reads.
//!
//! A bundle holds ONNX graphs, their weights, tokenizer files and `manifest.json`. The manifest
//! says what the model is, what every graph takes and gives, which bytes every file must have, and,
//! as a [`Plan`], in which order the graphs run. It is written last, into a temporary folder that
//! is renamed when complete, after every file has reached the disk: a folder that has a manifest is
//! whole, whenever its writer was killed or the power failed.

mod block;
mod disk;
mod engines;
mod engines_devices;
mod engines_open;
mod engines_profiles;
mod engines_validate;
mod engines_write;
mod error;
mod fact_shapes;
mod file_writer;
mod float_type;
mod folder;
mod hash;
mod links;
mod manifest;
mod model;
pub mod names;
mod open;
mod plan;
mod unlisted;
mod validate;
mod verify;
mod write;

pub use block::Block;
pub use engines::{
    ENGINES_FORMAT, ENGINES_FORMAT_VERSION, EngineContents, EngineEntry, EngineFigures,
    EngineLimits, EngineOptions, EnginesManifest, Pass, PluginFacts, ShapeRange, TensorrtFacts,
    TensorrtFlavour, WeightsFiles, compute_capability_name,
};
pub use engines_open::{Engines, Machine};
pub use engines_write::EnginesWriter;
pub use error::Error;
pub use file_writer::FileWriter;
pub use float_type::FloatType;
pub use folder::Folder;
pub use hash::{Sha256Hex, hash_reader};
pub use manifest::{
    Dim, Dtype, FORMAT, FORMAT_VERSION, FileEntry, Graph, Manifest, PartPrecision, Target, Value,
    WEIGHT_ALIGNMENT, WeightEntry,
};
pub use model::{
    AspectRatio, ImageFacts, LayerSizes, LlmFacts, ModelFacts, MoeFacts, PromptTemplate,
    TokenizerKind, VisionFacts,
};
pub use open::Bundle;
pub use plan::{Binding, CacheSlot, CacheUpdate, Phase, Plan, Step};
pub use unlisted::Unlisted;
pub use verify::{FileCheck, FileStatus};
pub use write::BundleWriter;
