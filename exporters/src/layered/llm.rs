//! The steps of the decoder LLM.

use cumo_bundle::{Binding, Step, names};
use cumo_checkpoint::LlmConfig;
use cumo_checkpoint::model::{DecoderLayer, Llm};
use cumo_onnx::{DType, Dim, dims};

use super::assembly::Assembly;
use crate::builder::ModelBuilder;
use crate::error::Error;
use crate::llm::{after_attention, logits};
use crate::part::PartName;
use crate::ports;

/// The activation that holds the additive mask. The runtime's own `attention_mask` is another thing.
const ATTENTION_BIAS: &str = "attention_bias";

/// What all layers share, layers, and the head.
pub(super) fn steps(
    assembly: &mut Assembly,
    llm: &Llm,
    config: &LlmConfig,
) -> Result<Vec<Step>, Error> {
    let part = PartName::Llm;
    let activation = |name: &str| Binding::Activation(name.to_owned());
    let mask = (ports::ATTENTION_MASK, activation(ATTENTION_BIAS));
    let mut steps = vec![assembly.add(
        ("decoder_inputs", part, "model"),
        std::slice::from_ref(&mask),
        &|b, target| target.decoder_inputs(b, config),
    )?];
    let mut states = activation(names::INPUTS_EMBEDS);
    for (index, layer) in llm.layers.iter().enumerate() {
        let behind = activation(&format!("hidden_states.{}", index % 2));
        let (key, value) = (names::past_key(index), names::past_value(index));
        let bindings = [
            mask.clone(),
            (ports::HIDDEN_STATES, states),
            (ports::NEW_HIDDEN_STATES, behind.clone()),
            (ports::PAST_KEY, Binding::Cache(key.clone())),
            (ports::PRESENT_KEY, Binding::Cache(key)),
            (ports::PAST_VALUE, Binding::Cache(value.clone())),
            (ports::PRESENT_VALUE, Binding::Cache(value)),
        ];
        let module = format!("model.layers.{index}");
        steps.push(assembly.add(("decoder_layer", part, &module), &bindings, &|b, _| {
            decoder_layer(b, layer, config)
        })?);
        states = behind;
    }
    let bindings = [(ports::HIDDEN_STATES, states)];
    steps.push(assembly.add(("head", part, "model"), &bindings, &|b, _| head(b, llm, config))?);
    Ok(steps)
}

/// `hidden_states` `[batch, sequence, hidden]` f32, the mask and the rest of what all layers share,
/// and the layer's cache, to the states behind it and the updated cache.
fn decoder_layer(
    b: &mut ModelBuilder<'_>,
    layer: &DecoderLayer,
    config: &LlmConfig,
) -> Result<(), Error> {
    let epsilon = config.rms_norm_eps;
    let shape = dims![names::BATCH, names::SEQUENCE, config.hidden_size];
    let x = b.g.input(ports::HIDDEN_STATES, DType::F32, shape.clone())?;
    let attention = b.target.cached_attention(b, &x, config)?;
    let normed = b.rms_norm(&x, &layer.input_layernorm, epsilon)?;
    let attended = b.scope("self_attn", |b| attention.attend(b, 0, &normed, &layer.self_attn))?;
    let (out, x) = after_attention(b, &attended, &x, layer, epsilon)?;
    let x = b.add_residual(&out, &x)?;
    Ok(b.g.output(ports::NEW_HIDDEN_STATES, &x, DType::F32, shape)?)
}

/// The best tokens that the head gives beside the logits, as far as the vocabulary has so many: what
/// sampling needs from most models, the 50 best, without the logits' way from a device.
const CANDIDATES: usize = 64;

/// Ids below this are exact as f32.
const LARGEST_EXACT: usize = 1 << 24;

/// The last position's logits, `[batch, 1, vocab]` f32, and the best of them with their ids.
fn head(b: &mut ModelBuilder<'_>, llm: &Llm, config: &LlmConfig) -> Result<(), Error> {
    let shape = dims![names::BATCH, names::SEQUENCE, config.hidden_size];
    let x = b.g.input(ports::HIDDEN_STATES, DType::F32, shape)?;
    let last = b.g.last(&x, 1)?;
    let normed = b.rms_norm(&last, &llm.norm, config.rms_norm_eps)?;
    let logits = logits(b, &normed, &llm.lm_head)?;
    let shape = dims![names::BATCH, 1, config.vocab_size];
    b.g.output(names::LOGITS, &logits, DType::F32, shape)?;
    if config.vocab_size > LARGEST_EXACT {
        return Ok(());
    }
    let count = CANDIDATES.min(config.vocab_size);
    let k = b.g.ints(&[count as i64]);
    let (best, ids) = b.g.top_k(&logits, &k, Dim::Fixed(count))?;
    let ids = b.g.cast(&ids, DType::F32);
    let candidates = b.g.concat(&[&best, &ids], 1, Dim::Fixed(2))?;
    Ok(b.g.output(names::CANDIDATES, &candidates, DType::F32, dims![names::BATCH, 2, count])?)
}
