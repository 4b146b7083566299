//! `ai.cumo.Router`, version 1.

use cumo_onnx::{DType, Dim, Error, Function, GraphBuilder, Opset, Value, dims};

use super::DOMAIN;

/// The operator's name.
pub const ROUTER: &str = "Router";

const DOC: &str = "Router(logits [.., experts]; k) -> (weights [.., k], experts [.., k]): softmax \
over all experts in f32, the k largest, best first (of equal ones the lower index), divided by \
their sum.";

/// The function, for logits `[batch, tokens, experts]` f32.
///
/// # Errors
/// None for at least one expert.
pub fn function(opset: Opset, num_experts: usize, k: usize) -> Result<Function, Error> {
    Function::build(opset, DOMAIN, ROUTER, &["k"], DOC, |g| {
        let logits = g.input("logits", DType::F32, dims!["batch", "tokens", num_experts])?;
        let count = g.int_of_function("k");
        let (weights, experts) = body(g, &logits, &count, k)?;
        Ok(vec![weights, experts])
    })
}

/// The operators: weights and experts of logits `[batch, tokens, experts]` f32. `count` is `k` as a
/// value, `[1]` i64.
pub(super) fn body(
    g: &mut GraphBuilder,
    logits: &Value,
    count: &Value,
    k: usize,
) -> Result<(Value, Value), Error> {
    let probs = g.softmax(logits);
    let (best, experts) = g.top_k(&probs, count, Dim::Fixed(k))?;
    let sum = g.reduce_sum(&best, &[2], true)?;
    Ok((g.div(&best, &sum)?, experts))
}
