//! Memory.

use serde::{Deserialize, Serialize};

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Weights that are bound or loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_bytes: Option<u64>,
    /// KV cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    /// The most main memory that the process has had, mapped files that were read among it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_process_bytes: Option<u64>,
    /// The most device memory that the process has had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_device_bytes: Option<u64>,
}
