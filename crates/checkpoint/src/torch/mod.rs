//! Reads a state dict that `torch.save` wrote: `pytorch_model.bin`, `mm_projector.bin`,
//! `clip.bin`.
//!
//! The file is a zip archive: `<prefix>/data.pkl` says which tensors there are, each a view of a
//! storage, and `<prefix>/data/<key>` has a storage's bytes as they are in memory. Storages are
//! never compressed, so tensors are views of the mapped file.

mod pickle;
mod zip;

use std::collections::HashMap;
use std::sync::Arc;

use self::pickle::View;
use self::zip::Entry;
use crate::error::{Error, TorchError};
use crate::mapped_file::MappedFile;
use crate::tensor::{Stored, num_bytes};

/// Bytes that `data.pkl` may have. A 70B model's has under 1 MB.
const MAX_PICKLE: usize = 16 << 20;

/// The tensors of a file written by `torch.save(state_dict, file)`.
///
/// # Errors
///
/// The file is not such an archive or is cut, its pickle holds anything but a state dict, a
/// tensor lies beyond its storage or is not contiguous.
pub(crate) fn read(file: &Arc<MappedFile>) -> Result<Vec<Stored>, Error> {
    parse(file).map_err(|source| Error::Torch { file: file.path().to_owned(), source })
}

fn parse(file: &Arc<MappedFile>) -> Result<Vec<Stored>, TorchError> {
    let bytes = file.bytes();
    if !bytes.starts_with(b"PK") {
        // Protocol 2's first byte: what torch wrote before 1.6, one pickle after another.
        return Err(if bytes.first() == Some(&0x80) {
            TorchError::Legacy
        } else {
            TorchError::NotZip
        });
    }
    let entries = zip::entries(bytes)?;
    let prefix = prefix(&entries)?;
    let get = |name: &str| entries.get(&format!("{prefix}/{name}"));
    if let Some(order) = get("byteorder") {
        let order = zip::stored(bytes, "byteorder", order)?;
        if bytes.get(order) != Some(b"little") {
            return Err(TorchError::BigEndian);
        }
    }
    let pickle = get("data.pkl").ok_or(TorchError::NoPickle)?;
    let pickle = zip::stored(bytes, "data.pkl", pickle)?;
    if pickle.len() > MAX_PICKLE {
        return Err(TorchError::PickleTooLarge { bytes: pickle.len(), limit: MAX_PICKLE });
    }
    let views = pickle::state_dict(bytes.get(pickle).unwrap_or_default())?;
    views
        .into_iter()
        .map(|view| {
            let entry = get(&format!("data/{}", view.storage.key));
            stored(file, view, entry)
        })
        .collect()
}

/// The folder that `data.pkl` lies in.
fn prefix(entries: &HashMap<String, Entry>) -> Result<String, TorchError> {
    let mut prefixes = entries
        .keys()
        .filter_map(|name| name.strip_suffix("/data.pkl").filter(|prefix| !prefix.contains('/')));
    match (prefixes.next(), prefixes.next()) {
        (Some(prefix), None) => Ok(prefix.to_owned()),
        (None, _) => Err(TorchError::NoPickle),
        (Some(a), Some(b)) => {
            let (first, second) = if a < b { (a, b) } else { (b, a) };
            Err(TorchError::TwoPickles { first: first.to_owned(), second: second.to_owned() })
        }
    }
}

/// Finds the bytes of `view` in its storage's archive entry.
fn stored(
    file: &Arc<MappedFile>,
    view: View<'_>,
    entry: Option<&Entry>,
) -> Result<Stored, TorchError> {
    let View { name, storage, offset, shape, stride } = view;
    let name = name.to_owned();
    let Some(entry) = entry else {
        return Err(TorchError::NoStorage { name, key: storage.key.to_owned() });
    };
    let entry = zip::stored(file.bytes(), storage.key, entry)?;
    if !is_contiguous(&shape, &stride) {
        return Err(TorchError::Strided { name, shape, stride });
    }
    let size = storage.element.size;
    let bytes = num_bytes(&shape, storage.element);
    let start = offset.checked_mul(size).and_then(|skip| entry.start.checked_add(skip));
    let end = start.zip(bytes).and_then(|(start, bytes)| start.checked_add(bytes));
    match start.zip(end) {
        Some((start, end)) if end <= entry.end => {
            let element = storage.element;
            Ok(Stored { name, element, shape, file: Arc::clone(file), range: start..end })
        }
        _ => Err(TorchError::BeyondStorage {
            name,
            shape,
            dtype: storage.element.name,
            offset,
            storage_bytes: entry.len(),
        }),
    }
}

/// Whether elements follow each other in row-major order. Sizes of 1 have no say, and a tensor
/// without elements is contiguous.
fn is_contiguous(shape: &[usize], stride: &[usize]) -> bool {
    if shape.contains(&0) {
        return true;
    }
    let mut want = 1usize;
    for (&size, &stride) in shape.iter().zip(stride).rev() {
        if size != 1 && stride != want {
            return false;
        }
        want = want.saturating_mul(size);
    }
    true
}
