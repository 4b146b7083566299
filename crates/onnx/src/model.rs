//! A finished graph as an ONNX model.

use prost::Message;

use crate::external::Layout;
use crate::graph::{GraphBuilder, Initializer, Value};
use crate::proto::tensor_proto::DataLocation;
use crate::proto::tensor_shape_proto::{Dimension, dimension};
use crate::proto::{
    GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use crate::{Dim, Shape};

/// A finished graph.
#[derive(Debug, PartialEq)]
pub struct Graph {
    builder: GraphBuilder,
    layout: Layout,
}

impl GraphBuilder {
    /// Ends the building.
    pub fn finish(mut self) -> Graph {
        self.apply_renames();
        let layout = Layout::new(self.initializers.iter().map(Initializer::num_bytes));
        Graph { builder: self, layout }
    }
}

impl Graph {
    /// All that was built.
    pub(crate) fn builder(&self) -> &GraphBuilder {
        &self.builder
    }

    /// Inputs in order.
    pub fn inputs(&self) -> &[Value] {
        &self.builder.inputs
    }

    /// Outputs in order.
    pub fn outputs(&self) -> &[Value] {
        &self.builder.outputs
    }

    /// Constants in the order of the external data file.
    pub fn initializers(&self) -> &[Initializer] {
        &self.builder.initializers
    }

    /// Where each constant lies in the external data file.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether a node is of the operator `op` of `domain`.
    pub fn has_operator(&self, domain: &str, op: &str) -> bool {
        self.builder.nodes.iter().any(|node| node.domain() == domain && node.op_type() == op)
    }

    /// The ONNX file's bytes; `name` is the graph's, `data_file` the external data file's,
    /// relative to the ONNX file, and `producer` the program and its version.
    pub fn encode(&self, name: &str, data_file: &str, producer: (&str, &str)) -> Vec<u8> {
        let builder = &self.builder;
        let initializer = builder
            .initializers
            .iter()
            .zip(self.layout.ranges())
            .map(|(initializer, (offset, length))| {
                external_tensor(initializer, data_file, offset, length)
            })
            .collect();
        let graph = GraphProto {
            name: Some(name.to_owned()),
            node: builder.nodes.clone(),
            initializer,
            input: builder.inputs.iter().map(value_info).collect(),
            output: builder.outputs.iter().map(value_info).collect(),
            value_info: builder.values.iter().map(value_info).collect(),
            doc_string: None,
        };
        let model = ModelProto {
            ir_version: Some(builder.opset().ir_version()),
            producer_name: Some(producer.0.to_owned()),
            producer_version: Some(producer.1.to_owned()),
            graph: Some(graph),
            opset_import: self.opset_imports(),
            functions: builder.functions.iter().map(|function| function.proto.clone()).collect(),
            ..Default::default()
        };
        model.encode_to_vec()
    }

    /// The standard operators, and version 1 of every other domain that a node is of.
    fn opset_imports(&self) -> Vec<OperatorSetIdProto> {
        let mut domains: Vec<&str> = self
            .builder
            .nodes
            .iter()
            .map(|node| node.domain())
            .filter(|domain| !domain.is_empty())
            .collect();
        domains.sort_unstable();
        domains.dedup();
        let import = |domain: &str, version| OperatorSetIdProto {
            domain: Some(domain.to_owned()),
            version: Some(version),
        };
        std::iter::once(import("", self.builder.opset().version()))
            .chain(domains.into_iter().map(|domain| import(domain, 1)))
            .collect()
    }
}

fn external_tensor(
    initializer: &Initializer,
    data_file: &str,
    offset: u64,
    length: u64,
) -> TensorProto {
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value),
    };
    TensorProto {
        name: Some(initializer.name.clone()),
        data_type: Some(initializer.dtype.code()),
        dims: initializer.shape.iter().map(|size| *size as i64).collect(),
        data_location: Some(DataLocation::External as i32),
        external_data: vec![
            entry("location", data_file.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", length.to_string()),
        ],
        ..Default::default()
    }
}

fn value_info(value: &Value) -> ValueInfoProto {
    let tensor = type_proto::Tensor {
        elem_type: Some(value.dtype().code()),
        shape: Some(shape_proto(value.shape())),
    };
    ValueInfoProto {
        name: Some(value.name().to_owned()),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)) }),
        doc_string: None,
    }
}

fn shape_proto(shape: &Shape) -> TensorShapeProto {
    let dimension = |dim: &Dim| Dimension {
        value: Some(match dim {
            Dim::Fixed(size) => dimension::Value::DimValue(*size as i64),
            Dim::Symbol(name) => dimension::Value::DimParam(name.to_string()),
        }),
    };
    TensorShapeProto { dim: shape.dims().iter().map(dimension).collect() }
}
