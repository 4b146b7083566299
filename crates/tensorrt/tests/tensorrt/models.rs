//! Small models, made with our own graph builder.

use cumo_onnx::{Attention, Attribute, DType, Dim, Graph, GraphBuilder, Opset, Shape, To, Value};

/// The file of a graph without constants.
pub(crate) fn encode(graph: &Graph) -> Vec<u8> {
    graph.encode("test", "", ("test", "1"))
}

/// `y = x + fc2(gelu(fc1(norm(x))))` in f16, x `[rows, 64]`; weights are inputs.
pub(crate) fn mlp() -> Vec<u8> {
    let mut b = GraphBuilder::with_opset(Opset::V24);
    let x = b.input("x", DType::F16, Shape::from(vec!["rows".into(), 64.into()])).unwrap();
    let norm = b.input("norm", DType::F16, [64]).unwrap();
    let fc1 = b.input("fc1", DType::F16, [64, 128]).unwrap();
    let fc2 = b.input("fc2", DType::F16, [128, 64]).unwrap();
    let normed = b.rms_normalization(&x, &norm, 1e-5).unwrap();
    let hidden = b.matmul(&normed, &fc1).unwrap();
    let hidden = b.gelu(&hidden).unwrap();
    let hidden = b.matmul(&hidden, &fc2).unwrap();
    let y = b.add_values(&x, &hidden).unwrap();
    b.output("y", &y, DType::F16, x.shape().clone()).unwrap();
    encode(&b.finish())
}

/// `y = x + x`, x of any f32 shape of 2 dimensions.
pub(crate) fn doubling() -> Vec<u8> {
    let mut b = GraphBuilder::with_opset(Opset::V24);
    let x = b.input("x", DType::F32, Shape::from(vec!["rows".into(), "columns".into()])).unwrap();
    let y = b.add_values(&x, &x).unwrap();
    b.output("y", &y, DType::F32, x.shape().clone()).unwrap();
    encode(&b.finish())
}

/// A node of an operator that nobody knows, between two that everybody does.
pub(crate) fn unknown_operator() -> Vec<u8> {
    let mut b = GraphBuilder::with_opset(Opset::V24);
    let x = b.input("x", DType::F32, [2, 8]).unwrap();
    b.enter("layers[0]");
    let doubled = b.add_values(&x, &x).unwrap();
    let alpha = vec![("alpha", Attribute::Float(0.5))];
    let shape = (DType::F32, x.shape().clone());
    let odd = b.plugin(("ai.nowhere", "Mystery"), &[&doubled], alpha, shape);
    let y = b.add_values(&odd, &x).unwrap();
    b.output("y", &y, DType::F32, [2, 8]).unwrap();
    encode(&b.finish())
}

/// Sizes of a decoder layer.
pub(crate) struct Sizes {
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) cache: usize,
}

/// Small ones, of Mistral's form.
pub(crate) const SMALL: Sizes =
    Sizes { hidden: 256, heads: 4, kv_heads: 2, intermediate: 512, cache: 64 };

