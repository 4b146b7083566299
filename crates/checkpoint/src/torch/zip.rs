//! Finds the entries of a zip archive in a mapped file, with the places of their bytes:
//! <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>.
//!
//! Only what `torch.save` writes: one disk, sizes known in the central directory, zip64 where a
//! number needs it. Nothing is copied; entries that are compressed or encrypted are refused when
//! they are asked for.

use std::collections::HashMap;
use std::ops::Range;

use crate::error::ZipError;
use crate::tensor::is_name;

/// Entries that an archive may have. A state dict has one a tensor.
const MAX_ENTRIES: u64 = 1 << 19;

const END: &[u8; 4] = b"PK\x05\x06";
const END64_LOCATOR: &[u8; 4] = b"PK\x06\x07";
const END64: &[u8; 4] = b"PK\x06\x06";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const LOCAL: &[u8; 4] = b"PK\x03\x04";

const END_LEN: usize = 22;
const END64_LOCATOR_LEN: usize = 20;
const CENTRAL_LEN: usize = 46;
const LOCAL_LEN: usize = 30;

/// An entry of the central directory.
#[derive(Debug)]
pub(super) struct Entry {
    method: u16,
    encrypted: bool,
    compressed: u64,
    size: u64,
    /// Where the local header begins.
    header: u64,
}

/// All entries of the archive `bytes`, by name.
pub(super) fn entries(bytes: &[u8]) -> Result<HashMap<String, Entry>, ZipError> {
    let Directory { count, size, offset } = directory(bytes)?;
    if count > MAX_ENTRIES {
        return Err(ZipError::TooManyEntries { count, limit: MAX_ENTRIES });
    }
    let cut = || ZipError::Cut { what: "central directory", offset };
    let mut rest = slice(bytes, offset, size).ok_or_else(cut)?;
    let mut entries = HashMap::new();
    for _ in 0..count {
        let (name, entry, length) = central_entry(rest).ok_or_else(cut)??;
        rest = rest.get(length..).ok_or_else(cut)?;
        if entries.insert(name.clone(), entry).is_some() {
            return Err(ZipError::Twice { name });
        }
    }
    Ok(entries)
}

/// The bytes of `entry` in `bytes`, which are as they were before they went into the archive.
/// `name` is for messages.
pub(super) fn stored(bytes: &[u8], name: &str, entry: &Entry) -> Result<Range<usize>, ZipError> {
    let name = || name.to_owned();
    if entry.encrypted {
        return Err(ZipError::Encrypted { name: name() });
    }
    if entry.method != 0 || entry.compressed != entry.size {
        return Err(ZipError::Compressed { name: name(), method: entry.method });
    }
    let cut = || ZipError::EntryCut { name: name(), offset: entry.header, size: entry.size };
    let header = slice(bytes, entry.header, LOCAL_LEN as u64).ok_or_else(cut)?;
    if !header.starts_with(LOCAL) {
        return Err(ZipError::NoLocalHeader { name: name(), offset: entry.header });
    }
    let lengths = u16_at(header, 26).zip(u16_at(header, 28)).ok_or_else(cut)?;
    let start = entry.header + (LOCAL_LEN as u64) + u64::from(lengths.0) + u64::from(lengths.1);
    slice(bytes, start, entry.size).ok_or_else(cut)?;
    // Both fit: the slice above lies in memory.
    Ok(start as usize..(start + entry.size) as usize)
}

/// Where the central directory lies.
struct Directory {
    count: u64,
    size: u64,
    offset: u64,
}

fn directory(bytes: &[u8]) -> Result<Directory, ZipError> {
    // The record ends the file, but for a comment of at most 65,535 bytes.
    let first = bytes.len().saturating_sub(END_LEN + usize::from(u16::MAX));
    let tail = bytes.get(first..).unwrap_or_default();
    let end = tail
        .windows(END_LEN)
        .enumerate()
        .rev()
        .find(|(at, record)| {
            let comment = u16_at(record, 20).map(usize::from);
            record.starts_with(END) && comment == Some(tail.len() - at - END_LEN)
        })
        .ok_or(ZipError::NoEnd { size: bytes.len() })?;
    let (at, record) = (first + end.0, end.1);
    let read = || {
        Some(Directory {
            count: u16_at(record, 10)?.into(),
            size: u32_at(record, 12)?.into(),
            offset: u32_at(record, 16)?.into(),
        })
    };
    let directory = read().ok_or(ZipError::NoEnd { size: bytes.len() })?;
    match directory64(bytes, at)? {
        Some(directory64) => Ok(directory64),
        None => Ok(directory),
    }
}

