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
    /// The machine with the model loaded and nothing to do, before its first work; `count` is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<EnergySpan>,
    /// The same after all work, once the power had stopped falling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_after: Option<EnergySpan>,
    /// Images to embeddings; `count` is images.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::samples")]
    pub images: Vec<EnergySpan>,
    /// Tokens generated one by one; `count` is tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::samples")]
    pub tokens: Vec<EnergySpan>,
}

impl Energy {
    /// The power of the idle machine in watts, above which work takes energy: before the work or
    /// after it, whichever was less.
    pub fn idle_watts(&self) -> Option<f64> {
        let known = [self.idle, self.idle_after].into_iter().flatten();
        known.filter_map(|span| span.watts()).reduce(f64::min)
    }
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
