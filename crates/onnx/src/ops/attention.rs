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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shape, dims};

    fn attend(kv_heads: usize, mask: Vec<Dim>) -> Result<Value, Error> {
        let mut g = GraphBuilder::with_opset(Opset::V24);
        let query = g.input("query", DType::F16, dims!["batch", 6, "sequence", 16])?;
        let key = g.input("key", DType::F16, dims!["batch", kv_heads, "attended", 16])?;
        let value = g.input("value", DType::F16, dims!["batch", kv_heads, "attended", 16])?;
        let mask = g.input("mask", DType::F16, mask)?;
        let mask = Some(&mask);
        g.attention(&Attention { query: &query, key: &key, value: &value, mask, scale: 0.25 })
    }

    #[test]
    fn heads_share_keys_in_whole_groups() {
        let mask = dims!["batch", 1, "sequence", "attended"];
        let mixed = attend(2, mask.clone()).unwrap();
        assert_eq!(mixed.shape(), &Shape::from(dims!["batch", 6, "sequence", 16]));
        let message = attend(4, mask).unwrap_err().to_string();
        assert!(message.contains("[batch, 4, attended, 16]"), "{message}");
    }

    #[test]
    fn a_mask_of_other_positions_is_refused() {
        let message = attend(2, dims!["batch", 1, "sequence", "sequence"]).unwrap_err().to_string();
        assert!(message.contains("mask f16 [batch, 1, sequence, sequence]"), "{message}");
    }

    #[test]
    fn operators_of_a_later_opset_are_refused() {
        let mut g = GraphBuilder::new();
        let x = g.input("x", DType::F16, [2]).unwrap();
        let message = g.swish(&x, 1.0).unwrap_err().to_string();
        assert!(message.contains("Swish: needs opset 24, the graph is of 17"), "{message}");
    }

    #[test]
    fn a_cache_takes_rows_of_its_own_form_only() {
        let mut g = GraphBuilder::with_opset(Opset::V24);
        let cache = g.input("cache", DType::F16, dims!["batch", 2, "max_sequence", 16]).unwrap();
        let rows = g.input("rows", DType::F16, dims!["batch", 2, "sequence", 16]).unwrap();
        let wide = g.input("wide", DType::F16, dims!["batch", 2, "sequence", 32]).unwrap();
        let at = g.input("at", DType::I64, dims!["batch"]).unwrap();
        let updated = g.tensor_scatter(&cache, &rows, &at).unwrap();
        assert_eq!(updated.shape(), cache.shape());
        assert!(g.tensor_scatter(&cache, &wide, &at).is_err());
    }
}
