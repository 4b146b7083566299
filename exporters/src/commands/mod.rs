//! One file a command: flags in, one library call, text out.

pub mod inspect;
pub mod onnx;
