//! Where an ONNX file says that its weights are.
//!
//! Before a graph is given to ONNX Runtime, every `external_data` location in it is compared with
//! the bundle's list of files, so that a graph cannot make the process read anything else. The
//! file is walked as protobuf wire format: only the fields on the way to a tensor are entered, and
//! whatever is not well formed is an error.

use std::fs;
use std::path::Path;

use crate::backend::BackendError;

/// ONNX files are protobuf messages, which end at 2 GiB.
const MAX_FILE_BYTES: u64 = 1 << 31;

/// Bytes of a key or of a length: both are numbers of 32 bits.
const MAX_KEY_BYTES: usize = 5;

/// Bytes of any number.
const MAX_VARINT_BYTES: usize = 10;

/// Graphs nest in attributes of nodes; deeper than this is no real model.
const MAX_DEPTH: usize = 64;

/// Checks that every tensor of the ONNX file at `path` keeps its data in the file itself or in one
/// of `files`, which are relative to the folder of the bundle, where `path` lies too.
pub(super) fn check(path: &Path, files: &[String]) -> Result<(), BackendError> {
    let failed = |reason: String| BackendError::Graph { file: path.to_owned(), reason };
    let size = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(failed(format!("{size} bytes, an ONNX file has at most {MAX_FILE_BYTES}")));
    }
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut locations = Vec::new();
    walk(&bytes, Message::Model, 0, &mut locations)
        .ok_or_else(|| failed("not a well-formed ONNX file".to_owned()))?;
    // Locations are relative to the ONNX file, and graphs lie at the top of the bundle.
    match locations.into_iter().find(|location| !files.iter().any(|file| file == location)) {
        None => Ok(()),
        Some(location) => Err(BackendError::ForeignData { file: path.to_owned(), location }),
    }
}

/// The messages of `onnx.proto` on the way from a model to a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    /// `StringStringEntryProto` of a tensor's `external_data`.
    Entry,
}

impl Message {
    /// The message in a field, if it is one of these.
    fn field(self, number: u64) -> Option<Message> {
        Some(match (self, number) {
            (Message::Model, 7) => Message::Graph,
            (Message::Model, 25) => Message::Function,
            (Message::Graph, 1) | (Message::Function, 7) => Message::Node,
            (Message::Function, 11) => Message::Attribute,
            (Message::Graph, 5) => Message::Tensor,
            (Message::Graph, 15) => Message::SparseTensor,
            (Message::SparseTensor, 1 | 2) => Message::Tensor,
            (Message::Node, 5) => Message::Attribute,
            (Message::Attribute, 5 | 10) => Message::Tensor,
            (Message::Attribute, 6 | 11) => Message::Graph,
            (Message::Attribute, 22 | 23) => Message::SparseTensor,
            (Message::Tensor, 13) => Message::Entry,
            _ => return None,
        })
    }
}

/// Collects the locations below a message; none where it is not well formed.
fn walk(
    mut bytes: &[u8],
    message: Message,
    depth: usize,
    locations: &mut Vec<String>,
) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    let (mut is_location, mut value) = (false, None);
    while !bytes.is_empty() {
        let (number, content) = field(&mut bytes)?;
        let Some(content) = content else { continue };
        match message.field(number) {
            Some(inner) => walk(content, inner, depth + 1, locations)?,
            None if message == Message::Entry && number == 1 => {
                is_location = content == b"location"
            }
            None if message == Message::Entry && number == 2 => value = Some(content),
            None => {}
        }
    }
    if is_location {
        // A path that is not UTF-8 is not in the manifest, whatever it is shown as.
        locations.push(String::from_utf8_lossy(value?).into_owned());
    }
    Some(())
}

/// Takes one field off the front: its number, and its bytes where it is length-delimited.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    // A key has 32 bits and no field the number 0. Readers drop higher bits, and would see another
    // field than this check does.
    let key = varint(bytes, MAX_KEY_BYTES)?;
    if key > u64::from(u32::MAX) || key >> 3 == 0 {
        return None;
    }
    let content = match key & 7 {
        0 => {
            varint(bytes, MAX_VARINT_BYTES)?;
            None
        }
        1 => {
            *bytes = bytes.get(8..)?;
            None
        }
        2 => {
            let length = usize::try_from(varint(bytes, MAX_KEY_BYTES)?).ok()?;
            let (content, rest) = (bytes.get(..length)?, bytes.get(length..)?);
            *bytes = rest;
            Some(content)
        }
        5 => {
            *bytes = bytes.get(4..)?;
            None
        }
        _ => return None,
    };
    Some((key >> 3, content))
}

