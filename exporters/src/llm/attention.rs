//! Grouped-query attention over a key/value cache, in standard operators.

use cumo_bundle::{CacheUpdate, names};
use cumo_checkpoint::LlmConfig;
use cumo_checkpoint::model::{Attention, Linear};
use cumo_onnx::{DType, To, Value, dims};

use super::mask;
use super::rotary::{self, Rotary};
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
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
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

    /// `[batch, heads, sequence, head_dim]` of a projection of `x`.
    fn project(
        &self,
        b: &mut ModelBuilder<'_>,
        x: &Value,
        layer: &Linear,
        heads: usize,
    ) -> Result<Value, Error> {
        let flat = b.linear(x, layer)?;
        let parts = [To::Keep, To::Keep, To::Size(heads), To::Size(self.head_dim)];
        let parts = b.g.reshape(&flat, &parts)?;
        Ok(b.g.transpose(&parts, &[0, 2, 1, 3])?)
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
        let (heads, kv_heads) = (self.heads, self.kv_heads);
        let x = &b.g.cast(x, b.dtype);
        let query = b.scope("q_proj", |b| self.project(b, x, &weights.q_proj, heads))?;
        let key = b.scope("k_proj", |b| self.project(b, x, &weights.k_proj, kv_heads))?;
        let value = b.scope("v_proj", |b| self.project(b, x, &weights.v_proj, kv_heads))?;
        let query = self.rotary.rotate(b, &query)?;
        let key = self.rotary.rotate(b, &key)?;
        let keys = self.extend(b, &key, (names::past_key(layer), names::present_key(layer)))?;
        let values =
            self.extend(b, &value, (names::past_value(layer), names::present_value(layer)))?;

        // Queries that share keys are one matrix, so that keys and values are not repeated.
        let grouped = [
            To::Keep,
            To::Size(kv_heads),
            To::Rest("group_sequence".into()),
            To::Size(self.head_dim),
        ];
        let query = b.g.scale(&query, (self.head_dim as f64).sqrt().recip())?;
        let query = b.g.reshape(&query, &grouped)?;
        let keys = b.g.transpose(&keys, &[0, 1, 3, 2])?;
        let scores = b.g.matmul(&query, &keys)?;
        let by_head = [To::Keep, To::Size(heads), To::Rest(names::SEQUENCE.into()), To::Keep];
        let scores = b.g.reshape(&scores, &by_head)?;
        let scores = b.g.cast(&scores, DType::F32);
        let scores = b.g.add_values(&scores, &self.mask)?;
        let probs = b.g.softmax(&scores);
        let probs = b.g.cast(&probs, b.dtype);
        let by_group = [To::Keep, To::Size(kv_heads), To::Rest("group_sequence".into()), To::Keep];
        let probs = b.g.reshape(&probs, &by_group)?;
        let mixed = b.g.matmul(&probs, &values)?;
        let by_head =
            [To::Keep, To::Size(heads), To::Rest(names::SEQUENCE.into()), To::Size(self.head_dim)];
        let mixed = b.g.reshape(&mixed, &by_head)?;
        let mixed = b.g.transpose(&mixed, &[0, 2, 1, 3])?;
        let mixed = b.g.reshape(&mixed, &[To::Keep, To::Keep, To::Size(heads * self.head_dim)])?;
        b.scope("o_proj", |b| b.linear(&mixed, &weights.out_proj))
    }
}
