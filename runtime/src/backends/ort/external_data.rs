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
    let key = varint(bytes)?;
    let content = match key & 7 {
        0 => {
            varint(bytes)?;
            None
        }
        1 => {
            *bytes = bytes.get(8..)?;
            None
        }
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
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

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
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
        let mut bytes = Vec::new();
        for mut value in [u64::from(number) << 3 | 2, content.len() as u64] {
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

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = walk(&bytes, Message::Model, 0, &mut Vec::new());
        }
    }
}
