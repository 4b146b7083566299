//! The one module of this crate with `unsafe` code: memory and mapped files that ONNX Runtime reads
//! and writes through raw pointers, and the C calls that bind tensors to it.
#![allow(unsafe_code)]

mod binding;
mod memory;

pub(super) use binding::Binding;
pub(super) use memory::HostBuffer;
