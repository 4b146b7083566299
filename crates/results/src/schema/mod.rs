//! The file format, as types. `docs/bench.md` describes every field.
//!
//! - What was not measured is absent: an `Option` is `None` or a list is empty, never zero.
//! - Units are in the names: `_ns`, `_bytes`, `_joules`, `_celsius`, `_hz`, `_tokens`.
//! - Times are of a monotonic clock, in whole nanoseconds.
//! - A later version of `cumo` may add fields under the same [`FORMAT_VERSION`]; readers pass over
//!   fields that they do not know. Where a field's meaning or unit changes, or a new one changes
//!   what the others mean, the version rises, and readers refuse versions that they do not know.
//!
//! Every type has a `Default`, so that a writer can name what it has measured and leave the rest.

mod bounded;
mod configuration;
mod energy;
mod environment;
mod memory;
mod model;
mod samples;

use serde::{Deserialize, Serialize};

pub use bounded::{MAX_ROWS, MAX_SAMPLES};
pub use configuration::{Configuration, Image};
pub use energy::{Energy, EnergySpan};
pub use environment::{
    Board, Build, Clock, Conditions, Device, Environment, Library, OperatingSystem, Processor,
    Temperature,
};
pub use memory::Memory;
pub use model::{Model, ModelPart};
pub use samples::{Answer, ColdStart, ExpertLoad, FirstToken, Generation, Prefill};

/// The value of the `format` key.
pub const FORMAT: &str = "cumo-bench";

/// The format's version. A reader refuses any other.
pub const FORMAT_VERSION: u32 = 1;

/// What one run of `cumo bench` has measured: the content of its JSON file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchResult {
    /// Always [`FORMAT`].
    pub format: String,
    /// Always [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Where it was measured.
    pub environment: Environment,
    /// What was measured.
    pub model: Model,
    /// What was asked for.
    pub configuration: Configuration,
    /// Starts of new processes, one each.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::samples")]
    pub cold_starts: Vec<ColdStart>,
    /// The question with its images, answered once a repetition by a process that is warm.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::samples")]
    pub answers: Vec<Answer>,
    /// Prompts of text alone through the language model: llama-bench's `pp` rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::rows")]
    pub prefill: Vec<Prefill>,
    /// Tokens generated one by one at a context depth: llama-bench's `tg` rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::rows")]
    pub generation: Vec<Generation>,
    /// Memory.
    #[serde(default)]
    pub memory: Memory,
    /// How many tokens each router has sent to each expert, in the order in which they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::rows")]
    pub expert_load: Vec<ExpertLoad>,
    /// Energy, where a sensor was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// What could not be measured and why, and what a reader of the numbers should know: a sentence
    /// each.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::rows")]
    pub notes: Vec<String>,
}

impl Default for BenchResult {
    fn default() -> Self {
        BenchResult {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            environment: Environment::default(),
            model: Model::default(),
            configuration: Configuration::default(),
            cold_starts: Vec::new(),
            answers: Vec::new(),
            prefill: Vec::new(),
            generation: Vec::new(),
            memory: Memory::default(),
            expert_load: Vec::new(),
            energy: None,
            notes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
