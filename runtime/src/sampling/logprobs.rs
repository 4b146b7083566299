//! Log-probabilities of tokens.

use serde::Serialize;

use super::top::{self, Candidate};

/// A token and how probable the model found it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TokenLogProb {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// The chosen token's log-probability and those of the most probable tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogProbs {
    /// The chosen token.
    pub chosen: TokenLogProb,
    /// The most probable tokens, best first.
    pub top: Vec<TokenLogProb>,
}

/// The most probable tokens under the model's own distribution, and the logarithm of the sum that
/// its probabilities are divided by.
pub(super) fn of(
    scores: &[f32],
    count: usize,
    scratch: &mut Vec<Candidate>,
) -> (f64, Vec<TokenLogProb>) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|score| f64::from(score - largest).exp()).sum();
    let log_sum = f64::from(largest) + sum.ln();
    top::select(scores, count, scratch);
    let top = scratch
        .iter()
        .map(|(score, token)| TokenLogProb {
            token: *token,
            logprob: (f64::from(*score) - log_sum) as f32,
        })
        .collect();
    (log_sum, top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_a_softmax() {
        let scores = [1.0_f32.ln(), 2.0_f32.ln(), 5.0_f32.ln(), f32::NEG_INFINITY];
        let (log_sum, top) = of(&scores, 3, &mut Vec::new());
        assert!((log_sum - 8.0_f64.ln()).abs() < 1e-6);
        let expected = [(2, 0.625_f32), (1, 0.25), (0, 0.125)];
        assert_eq!(top.len(), 3);
        for (found, (token, probability)) in top.iter().zip(expected) {
            assert_eq!(found.token, token);
            assert!((found.logprob.exp() - probability).abs() < 1e-6);
        }
    }
}
