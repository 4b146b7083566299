//! The causal mask.

use cumo_bundle::names;
use cumo_onnx::{DType, GraphBuilder, Value};

use crate::builder::ModelBuilder;
use crate::error::Error;

/// What is added to the scores, `[batch, 1, sequence, total_sequence]` f32: zero where a new
/// position sees a position, the lowest number where not. A position sees itself and those before
/// it, as far as the window reaches (of `window` positions, itself included), where
/// `attention_mask` `[batch, total_sequence]` is not zero.
pub(super) fn causal(
    b: &mut ModelBuilder<'_>,
    attention_mask: &Value,
    embeds: &Value,
    window: Option<usize>,
) -> Result<Value, Error> {
    let g = &mut b.g;
    let total = g.size_of(attention_mask, 1)?;
    let new = g.size_of(embeds, 1)?;
    let past = g.sub(&total, &new)?;
    let seen = g.range(&total, names::TOTAL_SEQUENCE.into())?;
    let seeing = g.range(&new, names::SEQUENCE.into())?;
    let seeing = g.add_values(&seeing, &past)?;
    let seeing = g.unsqueeze(&seeing, &[1])?;
    let visible = visible(g, &seen, &seeing, window)?;
    let present = g.cast(attention_mask, DType::Bool);
    let present = g.unsqueeze(&present, &[1, 2])?;
    let visible = g.and(&visible, &present)?;
    Ok(additive(g, &visible, DType::F32)?)
}

/// Whether a position sees another: itself and those before it, as far as the window reaches.
pub(crate) fn visible(
    g: &mut GraphBuilder,
    seen: &Value,
    seeing: &Value,
    window: Option<usize>,
) -> Result<Value, cumo_onnx::Error> {
    let visible = g.less_or_equal(seen, seeing)?;
    match window {
        None => Ok(visible),
        Some(window) => {
            let near = near(g, seen, seeing, window)?;
            g.and(&visible, &near)
        }
    }
}

/// Whether a position lies within the window of one that comes after it.
pub(crate) fn near(
    g: &mut GraphBuilder,
    seen: &Value,
    seeing: &Value,
    window: usize,
) -> Result<Value, cumo_onnx::Error> {
    let reach = g.scalar(DType::I64, window as f64);
    let last_hidden = g.sub(seeing, &reach)?;
    g.less(&last_hidden, seen)
}

/// What is added to scores: zero where `visible`, else the lowest number of the type.
pub(crate) fn additive(
    g: &mut GraphBuilder,
    visible: &Value,
    dtype: DType,
) -> Result<Value, cumo_onnx::Error> {
    let lowest = match dtype {
        DType::F16 => -65504.0,
        _ => f64::from(f32::MIN),
    };
    let (zero, lowest) = (g.scalar(dtype, 0.0), g.scalar(dtype, lowest));
    g.select(visible, &zero, &lowest)
}
