//! ONNX Runtime's fused operators, for its CPU provider.

use cumo_bundle::{CacheUpdate, names};
use cumo_checkpoint::model::{Attention, LayerNorm};
use cumo_checkpoint::{LlmConfig, Tensor};
use cumo_onnx::{DType, Dim, GroupQueryAttention, Value, dims};

use super::{Portable, Target};
use crate::builder::ModelBuilder;
use crate::error::Error;
use crate::llm::CachedAttention;
use crate::llm::rotary::{MAX_TABLE, tables};

/// ONNX Runtime on a CPU.
pub struct OrtCpu;

impl OrtCpu {
    /// Whether GroupQueryAttention takes heads of this size: it turns pairs of channels in blocks
    /// of eight (ONNX Runtime's group_query_attention_helper.h). It wants the cosines of every
    /// position in a table, which a configuration can make absurdly long.
    fn has_cached_attention(config: &LlmConfig) -> bool {
        let table = config.max_position_embeddings.saturating_mul(config.head_dim / 2);
        config.head_dim.is_multiple_of(16) && table <= MAX_TABLE
    }
}

impl Target for OrtCpu {
    fn full_attention(
        &self,
        b: &mut ModelBuilder<'_>,
        operands: [&Value; 3],
        num_heads: usize,
    ) -> Result<Value, Error> {
        let channels = operands[0].shape().dims().get(2).and_then(Dim::fixed).unwrap_or_default();
        let scale = ((channels / num_heads) as f32).sqrt().recip();
        Ok(b.g.multi_head_attention(operands, num_heads, scale)?)
    }

    fn add_layer_norm(
        &self,
        b: &mut ModelBuilder<'_>,
        x: &Value,
        skip: &Value,
        norm: &LayerNorm,
        epsilon: f32,
    ) -> Result<(Value, Value), Error> {
        let weight = b.tensor_f32(&norm.weight)?;
        let bias = b.tensor_f32(&norm.bias)?;
        let x = b.g.cast(x, skip.dtype());
        Ok(b.g.skip_layer_normalization(&x, skip, (&weight, &bias), epsilon)?)
    }

    fn add_rms_norm(
        &self,
        b: &mut ModelBuilder<'_>,
        x: &Value,
        skip: &Value,
        weight: &Tensor,
        epsilon: f32,
    ) -> Result<(Value, Value), Error> {
        let weight = b.tensor_f32(weight)?;
        let x = b.g.cast(x, skip.dtype());
        Ok(b.g.skip_simplified_layer_normalization(&x, skip, &weight, epsilon)?)
    }

    fn cached_attention(
        &self,
        b: &mut ModelBuilder<'_>,
        embeds: &Value,
        config: &LlmConfig,
    ) -> Result<Box<dyn CachedAttention>, Error> {
        match Self::has_cached_attention(config) {
            true => Ok(Box::new(FusedAttention::new(b, config)?)),
            false => Portable.cached_attention(b, embeds, config),
        }
    }

    fn cache_update(&self, config: &LlmConfig) -> CacheUpdate {
        match Self::has_cached_attention(config) {
            true => CacheUpdate::InPlace,
            false => Portable.cache_update(config),
        }
    }
}

/// GroupQueryAttention: queries, keys and values of one product, rotated, cached and attended to
/// in one operator that writes the new positions into the cache where it lies. It knows how long each
/// sequence is and no more: padding goes to the right, and positions count from there.
struct FusedAttention {
    seqlens_k: Value,
    total_sequence_length: Value,
    cos_cache: Value,
    sin_cache: Value,
    config: LlmConfig,
}

impl FusedAttention {
    fn new(b: &mut ModelBuilder<'_>, config: &LlmConfig) -> Result<FusedAttention, Error> {
        let shape = dims![names::BATCH, names::TOTAL_SEQUENCE];
        let attention_mask = b.g.input(names::ATTENTION_MASK, DType::I64, shape)?;
        let lengths = b.g.reduce_sum(&attention_mask, &[1], false)?;
        let one = b.g.scalar(DType::I64, 1.0);
        let lengths = b.g.sub(&lengths, &one)?;
        let total = b.g.size_of(&attention_mask, 1)?;
        let total = b.g.squeeze(&total, 0)?;
        let (positions, half) = (config.max_position_embeddings, config.head_dim / 2);
        let (cos, sin) = tables(config);
        Ok(FusedAttention {
            seqlens_k: b.g.cast(&lengths, DType::I32),
            total_sequence_length: b.g.cast(&total, DType::I32),
            cos_cache: b.computed("rotary_emb.cos_cache", cos, &[positions, half], b.dtype)?,
            sin_cache: b.computed("rotary_emb.sin_cache", sin, &[positions, half], b.dtype)?,
            config: config.clone(),
        })
    }
}

