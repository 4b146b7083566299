//! What a network is made of.

use crate::tensor::Tensor;

/// A layer as the parser made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name, which has the ONNX node's in it.
    pub name: String,
    /// What it does: `matrix_multiply`, `plugin_v3`, `kv_cache_update`, `attention_input`, ...
    pub kind: String,
    /// The plugin's name, of plugin layers.
    pub plugin: Option<String>,
    /// What it reads.
    pub inputs: Vec<Tensor>,
    /// What it writes.
    pub outputs: Vec<Tensor>,
}
