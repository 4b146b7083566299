//! What was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bounded;

/// A model: its identity and sizes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Model {
    /// Its name in the manifest.
    pub name: String,
    /// How its graphs are spelled: `onnx`, `ort-cpu`, `tensorrt`, `tensorrt-10.3`.
    pub target: String,
    /// SHA-256 of the bundle's `manifest.json`, in hexadecimal. The manifest has the hash of every
    /// other file, so this one is the bundle's.
    pub bundle_sha256: String,
    /// SHA-256 of the manifest of the engines, where engines were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engines_sha256: Option<String>,
    /// Each part's own facts, by the part's name (`vision`, `connector`, `embed`, `llm`).
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "bounded::by_name"
    )]
    pub parts: BTreeMap<String, ModelPart>,
    /// All files of the bundle together, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_bytes: Option<u64>,
    /// Positions that the model can hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// Tokens that one image becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_tokens: Option<u64>,
    /// Crops of one image that go through the vision tower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_crops: Option<u64>,
}

/// A part of a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelPart {
    /// The type of its matrices in the file: `f16`, `f32`.
    pub weights: String,
    /// The type in which it multiplies them.
    pub activations: String,
    /// Layers that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_layers: Option<u64>,
    /// Channels between layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_size: Option<u64>,
    /// Experts of a layer; none where layers are dense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_experts: Option<u64>,
    /// Experts that each token is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_experts_per_tok: Option<u64>,
    /// Its weights, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_bytes: Option<u64>,
}
