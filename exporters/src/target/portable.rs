//! Standard operators only.

use cumo_bundle::CacheUpdate;
use cumo_checkpoint::LlmConfig;
use cumo_onnx::{Dim, Value};

use super::Target;
use crate::attention::{mix, scores};
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
        let query = b.split_heads(query, num_heads)?;
        let key = b.split_heads(key, num_heads)?;
        let value = b.split_heads(value, num_heads)?;
        let head_dim = query.shape().dims().get(3).and_then(Dim::fixed).unwrap_or_default();
        let query = b.g.scale(&query, (head_dim as f64).sqrt().recip())?;
        let scores = scores(b, &query, &key)?;
        let probs = b.g.softmax(&scores);
        let mixed = mix(b, &probs, &value)?;
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
