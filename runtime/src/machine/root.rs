//! Small files below a root folder, read with care: what is missing, of the wrong kind or too large
//! is not there.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The most bytes of a file that are looked at. `/proc/cpuinfo` of 256 cores has 0.4 MB.
const MAX_BYTES: u64 = 1 << 20;

/// The most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 4096;

/// A folder that stands for `/`.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    folder: PathBuf,
}

impl Root {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Root { folder }
    }

    /// Where an absolute path lies: `/etc/x` of root `/r` is `/r/etc/x`.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.folder.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's text without white space and NULs around it. None where there is no file, or it
    /// cannot be read, as those of sensors that are switched off; what is not UTF-8 is replaced.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let mut bytes = Vec::new();
        open(&self.path(path))?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
    }

    /// The number that a file holds, and nothing else.
    pub(crate) fn number<T: FromStr>(&self, path: impl AsRef<Path>) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// A reader of a file of up to `max_bytes`; what is after them is not read.
    pub(crate) fn reader(&self, path: &str, max_bytes: u64) -> Option<impl std::io::BufRead> {
        Some(BufReader::new(open(&self.path(path))?.take(max_bytes)))
    }

    /// Paths of a folder's entries whose names begin with `prefix`, numbers in names in their order.
    pub(crate) fn entries(&self, folder: &str, prefix: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let names =
            entries.take(MAX_ENTRIES).filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort_by(|a, b| numbered(a).cmp(&numbered(b)));
        names.into_iter().map(|name| format!("{folder}/{name}")).collect()
    }
}

/// A regular file, opened. A pipe or a device would be waited for and is not opened.
fn open(path: &Path) -> Option<File> {
    fs::metadata(path).ok()?.is_file().then(|| File::open(path).ok())?
}

/// A name as it is sorted: the text before a number at its end, and the number.
fn numbered(name: &str) -> (&str, u64, &str) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, name.get(stem.len()..).and_then(|digits| digits.parse().ok()).unwrap_or(0), name)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Board;

    #[test]
    fn text_has_no_white_space_or_nul_around_it() {
        let board = Board::new().file("/a", "  one\0two \n\0");
        assert_eq!(board.root().text("/a").as_deref(), Some("one\0two"));
    }

    #[test]
    fn what_is_no_file_is_not_there_and_is_not_waited_for() {
        let board = Board::new().file("/folder/inner", "1");
        assert_eq!(board.root().text("/folder"), None);
        assert_eq!(board.root().text("/nowhere"), None);
        std::os::unix::fs::symlink("loop", board.root().path("/loop")).unwrap();
        assert_eq!(board.root().text("/loop"), None);
        let pipe = std::process::Command::new("mkfifo").arg(board.root().path("/pipe")).status();
        assert!(pipe.unwrap().success());
        assert_eq!(board.root().text("/pipe"), None);
    }

    #[test]
    fn a_file_without_end_is_read_up_to_the_limit() {
        let board = Board::new().file("/large", &"x".repeat(3 << 20));
        assert_eq!(board.root().text("/large").unwrap().len(), 1 << 20);
    }

    #[test]
    fn entries_are_in_the_order_of_their_numbers() {
        let board =
            Board::new().file("/d/zone10/t", "").file("/d/zone9/t", "").file("/d/other", "");
        assert_eq!(board.root().entries("/d", "zone"), ["/d/zone9", "/d/zone10"]);
        assert!(board.root().entries("/nowhere", "").is_empty());
    }
}
