//! The encoder layers.

use cumo_checkpoint::VisionConfig;
use cumo_checkpoint::model::{Attention, Vision};
use cumo_onnx::Value;

use crate::activation::Activation;
use crate::builder::ModelBuilder;
use crate::error::Error;

/// Runs every layer: norm, attention, residual, norm, MLP or experts, residual. A residual and the
/// norm behind it are one step, which some targets have an operator for.
pub(super) fn run(
    b: &mut ModelBuilder<'_>,
    mut x: Value,
    vision: &Vision,
    config: &VisionConfig,
) -> Result<Value, Error> {
    let epsilon = config.layer_norm_eps;
    let Some(first) = vision.layers.first() else { return Ok(x) };
    let mut normed = b.layer_norm(&x, &first.layer_norm1, epsilon)?;
    for (index, layer) in vision.layers.iter().enumerate() {
        b.scope(format!("{index}"), |b| {
            let attended =
                b.scope("self_attn", |b| attention(b, &normed, &layer.self_attn, config))?;
            (normed, x) = b.target.add_layer_norm(b, &attended, &x, &layer.layer_norm2, epsilon)?;
            let out = b.feed_forward(&normed, &layer.feed_forward, Activation::QuickGelu)?;
            match vision.layers.get(index + 1) {
                Some(next) => {
                    (normed, x) =
                        b.target.add_layer_norm(b, &out, &x, &next.layer_norm1, epsilon)?;
                }
                None => x = b.add_residual(&out, &x)?,
            }
            Ok(())
        })?;
    }
    Ok(x)
}

/// Attention of every token to every token of the same crop.
fn attention(
    b: &mut ModelBuilder<'_>,
    x: &Value,
    weights: &Attention,
    config: &VisionConfig,
) -> Result<Value, Error> {
    let x = &b.g.cast(x, b.dtype);
    let query = b.scope("q_proj", |b| b.linear(x, &weights.q_proj))?;
    let key = b.scope("k_proj", |b| b.linear(x, &weights.k_proj))?;
    let value = b.scope("v_proj", |b| b.linear(x, &weights.v_proj))?;
    let mixed = b.target.full_attention(b, [&query, &key, &value], config.num_attention_heads)?;
    b.scope("out_proj", |b| b.linear(&mixed, &weights.out_proj))
}
