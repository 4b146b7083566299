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

/// The folder `tests`: `$CUMO_TESTS`, for programs that run elsewhere than they were built.
pub(crate) fn folder() -> std::path::PathBuf {
    let named = std::env::var_os("CUMO_TESTS").map(Into::into);
    named.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into())
}
