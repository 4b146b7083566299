//! TensorRT 10.15 and later, and TensorRT-RTX: operators of opset 24, the cache updated in place.
//!
//! Products are f16 and what is between them f32, so that no engine multiplies matrices in f32.

use cumo_bundle::{CacheUpdate, names};
use cumo_checkpoint::model::Attention;
use cumo_checkpoint::{LlmConfig, Tensor};
use cumo_onnx::{DType, Dim, Opset, Value, dims};

use super::{LayerTarget, Portable, Target};
use crate::attention::{mix, scores};
use crate::builder::ModelBuilder;
use crate::error::Error;
use crate::llm::attention::project;
use crate::llm::{CachedAttention, mask, rotary};
use crate::moe::Form;
use crate::ports;

/// TensorRT 10.15 and later.
pub struct TensorRt {
    /// What graphs hold of the custom operators.
    pub moe: Form,
}

impl Target for TensorRt {
    fn opset(&self) -> Opset {
        Opset::V24
    }

    fn is_for_engines(&self) -> bool {
        true
    }

    fn moe_form(&self) -> Form {
        self.moe
    }

    fn full_attention(
        &self,
        b: &mut ModelBuilder<'_>,
        operands: [&Value; 3],
        num_heads: usize,
    ) -> Result<Value, Error> {
        let channels = operands[0].shape().dims().get(2).and_then(Dim::fixed).unwrap_or_default();
        let head_dim = channels / num_heads;
        if !has_attention(num_heads, head_dim) {
            return Portable.full_attention(b, operands, num_heads);
        }
        let mut split = |x: &Value| {
            let x = b.g.cast(x, b.dtype);
            b.split_heads(&x, num_heads)
        };
        let [query, key, value] = operands;
        let (query, key, value) = (split(query)?, split(key)?, split(value)?);
        let operands = cumo_onnx::Attention {
            query: &query,
            key: &key,
            value: &value,
            mask: None,
            scale: (head_dim as f32).sqrt().recip(),
        };
        let mixed = b.g.attention(&operands)?;
        b.join_heads(&mixed)
    }

    fn cached_attention(
        &self,
        b: &mut ModelBuilder<'_>,
        _embeds: &Value,
        config: &LlmConfig,
    ) -> Result<Box<dyn CachedAttention>, Error> {
        Ok(Box::new(StaticAttention::new(b, config)?))
    }

    fn cache_update(&self, _config: &LlmConfig) -> CacheUpdate {
        CacheUpdate::InPlace
    }
}

impl LayerTarget for TensorRt {
    fn decoder_inputs(&self, b: &mut ModelBuilder<'_>, config: &LlmConfig) -> Result<(), Error> {
        let shape = dims![names::BATCH, names::SEQUENCE];
        let position_ids = b.g.input(names::POSITION_IDS, DType::I64, shape)?;
        let seen = b.g.input(names::CACHE_POSITIONS, DType::I64, dims![names::ATTENDED])?;
        let seeing = b.g.unsqueeze(&position_ids, &[1, 3])?;
        let visible = mask::visible(&mut b.g, &seen, &seeing, config.sliding_window)?;
        let mask = mask::additive(&mut b.g, &visible, b.dtype)?;
        b.g.output(ports::ATTENTION_MASK, &mask, b.dtype, mask_shape())?;
        rotary::output(b, &position_ids, config)
    }
}

/// Whether there are kernels for Attention with so many heads of this size, for prompts and for single
/// tokens: tried with TensorRT-RTX 1.7.1, f16, 1 to 40 heads of 4 to 512 channels.
fn has_attention(heads: usize, head_dim: usize) -> bool {
    heads >= 4 && head_dim.is_multiple_of(8) && (16..=256).contains(&head_dim)
}

/// A router's logits without a matrix product: a choice between near equals must not hang on
/// rounding, and a product in f32 is what these engines are not to have.
pub(super) fn router_logits(
    b: &mut ModelBuilder<'_>,
    x: &Value,
    gate: &Tensor,
) -> Result<Value, Error> {
    let gate = b.tensor_f32(gate)?;
    let x = b.g.unsqueeze(x, &[2])?;
    let terms = b.g.mul(&x, &gate)?;
    Ok(b.g.reduce_sum(&terms, &[3], false)?)
}

