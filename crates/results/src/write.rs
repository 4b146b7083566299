//! Writing files whole or not at all.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::check;
use crate::error::Error;
use crate::json::to_json;
use crate::metric::{self, Metric, Unit};
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
    /// [`Error::Write`]; [`Error::Absurd`] where a reader would refuse the numbers. A file that was
    /// there is then unchanged.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let problems = check::problems(self);
        if !problems.is_empty() {
            return Err(Error::Absurd { path: path.to_owned(), problems });
        }
        write_whole(path, self.to_json().as_bytes())
    }
}

/// Replaces a file's content, whole or not at all: `bytes` go to a temporary file in the same
/// folder, reach the disk, and then take the name.
///
/// # Errors
/// [`Error::Write`]; a file that was there is then unchanged.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Devices and pipes have no content to keep: `-o /dev/stdout`.
    if let Ok(metadata) = path.metadata()
        && !metadata.is_file()
    {
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    // Through a link the file it names is replaced, not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cumo-").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
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
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_is_written_to_and_its_error_is_told() {
        let error = write_whole(Path::new("/dev/full"), b"one").unwrap_err();
        let Error::Write { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }
}
