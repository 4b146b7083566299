//! Memory.

use serde::{Deserialize, Serialize};

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The bundle's files of weights, of all parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_bytes: Option<u64>,
    /// KV cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    /// The most main memory that the process has had, mapped files that were read among it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_process_bytes: Option<u64>,
    /// The most device memory that this program has allocated at once: weights, cache, activations
    /// and buffers, without CUDA's context, the engines' code and CUDA graphs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_device_bytes: Option<u64>,
    /// The device memory of the process after all that was timed, with all that the driver keeps for
    /// it, as NVML tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_process_bytes: Option<u64>,
}
