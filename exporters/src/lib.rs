//! Exports CuMo checkpoints to bundles of ONNX graphs with the MoE routing as custom ops.
//!
//! The modules mirror the model: [`vision`], [`connector`], [`embed`], [`llm`], [`moe`]; a
//! [`target`] says how an operator is spelled. [`export_onnx`] opens the checkpoint, builds each
//! [`part`]'s graph, and streams its weights.

mod activation;
mod attention;
mod builder;
pub mod connector;
pub mod convert;
pub mod embed;
pub mod engine;
mod error;
mod export;
mod facts;
pub mod layered;
pub mod llm;
pub mod moe;
mod norm;
pub mod part;
mod ports;
mod progress;
mod signature;
pub mod sources;
pub mod target;
pub mod vision;
mod weight;

pub use activation::Activation;
pub use builder::RouterOutputs;
pub use builder::{Built, ModelBuilder, NamedWeight, Types, WeightsAs};
pub use cumo_bundle::FloatType;
pub use error::Error;
pub use export::{OnnxOptions, PRODUCER, Summary, export_onnx};
pub use facts::shapes_facts;
pub use layered::MoeKind;
pub use progress::{Progress, Quiet};
pub use weight::{Source, Weight};
