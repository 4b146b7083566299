//! Writing a folder of engines: everything into a sibling folder, which takes its place when
//! complete.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::engines::{ENGINES_FORMAT, EnginesManifest};
use crate::engines_validate;
use crate::error::Error;
use crate::file_writer::FileWriter;
use crate::manifest::FileEntry;
use crate::write::BundleWriter;

/// Writes the files of a folder of engines as [`BundleWriter`] writes a bundle's.
pub struct EnginesWriter(BundleWriter);

impl EnginesWriter {
    /// Prepares to write the folder `destination`. Where it exists it must hold engines and
    /// `replace` must be set; it stays untouched until [`EnginesWriter::finish`].
    ///
    /// # Errors
    /// [`Error::EnginesExist`], [`Error::NotEngines`], [`Error::Io`].
    pub fn create(destination: &Path, replace: bool) -> Result<EnginesWriter, Error> {
        BundleWriter::create_of(ENGINES_FORMAT, destination, replace).map(EnginesWriter)
    }

    /// Writes one file: `fill` is given a writer that hashes. Gives its entry, which is in the manifest
    /// too.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_file(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut FileWriter) -> std::io::Result<()>,
    ) -> Result<FileEntry, Error> {
        let path = self.0.path(name);
        self.0.write_file(name, |out| fill(out).map_err(|source| Error::io(path, source)))?;
        self.0.files().get(name).cloned().ok_or_else(|| {
            Error::io(name, std::io::Error::other("was written and is not among the files"))
        })
    }

    /// Writes bytes as a file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<FileEntry, Error> {
        self.write_file(name, |out| out.write_all(bytes))
    }

    /// Adds a link to a file that has this entry elsewhere.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn link(&mut self, name: &str, target: &Path, entry: FileEntry) -> Result<(), Error> {
        let path = self.0.partial_path(name);
        let failed = |source| Error::io(self.0.path(name), source);
        let absolute = std::path::absolute(target).map_err(|source| Error::io(target, source))?;
        link(&absolute, &path).map_err(failed)?;
        self.0.add_file(name, entry);
        Ok(())
    }

    /// Copies a file and compares it with the entry that it should have.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Files`] where it is another one.
    pub fn copy(&mut self, name: &str, source: &Path, entry: &FileEntry) -> Result<(), Error> {
        let mut file = File::open(source).map_err(|error| Error::io(source, error))?;
        let written = self.write_file(name, |out| std::io::copy(&mut file, out).map(drop))?;
        match written == *entry {
            true => Ok(()),
            false => Err(Error::Files {
                path: source.to_owned(),
                problems: vec!["was altered since its bundle was written".to_owned()],
            }),
        }
    }

    /// The path that a file has in the finished folder, for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Writes the manifest, with the files written so far, and puts the folder in its place.
    /// Gives back the bytes of all files, links not followed.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] where the manifest contradicts itself (a fault of the builder),
    /// [`Error::Io`].
    pub fn finish(self, mut manifest: EnginesManifest) -> Result<u64, Error> {
        manifest.files = self.0.files().clone();
        let linked = manifest.files.keys().filter(|name| {
            fs::symlink_metadata(self.0.partial_path(name)).is_ok_and(|found| found.is_symlink())
        });
        let linked: u64 = linked
            .filter_map(|name| manifest.files.get(name))
            .map(|entry| entry.bytes)
            .fold(0, u64::saturating_add);
        let problems = engines_validate::problems(&manifest);
        Ok(self.0.put(&manifest, problems)? - linked)
    }
}

#[cfg(unix)]
fn link(target: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(target: &Path, path: &Path) -> std::io::Result<()> {
    fs::hard_link(target, path)
}
