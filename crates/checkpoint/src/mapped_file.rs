//! A whole file mapped into memory, read-only. The only module of this crate with unsafe code.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::Error;

/// Bytes, at addresses aligned to as many, that Linux may map at once when one page among them is
/// read: `fault_around_bytes` (64 KiB) before 6.18, a whole folio of the page cache since. A
/// released range is widened to it: otherwise the first read of each range maps pages of the one
/// before again, and nobody releases them (of 16.5 GB read in pieces of 1 MiB, 250 MB stayed).
const MAPPED_AT_ONCE: usize = 2 << 20;

/// A file's bytes, brought in by the system page by page as they are read.
///
/// # Contract
///
/// While a `MappedFile` lives, the file must not be changed or cut by anyone. Rust treats the
/// bytes as a `&[u8]` that nobody writes to; a process that changes the file under the map would
/// break that, and one that truncates it makes a later read end this process with SIGBUS. No
/// portable call can rule either out, so this is the promise of whoever names the checkpoint:
/// its files stay as they are until the export has ended. The same holds for every program that
/// maps weights.
#[derive(Debug)]
pub(crate) struct MappedFile {
    path: PathBuf,
    /// None for an empty file, which cannot be mapped.
    map: Option<(Mmap, File)>,
}

impl MappedFile {
    /// Maps the regular file at `path` (links are followed).
    ///
    /// # Errors
    ///
    /// The path is absent, no regular file (a pipe is never opened), or cannot be mapped.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Error::NotAFile { path: path.to_owned() });
        }
        let file = File::open(path).map_err(failed)?;
        let map = if file.metadata().map_err(failed)?.len() == 0 {
            None
        } else {
            Some((map(&file).map_err(failed)?, file))
        };
        Ok(Self { path: path.to_owned(), map })
    }

    /// A file of no bytes that is not on the disk.
    pub(crate) fn empty() -> Self {
        Self { path: PathBuf::new(), map: None }
    }

    /// Where the file lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.as_ref().map_or(&[], |(map, _)| map)
    }

    /// Tells the system that `range` will be read soon, so that it reads ahead while this process
    /// does other work. What lies beyond the file is ignored.
    pub(crate) fn prefetch(&self, range: Range<usize>) {
        let Some((map, _)) = &self.map else { return };
        let end = range.end.min(map.len());
        if range.start < end {
            prefetch(map, range.start, end - range.start);
        }
    }

    /// Tells the system that the pages that hold `range` are not needed in memory any more. Bytes
    /// that are read again are brought in again. A range beyond the file is cut to it.
    pub(crate) fn release(&self, range: Range<usize>) {
        let Some((map, file)) = &self.map else { return };
        if range.is_empty() {
            return;
        }
        let base = map.as_ptr().addr();
        let start = base.saturating_add(range.start) / MAPPED_AT_ONCE * MAPPED_AT_ONCE;
        let start = start.saturating_sub(base);
        let end = base.saturating_add(range.end).checked_next_multiple_of(MAPPED_AT_ONCE);
        let end = end.map_or(map.len(), |end| (end - base).min(map.len()));
        if start < end {
            release(map, start, end - start);
        }
        // Not widened: what lies around it may have been read ahead.
        let end = range.end.min(map.len());
        if range.start < end {
            uncache(file, range.start, end - range.start);
        }
    }
}

#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and private to this module, which only hands out `&[u8]` that
    // borrow from it, so nothing in this process writes to it or outlives it. That no other
    // process changes the file meanwhile is the contract of `MappedFile`, promised by the caller
    // who names the checkpoint.
    unsafe { Mmap::map(file) }
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn release(map: &Mmap, offset: usize, len: usize) {
    use memmap2::UncheckedAdvice;
    // SAFETY: MADV_DONTNEED drops pages, after which a read gets the file's bytes again. That is
    // unsound for anonymous or written pages, whose contents would be lost; this map is of a file
    // and never written, so by the contract of `MappedFile` the bytes read later are the same.
    let advised = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, len) };
    // Only advice: where the system refuses it, memory is reclaimed later.
    let _ = advised;
}

#[cfg(not(unix))]
fn release(_map: &Mmap, _offset: usize, _len: usize) {}

/// Drops bytes from the page cache, too: of a checkpoint that is larger than the memory, the system
/// would have to find pages to drop itself, and in a virtual machine every page that was not used
/// before costs the host a fault.
#[cfg(target_os = "linux")]
fn uncache(file: &File, offset: usize, len: usize) {
    let len = std::num::NonZeroU64::new(len as u64);
    // Only advice, as above.
    let _ = rustix::fs::fadvise(file, offset as u64, len, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn uncache(_file: &File, _offset: usize, _len: usize) {}

#[cfg(unix)]
fn prefetch(map: &Mmap, offset: usize, len: usize) {
    // Only advice: where the system refuses it, reading waits for the disk.
    let _ = map.advise_range(memmap2::Advice::WillNeed, offset, len);
}

#[cfg(not(unix))]
fn prefetch(_map: &Mmap, _offset: usize, _len: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_after_release() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = MappedFile::open(&path).unwrap();
        assert_eq!(file.bytes(), bytes);
        file.prefetch(50_000..usize::MAX);
        file.release(5_000..90_000);
        file.release(99_999..usize::MAX);
        file.release(200_000..300_000);
        assert_eq!(file.bytes(), bytes);
    }

    /// Kibibytes of the map of `path` that are in memory.
    #[cfg(target_os = "linux")]
    fn resident(path: &Path) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let map = maps.split_once(path.to_str().unwrap()).unwrap().1;
        let rss = map.split_once("Rss:").unwrap().1.split_whitespace().next();
        rss.unwrap().parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_stays_of_what_was_read_and_released_in_pieces() {
        const PIECE: usize = 100_000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        let size = 128 << 20;
        File::create(&path).unwrap().set_len(size as u64).unwrap();
        let file = MappedFile::open(&path).unwrap();
        let read = |at: usize| {
            let piece = &file.bytes()[at..(at + PIECE).min(size)];
            assert_eq!(piece.iter().step_by(4096).map(|&byte| u64::from(byte)).sum::<u64>(), 0);
        };
        (0..size).step_by(PIECE).for_each(read);
        assert!(resident(&path) > 100 << 10, "the test must see what is in memory");
        file.release(0..size);
        for at in (0..size).step_by(PIECE) {
            read(at);
            file.release(at..at + PIECE);
            assert!(resident(&path) < 4 << 10, "{} KiB at {at}", resident(&path));
        }
    }

    #[test]
    fn an_empty_file_has_no_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = MappedFile::open(file.path()).unwrap();
        assert!(file.bytes().is_empty());
        file.release(0..10);
    }

    #[test]
    fn a_folder_is_not_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let error = MappedFile::open(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("is not a regular file"), "{error}");
    }
}