/// The zip64 record, if its locator lies before the end record at `end`.
fn directory64(bytes: &[u8], end: usize) -> Result<Option<Directory>, ZipError> {
    let locator = end.checked_sub(END64_LOCATOR_LEN).and_then(|start| bytes.get(start..end));
    let Some(locator) = locator.filter(|locator| locator.starts_with(END64_LOCATOR)) else {
        return Ok(None);
    };
    let offset = u64_at(locator, 8).unwrap_or(u64::MAX);
    let cut = ZipError::Cut { what: "zip64 end record", offset };
    let Some(record) = slice(bytes, offset, 56).filter(|record| record.starts_with(END64)) else {
        return Err(cut);
    };
    let read = || {
        Some(Directory {
            count: u64_at(record, 32)?,
            size: u64_at(record, 40)?,
            offset: u64_at(record, 48)?,
        })
    };
    read().ok_or(cut).map(Some)
}

/// The entry at the front of `bytes` and the length of its record; none where it is cut.
fn central_entry(bytes: &[u8]) -> Option<Result<(String, Entry, usize), ZipError>> {
    if !bytes.starts_with(CENTRAL) {
        return None;
    }
    let name_len = usize::from(u16_at(bytes, 28)?);
    let extra_len = usize::from(u16_at(bytes, 30)?);
    let comment_len = usize::from(u16_at(bytes, 32)?);
    let name = bytes.get(CENTRAL_LEN..CENTRAL_LEN + name_len)?;
    let extra = bytes.get(CENTRAL_LEN + name_len..CENTRAL_LEN + name_len + extra_len)?;
    let mut entry = Entry {
        method: u16_at(bytes, 10)?,
        encrypted: u16_at(bytes, 8)? & 1 != 0,
        compressed: u32_at(bytes, 20)?.into(),
        size: u32_at(bytes, 24)?.into(),
        header: u32_at(bytes, 42)?.into(),
    };
    apply_zip64(&mut entry, extra)?;
    let Some(name) = str::from_utf8(name).ok().filter(|name| is_name(name)) else {
        return Some(Err(ZipError::Name));
    };
    Some(Ok((name.to_owned(), entry, CENTRAL_LEN + name_len + extra_len + comment_len)))
}

/// Takes the numbers that did not fit 32 bits from the zip64 field (id 1) of `extra`.
fn apply_zip64(entry: &mut Entry, mut extra: &[u8]) -> Option<()> {
    let full = u64::from(u32::MAX);
    if ![entry.size, entry.compressed, entry.header].contains(&full) {
        return Some(());
    }
    while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let end = 4 + usize::from(length);
        let field = extra.get(4..end)?;
        if id == 1 {
            let mut at = 0;
            for number in [&mut entry.size, &mut entry.compressed, &mut entry.header] {
                if *number == full {
                    *number = u64_at(field, at)?;
                    at += 8;
                }
            }
            return Some(());
        }
        extra = extra.get(end..)?;
    }
    Some(())
}

fn slice(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(size)?).ok()?;
    bytes.get(start..end)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::super::torch_file::{zip, zip64};
    use super::*;

    #[test]
    fn zip64_and_small_archives_have_the_same_entries() {
        let written = [("a/x".to_owned(), vec![1, 2, 3]), ("a/y".to_owned(), vec![])];
        for bytes in [zip(&written), zip64(&written)] {
            let entries = entries(&bytes).unwrap();
            assert_eq!(entries.len(), 2);
            for (name, content) in &written {
                let range = stored(&bytes, name, &entries[name]).unwrap();
                assert_eq!(&bytes[range], content);
            }
        }
    }

    #[test]
    fn a_zip64_archive_cut_anywhere_is_refused() {
        let whole = zip64(&[("a/x".to_owned(), vec![1, 2, 3])]);
        for length in 0..whole.len() {
            assert!(entries(&whole[..length]).is_err(), "{length}");
        }
    }
}
