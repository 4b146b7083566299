//! Reads the header of a safetensors file:
//! <https://huggingface.co/docs/safetensors#format>.
//!
//! Eight bytes (little endian) with the header's length, a JSON object that gives each tensor's
//! type, shape and place, then the tensors' bytes. The crate `safetensors` reads it too, but
//! keeps the last of two tensors with one name and its errors carry no numbers.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use crate::error::{Error, SafetensorsError};
use crate::json::UniqueMembers;
use crate::mapped_file::MappedFile;
use crate::shown::shown;
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
struct Member<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Shape,
    data_offsets: (usize, usize),
}

/// At most [`MAX_RANK`] sizes; a longer list is not read to its end.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sizes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut shape = Vec::new();
        while let Some(size) = list.next_element()? {
            if shape.len() == MAX_RANK {
                return Err(A::Error::custom(format_args!("more than {MAX_RANK} dimensions")));
            }
            shape.push(size);
        }
        Ok(Shape(shape))
    }
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

fn entry(name: String, member: Member<'_>, data_start: usize) -> Result<Entry, SafetensorsError> {
    let Member { dtype, shape: Shape(shape), data_offsets: (start, end) } = member;
    let Some(element) = Element::named(&dtype) else {
        return Err(SafetensorsError::UnknownDtype { name, dtype: shown(&dtype) });
    };
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::*;

    /// A file written by the format's reference implementation.
    fn write(tensors: &BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>) -> Vec<u8> {
        let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        safetensors::serialize(views, Some(metadata)).unwrap()
    }

    prop_compose! {
        fn tensor()(
            dtype in prop::sample::select(vec![
                Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::I64, Dtype::BOOL, Dtype::F8_E4M3,
            ]),
            shape in vec(0usize..5, 0..4),
            seed in any::<u8>(),
        ) -> (Dtype, Vec<usize>, Vec<u8>) {
            let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (dtype, shape, (0..bytes).map(|i| (i as u8).wrapping_mul(37) ^ seed).collect())
        }
    }

    /// Checks what every accepted file must have.
    fn parse_checked(bytes: &[u8]) {
        let Ok(entries) = parse(bytes) else { return };
        let mut covered = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        for entry in &entries {
            assert_eq!(entry.range.start, covered);
            assert_eq!(num_bytes(&entry.shape, entry.element), Some(entry.range.len()));
            covered = entry.range.end;
        }
        assert_eq!(covered, bytes.len());
    }

    proptest! {
        #[test]
        fn what_the_reference_writes_is_read(tensors in btree_map("[a-z.0-9é]{1,12}", tensor(), 0..6)) {
            let bytes = write(&tensors);
            let read = parse(&bytes).unwrap();
            prop_assert_eq!(read.len(), tensors.len());
            for entry in read {
                let (dtype, shape, data) = &tensors[&entry.name];
                prop_assert_eq!(entry.element.name.to_uppercase(), dtype.to_string());
                prop_assert_eq!(&entry.shape, shape);
                prop_assert_eq!(&bytes[entry.range], data);
            }
        }

        #[test]
        fn changed_files_never_panic_and_what_is_accepted_is_covered(
            tensors in btree_map("[a-z]{1,3}", tensor(), 0..4),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = write(&tensors);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            parse_checked(&bytes);
        }

        #[test]
        fn changed_numbers_never_panic(
            tensors in btree_map("[a-z]{1,3}", tensor(), 1..4),
            numbers in vec(prop_oneof![any::<u64>(), 0u64..40], 12),
        ) {
            // Puts other numbers into the header, at the places of the digits.
            let bytes = write(&tensors);
            let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
            let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
            let mut numbers = numbers.iter().cycle();
            let header: String = header
                .split_inclusive([',', '[', ']'])
                .map(|word| match word.trim_end_matches([',', ']']) {
                    digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                        word.replace(digits, &numbers.next().unwrap().to_string())
                    }
                    _ => word.to_owned(),
                })
                .collect();
            let mut changed = (header.len() as u64).to_le_bytes().to_vec();
            changed.extend(header.bytes());
            changed.extend(&bytes[8 + length..]);
            parse_checked(&changed);
        }

        #[test]
        fn arbitrary_headers_never_panic(
            length in prop_oneof![any::<u64>(), 0u64..200],
            bytes in vec(any::<u8>(), 0..200),
        ) {
            parse_checked(&[&length.to_le_bytes()[..], &bytes].concat());
        }
    }
}
