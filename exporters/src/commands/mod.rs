//! One file a command: flags in, one library call, text out.

pub(crate) mod engine;
pub(crate) mod inspect;
pub(crate) mod onnx;
