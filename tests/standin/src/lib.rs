//! Test code: stands in for `native/shim` on machines without a GPU.
//!
//! The library has every function of `cumo_trt.h`. Its device's memory is the host's, its engines
//! are ONNX graphs on ONNX Runtime, and it checks what a device would not forgive: each such thing
//! is a *violation*, which fails the call and is written down. Violations are
//!
//! - an address that is in no allocation, in one that was freed, or whose tensor reaches past it;
//! - a tensor or activation memory at an address that is no multiple of 256;
//! - bytes that are read before anything wrote them; activation memory counts as not written after
//!   each execution, and is overwritten;
//! - in a capture: allocating, freeing, waiting, copying from or to pageable host memory, choosing
//!   a profile, recording an event, an execution whose context changed since it last ran, and a
//!   kernel that did not run before;
//! - a launch of a graph whose memory or context was freed, or whose context was changed since;
//! - a cache's output elsewhere than its input; an output over another tensor of the execution;
//! - rows that a kernel is to write outside of their cache, which a device would leave out;
//! - handles that are used or freed after they were freed, or freed before what was made of them;
//!   memory that is left when its runtime is freed.
//!
//! Work on a stream is done as late as it may be, when the stream or an event behind it is waited
//! for, so that a wait that was forgotten shows as stale numbers. Where the host is to be written,
//! it is overwritten at once with bytes that mean nothing.
//!
//! The folder that is given as TensorRT's holds a [`Settings`] file and takes what is written down;
//! see [`StandIn`]. Programs load the library only where they are compiled with the feature
//! `stand-in` of `cumo-tensorrt` and with debug assertions: its ABI number is marked.

mod abi;
mod device;
mod engine;
mod execution;
mod fault;
mod folder;
mod journal;
mod kernels;
mod memory;
mod network;
mod objects;
mod queue;
mod rows;
mod session;
mod settings;
// The types of the header as `cumo-tensorrt` declares them, so that they cannot differ.
#[allow(dead_code, reason = "this crate gives the functions that the file loads")]
#[path = "../../../crates/tensorrt/src/sys.rs"]
mod sys;

pub use folder::{StandIn, SummaryOfRun};
pub use settings::{DeviceSettings, Settings};
