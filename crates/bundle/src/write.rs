//! Writing a bundle: everything into a sibling folder, which takes its place when complete.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::file_writer::FileWriter;
use crate::manifest::{FORMAT, FileEntry, Manifest};
use crate::names;
use crate::open::MAX_MANIFEST_BYTES;

/// Held locked by the process that writes a partial folder, so that another can tell whether the
/// folder was left behind.
const LOCK_FILE: &str = ".lock";

/// Writes a bundle's files into a folder beside the destination, and renames it when complete.
/// Dropped before [`BundleWriter::finish`], it removes what it wrote. A process killed in between
/// leaves a hidden `.NAME.partial-…` folder, which the next writer of the same bundle removes.
pub struct BundleWriter {
    destination: PathBuf,
    partial: tempfile::TempDir,
    replace: bool,
    files: BTreeMap<String, FileEntry>,
    _lock: File,
}

impl BundleWriter {
    /// Prepares to write the bundle `destination`. Where the folder exists it must be empty, or be a
    /// bundle and `replace` be set; it stays untouched until [`BundleWriter::finish`].
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotABundle`], [`Error::Io`].
    pub fn create(destination: &Path, replace: bool) -> Result<BundleWriter, Error> {
        BundleWriter::create_of(FORMAT, destination, replace)
    }

    /// As [`BundleWriter::create`], for a folder whose manifest is of `format`.
    pub(crate) fn create_of(
        format: &'static str,
        destination: &Path,
        replace: bool,
    ) -> Result<BundleWriter, Error> {
        check_destination(format, destination, replace)?;
        let (parent, name) = split(destination)?;
        fs::create_dir_all(&parent).map_err(|source| Error::io(&parent, source))?;
        let prefix = partial_prefix(&name);
        remove_left_behind(&parent, &prefix);
        let destination = parent.join(name);
        let io = |source| Error::io(&destination, source);
        // The error's text has the temporary path, which nobody gave.
        let partial = folder_builder(&prefix)
            .tempdir_in(&parent)
            .map_err(|source| io(source.kind().into()))?;
        let lock = locked_file(partial.path()).map_err(io)?;
        Ok(BundleWriter { destination, partial, replace, files: BTreeMap::new(), _lock: lock })
    }

    /// Writes one file: `fill` is given a writer that hashes and writes on threads of its own. Hash
    /// and size go into the manifest.
    ///
    /// # Errors
    /// What `fill` returns, or [`Error::Io`].
    pub fn write_file<E: From<Error>>(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut FileWriter) -> Result<(), E>,
    ) -> Result<u64, E> {
        let io = |source| Error::io(self.path(name), source);
        let mut writer = FileWriter::create(&self.partial.path().join(name)).map_err(io)?;
        fill(&mut writer)?;
        let (bytes, sha256) = writer.finish().map_err(io)?;
        self.files.insert(name.to_owned(), FileEntry { bytes, sha256 });
        Ok(bytes)
    }

    /// The path that a file has in the finished bundle, for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        self.destination.join(name)
    }

    /// Where a file lies until the folder is put in its place.
    pub(crate) fn partial_path(&self, name: &str) -> PathBuf {
        self.partial.path().join(name)
    }

    /// Writes the manifest, with the files written so far, and puts the folder in its place.
    /// Gives back the bytes of all files.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] where the manifest contradicts itself (a fault of the exporter),
    /// [`Error::Io`].
    pub fn finish(self, mut manifest: Manifest) -> Result<u64, Error> {
        manifest.files = self.files.clone();
        let problems = crate::validate::problems(&manifest);
        self.put(&manifest, problems)
    }

    /// The files that were written.
    pub(crate) fn files(&self) -> &BTreeMap<String, FileEntry> {
        &self.files
    }

    /// Adds a file that is there without having been written here, such as a link.
    pub(crate) fn add_file(&mut self, name: &str, entry: FileEntry) {
        self.files.insert(name.to_owned(), entry);
    }

    /// Writes a manifest with these problems, which there should be none of, and puts the folder in
    /// its place. Gives back the bytes of all files.
    pub(crate) fn put(
        self,
        manifest: &impl serde::Serialize,
        problems: Vec<String>,
    ) -> Result<u64, Error> {
        let path = self.path(names::MANIFEST_FILE);
        if !problems.is_empty() {
            return Err(Error::Inconsistent { path, problems });
        }
        let mut text = serde_json::to_vec_pretty(manifest)
            .map_err(|source| Error::Json { path: path.clone(), source })?;
        text.push(b'\n');
        let write = || {
            let mut file = File::create(self.partial.path().join(names::MANIFEST_FILE))?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::remove_file(self.partial.path().join(LOCK_FILE))?;
            sync_folder(self.partial.path())
        };
        write().map_err(|source| Error::io(&path, source))?;
        put_in_place(self.partial, &self.destination, self.replace)?;
        Ok(self.files.values().map(|entry| entry.bytes).sum::<u64>() + text.len() as u64)
    }
}

/// Brings a folder's entries to the disk, so that no power cut leaves it without a file whose
/// contents are there.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// A new lock file in `folder`, locked before it has its name: nobody sees one that is not locked
/// yet and takes its writer for gone.
fn locked_file(folder: &Path) -> std::io::Result<File> {
    let new = folder.join(".lock.new");
    let file = File::create(&new)?;
    file.lock()?;
    fs::rename(&new, folder.join(LOCK_FILE))?;
    Ok(file)
}

/// A builder of folders that others may read, as far as the umask allows: the default, for the user
/// alone, would stay with the finished bundle.
fn folder_builder(prefix: &OsString) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder
}

fn check_destination(format: &str, destination: &Path, replace: bool) -> Result<(), Error> {
    if fs::symlink_metadata(destination).is_err() || is_empty_folder(destination) {
        return Ok(());
    }
    let path = destination.to_owned();
    match (replace, has_manifest(format, destination), format == FORMAT) {
        (true, true, _) => Ok(()),
        (false, _, true) => Err(Error::Exists(path)),
        (false, _, false) => Err(Error::EnginesExist(path)),
        (true, false, true) => Err(Error::NotABundle(path)),
        (true, false, false) => Err(Error::NotEngines(path)),
    }
}

/// Whether there is a folder with nothing in it, not a link to one.
fn is_empty_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
        && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Whether a folder has a manifest of `format`, of whatever version. The file's name alone says
/// little: folders of other programs have a `manifest.json` too, and are not to be replaced.
fn has_manifest(format: &str, folder: &Path) -> bool {
    let Ok(file) = File::open(folder.join(names::MANIFEST_FILE)) else { return false };
    let reader = BufReader::new(file.take(MAX_MANIFEST_BYTES));
    let manifest = serde_json::from_reader::<_, serde_json::Value>(reader).unwrap_or_default();
    manifest.get("format").and_then(|format| format.as_str()) == Some(format)
}

/// The folder to write beside, absolute, and the bundle's name.
fn split(destination: &Path) -> Result<(PathBuf, OsString), Error> {
    let absolute =
        std::path::absolute(destination).map_err(|source| Error::io(destination, source))?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => Ok((parent.to_owned(), name.to_owned())),
        _ => Err(Error::Exists(destination.to_owned())),
    }
}

fn partial_prefix(name: &OsString) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".partial-");
    prefix
}

/// Removes partial folders of the same bundle whose writers are gone. Failing to is no error: they
/// are in nobody's way.
fn remove_left_behind(parent: &Path, prefix: &OsString) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            continue;
        }
        let abandoned = match File::open(entry.path().join(LOCK_FILE)) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Killed before its lock was made, or after it was removed: give a living writer the
            // time to do either.
            Err(_) => entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 60)),
        };
        if abandoned {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Renames the finished folder to its destination; an existing bundle changes places with it in
/// one step, so that there is no moment without a bundle.
fn put_in_place(
    partial: tempfile::TempDir,
    destination: &Path,
    replace: bool,
) -> Result<(), Error> {
    let io = |source| Error::io(destination, source);
    if !replace || fs::symlink_metadata(destination).is_err() {
        // A rename onto an existing folder fails unless that is empty, so nothing is lost to a
        // race here.
        fs::rename(partial.path(), destination).map_err(io)?;
        // The folder is no longer temporary: its old path is gone.
        let _ = partial.keep();
        return Ok(());
    }
    exchange(partial.path(), destination).map_err(io)?;
    // `partial` now holds the bundle that was replaced, and removes it as it is dropped.
    drop(partial);
    Ok(())
}

#[cfg(target_os = "linux")]
fn exchange(new: &Path, old: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // File systems without the flag (NFS, some FUSE) answer so.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => exchange_in_steps(new, old),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(new: &Path, old: &Path) -> std::io::Result<()> {
    exchange_in_steps(new, old)
}

fn exchange_in_steps(new: &Path, old: &Path) -> std::io::Result<()> {
    let aside = new.with_extension("replaced");
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        // The old bundle goes back where it was.
        fs::rename(&aside, old)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bundle;
    use crate::validate::tests::manifest;

    fn fill(writer: &mut BundleWriter, content: &[u8]) {
        for name in manifest().files.keys() {
            writer
                .write_file(name, |out| out.write_all(content).map_err(|e| Error::io("x", e)))
                .unwrap();
        }
    }

    fn entries(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn what_is_written_opens_and_verifies() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("deep").join("bundle");
        let mut writer = BundleWriter::create(&destination, false).unwrap();
        fill(&mut writer, b"abcd");
        writer.finish(manifest()).unwrap();
        Bundle::open(&destination).unwrap();
        let checks = Bundle::verify(&destination, |_| ()).unwrap();
        assert!(checks.iter().all(|check| check.status == crate::FileStatus::Intact));
        assert_eq!(entries(&folder.path().join("deep")), ["bundle"]);
    }

    #[test]
    fn an_altered_file_is_named_with_both_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("bundle");
        let mut writer = BundleWriter::create(&destination, false).unwrap();
        fill(&mut writer, b"abcd");
        writer.finish(manifest()).unwrap();
        fs::write(destination.join("llm.onnx"), b"abce").unwrap();
        let checks = Bundle::verify(&destination, |_| ()).unwrap();
        let bad: Vec<_> = checks.iter().filter(|c| c.status != crate::FileStatus::Intact).collect();
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].name, "llm.onnx");
        assert!(matches!(&bad[0].status, crate::FileStatus::Altered { expected, found }
            if expected != found && found.len() == 64));
    }

    #[test]
    fn a_dropped_writer_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = BundleWriter::create(&folder.path().join("bundle"), false).unwrap();
        fill(&mut writer, b"abcd");
        drop(writer);
        assert!(entries(folder.path()).is_empty());
    }

    #[test]
    fn an_existing_folder_is_replaced_only_when_asked_and_only_a_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("bundle");
        fs::create_dir(&destination).unwrap();
        fs::write(destination.join("precious.txt"), b"x").unwrap();
        let refuse =
            |replace| BundleWriter::create(&destination, replace).err().unwrap().to_string();
        assert!(refuse(false).contains("exists; give another folder, or --force"));
        assert!(refuse(true).contains("is not a bundle"));
        // As web applications have it.
        let manifest_file = destination.join(names::MANIFEST_FILE);
        fs::write(&manifest_file, br#"{"name": "app", "icons": []}"#).unwrap();
        assert!(refuse(true).contains("is not a bundle"));

        fs::write(&manifest_file, br#"{"format": "cumo-bundle"}"#).unwrap();
        let mut writer = BundleWriter::create(&destination, true).unwrap();
        fill(&mut writer, b"abcd");
        assert!(destination.join("precious.txt").exists(), "untouched until the end");
        writer.finish(manifest()).unwrap();
        Bundle::open(&destination).unwrap();
        assert!(!destination.join("precious.txt").exists());
        assert_eq!(entries(folder.path()), ["bundle"]);
    }

    #[test]
    fn an_empty_folder_is_taken() {
        for replace in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let destination = folder.path().join("bundle");
            fs::create_dir(&destination).unwrap();
            let mut writer = BundleWriter::create(&destination, replace).unwrap();
            fill(&mut writer, b"abcd");
            writer.finish(manifest()).unwrap();
            Bundle::open(&destination).unwrap();
            assert_eq!(entries(folder.path()), ["bundle"]);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_place_that_cannot_be_written_is_named_as_it_was_given() {
        let error = BundleWriter::create(Path::new("/proc/x"), false).err().unwrap().to_string();
        assert!(error.starts_with("/proc/x"), "{error}");
        assert!(!error.contains("partial"), "{error}");
    }

    #[test]
    fn folders_change_places_in_steps_or_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join(".b.partial-x"), folder.path().join("b"));
        for (path, content) in [(&new, "new"), (&old, "old")] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), content).unwrap();
        }
        exchange_in_steps(&new, &old).unwrap();
        assert_eq!(fs::read_to_string(old.join("file")).unwrap(), "new");
        assert_eq!(fs::read_to_string(new.join("file")).unwrap(), "old");
        exchange_in_steps(&folder.path().join("nothing"), &old).unwrap_err();
        assert_eq!(fs::read_to_string(old.join("file")).unwrap(), "new");
    }

    #[test]
    fn a_folder_left_behind_is_removed_and_one_being_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("bundle");
        let left_behind = folder.path().join(".bundle.partial-dead");
        fs::create_dir(&left_behind).unwrap();
        fs::write(left_behind.join(LOCK_FILE), b"").unwrap();
        let first = BundleWriter::create(&destination, false).unwrap();
        assert!(!left_behind.exists());
        let second = BundleWriter::create(&destination, false).unwrap();
        assert!(first.partial.path().exists() && second.partial.path().exists());
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let writer = BundleWriter::create(&folder.path().join("bundle"), false).unwrap();
        assert!(matches!(writer.finish(manifest()), Err(Error::Inconsistent { .. })));
        assert!(entries(folder.path()).is_empty());
    }
}
