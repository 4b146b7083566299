//! ONNX Runtime's fused operators, domain `com.microsoft`
//! (docs/ContribOperators.md of ONNX Runtime).

use crate::attribute::Attribute;
use crate::{DType, Dim, Error, GraphBuilder, Shape, Value};

const DOMAIN: &str = "com.microsoft";

/// Operands of [`GraphBuilder::group_query_attention`].
#[derive(Debug)]
pub struct GroupQueryAttention<'a> {
    /// Queries, keys and values side by side, `[batch, seq, (heads + 2 * kv_heads) * head_dim]`.
    pub packed_qkv: &'a Value,
    /// Keys cached so far, `[batch, kv_heads, max_sequence, head_dim]`.
    pub past_key: &'a Value,
    /// Values cached so far, of the same shape.
    pub past_value: &'a Value,
    /// Length of each sequence with the new positions, less one: `[batch]` i32.
    pub seqlens_k: &'a Value,
    /// Length of the longest sequence with the new positions: `[]` i32.
    pub total_sequence_length: &'a Value,
    /// Cosines of the rotary embedding, `[positions, head_dim / 2]`.
    pub cos_cache: &'a Value,
    /// Sines of the rotary embedding, of the same shape.
    pub sin_cache: &'a Value,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Channels of one head.
    pub head_dim: usize,
    /// A token sees itself and this many less one before it; none sees all. So since ONNX Runtime
    /// 1.24; before, it sees one more.
    pub sliding_window: Option<usize>,
}

impl GraphBuilder {
    /// Causal attention with rotary embedding over a cache that is updated where it lies. Gives
    /// the attention's output `[batch, seq, heads * head_dim]`, the keys and the values.
    ///
    /// # Errors
    /// [`Error::Node`] where sizes or types differ.
    pub fn group_query_attention(
        &mut self,
        operands: &GroupQueryAttention<'_>,
    ) -> Result<(Value, Value, Value), Error> {
        const OP: &str = "GroupQueryAttention";
        let GroupQueryAttention { num_heads, num_key_value_heads, head_dim, .. } = *operands;
        let packed = (num_heads + 2 * num_key_value_heads) * head_dim;
        let [batch, sequence, width] = operands.packed_qkv.shape().dims() else {
            return Err(self.fault(OP, format!("qkv is {}", operands.packed_qkv.describe())));
        };
        let cache = [Dim::Fixed(num_key_value_heads), Dim::Fixed(head_dim)];
        let cache_fits = |value: &Value| match value.shape().dims() {
            [b, heads, _, channels] => [heads, channels] == [&cache[0], &cache[1]] && b == batch,
            _ => false,
        };
        if *width != Dim::Fixed(packed)
            || !cache_fits(operands.past_key)
            || !cache_fits(operands.past_value)
        {
            let problem = format!(
                "qkv is {}, past is {}, for {num_heads} heads and {num_key_value_heads} of keys, of {head_dim} channels",
                operands.packed_qkv.describe(),
                operands.past_key.describe()
            );
            return Err(self.fault(OP, problem));
        }
        let dtype = operands.packed_qkv.dtype();
        let types = [
            ("past key", operands.past_key, dtype),
            ("past value", operands.past_value, dtype),
            ("cosines", operands.cos_cache, dtype),
            ("sines", operands.sin_cache, dtype),
            ("lengths", operands.seqlens_k, DType::I32),
            ("total length", operands.total_sequence_length, DType::I32),
        ];
        if let Some((what, value, wanted)) =
            types.into_iter().find(|(_, value, wanted)| value.dtype() != *wanted)
        {
            let problem = format!("{what} is {}, needed is {wanted}", value.describe());
            return Err(self.fault(OP, problem));
        }
        let output =
            Shape::from(vec![batch.clone(), sequence.clone(), Dim::Fixed(num_heads * head_dim)]);
        let results = vec![
            (dtype, output),
            (dtype, operands.past_key.shape().clone()),
            (dtype, operands.past_value.shape().clone()),
        ];
        let window = operands.sliding_window.map_or(-1, |window| window as i64);
        let attributes = vec![
            ("num_heads", Attribute::Int(num_heads as i64)),
            ("kv_num_heads", Attribute::Int(num_key_value_heads as i64)),
            ("scale", Attribute::Float((head_dim as f32).sqrt().recip())),
            ("do_rotary", Attribute::Int(1)),
            ("rotary_interleaved", Attribute::Int(0)),
            ("local_window_size", Attribute::Int(window)),
        ];
        let names = [
            operands.packed_qkv.name(),
            "",
            "",
            operands.past_key.name(),
            operands.past_value.name(),
            operands.seqlens_k.name(),
            operands.total_sequence_length.name(),
            operands.cos_cache.name(),
            operands.sin_cache.name(),
        ];
        let mut three = self.add_node(OP, DOMAIN, &names, results, attributes).into_iter();
        match (three.next(), three.next(), three.next()) {
            (Some(output), Some(key), Some(value)) => Ok((output, key, value)),
            _ => Err(self.fault(OP, "no results")),
        }
    }

