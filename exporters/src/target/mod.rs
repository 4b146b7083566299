//! Targets: how the same model is spelled for different runtimes.
//!
//! A module of the model is written once and asks the target for the operators that differ.

mod ort_cpu;
mod portable;

use cumo_bundle::CacheUpdate;
use cumo_checkpoint::model::LayerNorm;
use cumo_checkpoint::{LlmConfig, Tensor};
use cumo_onnx::Value;

pub use ort_cpu::OrtCpu;
pub use portable::Portable;

use crate::builder::ModelBuilder;
use crate::error::Error;
use crate::llm::CachedAttention;

/// A runtime's spelling of what differs between runtimes.
pub trait Target: Sync {
    /// Attention of every token to every token: queries, keys and values
    /// `[batch, tokens, heads * head_dim]` each, and so the result.
    ///
    /// # Errors
    /// Sizes that do not fit.
    fn full_attention(
        &self,
        b: &mut ModelBuilder<'_>,
        operands: [&Value; 3],
        num_heads: usize,
    ) -> Result<Value, Error>;

    /// `sum = x + skip`; gives its layer norm and the sum.
    ///
    /// # Errors
    /// Sizes that do not fit.
    fn add_layer_norm(
        &self,
        b: &mut ModelBuilder<'_>,
        x: &Value,
        skip: &Value,
        norm: &LayerNorm,
        epsilon: f32,
    ) -> Result<(Value, Value), Error>;

    /// `sum = x + skip`; gives its RMS norm and the sum.
    ///
    /// # Errors
    /// Sizes that do not fit.
    fn add_rms_norm(
        &self,
        b: &mut ModelBuilder<'_>,
        x: &Value,
        skip: &Value,
        weight: &Tensor,
        epsilon: f32,
    ) -> Result<(Value, Value), Error>;

    /// Declares the LLM's inputs beside `inputs_embeds` and prepares what all layers share.
    ///
    /// # Errors
    /// Sizes that do not fit.
    fn cached_attention(
        &self,
        b: &mut ModelBuilder<'_>,
        embeds: &Value,
        config: &LlmConfig,
    ) -> Result<Box<dyn CachedAttention>, Error>;

    /// How a step of [`Target::cached_attention`] changes the cache.
    fn cache_update(&self, config: &LlmConfig) -> CacheUpdate;
}

/// The spelling of a target.
pub fn spelling(target: cumo_bundle::Target) -> &'static dyn Target {
    match target {
        // TensorRT's graphs are not of this kind: one a layer, with weights as inputs. The command
        // line does not offer them yet.
        cumo_bundle::Target::Onnx
        | cumo_bundle::Target::Tensorrt
        | cumo_bundle::Target::Tensorrt103 => &Portable,
        cumo_bundle::Target::OrtCpu => &OrtCpu,
    }
}
