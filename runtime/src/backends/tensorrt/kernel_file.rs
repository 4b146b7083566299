//! The file in which compiled kernels are kept: what is in it is code, so that nothing is taken from
//! it but what this program wrote for this very model, device, driver and library.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cumo_bundle::hash_reader;

/// How a file begins. Behind it are the SHA-256 of what the kernels are for and that of the kernels,
/// a line each, and the kernels.
const FORM: &str = "cumo kernels 1\n";

/// A SHA-256 in hexadecimal, with the end of its line.
const HASH_LINE: usize = 65;

const HEADER_BYTES: usize = FORM.len() + 2 * HASH_LINE;

/// The largest file that is read or written.
const MOST_BYTES: u64 = 512 << 20;

/// How the names of files begin and end.
const NAME: (&str, &str) = ("kernels-", ".bin");

/// How the names of files begin that are being written.
const UNFINISHED: &str = ".kernels-";

/// Files that are being written are not older than this: what is, a program left that was killed.
const LONGEST_WRITE: Duration = Duration::from_secs(3600);

/// The folder for kernels: `CUMO_CACHE_DIR`, or `cumo-edge` in `XDG_CACHE_HOME` or in `~/.cache`.
/// None where `CUMO_CACHE_DIR` is empty, which switches it off, or where no variable tells a place.
pub fn kernel_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(folder) = variable("CUMO_CACHE_DIR") {
        return Some(PathBuf::from(folder)).filter(|folder| !folder.as_os_str().is_empty());
    }
    // The XDG Base Directory Specification: relative paths are to be ignored.
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(caches?.join("cumo-edge"))
}

/// Files of kernels in a folder: how many, and their bytes.
pub fn kept_kernels(folder: &Path) -> (usize, u64) {
    files(folder, |name| name.starts_with(NAME.0) && name.ends_with(NAME.1))
}

/// Files of kernels that are being written, or that programs left which were killed meanwhile: how
/// many, and their bytes.
pub fn unfinished_kernels(folder: &Path) -> (usize, u64) {
    files(folder, |name| name.starts_with(UNFINISHED))
}

fn files(folder: &Path, is_own: impl Fn(&str) -> bool) -> (usize, u64) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_name().to_str().is_some_and(&is_own));
    let sizes = own.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len());
    sizes.fold((0, 0), |(files, all), bytes| (files + 1, all + bytes))
}

/// Why what is in a file is not used, or why it cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum KernelFileError {
    /// The system says so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The folder is not there and cannot be made.
    #[error("{} is no folder, and none can be made there: {error}", .folder.display())]
    Folder { folder: PathBuf, error: io::Error },
    /// It is no regular file, or one that others may have written.
    #[error("it is not a file that only its owner, who runs this program, can write")]
    OfOthers,
    #[error("it has {bytes} bytes, more than {MOST_BYTES}")]
    TooLarge { bytes: u64 },
    #[error("it is damaged, or for something else")]
    Damaged,
}

/// A file of kernels.
#[derive(Debug)]
pub(super) struct KernelFile {
    path: PathBuf,
    /// What the kernels are for, as the file has it.
    key: String,
    /// The hash of the kernels that are in it, where it is known.
    kept: Option<String>,
}

