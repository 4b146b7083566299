//! The TensorRT backend from end to end, on the stand-in for the shim: the goldens' engines, whose
//! answers must be the goldens'. The stand-in checks what a device would not forgive.
#![allow(clippy::unwrap_used, reason = "test code")]

mod answers;
mod constants;
mod faults;
mod kernels;
mod memory;
mod opening;
mod order;
mod recorded;
mod rows;
mod staging;
mod support;
