//! Energy.

use serde::{Deserialize, Serialize};

use super::bounded;

/// What a power sensor has told.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Energy {
    /// The sensor, for example `NVML total energy consumption` or `INA3221 VDD_IN`.
    pub sensor: String,
    /// What it measures, for example `GPU board` or `module`.
    pub scope: String,
    /// The machine with the model loaded and nothing to do; `count` is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<EnergySpan>,
    /// Images to embeddings; `count` is images.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::samples")]
    pub images: Vec<EnergySpan>,
    /// Tokens generated one by one; `count` is tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::samples")]
    pub tokens: Vec<EnergySpan>,
}

/// Energy over a span of time, the idle share included.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EnergySpan {
    /// Energy, in joules.
    pub joules: f64,
    /// The span, in nanoseconds.
    pub duration_ns: u64,
    /// Images or tokens that were worked on in it.
    pub count: u64,
}
