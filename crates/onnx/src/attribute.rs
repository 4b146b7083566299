//! Attributes of nodes.

use crate::proto::attribute_proto::AttributeType;
use crate::proto::{AttributeProto, TensorProto};

/// A node's attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// Several integers.
    Ints(Vec<i64>),
    /// A number.
    Float(f32),
    /// A text.
    Text(&'static str),
    /// A constant tensor.
    Tensor(TensorProto),
    /// The integer that the enclosing function is called with under this name.
    IntOfFunction(&'static str),
}

impl Attribute {
    pub(crate) fn into_proto(self, name: &str) -> AttributeProto {
        let mut proto = AttributeProto { name: Some(name.to_owned()), ..Default::default() };
        let kind = match self {
            Attribute::Int(value) => {
                proto.i = Some(value);
                AttributeType::Int
            }
            Attribute::Ints(values) => {
                proto.ints = values;
                AttributeType::Ints
            }
            Attribute::Float(value) => {
                proto.f = Some(value);
                AttributeType::Float
            }
            Attribute::Text(text) => {
                proto.s = Some(text.as_bytes().to_vec());
                AttributeType::String
            }
            Attribute::Tensor(tensor) => {
                proto.t = Some(tensor);
                AttributeType::Tensor
            }
            Attribute::IntOfFunction(argument) => {
                proto.ref_attr_name = Some(argument.to_owned());
                AttributeType::Int
            }
        };
        proto.r#type = Some(kind as i32);
        proto
    }
}
