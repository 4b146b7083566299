//! What the tests across the crates share: goldens, tolerances, exports.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "test code")]

mod compare;
mod exported;
mod golden;
mod standin;

pub use compare::{Comparison, Tolerances};
pub use exported::{Exported, onnxruntime_is_there};
pub use golden::{Golden, Prompt};
pub use standin::{EngineFolder, stand_in};