/// A decoder layer in f16 over a static cache: `hidden` `[1, seq, hidden]`, `mask` `[1, 1, seq,
/// cache]`, `key_cache` and `value_cache` `[1, kv_heads, cache, head_dim]`, weights as inputs.
pub(crate) fn decoder_layer(sizes: &Sizes) -> Vec<u8> {
    let mut b = GraphBuilder::with_opset(Opset::V24);
    let (size, head_dim) = (sizes.hidden, sizes.hidden / sizes.heads);
    let kv = sizes.kv_heads * head_dim;
    let seq = || Dim::from("seq");
    let input = |b: &mut GraphBuilder, name: &str, shape: Vec<Dim>| {
        b.input(name, DType::F16, Shape::from(shape)).unwrap()
    };
    let hidden = input(&mut b, "hidden", vec![1.into(), seq(), size.into()]);
    let mask = input(&mut b, "mask", vec![1.into(), 1.into(), seq(), sizes.cache.into()]);
    let cache = vec![1.into(), sizes.kv_heads.into(), sizes.cache.into(), head_dim.into()];
    let key_cache = input(&mut b, "key_cache", cache.clone());
    let value_cache = input(&mut b, "value_cache", cache);
    let indices = b.input("write_indices", DType::I64, [1]).unwrap();
    let weight = |b: &mut GraphBuilder, name: &str, shape: &[usize]| {
        let shape: Vec<Dim> = shape.iter().map(|&size| size.into()).collect();
        input(b, name, shape)
    };
    let input_norm = weight(&mut b, "input_norm", &[size]);
    let [q, k, v] =
        [("q", size), ("k", kv), ("v", kv)].map(|(name, to)| weight(&mut b, name, &[size, to]));
    let o = weight(&mut b, "o", &[size, size]);
    let post_norm = weight(&mut b, "post_norm", &[size]);
    let gate = weight(&mut b, "gate", &[size, sizes.intermediate]);
    let up = weight(&mut b, "up", &[size, sizes.intermediate]);
    let down = weight(&mut b, "down", &[sizes.intermediate, size]);

    let normed = b.rms_normalization(&hidden, &input_norm, 1e-5).unwrap();
    let query = heads(&mut b, &normed, &q, sizes.heads, head_dim);
    let key = heads(&mut b, &normed, &k, sizes.kv_heads, head_dim);
    let value = heads(&mut b, &normed, &v, sizes.kv_heads, head_dim);
    let key = b.tensor_scatter(&key_cache, &key, &indices).unwrap();
    let value = b.tensor_scatter(&value_cache, &value, &indices).unwrap();
    let scale = (head_dim as f32).powf(-0.5);
    let operands = Attention { query: &query, key: &key, value: &value, mask: Some(&mask), scale };
    let attended = b.attention(&operands).unwrap();
    let attended = b.transpose(&attended, &[0, 2, 1, 3]).unwrap();
    let attended = merged(&mut b, &attended, size);
    let attended = b.matmul(&attended, &o).unwrap();
    let hidden = b.add_values(&hidden, &attended).unwrap();
    let normed = b.rms_normalization(&hidden, &post_norm, 1e-5).unwrap();
    let gated = b.matmul(&normed, &gate).unwrap();
    let gated = b.swish(&gated, 1.0).unwrap();
    let raised = b.matmul(&normed, &up).unwrap();
    let product = b.mul(&gated, &raised).unwrap();
    let lowered = b.matmul(&product, &down).unwrap();
    let out = b.add_values(&hidden, &lowered).unwrap();
    b.output("out", &out, DType::F16, out.shape().clone()).unwrap();
    b.output("key_present", &key, DType::F16, key.shape().clone()).unwrap();
    b.output("value_present", &value, DType::F16, value.shape().clone()).unwrap();
    encode(&b.finish())
}

/// `[1, seq, in]` times `[in, heads * head_dim]` as `[1, heads, seq, head_dim]`.
fn heads(b: &mut GraphBuilder, x: &Value, w: &Value, heads: usize, head_dim: usize) -> Value {
    let projected = b.matmul(x, w).unwrap();
    let to = [To::Keep, To::Keep, To::Size(heads), To::Size(head_dim)];
    let split = b.reshape(&projected, &to).unwrap();
    b.transpose(&split, &[0, 2, 1, 3]).unwrap()
}

/// `[1, seq, heads, head_dim]` as `[1, seq, size]`.
fn merged(b: &mut GraphBuilder, x: &Value, size: usize) -> Value {
    b.reshape(x, &[To::Keep, To::Keep, To::Size(size)]).unwrap()
}

/// The profile of [`decoder_layer`] for up to `max` new positions.
pub(crate) fn decoder_profile(sizes: &Sizes, max: i64) -> cumo_tensorrt::Profile {
    let hidden = |seq| [1, seq, sizes.hidden as i64];
    let mask = |seq| [1, 1, seq, sizes.cache as i64];
    let opt = max.min(16);
    cumo_tensorrt::Profile::new().range("hidden", &hidden(1), &hidden(opt), &hidden(max)).range(
        "mask",
        &mask(1),
        &mask(opt),
        &mask(max),
    )
}
