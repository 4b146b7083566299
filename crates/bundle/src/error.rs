//! What can be wrong with a bundle.

use std::io;
use std::path::PathBuf;

/// A bundle could not be read, checked or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder has no manifest.
    #[error(
        "{0}: no manifest.json, so this is not a (complete) bundle; make one with `cumo-export onnx`"
    )]
    NoManifest(PathBuf),
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
    #[error("{path}: {source}")]
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
    #[error("{path}: {}", problems.join("; "))]
    Inconsistent {
        /// The manifest.
        path: PathBuf,
        /// One sentence each.
        problems: Vec<String>,
    },
    /// A file the manifest lists is missing, cut or altered; all of them are listed.
    #[error("{path}: {}", problems.join("; "))]
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
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// Wraps an I/O error with the path it happened on.
    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }
}
