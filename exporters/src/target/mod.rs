//! Targets: how the same model is spelled for different runtimes.
//!
//! A module of the model is written once and asks the target for the operators that differ.

mod ort_cpu;
mod portable;
mod tensorrt;
mod tensorrt_10_3;

use cumo_bundle::CacheUpdate;
use cumo_checkpoint::model::LayerNorm;
use cumo_checkpoint::{LlmConfig, Tensor, VisionConfig};
use cumo_onnx::{Opset, Value};

pub use ort_cpu::OrtCpu;
pub use portable::Portable;
pub use tensorrt::TensorRt;
pub use tensorrt_10_3::TensorRt103;

use crate::builder::ModelBuilder;
use crate::error::Error;
use crate::llm::CachedAttention;
use crate::moe::{Body, Form};
use crate::vision::embeddings;

/// A runtime's spelling of what differs between runtimes.
pub trait Target: Sync {
    /// The version of the standard operators.
    fn opset(&self) -> Opset {
        Opset::V17
    }

    /// Whether engines are built of the graphs: linear layers of the same `x` are then one matrix
    /// product, and there is neither a convolution nor a product of matrices in f32.
    fn is_for_engines(&self) -> bool {
        false
    }

    /// What graphs hold of the custom operators.
    fn moe_form(&self) -> Form {
        Form::Functions(Body::Sparse)
    }

    /// A router's logits `[batch, tokens, experts]` f32 of `x` `[batch, tokens, channels]` f32, with
    /// `gate` `[experts, channels]`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    fn router_logits(
        &self,
        b: &mut ModelBuilder<'_>,
        x: &Value,
        gate: &Tensor,
    ) -> Result<Value, Error> {
        if self.is_for_engines() {
            return tensorrt::router_logits(b, x, gate);
        }
        let gate = b.matrix_f32(gate)?;
        Ok(b.g.matmul(x, &gate)?)
    }

    /// `[crops, patches, channels]` f32 of crops `[crops, 3, size, size]` f32, with `weight`
    /// `[channels, 3, patch, patch]`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    fn embed_patches(
        &self,
        b: &mut ModelBuilder<'_>,
        crops: &Value,
        weight: &Tensor,
        config: &VisionConfig,
    ) -> Result<Value, Error> {
        match self.is_for_engines() {
            true => embeddings::by_product(b, crops, weight, config),
            false => embeddings::by_convolution(b, crops, weight, config),
        }
    }

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
    ) -> Result<(Value, Value), Error> {
        let sum = b.add_residual(x, skip)?;
        Ok((b.layer_norm(&sum, norm, epsilon)?, sum))
    }

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
    ) -> Result<(Value, Value), Error> {
        let sum = b.add_residual(x, skip)?;
        Ok((b.rms_norm(&sum, weight, epsilon)?, sum))
    }

    /// Declares the inputs of a graph with decoder layers beside the states that they work on, and
    /// prepares what all layers share.
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

/// The spelling of a target whose bundles have a graph a kind of layer.
pub trait LayerTarget: Target {
    /// Builds the graph of what all decoder layers of a pass share: of `position_ids` and
    /// `cache_positions` the inputs that [`Target::cached_attention`] declares.
    ///
    /// # Errors
    /// Sizes that do not fit.
    fn decoder_inputs(&self, b: &mut ModelBuilder<'_>, config: &LlmConfig) -> Result<(), Error>;
}
