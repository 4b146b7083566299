//! ONNX messages and a graph builder in which every value carries its dtype and shape.
//!
//! A node is checked as it is added: a wrong matrix fails on its own line, with the place in the
//! model (`connector.expert[2].fc1: MatMul: ...`), and not in the runtime. What a [`Graph`] writes
//! is an ONNX model with model-local functions and external data.

mod attribute;
mod dtype;
mod error;
pub mod external;
mod function;
mod graph;
mod model;
mod ops;
mod opset;
mod shape;
mod text;

/// The ONNX messages, as prost makes them of `proto/onnx.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
pub mod proto;

pub use attribute::Attribute;
pub use dtype::DType;
pub use error::Error;
pub use function::Function;
pub use graph::{GraphBuilder, Initializer, Value};
pub use model::Graph;
pub use ops::{Attention, GroupQueryAttention, ResizeCubic, To};
pub use opset::Opset;
pub use shape::{Dim, Shape, dims};