fn mask_shape() -> Vec<Dim> {
    dims![names::BATCH, 1, names::SEQUENCE, names::ATTENDED]
}

/// Attention over a cache whose rows lie as far apart as it looks: TensorScatter writes the new
/// positions where the cache lies, and Attention reads it there. Of a longer cache it would need a
/// part, which TensorRT copies.
struct StaticAttention {
    mask: Value,
    cos: Value,
    sin: Value,
    write_indices: Value,
    config: LlmConfig,
}

impl StaticAttention {
    fn new(b: &mut ModelBuilder<'_>, config: &LlmConfig) -> Result<StaticAttention, Error> {
        let mask = b.g.input(ports::ATTENTION_MASK, b.dtype, mask_shape())?;
        let (cos, sin) = rotary::input(b, config)?;
        let write_indices = b.g.input(names::WRITE_INDICES, DType::I64, dims![names::BATCH])?;
        Ok(StaticAttention { mask, cos, sin, write_indices, config: config.clone() })
    }

    /// The cache with the new positions in it, as an output and to attend to.
    fn update(
        &self,
        b: &mut ModelBuilder<'_>,
        new: &Value,
        (past, present): (&str, &str),
    ) -> Result<Value, Error> {
        let (kv_heads, head_dim) = (self.config.num_key_value_heads, self.config.head_dim);
        let shape = dims![names::BATCH, kv_heads, names::ATTENDED, head_dim];
        let cache = b.g.input(past, b.dtype, shape.clone())?;
        let new = b.g.cast(new, b.dtype);
        let cache = b.g.tensor_scatter(&cache, &new, &self.write_indices)?;
        b.g.output(present, &cache, b.dtype, shape)?;
        // All of it. Engines of one position know that, and nothing is left of this; for prompts,
        // TensorRT-RTX 1.7.1 spells keys and values out for every head of queries where it does.
        let end = b.g.size_of(&self.mask, 3)?;
        Ok(b.g.slice_at(&cache, 2, (&end, false), names::ATTENDED.into())?)
    }
}

impl CachedAttention for StaticAttention {
    fn attend(
        &self,
        b: &mut ModelBuilder<'_>,
        _layer: usize,
        x: &Value,
        weights: &Attention,
    ) -> Result<Value, Error> {
        let heads = (self.config.num_attention_heads, self.config.num_key_value_heads);
        let [query, key, value] = project(b, x, weights, heads)?;
        let query = b.g.rotary_embedding(&query, &self.cos, &self.sin)?;
        let key = b.g.rotary_embedding(&key, &self.cos, &self.sin)?;
        let keys = self.update(b, &key, (ports::PAST_KEY, ports::PRESENT_KEY))?;
        let values = self.update(b, &value, (ports::PAST_VALUE, ports::PRESENT_VALUE))?;
        let scale = (self.config.head_dim as f32).sqrt().recip();
        let mixed = if has_attention(self.config.num_attention_heads, self.config.head_dim) {
            let query = b.g.cast(&query, b.dtype);
            b.g.attention(&cumo_onnx::Attention {
                query: &query,
                key: &keys,
                value: &values,
                mask: Some(&self.mask),
                // TensorRT-RTX 1.7.1 copies keys that are in a cache where this is 1.
                scale,
            })?
        } else {
            let query = b.g.scale(&query, f64::from(scale))?;
            let scores = scores(b, &query, &keys)?;
            let mask = b.g.cast(&self.mask, DType::F32);
            let scores = b.g.add_values(&scores, &mask)?;
            let probs = b.g.softmax(&scores);
            mix(b, &probs, &values)?
        };
        let mixed = b.join_heads(&mixed)?;
        b.scope("o_proj", |b| b.linear(&mixed, &weights.out_proj))
    }
}
