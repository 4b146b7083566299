//! What can be wrong with a bundle.

use std::io;
use std::path::PathBuf;

/// A bundle could not be read, checked or written. A cause is in the error's source, not in its
/// message too.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder has no manifest.
    #[error(
        "{0}: no manifest.json, so this is not a (complete) bundle; make one with `cumo-export onnx`"
    )]
    NoManifest(PathBuf),
    /// There is nothing of this name.
    #[error("{0}: no such folder")]
    NoFolder(PathBuf),
    /// The manifest is larger than any real one.
    #[error("{path}: {bytes} bytes, a manifest has at most {limit}")]
    ManifestTooLarge {
        /// The manifest.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size read.
        limit: u64,
    },
    /// The manifest is not JSON of the expected form.
    #[error("{path}: malformed")]
    Json {
        /// The manifest.
        path: PathBuf,
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// The manifest has another format or version.
    #[error(
        "{path}: format `{format}` version {version}, this program reads `cumo-bundle` version 1"
    )]
    Version {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        format: String,
        /// Its version.
        version: u64,
    },
    /// The manifest contradicts itself; every contradiction is listed.
    #[error("{path}: {}", listed(problems))]
    Inconsistent {
        /// The manifest.
        path: PathBuf,
        /// One sentence each.
        problems: Vec<String>,
    },
    /// A file the manifest lists is missing, cut or altered; all of them are listed.
    #[error("{path}: {}", listed(problems))]
    Files {
        /// The bundle.
        path: PathBuf,
        /// One sentence a file.
        problems: Vec<String>,
    },
    /// The output folder exists.
    #[error("{0} exists; give another folder, or --force to replace a bundle")]
    Exists(PathBuf),
    /// `--force` was given for a folder that is no bundle.
    #[error(
        "{0} exists and is not a bundle (no bundle's manifest.json in it): not replaced, even with --force"
    )]
    NotABundle(PathBuf),
    /// The output folder of engines exists.
    #[error("{0} exists; give another folder, or --force to replace engines")]
    EnginesExist(PathBuf),
    /// `--force` was given for a folder that holds no engines.
    #[error(
        "{0} exists and holds no engines (no engines' manifest.json in it): not replaced, even with --force"
    )]
    NotEngines(PathBuf),
    /// A folder has no engines' manifest.
    #[error(
        "{0}: no manifest.json, so these are no (complete) engines; make them with `cumo-export engine`"
    )]
    NoEngines(PathBuf),
    /// The engines' manifest has another format or version.
    #[error(
        "{path}: format `{format}` version {version}, this program reads `cumo-engines` version 1"
    )]
    EnginesVersion {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        format: String,
        /// Its version.
        version: u64,
    },
    /// The engines are for another machine than this one; every difference is listed.
    #[error("{path}: these engines do not run here: {}", problems.join("; "))]
    OtherMachine {
        /// The folder.
        path: PathBuf,
        /// One sentence each.
        problems: Vec<String>,
    },
    /// A file could not be read or written.
    #[error("{path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The most problems that a message lists.
const MAX_LISTED: usize = 20;

/// Problems in one line; the first of very many.
fn listed(problems: &[String]) -> String {
    let shown = problems.iter().take(MAX_LISTED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match problems.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

impl Error {
    /// Wraps an I/O error with the path it happened on.
    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_problems_the_first_are_listed() {
        let error = |count: usize| {
            let problems = (0..count).map(|index| format!("p{index}")).collect();
            Error::Files { path: "b".into(), problems }.to_string()
        };
        assert_eq!(error(2), "b: p0; p1");
        assert!(error(20).ends_with("; p19"));
        assert!(error(1_000_000).ends_with("; p19; and 999980 more"));
    }
}
