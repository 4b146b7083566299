//! Reads the header of a safetensors file:
//! <https://huggingface.co/docs/safetensors#format>.
//!
//! Eight bytes (little endian) with the header's length, a JSON object that gives each tensor's
//! type, shape and place, then the tensors' bytes. The crate `safetensors` reads it too, but
//! keeps the last of two tensors with one name and its errors carry no numbers.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;

use crate::error::{Error, SafetensorsError};
use crate::json::UniqueMembers;
use crate::mapped_file::MappedFile;
use crate::tensor::{Element, MAX_RANK, Stored, num_bytes};

/// Bytes that a header may have, as in the format's reference implementation.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of a safetensors file.
///
/// # Errors
///
/// The file is cut, or its header is not one whose tensors cover the file exactly, without
/// overlap.
pub(crate) fn read(file: &Arc<MappedFile>) -> Result<Vec<Stored>, Error> {
    let entries = parse(file.bytes())
        .map_err(|source| Error::Safetensors { file: file.path().to_owned(), source })?;
    Ok(entries
        .into_iter()
        .map(|Entry { name, element, shape, range }| Stored {
            name,
            element,
            shape,
            file: Arc::clone(file),
            range,
        })
        .collect())
}

struct Entry {
    name: String,
    element: Element,
    shape: Vec<usize>,
    /// In the whole file.
    range: Range<usize>,
}

#[derive(Deserialize)]
struct Member {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

fn parse(bytes: &[u8]) -> Result<Vec<Entry>, SafetensorsError> {
    let size = bytes.len();
    let length = bytes.first_chunk().ok_or(SafetensorsError::NoHeader { size })?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(SafetensorsError::HeaderTooLarge { length, limit: MAX_HEADER });
    }
    let data_start = 8 + length as usize;
    let header = bytes.get(8..data_start).ok_or(SafetensorsError::HeaderCut { length, size })?;
    let UniqueMembers(members) = serde_json::from_slice::<UniqueMembers<Member>>(header)?;

    let mut entries = Vec::with_capacity(members.len());
    for (name, member) in members {
        entries.push(entry(name, member, data_start)?);
    }
    check_cover(&mut entries, data_start, size)?;
    Ok(entries)
}

fn entry(name: String, member: Member, data_start: usize) -> Result<Entry, SafetensorsError> {
    let Member { dtype, shape, data_offsets: (start, end) } = member;
    let Some(element) = Element::named(&dtype) else {
        return Err(SafetensorsError::UnknownDtype { name, dtype });
    };
    let rank = shape.len();
    if rank > MAX_RANK {
        return Err(SafetensorsError::Rank { name, rank, limit: MAX_RANK });
    }
    let want = num_bytes(&shape, element);
    if want.is_none() || end.checked_sub(start) != want {
        return Err(SafetensorsError::WrongLength { name, start, end, dtype: element.name, shape });
    }
    match (data_start.checked_add(start), data_start.checked_add(end)) {
        (Some(start), Some(end)) => Ok(Entry { name, element, shape, range: start..end }),
        _ => Err(SafetensorsError::WrongLength { name, start, end, dtype: element.name, shape }),
    }
}

/// Sorts by place and checks that each tensor begins where the one before ends, and that the last
/// ends with the file.
fn check_cover(
    entries: &mut [Entry],
    data_start: usize,
    size: usize,
) -> Result<(), SafetensorsError> {
    entries.sort_by_key(|entry| (entry.range.start, entry.range.end));
    let mut covered = data_start;
    let mut previous = "the header";
    for Entry { name, range, .. } in entries.iter() {
        if range.end > size {
            let (name, end) = (name.clone(), range.end);
            return Err(SafetensorsError::Truncated { name, end, size });
        }
        if range.start != covered {
            return Err(SafetensorsError::NotContiguous {
                name: name.clone(),
                start: range.start,
                previous: previous.to_owned(),
                covered,
            });
        }
        covered = range.end;
        previous = name;
    }
    if covered != size {
        return Err(SafetensorsError::Trailing { covered, size });
    }
    Ok(())
}
