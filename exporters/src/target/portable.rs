//! Standard operators only.

use cumo_bundle::CacheUpdate;
use cumo_checkpoint::LlmConfig;
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
            let x = &b.g.cast(x, b.dtype);
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
        b.join_heads(&mixed)
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
