//! Standard operators only.

use cumo_bundle::CacheUpdate;
use cumo_checkpoint::model::LayerNorm;
use cumo_checkpoint::{LlmConfig, Tensor};
use cumo_onnx::{DType, Dim, To, Value};

use super::Target;
use crate::builder::ModelBuilder;
use crate::error::Error;
use crate::llm::{CachedAttention, StandardAttention};

/// Any ONNX runtime.
pub struct Portable;

impl Target for Portable {
    fn full_attention(
        &self,
        b: &mut ModelBuilder<'_>,
        [query, key, value]: [&Value; 3],
        num_heads: usize,
    ) -> Result<Value, Error> {
        let channels = query.shape().dims().get(2).and_then(Dim::fixed).unwrap_or_default();
        let head_dim = channels / num_heads;
        let parts = [To::Keep, To::Keep, To::Size(num_heads), To::Size(head_dim)];
        let mut split = |x: &Value, order: &[usize; 4]| {
            let parts = b.g.reshape(x, &parts)?;
            b.g.transpose(&parts, order)
        };
        let query = split(query, &[0, 2, 1, 3])?;
        let key = split(key, &[0, 2, 3, 1])?;
        let value = split(value, &[0, 2, 1, 3])?;
        let query = b.g.scale(&query, (head_dim as f64).sqrt().recip())?;
        let scores = b.g.matmul(&query, &key)?;
        let scores = b.g.cast(&scores, DType::F32);
        let probs = b.g.softmax(&scores);
        let probs = b.g.cast(&probs, b.dtype);
        let mixed = b.g.matmul(&probs, &value)?;
        let mixed = b.g.transpose(&mixed, &[0, 2, 1, 3])?;
        Ok(b.g.reshape(&mixed, &[To::Keep, To::Keep, To::Size(channels)])?)
    }

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

    fn cached_attention(
        &self,
        b: &mut ModelBuilder<'_>,
        embeds: &Value,
        config: &LlmConfig,
    ) -> Result<Box<dyn CachedAttention>, Error> {
        Ok(Box::new(StandardAttention::new(b, embeds, config)?))
    }

    fn cache_update(&self, _config: &LlmConfig) -> CacheUpdate {
        StandardAttention::CACHE
    }
}
