//! The samples: every repetition, as it was measured.

use serde::{Deserialize, Serialize};

use super::bounded;

/// A process from its start to its first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ColdStart {
    /// From the start of the process until all that the answer needs was loaded, in nanoseconds.
    pub ready_ns: u64,
    /// From then to the first token of the first answer, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ns: Option<u64>,
    /// From then to the last token of the first answer, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_answer_ns: Option<u64>,
    /// Whether the bundle's files were dropped from the page cache before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_cache_dropped: Option<bool>,
    /// Whether kernels that an earlier process compiled for the device were found; none where
    /// nothing is compiled as a model runs, or nothing is kept of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernels_found: Option<bool>,
}

impl ColdStart {
    /// From the start of the process to the first token, in nanoseconds.
    pub fn to_first_token_ns(&self) -> Option<u64> {
        Some(self.ready_ns.saturating_add(self.first_token_ns?))
    }

    /// From the start of the process to the last token, in nanoseconds.
    pub fn to_first_answer_ns(&self) -> Option<u64> {
        Some(self.ready_ns.saturating_add(self.first_answer_ns?))
    }
}

/// One repetition: the question with its images, answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Time to the first token and its parts.
    pub first_token: FirstToken,
    /// From each token to the next, in nanoseconds: one number less than there are tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::samples")]
    pub inter_token_ns: Vec<u64>,
}

/// From the request, with image files that the system has in its page cache, to the first token,
/// in nanoseconds.
///
/// The parts follow each other, so their sum is the total but for what no part covers: the
/// residual ([`FirstToken::residual_ns`]). A part that the work did not have (no images) or that
/// the backend does not tell apart is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FirstToken {
    /// All of it, by one clock of its own.
    pub total_ns: u64,
    /// Reading and decoding of image files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_image_ns: Option<u64>,
    /// Pixels to `pixel_values`: resize, crop or pad, normalise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess_ns: Option<u64>,
    /// `pixel_values` to where the tower reads them, and embeddings to where they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_ns: Option<u64>,
    /// Vision tower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision_ns: Option<u64>,
    /// Connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector_ns: Option<u64>,
    /// Token embedding, and putting image embeddings between text embeddings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splice_ns: Option<u64>,
    /// The prompt through the language model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_ns: Option<u64>,
    /// Logits to the first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sample_ns: Option<u64>,
}

/// A prompt of text alone through the language model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prefill {
    /// Tokens of the prompt.
    pub tokens: u64,
    /// Positions that were in the cache before.
    pub depth_tokens: u64,
    /// From ids to logits, in nanoseconds, one number a repetition.
    #[serde(deserialize_with = "bounded::samples")]
    pub repetitions_ns: Vec<u64>,
}

/// Tokens generated one by one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Generation {
    /// Tokens generated in a repetition.
    pub tokens: u64,
    /// Positions that were in the cache before the first of them.
    pub depth_tokens: u64,
    /// For each repetition, the time of each token from its input id to its choice, in nanoseconds:
    /// as many as `tokens`.
    #[serde(deserialize_with = "bounded::lists")]
    pub repetitions_inter_token_ns: Vec<Vec<u64>>,
}

/// What a router has done in one repetition of the question.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExpertLoad {
    /// The part of the model: `vision`, `connector` or `llm`.
    pub part: String,
    /// The layer, counted from 0 within the part.
    pub layer: u64,
    /// Tokens sent to each expert. A token counts once for each expert that it is sent to.
    #[serde(deserialize_with = "bounded::samples")]
    pub tokens_per_expert: Vec<u64>,
}

impl FirstToken {
    /// The parts in their order, by the names that tables give them; those that are absent too.
    pub fn parts(&self) -> [(&'static str, Option<u64>); 8] {
        [
            ("decode image", self.decode_image_ns),
            ("preprocess", self.preprocess_ns),
            ("copy", self.copy_ns),
            ("vision", self.vision_ns),
            ("connector", self.connector_ns),
            ("splice", self.splice_ns),
            ("prefill", self.prefill_ns),
            ("first sample", self.first_sample_ns),
        ]
    }

    /// What no part covers, in nanoseconds: the total less the sum of the parts. Negative where the
    /// parts are more than the whole, which a clock's resolution can do and else only a fault.
    pub fn residual_ns(&self) -> f64 {
        let parts = self.parts().into_iter().filter_map(|(_, ns)| ns);
        self.total_ns as f64 - parts.map(|ns| ns as f64).sum::<f64>()
    }
}
