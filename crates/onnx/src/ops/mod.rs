//! Operators: each method checks its operands, adds a node, and gives the result with its dtype
//! and shape. One family a file; the specification of each is at
//! <https://onnx.ai/onnx/operators/>, those of ONNX Runtime in its docs/ContribOperators.md.

mod attention;
mod constant;
mod elementwise;
mod fused;
mod image;
mod matmul;
mod norm;
mod plugin;
mod reduce;
mod select;
mod shape;

pub use attention::Attention;
pub use fused::GroupQueryAttention;
pub use image::ResizeCubic;
pub use shape::To;
