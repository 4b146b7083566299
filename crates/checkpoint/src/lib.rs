//! Reads a trained CuMo checkpoint into one typed, shape-checked model whose weights are
//! memory-mapped.
//!
//! [`Checkpoint::open`] goes through these phases, each a function over the last one's result:
//! configuration ([`config`]) -> stored tensors of every file (`folder`, `safetensors`, `torch`)
//! -> the parts that inference needs, wherever they lie (`parts`) -> the typed model
//! ([`model`], built in `typed`). Nothing of the files is executed, and no length, offset, type
//! or shape in them is believed before it was checked.

mod checkpoint;
pub mod config;
mod error;
mod folder;
mod index;
mod json;
mod mapped_file;
pub mod model;
mod parts;
mod safetensors;
mod shown;
mod tensor;
mod torch;
mod typed;

pub use checkpoint::{Checkpoint, Sources, TokenizerFile, TokenizerKind};
pub use config::{
    AspectRatio, Config, ConnectorConfig, ConnectorKind, Family, ImageConfig, LlmConfig, MoeConfig,
    SelectFeature, VisionConfig,
};
pub use error::{
    ConfigProblem, ConfigProblemKind, Error, IndexProblem, MissingPart, Part, PickleError,
    SafetensorsError, TensorProblem, TensorProblems, TorchError, ZipError,
};
pub use shown::shown;
pub use tensor::{Dtype, Tensor, UnusedTensor};