    /// Attention without mask or cache: queries, keys and values `[batch, seq, heads * head_dim]`,
    /// the same width each; the scores are multiplied by `scale`.
    ///
    /// # Errors
    /// [`Error::Node`] where their types or shapes differ.
    pub fn multi_head_attention(
        &mut self,
        [query, key, value]: [&Value; 3],
        num_heads: usize,
        scale: f32,
    ) -> Result<Value, Error> {
        const OP: &str = "MultiHeadAttention";
        if query.shape() != key.shape()
            || query.shape() != value.shape()
            || query.dtype() != key.dtype()
            || query.dtype() != value.dtype()
        {
            let problem =
                format!("{}, {} and {}", query.describe(), key.describe(), value.describe());
            return Err(self.fault(OP, problem));
        }
        let attributes = vec![
            ("num_heads", Attribute::Int(num_heads as i64)),
            ("scale", Attribute::Float(scale)),
        ];
        let names = [query.name(), key.name(), value.name()];
        let results = vec![(query.dtype(), query.shape().clone())];
        Ok(self.add_node(OP, DOMAIN, &names, results, attributes).remove(0))
    }

    /// `sum = x + skip` and its RMS normalisation times `weight`: gives the normalised value and
    /// the sum.
    ///
    /// # Errors
    /// [`Error::Node`] where sizes differ.
    pub fn skip_simplified_layer_normalization(
        &mut self,
        x: &Value,
        skip: &Value,
        weight: &Value,
        epsilon: f32,
    ) -> Result<(Value, Value), Error> {
        self.skip_norm("SkipSimplifiedLayerNormalization", x, skip, &[weight], epsilon)
    }

    /// `sum = x + skip` and its layer normalisation: gives the normalised value and the sum.
    ///
    /// # Errors
    /// [`Error::Node`] where sizes differ.
    pub fn skip_layer_normalization(
        &mut self,
        x: &Value,
        skip: &Value,
        (weight, bias): (&Value, &Value),
        epsilon: f32,
    ) -> Result<(Value, Value), Error> {
        self.skip_norm("SkipLayerNormalization", x, skip, &[weight, bias], epsilon)
    }

    fn skip_norm(
        &mut self,
        op: &'static str,
        x: &Value,
        skip: &Value,
        parameters: &[&Value],
        epsilon: f32,
    ) -> Result<(Value, Value), Error> {
        for parameter in parameters {
            self.check_channels(op, x, parameter)?;
        }
        if x.shape() != skip.shape() || x.dtype() != skip.dtype() {
            let problem = format!("x is {}, skip is {}", x.describe(), skip.describe());
            return Err(self.fault(op, problem));
        }
        let names: Vec<&str> =
            [x, skip].into_iter().chain(parameters.iter().copied()).map(Value::name).collect();
        let attributes = vec![("epsilon", Attribute::Float(epsilon))];
        let result = (x.dtype(), x.shape().clone());
        let results = vec![result.clone(), result];
        let mut two = self.add_node(op, DOMAIN, &names, results, attributes).into_iter();
        // The sum is output 3: 1 and 2, mean and deviation, are for training and left out.
        if let Some(node) = self.nodes.last_mut() {
            node.output.splice(1..1, [String::new(), String::new()]);
        }
        match (two.next(), two.next()) {
            (Some(normalised), Some(sum)) => Ok((normalised, sum)),
            _ => Err(self.fault(op, "no results")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims;

    /// Attention of 2 heads over 1 of keys, of 4 channels, with these types of qkv, cache, rotary
    /// tables and lengths.
    fn attention(types: [DType; 4]) -> Result<Shape, Error> {
        let [qkv, past, tables, lengths] = types;
        let mut g = GraphBuilder::new();
        let cache = dims!["batch", 1, "max", 4];
        let packed_qkv = &g.input("qkv", qkv, dims!["batch", "seq", 16])?;
        let past_key = &g.input("key", past, cache.clone())?;
        let past_value = &g.input("value", past, cache)?;
        let seqlens_k = &g.input("lengths", lengths, dims!["batch"])?;
        let total_sequence_length = &g.input("total", lengths, dims![])?;
        let cos_cache = &g.input("cos", tables, [9, 2])?;
        let sin_cache = &g.input("sin", tables, [9, 2])?;
        let operands = GroupQueryAttention {
            packed_qkv,
            past_key,
            past_value,
            seqlens_k,
            total_sequence_length,
            cos_cache,
            sin_cache,
            num_heads: 2,
            num_key_value_heads: 1,
            head_dim: 4,
            sliding_window: None,
        };
        g.group_query_attention(&operands).map(|(mixed, ..)| mixed.shape().clone())
    }

    #[test]
    fn grouped_attention_wants_one_float_type_and_i32_lengths() {
        use DType::{F16, F32, I32, I64};
        let shape = attention([F16, F16, F16, I32]).unwrap();
        assert_eq!(shape.dims(), dims!["batch", "seq", 8].as_slice());
        for (types, wrong) in [
            ([F32, F16, F32, I32], "past key is f16"),
            ([F16, F16, F32, I32], "cosines is f32"),
            ([F32, F32, F32, I64], "lengths is i64"),
        ] {
            let message = attention(types).unwrap_err().to_string();
            assert!(message.contains(wrong), "{message}");
        }
    }
}
