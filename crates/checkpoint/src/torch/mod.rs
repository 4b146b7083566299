//! Reads a state dict that `torch.save` wrote: `pytorch_model.bin`, `mm_projector.bin`,
//! `clip.bin`.
//!
//! The file is a zip archive: `<prefix>/data.pkl` says which tensors there are, each a view of a
//! storage, and `<prefix>/data/<key>` has a storage's bytes as they are in memory. Storages are
//! never compressed, so tensors are views of the mapped file.

mod op_name;
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

#[cfg(test)]
#[path = "../../tests/checkpoint/fixture/torch_file.rs"]
mod torch_file;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::torch_file::{TorchTensor, archive, archive_of, pickle};
    use super::*;

    fn parse_bytes(bytes: &[u8]) -> Result<Vec<Stored>, TorchError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let tensors = parse(&Arc::new(MappedFile::open(file.path()).unwrap()))?;
        for tensor in &tensors {
            assert!(tensor.range.end <= bytes.len());
            assert_eq!(num_bytes(&tensor.shape, tensor.element), Some(tensor.range.len()));
        }
        Ok(tensors)
    }

    prop_compose! {
        fn tensor()(
            (storage, size) in prop::sample::select(vec![
                ("FloatStorage", 4), ("HalfStorage", 2), ("BFloat16Storage", 2),
                ("LongStorage", 8), ("BoolStorage", 1),
            ]),
            shape in vec(0usize..5, 0..4),
            offset in 0usize..3,
            seed in any::<u8>(),
        ) -> TorchTensor {
            let bytes = (shape.iter().product::<usize>() + offset) * size;
            let bytes = (0..bytes).map(|i| (i as u8).wrapping_mul(37) ^ seed).collect();
            TorchTensor { name: String::new(), storage, shape, stride: None, offset, bytes }
        }
    }

    prop_compose! {
        fn tensors()(named in btree_map("[a-z.0-9é]{0,12}", tensor(), 0..6)) -> Vec<TorchTensor> {
            named.into_iter().map(|(name, tensor)| TorchTensor { name, ..tensor }).collect()
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(tensors in tensors()) {
            let bytes = archive(&tensors);
            let read = parse_bytes(&bytes).unwrap();
            prop_assert_eq!(read.len(), tensors.len());
            for (read, written) in read.iter().zip(&tensors) {
                prop_assert_eq!(&read.name, &written.name);
                prop_assert_eq!(&read.shape, &written.shape);
                let skip = written.offset * read.element.size;
                prop_assert_eq!(&bytes[read.range.clone()], &written.bytes[skip..]);
            }
        }

        #[test]
        fn changed_archives_never_panic(
            tensors in tensors(),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = archive(&tensors);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = parse_bytes(&bytes);
        }

        #[test]
        fn changed_pickles_never_panic(
            tensors in tensors(),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut pickle = pickle(&tensors);
            for (at, byte) in changes {
                let at = at.index(pickle.len());
                pickle[at] = byte;
            }
            let _ = parse_bytes(&archive_of(pickle, &tensors));
        }

        #[test]
        fn arbitrary_pickles_never_panic(
            // Mostly operations that are known.
            bytes in vec(prop_oneof![
                4 => prop::sample::select(b"NJKMX}()tsuqrhjcQRb\x80\x85\x86\x87\x88\x89\x8a.".to_vec()),
                1 => any::<u8>(),
            ], 0..200),
        ) {
            let _ = pickle::state_dict(&bytes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
            let _ = parse_bytes(&bytes);
            let _ = zip::entries(&bytes);
            let _ = pickle::state_dict(&bytes);
        }
    }

    #[test]
    fn deep_tuples_need_no_recursion() {
        let mut bytes = b"\x80\x02N".to_vec();
        bytes.extend(std::iter::repeat_n(0x85, 1_000_000));
        bytes.push(b'.');
        assert!(matches!(
            pickle::state_dict(&bytes),
            Err(crate::error::PickleError::NotADict { .. })
        ));
    }

    #[test]
    fn values_without_end_are_refused_before_they_fill_the_memory() {
        let many = |operations: &[u8]| {
            let mut bytes = b"\x80\x02".to_vec();
            bytes.extend(operations.repeat(MAX_PICKLE / operations.len()));
            let error = pickle::state_dict(&bytes).unwrap_err().to_string();
            assert!(error.starts_with("makes more than"), "{error}");
        };
        many(b")");
        many(b"}");
        many(b"N");
        many(b"(");
        many(b"NN\x86");
        let mut memo = b"\x80\x02N".to_vec();
        memo.extend((0..MAX_PICKLE as u32 / 5).flat_map(|key| {
            let [a, b, c, d] = key.to_le_bytes();
            [b'r', a, b, c, d]
        }));
        let error = pickle::state_dict(&memo).unwrap_err().to_string();
        assert!(error.starts_with("makes more than"), "{error}");
    }

    #[test]
    fn a_long_name_of_a_function_is_shortened() {
        let bytes = [b"\x80\x02c".to_vec(), vec![b'x'; 1_000_000], b"\nf\n.".to_vec()].concat();
        let error = pickle::state_dict(&bytes).unwrap_err().to_string();
        assert!(error.len() < 300 && error.contains("nothing was executed"), "{error}");
    }

    #[test]
    fn a_dict_within_itself_is_refused() {
        let bytes = b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.";
        let error = pickle::state_dict(bytes).unwrap_err().to_string();
        assert_eq!(error, "`a` is a dict, not a tensor");
    }
}
