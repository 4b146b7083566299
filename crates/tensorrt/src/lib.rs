//! TensorRT for Rust programs that start without it.
#![warn(missing_docs)]

mod builder;
mod error;
mod flavour;
mod handle;
mod library;
mod message;
mod network;
mod sys;
mod tensor;

pub use builder::{BuildOptions, Builder, Built, EngineBytes, Network, Profile, Progress, Range};
pub use error::{Error, ParseError};
pub use flavour::Flavour;
pub use library::{Library, LibraryPlaces};
pub use message::{Message, Severity};
pub use network::Layer;
pub use tensor::{DType, Tensor};