/// Takes a number of at most `max_bytes` bytes off the front; none where it has more than 64 bits.
fn varint(bytes: &mut &[u8], max_bytes: usize) -> Option<u64> {
    let mut value = 0_u64;
    for index in 0..max_bytes {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index;
        if bits.checked_shl(shift as u32)? >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// A length-delimited field.
    fn message(number: u8, content: &[u8]) -> Vec<u8> {
        message_with_key(u64::from(number) << 3 | 2, content)
    }

    fn message_with_key(key: u64, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for mut value in [key, content.len() as u64] {
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
        }
        bytes.extend_from_slice(content);
        bytes
    }

    fn tensor(location: &str) -> Vec<u8> {
        let entry = [message(1, b"location"), message(2, location.as_bytes())].concat();
        [message(13, &entry), message(8, b"name")].concat()
    }

    fn check_model(model: &[u8]) -> Result<(), String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(model).unwrap();
        check(file.path(), &["weights.bin".to_owned()]).map_err(|error| error.to_string())
    }

    #[test]
    fn data_in_the_bundles_files_is_allowed() {
        check_model(&message(7, &message(5, &tensor("weights.bin")))).unwrap();
    }

    #[test]
    fn data_anywhere_else_is_named_wherever_the_tensor_hides() {
        let outside = tensor("../../etc/passwd");
        let attribute = message(5, &message(5, &outside));
        let places = [
            message(7, &message(5, &outside)),
            message(7, &message(15, &message(1, &outside))),
            message(7, &message(1, &attribute)),
            message(25, &message(7, &attribute)),
            message(7, &message(1, &message(5, &message(6, &message(5, &outside))))),
        ];
        for model in places {
            let error = check_model(&model).unwrap_err();
            assert!(error.contains("`../../etc/passwd`, which is not one of"), "{error}");
        }
    }

    #[test]
    fn a_cut_file_is_not_well_formed() {
        let model = message(7, &message(5, &tensor("weights.bin")));
        for length in [1, 5, model.len() - 1] {
            let error = check_model(&model[..length]).unwrap_err();
            assert!(error.contains("not a well-formed ONNX file"), "{error}");
        }
    }

    #[test]
    fn endless_nesting_is_refused() {
        let mut graph = message(5, &tensor("weights.bin"));
        for _ in 0..100 {
            graph = message(1, &message(5, &message(6, &graph)));
        }
        assert!(check_model(&message(7, &graph)).is_err());
    }

    #[test]
    fn keys_that_other_readers_cut_to_32_bits_are_refused() {
        let outside = tensor("../../etc/passwd");
        // Read as 32 bits each of these is field 7 of the model, the graph.
        for high in [1_u64 << 32, 1 << 34, 7 << 32, 1 << 35, 1 << 63] {
            let model = message_with_key(high | 7 << 3 | 2, &message(5, &outside));
            let error = check_model(&model).unwrap_err();
            assert!(error.contains("not a well-formed ONNX file"), "{error}");
        }
        assert!(check_model(&message(0, b"")).is_err());
        // An ordinary number of 64 bits is no key.
        check_model(&[[8].as_slice(), &[0xff; 9], &[1]].concat()).unwrap();
        assert!(check_model(&[[8].as_slice(), &[0xff; 9], &[2]].concat()).is_err());
    }

    /// What a reader sees that takes keys of any length and keeps 32 bits of them.
    fn lenient(mut bytes: &[u8], message: Message, depth: usize, locations: &mut Vec<Vec<u8>>) {
        fn number(bytes: &mut &[u8]) -> Option<u64> {
            let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
            let (taken, rest) = bytes.split_at(end);
            *bytes = rest;
            Some(taken.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)))
        }
        let (mut key, mut value) = (Vec::new(), Vec::new());
        while let (true, Some(tag)) = (depth <= MAX_DEPTH, number(&mut bytes)) {
            let tag = tag as u32;
            let length = match tag & 7 {
                0 if number(&mut bytes).is_some() => continue,
                1 => 8,
                2 => number(&mut bytes).unwrap_or(u64::MAX),
                5 => 4,
                _ => return,
            };
            let Some(content) = usize::try_from(length).ok().and_then(|end| bytes.get(..end))
            else {
                return;
            };
            bytes = &bytes[content.len()..];
            match (message.field(u64::from(tag >> 3)), tag >> 3) {
                (Some(inner), _) if tag & 7 == 2 => lenient(content, inner, depth + 1, locations),
                (None, 1) if message == Message::Entry => key = content.to_vec(),
                (None, 2) if message == Message::Entry => value = content.to_vec(),
                _ => {}
            }
        }
        if key == b"location" {
            locations.push(value);
        }
    }

    proptest! {
        #[test]
        fn no_damage_hides_a_location_from_the_check(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
            inserted in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let tensor = tensor("../outside");
            let node = message(1, &message(5, &message(5, &tensor)));
            let mut model = message(7, &[node, message(5, &tensor)].concat());
            for (at, byte) in changes {
                let at = at.index(model.len());
                model[at] = byte;
            }
            for (at, byte) in inserted {
                model.insert(at.index(model.len() + 1), byte);
            }
            let mut seen = Vec::new();
            lenient(&model, Message::Model, 0, &mut seen);
            let mut found = Vec::new();
            if walk(&model, Message::Model, 0, &mut found).is_some() {
                for location in seen {
                    let location = String::from_utf8_lossy(&location).into_owned();
                    prop_assert!(found.contains(&location), "{location}");
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = walk(&bytes, Message::Model, 0, &mut Vec::new());
        }
    }
}
