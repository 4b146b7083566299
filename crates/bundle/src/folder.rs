//! A folder that can be run: a bundle, or engines that were built of one.

use std::collections::BTreeMap;
use std::path::Path;

use crate::engines::ENGINES_FORMAT;
use crate::engines_open::Engines;
use crate::error::Error;
use crate::open::{Bundle, manifest_text};
use crate::unlisted::Unlisted;
use crate::{FileCheck, FileEntry, ModelFacts, names};

/// An opened folder, by what its manifest says it is.
#[derive(Debug, Clone)]
pub enum Folder {
    /// Graphs.
    Bundle(Box<Bundle>),
    /// TensorRT engines.
    Engines(Box<Engines>),
}

impl Folder {
    /// Opens a bundle or a folder of engines.
    ///
    /// # Errors
    /// As [`Bundle::open`], also where the folder is neither; as [`Engines::open`].
    pub fn open(path: &Path) -> Result<Folder, Error> {
        match holds_engines(path)? {
            true => Ok(Folder::Engines(Box::new(Engines::open(path)?))),
            false => Ok(Folder::Bundle(Box::new(Bundle::open(path)?))),
        }
    }

    /// What the model of a bundle or of engines is, by the manifest alone.
    ///
    /// # Errors
    /// As [`Bundle::read_manifest`] and [`Engines::read_manifest`].
    pub fn read_model(path: &Path) -> Result<ModelFacts, Error> {
        Ok(match holds_engines(path)? {
            true => Engines::read_manifest(path)?.bundle.model,
            false => Bundle::read_manifest(path)?.model,
        })
    }

    /// Bytes of all files that the manifest of a folder lists.
    ///
    /// # Errors
    /// [`Error`] where the manifest cannot be read.
    pub fn listed_bytes(path: &Path) -> Result<u64, Error> {
        Ok(listed(path)?.values().map(|file| file.bytes).fold(0, u64::saturating_add))
    }

    /// What lies in a folder beside the manifest and the files that it lists.
    ///
    /// # Errors
    /// [`Error`] where the manifest or the folder cannot be read.
    pub fn unlisted(path: &Path) -> Result<Unlisted, Error> {
        Unlisted::find(path, listed(path)?.keys().map(String::as_str))
    }

    /// Checks size and SHA-256 of every file that the manifest of the folder at `path` lists.
    /// `progress` is given the bytes of each piece read.
    ///
    /// # Errors
    /// [`Error`] where the manifest itself cannot be read; what is wrong with other files is in
    /// the result, so that all of it is seen.
    pub fn verify(path: &Path, progress: impl FnMut(u64)) -> Result<Vec<FileCheck>, Error> {
        match holds_engines(path)? {
            true => Engines::check_files(path, progress),
            false => Bundle::verify(path, progress),
        }
    }
}

/// The files that the manifest of a folder lists.
fn listed(path: &Path) -> Result<BTreeMap<String, FileEntry>, Error> {
    Ok(match holds_engines(path)? {
        true => Engines::read_manifest(path)?.files,
        false => Bundle::read_manifest(path)?.files,
    })
}

/// Whether a folder's manifest says that it holds engines. What is wrong with a manifest is for
/// its reader to say.
fn holds_engines(path: &Path) -> Result<bool, Error> {
    let text = manifest_text(&path.join(names::MANIFEST_FILE))?.unwrap_or_default();
    let value: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
    let format = value.as_ref().and_then(|value| value.get("format")?.as_str());
    Ok(format == Some(ENGINES_FORMAT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileStatus;
    use crate::engines_open::tests::{manifest, write};
    use std::fs;

    fn folder(manifest: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(names::MANIFEST_FILE), manifest).unwrap();
        folder
    }

    #[test]
    fn a_manifest_says_what_a_folder_is() {
        let error = |manifest: &str| {
            let folder = folder(manifest);
            [
                Folder::open(folder.path()).unwrap_err().to_string(),
                Folder::verify(folder.path(), |_| ()).unwrap_err().to_string(),
                Folder::listed_bytes(folder.path()).unwrap_err().to_string(),
                Folder::read_model(folder.path()).unwrap_err().to_string(),
            ]
        };
        for text in error(r#"{"format": "cumo-engines", "format_version": 9}"#) {
            assert!(text.contains("reads `cumo-engines` version 1"), "{text}");
        }
        for text in error(r#"{"format": "other"}"#) {
            assert!(text.contains("reads `cumo-bundle` version 1"), "{text}");
        }
        for text in error("[") {
            assert!(text.contains("manifest.json"), "{text}");
        }
        let nothing = tempfile::tempdir().unwrap();
        assert!(Folder::open(nothing.path()).unwrap_err().to_string().contains("no manifest.json"));
    }

    #[test]
    fn what_the_manifest_does_not_list_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let engines = write(manifest(), folder.path());
        assert_eq!(Folder::unlisted(&engines.path).unwrap(), Unlisted::default());
        fs::create_dir(engines.path.join("notes")).unwrap();
        fs::write(engines.path.join("notes/a.txt"), "").unwrap();
        fs::write(engines.path.join("decode.engine.part"), "").unwrap();
        let found = Folder::unlisted(&engines.path).unwrap();
        assert_eq!(
            found,
            Unlisted { names: ["decode.engine.part", "notes/"].map(Into::into).into(), others: 0 }
        );
    }

    #[test]
    fn files_of_engines_are_checked_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let engines = write(manifest(), folder.path());
        let checks = || Folder::verify(&engines.path, |_| ()).unwrap();
        assert_eq!(Folder::read_model(&engines.path).unwrap(), engines.manifest.bundle.model);
        assert!(checks().iter().all(|check| check.status == FileStatus::Intact));
        let first = &engines.manifest.engines[0].file;
        fs::write(engines.file(first), "cut").unwrap();
        let checks = checks();
        assert_eq!(checks.len(), engines.manifest.files.len());
        let check = checks.iter().find(|check| check.name == *first).unwrap();
        assert!(matches!(&check.status, FileStatus::Damaged(what) if what.contains("3 bytes")));
        assert_eq!(
            Folder::listed_bytes(&engines.path).unwrap(),
            engines.manifest.files.values().map(|file| file.bytes).sum::<u64>()
        );
    }
}
