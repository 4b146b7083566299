//! Engines of earlier builds, found by the hash of all that they were built of.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cumo_bundle::{EngineContents, EngineFigures, Engines, FileEntry};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::source::hash;

/// Where engines of earlier builds may be: the folder that is replaced, and one that keeps them.
pub(super) struct Store {
    replaced: Option<Engines>,
    folder: Option<PathBuf>,
}

/// What is said of an engine in the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Made {
    /// What its network was made of.
    pub(super) contents: EngineContents,
    /// What the builder said of it.
    pub(super) figures: EngineFigures,
}

/// An engine in the folder that keeps them, in JSON beside it.
#[derive(Serialize, Deserialize)]
struct Kept {
    file: FileEntry,
    made: Made,
}

impl Store {
    /// The folder `output` that is replaced, if it holds engines, and the folder `cache`, which is
    /// made where it is not there.
    ///
    /// # Errors
    /// [`Error::Cache`] where it cannot be written into.
    pub(super) fn open(cache: Option<&Path>, output: &Path) -> Result<Store, Error> {
        if let Some(folder) = cache {
            let failed = |source| Error::Cache { path: folder.to_owned(), source };
            if folder.exists() && !folder.is_dir() {
                return Err(failed(std::io::Error::other("not a folder")));
            }
            fs::create_dir_all(folder).map_err(failed)?;
            // It is removed at once.
            tempfile::tempfile_in(folder).map_err(failed)?;
        }
        let replaced = Engines::read_manifest(output).ok();
        let replaced = replaced.map(|manifest| Engines { path: output.to_owned(), manifest });
        Ok(Store { replaced, folder: cache.map(Path::to_owned) })
    }

    /// The engine of this key, if it is there unaltered.
    pub(super) fn find(&self, key: &str) -> Option<(Vec<u8>, Made)> {
        self.in_replaced(key).or_else(|| self.in_folder(key))
    }

    fn in_replaced(&self, key: &str) -> Option<(Vec<u8>, Made)> {
        let replaced = self.replaced.as_ref()?;
        let engine = replaced.manifest.engines.iter().find(|engine| engine.key == key)?;
        let made = Made { contents: engine.contents.clone(), figures: engine.figures };
        Some((replaced.read(engine).ok()?, made))
    }

    fn in_folder(&self, key: &str) -> Option<(Vec<u8>, Made)> {
        let folder = self.folder.as_ref()?;
        let kept = fs::read(folder.join(format!("{key}.json"))).ok()?;
        let kept: Kept = serde_json::from_slice(&kept).ok()?;
        let bytes = fs::read(folder.join(format!("{key}.engine"))).ok()?;
        (hash(&bytes) == kept.file.sha256).then_some((bytes, kept.made))
    }

    /// Keeps an engine in the folder for it, if there is one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn keep(
        &self,
        key: &str,
        bytes: &[u8],
        file: &FileEntry,
        made: &Made,
    ) -> Result<(), Error> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let kept = Kept { file: file.clone(), made: made.clone() };
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        // The description comes last: without it, there is nothing.
        write_whole(&folder.join(format!("{key}.engine")), bytes)?;
        write_whole(&folder.join(format!("{key}.json")), &text)
    }
}

/// Writes a file that has either its old content or the new one, whenever this is stopped.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        // As other files: the mask takes away what its user wants to keep.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(bytes)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|source: std::io::Error| match source.kind() {
        std::io::ErrorKind::StorageFull => Error::DiskFull { path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::source::entry;

    #[cfg(unix)]
    #[test]
    fn files_are_for_whom_other_new_files_are() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (folder.path().join("ours"), folder.path().join("other"));
        write_whole(&ours, b"ours").unwrap();
        fs::write(&other, b"other").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&ours), mode(&other));
    }

    #[test]
    fn an_engine_is_found_by_its_key_unless_it_was_altered() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(&folder.path().join("cache")), &folder.path().join("none"));
        let store = store.unwrap();
        let made = Made {
            contents: EngineContents { caches_in_place: 2, ..Default::default() },
            figures: EngineFigures { activation_bytes: Some(7), ..Default::default() },
        };
        assert!(store.find("key").is_none());
        store.keep("key", b"engine", &entry(b"engine"), &made).unwrap();
        assert_eq!(store.find("key"), Some((b"engine".to_vec(), made)));
        assert!(store.find("other").is_none());
        fs::write(folder.path().join("cache/key.engine"), b"Engine").unwrap();
        assert!(store.find("key").is_none());
    }
}
