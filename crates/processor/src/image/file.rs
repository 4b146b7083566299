//! Reading a whole file of bounded size.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// The bytes of a regular file of at most `limit` bytes. The type and the size are looked at before
/// the file is opened: opening a pipe would wait for its writer.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Error::NotAFile);
    }
    let refuse = |bytes| Error::TooManyBytes { bytes, limit };
    if metadata.len() > limit {
        return Err(refuse(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(refuse(bytes.len() as u64));
    }
    Ok(bytes)
}
