//! Grouped-query attention over a key/value cache, in standard operators.

use cumo_bundle::{CacheUpdate, names};
use cumo_checkpoint::LlmConfig;
use cumo_checkpoint::model::Attention;
use cumo_onnx::{DType, Dim, To, Value, dims};

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
    let x = &b.g.cast(x, b.dtype);
    let parts =
        [("q_proj", &weights.q_proj), ("k_proj", &weights.k_proj), ("v_proj", &weights.v_proj)];
    let [query, key, value] = b.projections(x, "qkv_proj", parts)?;
    Ok([
        b.split_heads(&query, heads)?,
        b.split_heads(&key, kv_heads)?,
        b.split_heads(&value, kv_heads)?,
    ])
}

/// `query @ keys^T`, `[batch, heads, sequence, positions]` f32, of `query` `[batch, heads, sequence,
/// head_dim]` and `keys` `[batch, kv_heads, positions, head_dim]`. Queries that share keys are one
/// matrix, so that keys are not repeated.
pub(crate) fn scores(
    b: &mut ModelBuilder<'_>,
    query: &Value,
    keys: &Value,
) -> Result<Value, Error> {
    let query = b.g.cast(query, b.dtype);
    let query = group(b, &query, keys)?;
    let keys = b.g.transpose(keys, &[0, 1, 3, 2])?;
    let scores = b.g.matmul(&query.grouped, &keys)?;
    let scores = ungroup(b, &scores, query.heads)?;
    Ok(b.g.cast(&scores, DType::F32))
}

/// `probs @ values`, `[batch, heads, sequence, head_dim]` between products' type, of `probs`
/// `[batch, heads, sequence, positions]` and `values` `[batch, kv_heads, positions, head_dim]`.
pub(crate) fn mix(b: &mut ModelBuilder<'_>, probs: &Value, values: &Value) -> Result<Value, Error> {
    let probs = b.g.cast(probs, b.dtype);
    let probs = group(b, &probs, values)?;
    let mixed = b.g.matmul(&probs.grouped, values)?;
    let mixed = ungroup(b, &mixed, probs.heads)?;
    Ok(b.g.cast(&mixed, b.between()))
}

struct Grouped {
    /// `[batch, kv_heads, heads / kv_heads * sequence, ..]`.
    grouped: Value,
    heads: Dim,
}

fn group(b: &mut ModelBuilder<'_>, x: &Value, keys: &Value) -> Result<Grouped, Error> {
    let dim = |value: &Value, axis: usize| value.shape().dims().get(axis).cloned();
    let (heads, kv_heads) = (dim(x, 1), dim(keys, 1).and_then(|dim| dim.fixed()));
    let parts = [
        To::Keep,
        To::Size(kv_heads.unwrap_or_default()),
        To::Rest("group_sequence".into()),
        match dim(x, 3).and_then(|dim| dim.fixed()) {
            Some(size) => To::Size(size),
            None => To::Keep,
        },
    ];
    Ok(Grouped { grouped: b.g.reshape(x, &parts)?, heads: heads.unwrap_or(Dim::Fixed(0)) })
}

fn ungroup(b: &mut ModelBuilder<'_>, x: &Value, heads: Dim) -> Result<Value, Error> {
    let last = match x.shape().dims().get(3).and_then(Dim::fixed) {
        Some(size) => To::Size(size),
        None => To::Keep,
    };
    let heads = To::Size(heads.fixed().unwrap_or_default());
    Ok(b.g.reshape(x, &[To::Keep, heads, To::Rest(names::SEQUENCE.into()), last])?)
}
