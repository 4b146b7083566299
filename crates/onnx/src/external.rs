//! External data: where tensors lie in the file beside a model, and which files a model refers to.
//!
//! See docs/ExternalData.md of the ONNX specification.

use std::collections::BTreeSet;

use prost::Message;

use crate::proto::tensor_proto::DataLocation;
use crate::proto::{GraphProto, ModelProto, NodeProto, TensorProto};

/// Tensors begin at multiples of this, so that a runtime can map each of them: a page.
pub const ALIGNMENT: u64 = 4096;

/// Offsets of tensors in an external data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    ranges: Vec<(u64, u64)>,
}

impl Layout {
    /// Lays tensors of these sizes, in bytes, one behind the other.
    pub fn new(sizes: impl IntoIterator<Item = u64>) -> Self {
        let mut end = 0u64;
        let place = |size| {
            let offset = end.next_multiple_of(ALIGNMENT);
            end = offset + size;
            (offset, size)
        };
        Layout { ranges: sizes.into_iter().map(place).collect() }
    }

    /// Offset and length of each tensor, in bytes.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.ranges.iter().copied()
    }

    /// Bytes of the file.
    pub fn total_bytes(&self) -> u64 {
        self.ranges.last().map_or(0, |(offset, length)| offset + length)
    }
}

/// The files that a model's tensors refer to, as they are named in it.
///
/// # Errors
/// Where the bytes are no ONNX model.
pub fn referenced_files(model: &[u8]) -> Result<BTreeSet<String>, prost::DecodeError> {
    let model = ModelProto::decode(model)?;
    let mut files = BTreeSet::new();
    if let Some(graph) = &model.graph {
        files_of_graph(graph, &mut files);
    }
    files_of_nodes(model.functions.iter().flat_map(|function| &function.node), &mut files);
    Ok(files)
}

fn files_of_graph(graph: &GraphProto, files: &mut BTreeSet<String>) {
    files.extend(graph.initializer.iter().filter_map(location));
    files_of_nodes(&graph.node, files);
}

/// Constants of nodes, and of the graphs inside nodes (prost bounds how deep those nest).
fn files_of_nodes<'a>(
    nodes: impl IntoIterator<Item = &'a NodeProto>,
    files: &mut BTreeSet<String>,
) {
    for attribute in nodes.into_iter().flat_map(|node| &node.attribute) {
        files.extend(attribute.t.iter().filter_map(location));
        if let Some(graph) = &attribute.g {
            files_of_graph(graph, files);
        }
    }
}

fn location(tensor: &TensorProto) -> Option<String> {
    if tensor.data_location() != DataLocation::External && tensor.external_data.is_empty() {
        return None;
    }
    let entry = tensor.external_data.iter().find(|entry| entry.key() == "location");
    // A tensor that claims to be external and does not say where refers to a file without name.
    Some(entry.map(|entry| entry.value().to_owned()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, GraphBuilder};
    use proptest::prelude::*;

    #[test]
    fn tensors_are_aligned_and_do_not_overlap() {
        let layout = Layout::new([10, 4096, 1, 0]);
        let ranges: Vec<_> = layout.ranges().collect();
        assert_eq!(ranges, [(0, 10), (4096, 4096), (8192, 1), (12288, 0)]);
        assert_eq!(layout.total_bytes(), 12288);
    }

    #[test]
    fn the_files_a_model_refers_to_are_found() {
        let mut g = GraphBuilder::new();
        g.initializer("w", DType::F32, &[2]).unwrap();
        let bytes = g.finish().encode("g", "../w.data", ("test", "0"));
        assert_eq!(
            referenced_files(&bytes).unwrap().into_iter().collect::<Vec<_>>(),
            ["../w.data"]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = referenced_files(&bytes);
        }
    }
}
