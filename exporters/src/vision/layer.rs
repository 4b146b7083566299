//! The encoder layers.

use cumo_checkpoint::VisionConfig;
use cumo_checkpoint::model::{Attention, Vision, VisionLayer};
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
            let out;
            (out, x) = after_norm(b, &normed, &x, layer, config)?;
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

/// What follows a layer's first norm: gives the result of the MLP or experts, and the residual to add
/// it to.
pub(crate) fn after_norm(
    b: &mut ModelBuilder<'_>,
    normed: &Value,
    x: &Value,
    layer: &VisionLayer,
    config: &VisionConfig,
) -> Result<(Value, Value), Error> {
    let epsilon = config.layer_norm_eps;
    let attended = b.scope("self_attn", |b| attention(b, normed, &layer.self_attn, config))?;
    let (normed, x) = b.target.add_layer_norm(b, &attended, x, &layer.layer_norm2, epsilon)?;
    Ok((b.feed_forward(&normed, &layer.feed_forward, Activation::QuickGelu)?, x))
}

/// Attention of every token to every token of the same crop.
fn attention(
    b: &mut ModelBuilder<'_>,
    x: &Value,
    weights: &Attention,
    config: &VisionConfig,
) -> Result<Value, Error> {
    let parts =
        [("q_proj", &weights.q_proj), ("k_proj", &weights.k_proj), ("v_proj", &weights.v_proj)];
    let [query, key, value] = b.projections(x, "qkv_proj", parts)?;
    let mixed = b.target.full_attention(b, [&query, &key, &value], config.num_attention_heads)?;
    b.scope("out_proj", |b| b.linear(&mixed, &weights.out_proj))
}
