//! The causal mask.

use cumo_bundle::names;
use cumo_onnx::{DType, Value};

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
    let mut visible = g.less_or_equal(&seen, &seeing)?;
    if let Some(window) = window {
        let reach = g.scalar(DType::I64, window as f64);
        let last_hidden = g.sub(&seeing, &reach)?;
        let near = g.less(&last_hidden, &seen)?;
        visible = g.and(&visible, &near)?;
    }
    let present = g.cast(attention_mask, DType::Bool);
    let present = g.unsqueeze(&present, &[1, 2])?;
    let visible = g.and(&visible, &present)?;
    let (zero, lowest) = (g.scalar(DType::F32, 0.0), g.scalar(DType::F32, f64::from(f32::MIN)));
    Ok(g.select(&visible, &zero, &lowest)?)
}
