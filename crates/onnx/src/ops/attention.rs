//! Attention, its rotary embedding and its static cache: standard operators of opset 23 and 24.

use crate::attribute::Attribute;
use crate::{DType, Dim, Error, GraphBuilder, Opset, Value};

/// Operands of [`GraphBuilder::attention`].
#[derive(Debug)]
pub struct Attention<'a> {
    /// `[batch, heads, sequence, head_dim]`.
    pub query: &'a Value,
    /// `[batch, kv_heads, total, head_dim]`.
    pub key: &'a Value,
    /// Of the keys' shape.
    pub value: &'a Value,
    /// Added to the scores, `[1 or batch, 1, sequence, total]`, of the queries' type.
    pub mask: Option<&'a Value>,
    /// The scores are multiplied by it.
    pub scale: f32,
}

impl GraphBuilder {
    /// Softmax of scaled and masked scores, times the values: `[batch, heads, sequence,
    /// head_dim]`. Heads of queries share heads of keys in groups, where there are more of them.
    ///
    /// # Errors
    /// [`Error::Node`] where types or sizes differ, or before opset 23.
    pub fn attention(&mut self, operands: &Attention<'_>) -> Result<Value, Error> {
        const OP: &str = "Attention";
        self.needs(OP, Opset::V24)?;
        let Attention { query, key, value, mask, scale } = *operands;
        let fits = match (query.shape().dims(), key.shape().dims()) {
            ([batch, Dim::Fixed(heads), sequence, size], [b, Dim::Fixed(kv_heads), total, s]) => {
                let mask_fits = mask.is_none_or(|mask| {
                    let dims = mask.shape().dims();
                    mask.dtype() == query.dtype()
                        && dims.len() == 4
                        && [&Dim::Fixed(1), batch].contains(&&dims[0])
                        && dims[1] == Dim::Fixed(1)
                        && [&dims[2], &dims[3]] == [sequence, total]
                });
                [batch, size] == [b, s]
                    && *kv_heads > 0
                    && heads.is_multiple_of(*kv_heads)
                    && mask_fits
            }
            _ => false,
        };
        let same_types = query.dtype() == key.dtype() && key.dtype() == value.dtype();
        if !fits || !same_types || key.shape() != value.shape() {
            let problem = format!(
                "query is {}, key {}, value {}, mask {}",
                query.describe(),
                key.describe(),
                value.describe(),
                mask.map_or("none".to_owned(), Value::describe)
            );
            return Err(self.fault(OP, problem));
        }
        // No softmax_precision: TensorRT refuses the attribute, and computes in f32 without it.
        let attributes = vec![("scale", Attribute::Float(scale))];
        let inputs: Vec<&Value> = [query, key, value].into_iter().chain(mask).collect();
        Ok(self.add(OP, &inputs, query.dtype(), query.shape().clone(), attributes))
    }

    /// Turns pairs of channels of `x` `[batch, heads, sequence, channels]` by angles: channel `i`
    /// with channel `i + channels / 2`. `cos` and `sin` are `[batch, sequence, channels / 2]`.
    ///
    /// # Errors
    /// [`Error::Node`] where types or sizes differ, or before opset 23.
    pub fn rotary_embedding(
        &mut self,
        x: &Value,
        cos: &Value,
        sin: &Value,
    ) -> Result<Value, Error> {
        const OP: &str = "RotaryEmbedding";
        self.needs(OP, Opset::V24)?;
        let fits = match (x.shape().dims(), cos.shape().dims()) {
            ([batch, _, sequence, Dim::Fixed(channels)], [b, s, Dim::Fixed(half)]) => {
                [batch, sequence] == [b, s] && *channels == 2 * half
            }
            _ => false,
        };
        let same = cos.shape() == sin.shape() && [cos.dtype(), sin.dtype()] == [x.dtype(); 2];
        if !fits || !same {
            let problem = format!("x is {}, cos is {}", x.describe(), cos.describe());
            return Err(self.fault(OP, problem));
        }
        Ok(self.add(OP, &[x, cos, sin], x.dtype(), x.shape().clone(), vec![]))
    }

    /// `cache` `[batch, heads, positions, head_dim]` with `update` `[batch, heads, sequence,
    /// head_dim]` written at the positions from `write_indices` `[batch]` i64 on. A runtime writes
    /// it where the cache lies, if it may.
    ///
    /// # Errors
    /// [`Error::Node`] where types or sizes differ, or before opset 24.
    pub fn tensor_scatter(
        &mut self,
        cache: &Value,
        update: &Value,
        write_indices: &Value,
    ) -> Result<Value, Error> {
        const OP: &str = "TensorScatter";
        self.needs(OP, Opset::V24)?;
        let fits = match (cache.shape().dims(), update.shape().dims()) {
            ([batch, heads, _, size], [b, h, _, s]) => {
                [batch, heads, size] == [b, h, s]
                    && write_indices.shape().dims() == std::slice::from_ref(batch)
            }
            _ => false,
        };
        let types = cache.dtype() == update.dtype() && write_indices.dtype() == DType::I64;
        if !fits || !types {
            let problem = format!(
                "cache is {}, update is {}, indices are {}",
                cache.describe(),
                update.describe(),
                write_indices.describe()
            );
            return Err(self.fault(OP, problem));
        }
        let axis = vec![("axis", Attribute::Int(2))];
        let operands = [cache, update, write_indices];
        Ok(self.add(OP, &operands, cache.dtype(), cache.shape().clone(), axis))
    }
}
