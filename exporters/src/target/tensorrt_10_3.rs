//! TensorRT 10.3 to 10.14: the same layers in operators of opset 17.
//!
//! These parsers have no Attention and no TensorScatter. Scores of the cached and of the new positions
//! are computed apart and put side by side, so that the cache is not copied, and a layer gives its new
//! keys and values, which the runtime writes into the cache.

use cumo_bundle::{CacheUpdate, names};
use cumo_checkpoint::LlmConfig;
use cumo_checkpoint::model::Attention;
use cumo_onnx::{DType, Dim, Value, dims};

use super::{LayerTarget, Portable, Target};
use crate::attention::{mix, scores};
use crate::builder::ModelBuilder;
use crate::error::Error;
use crate::llm::attention::project;
use crate::llm::rotary::{self, Rotary};
use crate::llm::{CachedAttention, mask};
use crate::moe::Form;
use crate::ports;

/// TensorRT 10.3 to 10.14.
pub struct TensorRt103 {
    /// What graphs hold of the custom operators.
    pub moe: Form,
}

impl Target for TensorRt103 {
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
        Portable.full_attention(b, operands, num_heads)
    }

    fn cached_attention(
        &self,
        b: &mut ModelBuilder<'_>,
        _embeds: &Value,
        config: &LlmConfig,
    ) -> Result<Box<dyn CachedAttention>, Error> {
        Ok(Box::new(BlockAttention::new(b, config)?))
    }

    fn cache_update(&self, _config: &LlmConfig) -> CacheUpdate {
        CacheUpdate::Rows
    }
}

fn mask_shape(positions: &str) -> Vec<Dim> {
    dims![names::BATCH, 1, names::SEQUENCE, positions]
}

impl LayerTarget for TensorRt103 {
    fn decoder_inputs(&self, b: &mut ModelBuilder<'_>, config: &LlmConfig) -> Result<(), Error> {
        let window = config.sliding_window;
        let shape = dims![names::BATCH, names::SEQUENCE];
        let position_ids = b.g.input(names::POSITION_IDS, DType::I64, shape)?;
        let slots = b.g.input(names::CACHE_POSITIONS, DType::I64, dims![names::ATTENDED])?;
        let cached = b.g.input(names::WRITE_INDICES, DType::I64, dims![names::BATCH])?;
        let cached = b.g.unsqueeze(&cached, &[1, 2, 3])?;
        let seeing = b.g.unsqueeze(&position_ids, &[1, 3])?;
        // A row for every new position, also where there is no window.
        let seen = mask::visible(&mut b.g, &slots, &seeing, window)?;
        let there = b.g.less(&slots, &cached)?;
        let visible = b.g.and(&seen, &there)?;
        let mask = mask::additive(&mut b.g, &visible, DType::F32)?;
        b.g.output(ports::CACHED_MASK, &mask, DType::F32, mask_shape(names::ATTENDED))?;
        let seen = b.g.unsqueeze(&position_ids, &[1, 2])?;
        let visible = mask::visible(&mut b.g, &seen, &seeing, window)?;
        let mask = mask::additive(&mut b.g, &visible, DType::F32)?;
        b.g.output(ports::NEW_MASK, &mask, DType::F32, mask_shape(names::SEQUENCE))?;
        rotary::output(b, &position_ids, config)
    }
}

/// Attention over a part of the cache and over the new positions.
struct BlockAttention {
    cached_mask: Value,
    new_mask: Value,
    rotary: Rotary,
    config: LlmConfig,
}

impl BlockAttention {
    fn new(b: &mut ModelBuilder<'_>, config: &LlmConfig) -> Result<BlockAttention, Error> {
        let cached = mask_shape(names::ATTENDED);
        let cached_mask = b.g.input(ports::CACHED_MASK, DType::F32, cached)?;
        let new_mask = b.g.input(ports::NEW_MASK, DType::F32, mask_shape(names::SEQUENCE))?;
        let (cos, sin) = rotary::input(b, config)?;
        let (cos, sin) = (b.g.unsqueeze(&cos, &[1])?, b.g.unsqueeze(&sin, &[1])?);
        let rotary = Rotary { cos, sin };
        Ok(BlockAttention { cached_mask, new_mask, rotary, config: config.clone() })
    }

    /// The cached rows, which lie as far apart as the mask covers; the new ones become an output.
    fn rows(
        &self,
        b: &mut ModelBuilder<'_>,
        new: &Value,
        (past, present): (&str, &str),
    ) -> Result<Value, Error> {
        let (kv_heads, head_dim) = (self.config.num_key_value_heads, self.config.head_dim);
        let shape = |positions| dims![names::BATCH, kv_heads, positions, head_dim];
        let cache = b.g.input(past, b.dtype, shape(names::ATTENDED))?;
        let new = b.g.cast(new, b.dtype);
        b.g.output(present, &new, b.dtype, shape(names::SEQUENCE))?;
        Ok(cache)
    }
}

impl CachedAttention for BlockAttention {
    fn attend(
        &self,
        b: &mut ModelBuilder<'_>,
        _layer: usize,
        x: &Value,
        weights: &Attention,
    ) -> Result<Value, Error> {
        let heads = (self.config.num_attention_heads, self.config.num_key_value_heads);
        let [query, key, value] = project(b, x, weights, heads)?;
        let query = self.rotary.rotate(b, &query)?;
        let query = b.g.scale(&query, (self.config.head_dim as f64).sqrt().recip())?;
        let key = self.rotary.rotate(b, &key)?;
        let cached_keys = self.rows(b, &key, (ports::PAST_KEY, ports::PRESENT_KEY))?;
        let cached_values = self.rows(b, &value, (ports::PAST_VALUE, ports::PRESENT_VALUE))?;

        let cached = scores(b, &query, &cached_keys)?;
        let cached = b.g.add_values(&cached, &self.cached_mask)?;
        let new = scores(b, &query, &key)?;
        let new = b.g.add_values(&new, &self.new_mask)?;
        let all = b.g.concat(&[&cached, &new], 3, "attended_and_new".into())?;
        let probs = b.g.softmax(&all);
        let edge = b.g.size_of(&self.cached_mask, 3)?;
        let cached = b.g.slice_at(&probs, 3, (&edge, false), names::ATTENDED.into())?;
        let new = b.g.slice_at(&probs, 3, (&edge, true), names::SEQUENCE.into())?;
        let cached = mix(b, &cached, &cached_values)?;
        let new = mix(b, &new, &value)?;
        let mixed = b.g.add_values(&cached, &new)?;
        let mixed = b.join_heads(&mixed)?;
        b.scope("o_proj", |b| b.linear(&mixed, &weights.out_proj))
    }
}
