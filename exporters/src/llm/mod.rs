//! The decoder LLM: Mistral, Mixtral and Llama are one file that asks dense or MoE.

pub(crate) mod attention;
pub(crate) mod mask;
pub(crate) mod rotary;

use cumo_bundle::names;
use cumo_checkpoint::LlmConfig;
use cumo_checkpoint::Tensor;
use cumo_checkpoint::model::{DecoderLayer, Llm};
use cumo_onnx::{DType, Value, dims};

pub use attention::{CachedAttention, StandardAttention};

use crate::activation::Activation;
use crate::builder::ModelBuilder;
use crate::error::Error;

/// Builds the graph: `inputs_embeds` `[batch, sequence, hidden]` and a key/value cache to `logits`
/// `[batch, sequence, vocab]` f32 and the updated cache.
///
/// # Errors
/// Sizes that do not fit.
pub fn build(b: &mut ModelBuilder<'_>, llm: &Llm, config: &LlmConfig) -> Result<(), Error> {
    b.scope("llm", |b| {
        let shape = dims![names::BATCH, names::SEQUENCE, config.hidden_size];
        let embeds = b.g.input(names::INPUTS_EMBEDS, b.dtype, shape)?;
        let attention = b.target.cached_attention(b, &embeds, config)?;
        let x = b.g.cast(&embeds, DType::F32);
        let normed = b.scope("layers", |b| layers(b, x, attention.as_ref(), llm, config))?;
        let logits = logits(b, &normed, &llm.lm_head)?;
        let shape = dims![names::BATCH, names::SEQUENCE, config.vocab_size];
        Ok(b.g.output(names::LOGITS, &logits, DType::F32, shape)?)
    })
}

/// Logits f32 of normed states.
///
/// # Errors
/// Sizes that do not fit.
pub(crate) fn logits(
    b: &mut ModelBuilder<'_>,
    normed: &Value,
    lm_head: &Tensor,
) -> Result<Value, Error> {
    b.times(normed, "lm_head.weight", &[lm_head], DType::F32)
}

/// Every layer: norm, attention, residual, norm, MLP or experts, residual; and the final norm. A
/// residual and the norm behind it are one step, which some targets have an operator for.
fn layers(
    b: &mut ModelBuilder<'_>,
    mut x: Value,
    attention: &dyn CachedAttention,
    llm: &Llm,
    config: &LlmConfig,
) -> Result<Value, Error> {
    let epsilon = config.rms_norm_eps;
    let first = llm.layers.first().map_or(&llm.norm, |layer| &layer.input_layernorm);
    let mut normed = b.rms_norm(&x, first, epsilon)?;
    for (index, layer) in llm.layers.iter().enumerate() {
        let next = llm.layers.get(index + 1).map_or(&llm.norm, |next| &next.input_layernorm);
        b.scope(format!("{index}"), |b| {
            let attended =
                b.scope("self_attn", |b| attention.attend(b, index, &normed, &layer.self_attn))?;
            let (out, residual) = after_attention(b, &attended, &x, layer, epsilon)?;
            (normed, x) = b.target.add_rms_norm(b, &out, &residual, next, epsilon)?;
            Ok(())
        })?;
    }
    Ok(normed)
}

/// Residual, norm, MLP or experts: gives the last one's result, and the residual to add it to.
///
/// # Errors
/// Sizes that do not fit.
pub(crate) fn after_attention(
    b: &mut ModelBuilder<'_>,
    attended: &Value,
    x: &Value,
    layer: &DecoderLayer,
    epsilon: f32,
) -> Result<(Value, Value), Error> {
    let norm = &layer.post_attention_layernorm;
    let (normed, x) = b.target.add_rms_norm(b, attended, x, norm, epsilon)?;
    Ok((b.feed_forward(&normed, &layer.feed_forward, Activation::Silu)?, x))
}
