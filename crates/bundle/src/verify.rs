//! Checking every file of a bundle, or of engines, against its hash.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use crate::engines_open::Engines;
use crate::error::Error;
use crate::hash::hash_reader;
use crate::links::Links;
use crate::manifest::FileEntry;
use crate::open::{Bundle, file_problem, size_problem};

/// What [`Bundle::verify`] found about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// Path relative to the bundle.
    pub name: String,
    /// Size that the manifest gives, in bytes.
    pub bytes: u64,
    /// Whether the file is as it was written.
    pub status: FileStatus,
}

/// Whether a file is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileStatus {
    /// Size and hash agree with the manifest.
    Intact,
    /// It is missing, unreadable, of another size or a link that ONNX Runtime would not follow; the
    /// sentence says which.
    Damaged(String),
    /// The size agrees and the content does not.
    Altered {
        /// The hash that the manifest gives.
        expected: String,
        /// The hash of what is there.
        found: String,
    },
}

impl Bundle {
    /// Checks size and SHA-256 of every file that the manifest of the bundle at `path` lists.
    /// `progress` is given the bytes of each piece read.
    ///
    /// # Errors
    /// [`Error`] where the manifest itself cannot be read; what is wrong with other files is in
    /// the result, so that all of it is seen.
    pub fn verify(path: &Path, progress: impl FnMut(u64)) -> Result<Vec<FileCheck>, Error> {
        let manifest = Bundle::read_manifest(path)?;
        let links = Links::new(path, &manifest);
        let problem = |file: &Path, name: &str, bytes| file_problem(&links, file, name, bytes);
        Ok(check_files(path, &manifest.files, problem, progress))
    }
}

impl Engines {
    /// Checks size and SHA-256 of every file that the manifest of the engines at `path` lists,
    /// weights too. `progress` is given the bytes of each piece read.
    ///
    /// # Errors
    /// As [`Bundle::verify`].
    pub fn check_files(path: &Path, progress: impl FnMut(u64)) -> Result<Vec<FileCheck>, Error> {
        let manifest = Engines::read_manifest(path)?;
        Ok(check_files(path, &manifest.files, size_problem, progress))
    }
}

fn check_files(
    folder: &Path,
    files: &BTreeMap<String, FileEntry>,
    problem: impl Fn(&Path, &str, u64) -> Option<String>,
    mut progress: impl FnMut(u64),
) -> Vec<FileCheck> {
    let check = |(name, entry): (&String, &FileEntry)| {
        let file = folder.join(name);
        let status = match problem(&file, name, entry.bytes) {
            Some(problem) => FileStatus::Damaged(problem),
            None => match File::open(&file).and_then(|f| hash_reader(f, &mut progress)) {
                Err(error) => FileStatus::Damaged(format!("`{name}` cannot be read ({error})")),
                Ok(found) if found == entry.sha256 => FileStatus::Intact,
                Ok(found) => FileStatus::Altered { expected: entry.sha256.clone(), found },
            },
        };
        FileCheck { name: name.clone(), bytes: entry.bytes, status }
    };
    files.iter().map(check).collect()
}
