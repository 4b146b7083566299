//! Heads, scores and mixtures: what the attentions of tower and LLM share.

use cumo_onnx::{DType, Dim, To, Value};

use crate::builder::ModelBuilder;
use crate::error::Error;

impl ModelBuilder<'_> {
    /// `[batch, heads, sequence, head_dim]` of a projection `[batch, sequence, heads * head_dim]`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn split_heads(&mut self, x: &Value, heads: usize) -> Result<Value, Error> {
        let channels = x.shape().dims().get(2).and_then(Dim::fixed).unwrap_or_default();
        let head_dim = channels / heads.max(1);
        let parts = [To::Keep, To::Keep, To::Size(heads), To::Size(head_dim)];
        let parts = self.g.reshape(x, &parts)?;
        Ok(self.g.transpose(&parts, &[0, 2, 1, 3])?)
    }

    /// `[batch, sequence, heads * head_dim]` of `[batch, heads, sequence, head_dim]`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn join_heads(&mut self, x: &Value) -> Result<Value, Error> {
        let dims = x.shape().dims();
        let size = |axis: usize| dims.get(axis).and_then(Dim::fixed).unwrap_or_default();
        let channels = size(1) * size(3);
        let x = self.g.transpose(x, &[0, 2, 1, 3])?;
        Ok(self.g.reshape(&x, &[To::Keep, To::Keep, To::Size(channels)])?)
    }
}

/// `query @ keys^T`, `[batch, heads, sequence, positions]` f32, of `query` `[batch, heads, sequence,
/// head_dim]` and `keys` `[batch, kv_heads, positions, head_dim]`. Queries that share keys are one
/// matrix, so that keys are not repeated.
pub(crate) fn scores(
    b: &mut ModelBuilder<'_>,
    query: &Value,
    keys: &Value,
) -> Result<Value, Error> {
    let (grouped, heads) = group(b, query, keys)?;
    let grouped = b.g.cast(&grouped, b.dtype);
    let keys = b.g.cast(keys, b.dtype);
    let keys = b.g.transpose(&keys, &[0, 1, 3, 2])?;
    let scores = b.g.matmul(&grouped, &keys)?;
    // Casts stand next to products: a runtime that adds up in f32 need not round in between.
    let scores = b.g.cast(&scores, DType::F32);
    ungroup(b, &scores, heads)
}

/// `probs @ values`, `[batch, heads, sequence, head_dim]` between products' type, of `probs`
/// `[batch, heads, sequence, positions]` and `values` `[batch, kv_heads, positions, head_dim]`.
pub(crate) fn mix(b: &mut ModelBuilder<'_>, probs: &Value, values: &Value) -> Result<Value, Error> {
    let (grouped, heads) = group(b, probs, values)?;
    let grouped = b.g.cast(&grouped, b.dtype);
    let values = b.g.cast(values, b.dtype);
    let mixed = b.g.matmul(&grouped, &values)?;
    let mixed = b.g.cast(&mixed, b.between());
    ungroup(b, &mixed, heads)
}

/// `[batch, kv_heads, heads / kv_heads * sequence, ..]`, and the heads and the sequence that
/// [`ungroup`] restores; `x` itself where every head has its own keys.
fn group(
    b: &mut ModelBuilder<'_>,
    x: &Value,
    keys: &Value,
) -> Result<(Value, Option<[Dim; 2]>), Error> {
    let dim = |value: &Value, axis: usize| value.shape().dims().get(axis).cloned();
    let (heads, kv_heads) = (dim(x, 1), dim(keys, 1).and_then(|dim| dim.fixed()));
    if heads == dim(keys, 1) {
        return Ok((x.clone(), None));
    }
    let parts = [
        To::Keep,
        To::Size(kv_heads.unwrap_or_default()),
        To::Rest("group_sequence".into()),
        match dim(x, 3).and_then(|dim| dim.fixed()) {
            Some(size) => To::Size(size),
            None => To::Keep,
        },
    ];
    let together = match (heads, dim(x, 2)) {
        (Some(heads), Some(sequence)) => Some([heads, sequence]),
        _ => None,
    };
    Ok((b.g.reshape(x, &parts)?, together))
}

fn ungroup(
    b: &mut ModelBuilder<'_>,
    x: &Value,
    together: Option<[Dim; 2]>,
) -> Result<Value, Error> {
    let Some([heads, sequence]) = together else { return Ok(x.clone()) };
    let last = match x.shape().dims().get(3).and_then(Dim::fixed) {
        Some(size) => To::Size(size),
        None => To::Keep,
    };
    let heads = To::Size(heads.fixed().unwrap_or_default());
    Ok(b.g.reshape(x, &[To::Keep, heads, To::Rest(sequence), last])?)
}
