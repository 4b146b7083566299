//! Grouped-query attention over a key/value cache, in standard operators.

use cumo_bundle::{CacheUpdate, names};
use cumo_checkpoint::LlmConfig;
use cumo_checkpoint::model::Attention;
use cumo_onnx::{DType, Value, dims};

use super::mask;
use super::rotary::{self, Rotary};
use crate::attention::{mix, scores};
use crate::builder::ModelBuilder;
use crate::error::Error;

/// A target's way to attend to the cache. Made once for a graph, with the inputs it needs.
pub trait CachedAttention {
    /// Attention of layer `layer` over its cached and new positions, output projection included;
    /// the updated cache becomes an output. `x` is `[batch, sequence, hidden]`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    fn attend(
        &self,
        b: &mut ModelBuilder<'_>,
        layer: usize,
        x: &Value,
        weights: &Attention,
    ) -> Result<Value, Error>;
}

/// Attention in standard operators: the updated cache is the old one with the new positions behind
/// it.
pub struct StandardAttention {
    rotary: Rotary,
    /// What is added to the scores, `[batch, 1, sequence, total_sequence]` f32.
    mask: Value,
    kv_heads: usize,
    head_dim: usize,
    heads: usize,
}

impl StandardAttention {
    /// How a step changes the cache.
    pub const CACHE: CacheUpdate = CacheUpdate::Append;

    /// Declares `attention_mask` and `position_ids`, and prepares what all layers share.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn new(
        b: &mut ModelBuilder<'_>,
        embeds: &Value,
        config: &LlmConfig,
    ) -> Result<StandardAttention, Error> {
        let shape = dims![names::BATCH, names::TOTAL_SEQUENCE];
        let attention_mask = b.g.input(names::ATTENTION_MASK, DType::I64, shape)?;
        let shape = dims![names::BATCH, names::SEQUENCE];
        let position_ids = b.g.input(names::POSITION_IDS, DType::I64, shape)?;
        Ok(StandardAttention {
            rotary: b.scope("rotary_emb", |b| rotary::at_positions(b, &position_ids, config))?,
            mask: b.scope("mask", |b| {
                mask::causal(b, &attention_mask, embeds, config.sliding_window)
            })?,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
        })
    }

    /// The cache of one layer with the new positions behind it, as an output.
    fn extend(
        &self,
        b: &mut ModelBuilder<'_>,
        new: &Value,
        (past, present): (String, String),
    ) -> Result<Value, Error> {
        let shape = |positions| dims![names::BATCH, self.kv_heads, positions, self.head_dim];
        let cached = b.g.input(&past, b.dtype, shape(names::PAST_SEQUENCE))?;
        let all = b.g.concat(&[&cached, new], 2, names::TOTAL_SEQUENCE.into())?;
        b.g.output(&present, &all, b.dtype, shape(names::TOTAL_SEQUENCE))?;
        Ok(all)
    }
}

impl CachedAttention for StandardAttention {
    fn attend(
        &self,
        b: &mut ModelBuilder<'_>,
        layer: usize,
        x: &Value,
        weights: &Attention,
    ) -> Result<Value, Error> {
        let [query, key, value] = project(b, x, weights, (self.heads, self.kv_heads))?;
        let query = self.rotary.rotate(b, &query)?;
        let key = self.rotary.rotate(b, &key)?;
        let keys = self.extend(b, &key, (names::past_key(layer), names::present_key(layer)))?;
        let values =
            self.extend(b, &value, (names::past_value(layer), names::present_value(layer)))?;

        let query = b.g.scale(&query, (self.head_dim as f64).sqrt().recip())?;
        let scores = scores(b, &query, &keys)?;
        let scores = b.g.add_values(&scores, &self.mask)?;
        let probs = b.g.softmax(&scores);
        let mixed = mix(b, &probs, &values)?;
        let mixed = b.join_heads(&mixed)?;
        b.scope("o_proj", |b| b.linear(&mixed, &weights.out_proj))
    }
}

/// Queries, keys and values of `x`, `[batch, heads or kv_heads, sequence, head_dim]` each.
pub(crate) fn project(
    b: &mut ModelBuilder<'_>,
    x: &Value,
    weights: &Attention,
    (heads, kv_heads): (usize, usize),
) -> Result<[Value; 3], Error> {
    let parts =
        [("q_proj", &weights.q_proj), ("k_proj", &weights.k_proj), ("v_proj", &weights.v_proj)];
    let [query, key, value] = b.projections(x, "qkv_proj", parts)?;
    Ok([
        b.split_heads(&query, heads)?,
        b.split_heads(&key, kv_heads)?,
        b.split_heads(&value, kv_heads)?,
    ])
}
