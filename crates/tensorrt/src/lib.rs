//! TensorRT for Rust programs that start without it: builder, engine, context, through the C ABI of
//! `native/shim`.
//!
//! Nothing of NVIDIA's is linked. [`Library::open`] loads the shim of a [`Flavour`] and TensorRT
//! behind it; what is not installed, or another version, is an [`Error`] that says so. The same for
//! the driver: [`Runtime::new`] asks it for devices before TensorRT is asked for anything.
//!
//! An engine, built on any machine with TensorRT-RTX, and run on one with a GPU:
//!
//! ```no_run
//! use cumo_tensorrt::{BuildOptions, Builder, Flavour, Library, Profile, Runtime};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let library = Library::open(Flavour::Rtx)?;
//! library.load_plugins("libcumo_plugin.so".as_ref())?;
//!
//! let mut network = Builder::new(&library).parse_file("decoder_layer.onnx".as_ref())?;
//! let layers = network.layers()?;
//! let plugins = layers.iter().filter(|layer| layer.plugin.as_deref() == Some("CumoMoE")).count();
//! println!("{} layers, {plugins} of them CumoMoE", layers.len());
//!
//! let decode = Profile::new().fixed("hidden_states", &[1, 1, 4096]);
//! let prefill = Profile::new().range("hidden_states", &[1, 1, 4096], &[1, 64, 4096], &[1, 1024, 4096]);
//! let options = BuildOptions::new().profile(decode).profile(prefill).workspace_bytes(256 << 20);
//! let built = network.build_reporting(&options, &mut |progress| {
//!     println!("{progress:?}");
//!     std::ops::ControlFlow::Continue(())
//! })?;
//! for message in &built.messages {
//!     println!("{:?}: {}", message.severity, message.text);
//! }
//! std::fs::write("decoder_layer.engine", &built.engine)?;
//!
//! let runtime = Runtime::new(&library, 0)?;
//! let engine = runtime.load_file("decoder_layer.engine".as_ref())?;
//! let stream = runtime.stream()?;
//! let mut context = engine.context()?;
//! context.set_shape("hidden_states", &[1, 1, 4096])?;
//! let hidden_states = runtime.buffer(2 * 4096)?;
//! stream.fill(&hidden_states, 0)?;
//! context.set_tensor("hidden_states", &hidden_states)?;
//! let output = runtime.buffer(2 * 4096)?;
//! context.set_tensor("output", &output)?;
//! context.enqueue(&stream)?;
//! let mut bytes = vec![0; 2 * 4096];
//! stream.read(&mut bytes, &output)?;
//! # Ok(())
//! # }
//! ```
//!
//! Whatever the device still uses is kept: a stream holds the buffers, contexts and graphs of its
//! work until it was waited for, and a captured [`Graph`] holds its own for as long as it lives.

mod builder;
mod context;
mod engine;
mod error;
mod flavour;
mod handle;
mod kernels;
mod library;
mod memory;
mod message;
mod network;
mod rows;
mod runtime;
mod staging;
mod stream;
mod sys;
mod tensor;
mod work;

pub use builder::{
    BuildOptions, Builder, Built, EngineBytes, Network, OnProgress, Profile, Progress, Range,
};
pub use context::Context;
pub use engine::Engine;
pub use error::{Error, ParseError};
pub use flavour::Flavour;
pub use kernels::{Kernels, NewRows};
pub use library::{Library, LibraryPlaces};
pub use memory::DeviceBuffer;
pub use message::{Message, Severity};
pub use network::Layer;
pub use rows::Rows;
pub use runtime::{DeviceInfo, DeviceMemory, KernelBytes, Runtime};
pub use staging::Staging;
pub use stream::{Event, Graph, Stream};
pub use tensor::{DType, Tensor};
