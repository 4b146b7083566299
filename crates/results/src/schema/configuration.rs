//! What was asked for.

use serde::{Deserialize, Serialize};

use super::bounded;

/// The work that was measured. Two results with the same model and configuration can be compared.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Configuration {
    /// Text tokens of the prompt, those of its template among them; images come on top.
    pub prompt_tokens: u64,
    /// SHA-256 of the prompt's ids as little-endian i64, with -200 for an image, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_sha256: Option<String>,
    /// The images of a question, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::rows")]
    pub images: Vec<Image>,
    /// Tokens generated in each repetition.
    pub generate_tokens: u64,
    /// Repetitions that count.
    pub repetitions: u64,
    /// Repetitions before them that do not.
    pub warmup: u64,
    /// Context depths that were asked for, in tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::rows")]
    pub depths: Vec<u64>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Image {
    /// The file's name without its folder.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The file's size, in bytes.
    pub file_bytes: u64,
    /// Width, in pixels.
    pub width: u64,
    /// Height, in pixels.
    pub height: u64,
}
