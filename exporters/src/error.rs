//! What can go wrong in an export.

use std::io;
use std::path::PathBuf;

/// An export failed; nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] cumo_checkpoint::Error),
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] cumo_bundle::Error),
    /// The model does not make a graph.
    #[error(transparent)]
    Graph(#[from] cumo_onnx::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The user interrupted the export.
    #[error("interrupted; nothing was written")]
    Interrupted,
}
