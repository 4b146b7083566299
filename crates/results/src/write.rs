//! Writing files whole or not at all.

use std::fs::Metadata;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::check;
use crate::error::Error;
use crate::json::to_json;
use crate::metric::{self, Metric, Unit};
use crate::read::MAX_BYTES;
use crate::schema::BenchResult;
use crate::statistics::Summary;

/// The file's content.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    result: &'a BenchResult,
    summary: Vec<Described>,
}

/// One metric in a few numbers.
#[derive(Serialize)]
struct Described {
    name: String,
    unit: Unit,
    #[serde(flatten)]
    summary: Summary,
}

impl BenchResult {
    /// The result as JSON, with a line break at its end: every field and sample, and behind them a
    /// `summary` of every metric for programs that make none themselves. Readers of ours pass over
    /// it.
    pub fn to_json(&self) -> String {
        let described = |metric: Metric| {
            Some(Described { summary: metric.summary()?, name: metric.key, unit: metric.unit })
        };
        let summary = metric::all(self).into_iter().filter_map(described).collect();
        to_json(&Written { result: self, summary })
    }

    /// Writes the result as JSON, whole or not at all: beside the file first, then renamed.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Absurd`] or [`Error::TooLarge`] where a reader would refuse it. A
    /// file that was there is then unchanged.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let problems = check::problems(self);
        if !problems.is_empty() {
            return Err(Error::Absurd { path: path.to_owned(), problems });
        }
        let json = self.to_json();
        if json.len() as u64 > MAX_BYTES {
            return Err(Error::TooLarge { path: path.to_owned(), limit: MAX_BYTES });
        }
        write_whole(path, json.as_bytes())
    }
}

/// Replaces a file's content, whole or not at all: `bytes` go to a temporary file in the same
/// folder, reach the disk, and then take the name, with the permissions of the file that had it.
/// Through a link, also to a file that is not there yet, what it names is written.
///
/// # Errors
/// [`Error::Write`]; a file that was there is then unchanged.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Sees to it, before the work whose result it is, that [`write_whole`] can write about so many
/// bytes: they are written to a file without a name in the same folder, of which nothing is left when
/// the program is ended meanwhile. Of a device or a pipe nothing is known before.
///
/// # Errors
/// [`Error::NotWritable`].
pub fn check_writable(path: &Path, bytes: u64) -> Result<(), Error> {
    let failed = |source| Error::NotWritable { path: path.to_owned(), source };
    let place = place(path).map_err(failed)?;
    let Place::File { path, .. } = place else { return Ok(()) };
    let mut file = folder(&path).and_then(tempfile::tempfile_in).map_err(failed)?;
    io::copy(&mut io::repeat(0).take(bytes), &mut file).map_err(failed)?;
    file.sync_all().map_err(failed)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (path, was) = match place(path)? {
        Place::File { path, was } => (path, was),
        Place::Stream => {
            return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
        }
    };
    let mut file = beside(&path)?;
    file.write_all(bytes)?;
    if let Some(was) = was {
        file.as_file().set_permissions(was.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// What a path names.
enum Place {
    /// A file, links followed: what is there already, if it is.
    File { path: PathBuf, was: Option<Metadata> },
    /// A device or a pipe, which has no content to keep: `-o /dev/stdout`.
    Stream,
}

/// The most links of a path that are followed, as in Linux.
const MAX_LINKS: usize = 40;

fn place(path: &Path) -> io::Result<Place> {
    // The system's own way first: what `/dev/stdout` links to is no path.
    match path.metadata() {
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if there.is_file() => {
            Ok(Place::File { path: path.canonicalize()?, was: Some(there) })
        }
        Ok(_) => Ok(Place::Stream),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Place::File { path: end_of_links(path)?, was: None })
        }
        Err(error) => Err(error),
    }
}

/// The file that is not there, where links lead to it.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(named) = path.read_link() else { return Ok(path) };
        path = path.parent().unwrap_or(Path::new("")).join(named);
    }
    Err(io::Error::other(format!("over {MAX_LINKS} links")))
}

/// The folder of `path`, which must be there.
fn folder(path: &Path) -> io::Result<&Path> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let problem = format!("there is no folder {}", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, problem));
    }
    Ok(folder.unwrap_or(Path::new(".")))
}

/// A temporary file in the folder of `path`.
fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = folder(path)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cumo-").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/r.json");
        let error = write_whole(&path, b"one").unwrap_err();
        assert!(error.to_string().contains("missing/r.json: cannot be written"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_names_is_replaced_and_the_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("r.json"), folder.path().join("link.json"));
        fs::write(&file, "one").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_whole(&link, b"two").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"two");
        // To a file that is not there yet, through another link, and around in a circle.
        fs::remove_file(&file).unwrap();
        let second = folder.path().join("second.json");
        std::os::unix::fs::symlink("link.json", &second).unwrap();
        write_whole(&second, b"three").unwrap();
        assert!(link.is_symlink() && second.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"three");
        let circle = folder.path().join("circle.json");
        std::os::unix::fs::symlink("circle.json", &circle).unwrap();
        let error = write_whole(&circle, b"four").unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("symbolic links"), "{cause}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_replaced_keeps_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        fs::write(&path, "one").unwrap();
        for mode in [0o600, 0o664, 0o755] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            write_whole(&path, b"two").unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whether_a_file_can_be_written_is_known_before_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.json");
        check_writable(&file, 100_000).unwrap();
        fs::write(&file, "old").unwrap();
        check_writable(&file, 100_000).unwrap();
        check_writable(Path::new("/dev/stdout"), 100_000).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let refused = |path: &Path| {
            let error = check_writable(path, 1).unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            format!("{error}: {cause}")
        };
        let (missing, sys) = (folder.path().join("no/r.json"), Path::new("/sys/r.json"));
        for (path, cause) in
            [(folder.path(), "is a directory"), (&missing, "there is no folder"), (sys, "denied")]
        {
            let message = refused(path);
            assert!(message.contains(": cannot be written: "), "{message}");
            assert!(message.contains(cause) || path == sys, "{message}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_is_written_to_and_its_error_is_told() {
        let error = write_whole(Path::new("/dev/full"), b"one").unwrap_err();
        let Error::Write { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }
}