impl KernelFile {
    /// The file in `folder` for what `key` describes. Nothing is looked at yet.
    pub(super) fn new(folder: &Path, key: &str) -> KernelFile {
        let key = hash(key.as_bytes());
        let name = format!("{}{}{}", NAME.0, key.get(..32).unwrap_or(&key), NAME.1);
        KernelFile { path: folder.join(name), key, kept: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The kernels in it; none where there is no file.
    ///
    /// # Errors
    /// [`KernelFileError`]: it is to be written anew.
    pub(super) fn read(&mut self) -> Result<Option<Vec<u8>>, KernelFileError> {
        let file = match open(&self.path) {
            // A place that is no folder is told where something is to be written.
            Err(error) if is_missing(&error) => return Ok(None),
            file => file?,
        };
        let metadata = file.metadata()?;
        if !is_own(&metadata) {
            return Err(KernelFileError::OfOthers);
        }
        if metadata.len() > MOST_BYTES {
            return Err(KernelFileError::TooLarge { bytes: metadata.len() });
        }
        // It may grow meanwhile.
        let (found, kernels) = self.kernels(file.take(MOST_BYTES))?;
        self.kept = Some(found);
        Ok(Some(kernels))
    }

    /// The kernels of a file, and their hash. What is for something else is not read on.
    fn kernels(&self, mut file: impl Read) -> Result<(String, Vec<u8>), KernelFileError> {
        let mut header = Vec::new();
        file.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut header)?;
        let start = self.header("");
        if header.len() < HEADER_BYTES || !header.starts_with(start.trim_end().as_bytes()) {
            return Err(KernelFileError::Damaged);
        }
        let mut kernels = Vec::new();
        file.read_to_end(&mut kernels)?;
        let found = hash(&kernels);
        if kernels.is_empty() || header != self.header(&found).as_bytes() {
            return Err(KernelFileError::Damaged);
        }
        Ok((found, kernels))
    }

    /// Puts kernels into it, at once or not at all, unless they are in it.
    ///
    /// # Errors
    /// [`KernelFileError::Io`], [`KernelFileError::TooLarge`]: the file is as it was.
    pub(super) fn write(&mut self, kernels: &[u8]) -> Result<(), KernelFileError> {
        let own = hash(kernels);
        if self.kept.as_ref() == Some(&own) {
            return Ok(());
        }
        let bytes = (HEADER_BYTES + kernels.len()) as u64;
        if bytes > MOST_BYTES {
            return Err(KernelFileError::TooLarge { bytes });
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        create(folder)
            .map_err(|error| KernelFileError::Folder { folder: folder.to_owned(), error })?;
        remove_unfinished(folder);
        // For its owner alone; it goes with this value where something fails.
        let mut new = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
        new.write_all(self.header(&own).as_bytes())?;
        new.write_all(kernels)?;
        new.persist(&self.path).map_err(|error| error.error)?;
        self.kept = Some(own);
        Ok(())
    }

    fn header(&self, kernels: &str) -> String {
        format!("{FORM}{}\n{kernels}\n", self.key)
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Removes this user's files that programs left which were killed. What cannot be removed stays.
fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_named = entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED));
        // Of a link its own.
        let Ok(metadata) = entry.metadata() else { continue };
        let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
        if is_named && is_own(&metadata) && age.is_some_and(|age| age > LONGEST_WRITE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The SHA-256 of bytes.
fn hash(bytes: &[u8]) -> String {
    // Reading from memory does not fail; an empty text is the hash of nothing.
    hash_reader(bytes, |_| ()).unwrap_or_default()
}

/// Opens a file, and neither follows a link nor waits for what is no file.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Whether it is a file that nobody else can have written.
#[cfg(unix)]
fn is_own(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    metadata.is_file() && metadata.uid() == user && metadata.mode() & 0o022 == 0
}

#[cfg(not(unix))]
fn is_own(metadata: &fs::Metadata) -> bool {
    metadata.is_file()
}

/// Makes a folder for its owner alone, unless it is there.
fn create(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        // Made when it is first needed.
        let inner = folder.path().join("a/b");
        (folder, inner)
    }

    fn kept(folder: &Path) -> PathBuf {
        let mut file = KernelFile::new(folder, "key");
        file.write(b"kernels").unwrap();
        file.path
    }

    #[test]
    fn what_was_written_is_read_by_the_same_key_alone() {
        let (_own, folder) = folder();
        let mut file = KernelFile::new(&folder, "key");
        assert!(file.read().unwrap().is_none());
        file.write(b"kernels").unwrap();
        assert_eq!(KernelFile::new(&folder, "key").read().unwrap().unwrap(), b"kernels");
        let mut other = KernelFile::new(&folder, "another");
        assert!(other.read().unwrap().is_none());
        fs::copy(&file.path, &other.path).unwrap();
        assert!(matches!(other.read(), Err(KernelFileError::Damaged)));
        file.write(b"more kernels").unwrap();
        assert_eq!(KernelFile::new(&folder, "key").read().unwrap().unwrap(), b"more kernels");
        let (files, bytes) = kept_kernels(&folder);
        assert_eq!((files, bytes), (2, 2 * HEADER_BYTES as u64 + 7 + 12));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_file_that_was_altered_or_cut_anywhere_is_not_used_and_written_anew() {
        let (_own, folder) = folder();
        let path = kept(&folder);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            for bytes in [&bytes, &whole[..at]] {
                fs::write(&path, bytes).unwrap();
                let read = KernelFile::new(&folder, "key").read();
                assert!(matches!(read, Err(KernelFileError::Damaged)), "{at}");
            }
        }
        kept(&folder);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn kernels_that_are_in_the_file_are_not_written_again() {
        let (_own, folder) = folder();
        kept(&folder);
        let mut file = KernelFile::new(&folder, "key");
        file.read().unwrap().unwrap();
        fs::remove_file(&file.path).unwrap();
        file.write(b"kernels").unwrap();
        assert!(!file.path.exists());
        file.write(b"others").unwrap();
        assert!(file.path.exists());
    }

    #[test]
    fn what_killed_programs_left_is_counted_and_removed_once_it_is_old() {
        let (_own, folder) = folder();
        kept(&folder);
        let [old, new] = [".kernels-old", ".kernels-new"].map(|name| folder.join(name));
        for file in [&old, &new] {
            fs::write(file, "1234").unwrap();
        }
        let made = std::time::SystemTime::now() - 2 * LONGEST_WRITE;
        File::options().write(true).open(&old).unwrap().set_modified(made).unwrap();
        assert_eq!((unfinished_kernels(&folder), kept_kernels(&folder).0), ((2, 8), 1));
        kept(&folder);
        assert!(!old.exists() && new.exists());
        assert_eq!(unfinished_kernels(&folder), (1, 4));
    }

    #[test]
    fn of_a_file_for_something_else_the_header_alone_is_read() {
        struct Unread;
        impl Read for Unread {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("it was read on")
            }
        }
        let (_own, folder) = folder();
        let other = KernelFile::new(&folder, "another").header(&hash(b"kernels"));
        let read = KernelFile::new(&folder, "key").kernels(other.as_bytes().chain(Unread));
        assert!(matches!(read, Err(KernelFileError::Damaged)));
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let (_own, folder) = folder();
        let path = kept(&folder);
        File::options().write(true).open(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        let read = KernelFile::new(&folder, "key").read();
        assert!(matches!(read, Err(KernelFileError::TooLarge { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_for_its_owner_and_one_that_others_can_write_is_not_used() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
        let (_own, folder) = folder();
        let path = kept(&folder);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = KernelFile::new(&folder, "key").read();
            assert!(matches!(read, Err(KernelFileError::OfOthers)), "{mode:o}");
        }
        let elsewhere = folder.join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(matches!(KernelFile::new(&folder, "key").read(), Err(KernelFileError::Io(_))));
        kept(&folder);
        assert!(fs::symlink_metadata(&path).unwrap().is_file(), "the link was replaced");
        assert_eq!(fs::read(&elsewhere).unwrap(), fs::read(&path).unwrap());

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(KernelFile::new(&folder, "key").read(), Err(KernelFileError::OfOthers)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_in_its_place_is_not_waited_for() {
        let (_own, folder) = folder();
        let path = kept(&folder);
        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(KernelFile::new(&folder, "key").read(), Err(KernelFileError::OfOthers)));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error_that_says_why() {
        let (own, _) = folder();
        let file = own.path().join("file");
        fs::write(&file, "").unwrap();
        for folder in [&file, &file.join("below")] {
            let mut kernels = KernelFile::new(folder, "key");
            assert!(kernels.read().unwrap().is_none());
            let message = kernels.write(b"kernels").unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("{} is no folder", folder.display())),
                "{message}"
            );
        }
    }

    #[test]
    fn the_folder_is_what_variables_tell() {
        let of = |variables: &[(&str, &str)]| {
            let all: BTreeMap<_, _> = variables.iter().copied().collect();
            kernel_folder(|name| all.get(name).map(OsString::from))
        };
        let (xdg, home) = (("XDG_CACHE_HOME", "/x"), ("HOME", "/h"));
        assert_eq!(of(&[("CUMO_CACHE_DIR", "own"), xdg, home]), Some("own".into()));
        assert_eq!(of(&[("CUMO_CACHE_DIR", ""), xdg, home]), None);
        assert_eq!(of(&[xdg, home]), Some("/x/cumo-edge".into()));
        assert_eq!(of(&[("XDG_CACHE_HOME", "x"), home]), Some("/h/.cache/cumo-edge".into()));
        assert_eq!(of(&[]), None);
    }
}
