//! Reads a trained CuMo checkpoint into one typed, shape-checked model whose weights are
//! memory-mapped.

pub mod model;
mod tensor;

pub use tensor::{Dtype, Tensor};
