//! What can go wrong in an export.

use std::io;
use std::path::PathBuf;

/// An export failed; nothing was left behind. A cause is in the error's source, not in its message
/// too.
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
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// `conv_mode` of the checkpoint's configuration is no template.
    #[error("config.json: conv_mode `{found}` is not a template; known are {}; --template takes one of them instead", known.join(", "))]
    Template {
        /// What the configuration says.
        found: String,
        /// The templates' names.
        known: Vec<&'static str>,
    },
    /// A target's graphs are not of the type that was asked for.
    #[error(
        "target {target} is f16 alone (matrix products in f16, all between them in f32), not {dtype}"
    )]
    Dtype {
        /// The target.
        target: cumo_bundle::Target,
        /// The type's name.
        dtype: &'static str,
    },
    /// A target has no choice of how experts are held.
    #[error(
        "target {target} has experts as functions alone; --moe is for tensorrt and tensorrt-10.3"
    )]
    Moe {
        /// The target.
        target: cumo_bundle::Target,
    },
    /// The bundle to replace holds a part of the checkpoint, which would go with it.
    #[error(
        "{} lies in {}, which --force would replace: nothing was written", source_path.display(),
        output.display()
    )]
    SourceInOutput {
        /// The folder or file of the checkpoint.
        source_path: PathBuf,
        /// The output.
        output: PathBuf,
    },
    /// The user interrupted the export.
    #[error("interrupted; nothing was written")]
    Interrupted,
}
