//! What can be wrong with a file of results.

use std::io;
use std::path::PathBuf;

use crate::check::MAX_PROBLEMS;

/// A result could not be read or a file could not be written. A cause is in the error's source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("{path}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder, a pipe or a device.
    #[error(
        "{path}: not a file; results of `cumo bench` are read from files of at most {limit} bytes"
    )]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The file is larger than any real result.
    #[error("{path}: over {limit} bytes, which no result of `cumo bench` has")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The file is no JSON, or not of the expected form.
    #[error("{path}: not a whole result of `cumo bench`")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// The file has another format or version.
    #[error("{path}: {found}, this program reads `cumo-bench` version 1")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        found: String,
    },
    /// Numbers that nothing can have measured.
    #[error("{path}: {}", listed(problems))]
    Absurd {
        /// The file.
        path: PathBuf,
        /// One sentence each.
        problems: Vec<String>,
    },
    /// The file cannot be written, as was found before there was anything to write.
    #[error("{path}: cannot be written")]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file could not be written. What was there before is there still.
    #[error("{path}: cannot be written; what was there is unchanged")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The most problems that a message lists.
const MAX_LISTED: usize = 5;

/// Problems in one line; the first of very many.
fn listed(problems: &[String]) -> String {
    let shown = problems.iter().take(MAX_LISTED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match problems.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        _ if problems.len() >= MAX_PROBLEMS => format!("{shown}; and many more"),
        more => format!("{shown}; and {more} more"),
    }
}
