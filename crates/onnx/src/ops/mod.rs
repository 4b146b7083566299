//! Operators: each method checks its operands, adds a node, and gives the result with its dtype
//! and shape. One family a file; the specification of each is at
//! <https://onnx.ai/onnx/operators/>, those of ONNX Runtime in its docs/ContribOperators.md.

mod constant;
mod elementwise;
mod fused;
mod image;
mod matmul;
mod norm;
mod reduce;
mod select;
mod shape;

pub use fused::GroupQueryAttention;
pub use image::ResizeCubic;
pub use shape::To;
