//! `ai.cumo.Router`, version 1.

use cumo_onnx::{DType, Dim, Error, Function, dims};

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
pub fn function(num_experts: usize, k: usize) -> Result<Function, Error> {
    Function::build(DOMAIN, ROUTER, &["k"], DOC, |g| {
        let logits = g.input("logits", DType::F32, dims!["batch", "tokens", num_experts])?;
        let probs = g.softmax(&logits);
        let count = g.int_of_function("k");
        let (best, experts) = g.top_k(&probs, &count, Dim::Fixed(k))?;
        let sum = g.reduce_sum(&best, &[2], true)?;
        let weights = g.div(&best, &sum)?;
        Ok(vec![weights, experts])
    })
}
