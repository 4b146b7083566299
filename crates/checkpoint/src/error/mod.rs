//! What can be wrong with a checkpoint.

mod config;
mod file;
mod parts;
mod tensors;

use std::fmt;
use std::path::PathBuf;

pub use self::config::{ConfigProblem, ConfigProblemKind};
pub use self::file::{IndexProblem, PickleError, SafetensorsError, TorchError, ZipError};
pub use self::parts::{MissingPart, Part};
pub use self::tensors::{TensorProblem, TensorProblems};

/// Why a checkpoint was refused. A cause is in the error's source, not in its message too. Each variant names the file; where a check can fail in several
/// places, all of them are named at once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system did not give a file.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A folder was named that is none.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// What was named.
        path: PathBuf,
    },
    /// A folder, pipe or device lies where a file is needed.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What lies there.
        path: PathBuf,
    },
    /// A JSON file is larger than any real one.
    #[error("{} has {bytes} bytes, at most {limit} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        bytes: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// A JSON file is malformed.
    #[error("{}: malformed", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A safetensors file is malformed.
    #[error("{}: not a well-formed safetensors file", file.display())]
    Safetensors {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: SafetensorsError,
    },
    /// A file of PyTorch's is malformed or holds more than a state dict.
    #[error("{}: not a file of tensors that can be read", file.display())]
    Torch {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: TorchError,
    },
    /// An index does not fit its shards.
    #[error("{} does not fit its shards:{}", index.display(), List(problems))]
    Index {
        /// The index.
        index: PathBuf,
        /// Everything that does not fit.
        problems: Vec<IndexProblem>,
    },
    /// Configuration that is absurd, contradicts itself or asks for something unsupported.
    #[error("the configuration cannot be used:{}", List(problems))]
    Config {
        /// Everything that is wrong.
        problems: Vec<ConfigProblem>,
    },
    /// The checkpoint lacks whole parts.
    #[error("the checkpoint is not complete:{}", List(parts))]
    MissingParts {
        /// Every missing part.
        parts: Vec<MissingPart>,
    },
    /// Tensors do not fit the configuration.
    #[error("the tensors do not fit the configuration: {0}")]
    Tensors(TensorProblems),
}

/// Shows each item on a line of its own, of long lists the first.
struct List<'a, T>(&'a [T]);

/// Items of one kind that a message shows.
const SHOWN: usize = 20;

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for item in self.0.iter().take(SHOWN) {
            write!(f, "\n  {item}")?;
        }
        more(f, self.0.len())
    }
}

fn more(f: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    match count.checked_sub(SHOWN) {
        Some(more) if more > 0 => write!(f, "\n  ... and {} more", Thousands(more)),
        _ => Ok(()),
    }
}

struct Thousands(usize);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}