impl CachedAttention for FusedAttention {
    fn attend(
        &self,
        b: &mut ModelBuilder<'_>,
        layer: usize,
        x: &Value,
        weights: &Attention,
    ) -> Result<Value, Error> {
        let (kv_heads, head_dim) = (self.config.num_key_value_heads, self.config.head_dim);
        let parts = [&weights.q_proj, &weights.k_proj, &weights.v_proj];
        if parts.iter().any(|part| part.bias.is_some()) {
            let problem = "biases of queries, keys and values have no place in it".to_owned();
            let (place, op) = (b.g.place(), "GroupQueryAttention");
            return Err(cumo_onnx::Error::Node { place, op, problem }.into());
        }
        let parts = parts.map(|part| &part.weight);
        let name = parts[0].name().replace("q_proj", "qkv_proj");
        let matrix = b.matrix(&name, &parts)?;
        let x = b.g.cast(x, b.dtype);
        let packed_qkv = b.scope("qkv_proj", |b| Ok(b.g.matmul(&x, &matrix)?))?;
        let shape = dims![names::BATCH, kv_heads, names::MAX_SEQUENCE, head_dim];
        let past_key = b.g.input(&names::past_key(layer), b.dtype, shape.clone())?;
        let past_value = b.g.input(&names::past_value(layer), b.dtype, shape.clone())?;
        let (mixed, key, value) = b.g.group_query_attention(&GroupQueryAttention {
            packed_qkv: &packed_qkv,
            past_key: &past_key,
            past_value: &past_value,
            seqlens_k: &self.seqlens_k,
            total_sequence_length: &self.total_sequence_length,
            cos_cache: &self.cos_cache,
            sin_cache: &self.sin_cache,
            num_heads: self.config.num_attention_heads,
            num_key_value_heads: kv_heads,
            head_dim,
            sliding_window: self.config.sliding_window,
        })?;
        b.g.output(&names::present_key(layer), &key, b.dtype, shape.clone())?;
        b.g.output(&names::present_value(layer), &value, b.dtype, shape)?;
        b.scope("o_proj", |b| b.linear(&mixed, &weights.out_proj))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cumo_bundle::names::POSITION_IDS;
    use cumo_checkpoint::{Checkpoint, Sources};

    use super::*;
    use crate::builder::RouterOutputs;
    use crate::part::{Part, PartName};

    /// Inputs of the decoder of a golden whose configuration was changed.
    fn inputs(change: impl FnOnce(&mut LlmConfig)) -> (CacheUpdate, Vec<String>) {
        let golden = "../tests/goldens/mistral-dense/checkpoint";
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
        let sources = Sources { checkpoint: folder, llm: None, clip: None };
        let mut checkpoint = Checkpoint::open(&sources).unwrap();
        change(&mut checkpoint.config.llm);
        let routers = RouterOutputs::default();
        let part = Part::build(PartName::Llm, &checkpoint, &OrtCpu, DType::F32, routers).unwrap();
        let names = part.graph.inputs().iter().map(|input| input.name().to_owned()).collect();
        (OrtCpu.cache_update(&checkpoint.config.llm), names)
    }

    #[test]
    fn a_context_whose_rotary_table_is_too_long_takes_standard_attention() {
        let positions = |config: &mut LlmConfig, rows| {
            config.max_position_embeddings = rows / (config.head_dim / 2);
        };
        let (update, names) = inputs(|config| positions(config, MAX_TABLE));
        assert_eq!(update, CacheUpdate::InPlace);
        assert!(!names.iter().any(|name| name == POSITION_IDS), "{names:?}");
        let (update, names) = inputs(|config| positions(config, 2 * MAX_TABLE));
        assert_eq!(update, CacheUpdate::Append);
        assert!(names.iter().any(|name| name == POSITION_IDS), "{names:?}");
    }
}
