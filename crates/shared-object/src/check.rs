//! Judging a file before the system's loader gets it.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::elf::{Architecture, HEADER_BYTES, Header, SEGMENT_BYTES, Segment, check_segments};
use crate::error::Error;

/// Says of a file whether the system's loader can map it as a shared object of this program's
/// architecture: a regular file, 64-bit ELF, every segment that is mapped lies in it, and the
/// segments fit each other. Systems without ELF only have it be a regular file.
///
/// Where a name without a folder lies is known to the system's loader. Of the places where that
/// looks, the folders of `LD_LIBRARY_PATH` are looked at here, for files that are cut off.
///
/// # Errors
/// [`Error`] says what is wrong.
pub fn check(path: &Path) -> Result<(), Error> {
    if path.components().count() < 2 {
        return check_bare(path, env::var_os("LD_LIBRARY_PATH").as_deref());
    }
    check_file(path)
}

/// As [`check`], of a name without a folder. The loader goes past files that are no shared objects
/// for this machine.
fn check_bare(name: &Path, folders: Option<&OsStr>) -> Result<(), Error> {
    for folder in env::split_paths(folders.unwrap_or_default()) {
        let file = folder.join(name);
        match check_file(&file) {
            Ok(()) => return Ok(()),
            Err(cause @ Error::CutOff { .. }) => {
                return Err(Error::Elsewhere { file, cause: Box::new(cause) });
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn check_file(path: &Path) -> Result<(), Error> {
    // Before it is opened: a pipe without a writer would be waited for.
    if !path.metadata()?.is_file() {
        return Err(Error::NotAFile);
    }
    if cfg!(not(all(unix, not(target_vendor = "apple")))) {
        return Ok(());
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    check_elf(&mut file, length, Architecture::of_program())
}

/// As [`check`], of any bytes and for any program. An architecture that is not known is not
/// compared.
pub(crate) fn check_elf(
    file: &mut (impl Read + Seek),
    length: u64,
    wanted: Option<Architecture>,
) -> Result<(), Error> {
    let header = Header::read(&read_up_to(file, 0, HEADER_BYTES)?, length)?;
    if let Some(wanted) = wanted
        && wanted != header.architecture
    {
        return Err(Error::OtherArchitecture { found: header.architecture, wanted });
    }
    let table = read_up_to(file, header.segments_offset, header.segments_bytes())?;
    let segments: Vec<Segment> =
        table.chunks_exact(SEGMENT_BYTES).map(|bytes| header.segment(bytes)).collect();
    let table_end = header.segments_offset.saturating_add(header.segments_bytes() as u64);
    let needs = segments.iter().map(Segment::mapped_end).fold(table_end, u64::max);
    if table.len() < header.segments_bytes() || needs > length {
        return Err(Error::CutOff { has: length, needs });
    }
    check_segments(&segments)
}

/// `bytes` bytes from `offset` on, fewer where the file ends.
fn read_up_to(file: &mut (impl Read + Seek), offset: u64, bytes: usize) -> Result<Vec<u8>, Error> {
    file.seek(SeekFrom::Start(offset))?;
    let mut read = Vec::with_capacity(bytes);
    file.take(bytes as u64).read_to_end(&mut read)?;
    Ok(read)
}

#[cfg(test)]
mod tests;
