//! Choosing the next token from the model's logits.
//!
//! The order is that of Hugging Face's `generate`, and llama.cpp's where the two agree:
//! 1. logit bias is added;
//! 2. repetition penalty (tokens of prompt and answer), then presence and frequency penalty
//!    (tokens of the answer);
//! 3. temperature 0 takes the best token, ties going to the lower id; otherwise logits are divided
//!    by the temperature;
//! 4. top-k, top-p, min-p, each over what the one before has left;
//! 5. one token is drawn.
//!
//! Log-probabilities are those of the model, before any of this.

mod logprobs;
mod penalties;
mod sampler;
#[cfg(test)]
#[path = "tests.rs"]
mod sampler_tests;
mod top;

use crate::error::Error;

pub use logprobs::{LogProbs, TokenLogProb};
pub use sampler::{Choice, Sampler};

/// How the next token is chosen. The default is that of CuMo's command line: temperature 0.2 and,
/// from the library below it, the 50 best tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingOptions {
    /// Flattens (above 1) or sharpens (below 1) the distribution; 0 always takes the best token.
    /// By default 0.2.
    pub temperature: f32,
    /// Only this many best tokens are drawn from; 0 is all. By default 50.
    pub top_k: usize,
    /// Only the fewest best tokens that have this much probability together are drawn from; 1 is
    /// all. By default 1.
    pub top_p: f32,
    /// Only tokens that have at least this much of the best token's probability are drawn from;
    /// 0 is all. By default 0.
    pub min_p: f32,
    /// Logits of tokens that prompt or answer have are divided by this where they are positive and
    /// multiplied where they are negative; 1 changes nothing. By default 1.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens that the answer has. By default 0.
    pub presence_penalty: f32,
    /// Subtracted from the logits of tokens once for each time that the answer has them. By
    /// default 0.
    pub frequency_penalty: f32,
    /// Added to the logits of tokens; minus infinity rules a token out. By default nothing.
    pub logit_bias: Vec<(u32, f32)>,
    /// Makes the draws; the same seed makes the same draws on every machine. By default another
    /// one each time.
    pub seed: Option<u64>,
    /// How many alternatives' log-probabilities to give with each token; none gives no
    /// log-probabilities at all. By default none.
    pub logprobs: Option<usize>,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        SamplingOptions {
            temperature: 0.2,
            top_k: 50,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
            logprobs: None,
        }
    }
}

impl SamplingOptions {
    /// Always the best token.
    pub fn greedy() -> Self {
        SamplingOptions { temperature: 0.0, ..Self::default() }
    }

    /// Checks every option against what makes sense, for a vocabulary of `vocab_size` tokens.
    ///
    /// # Errors
    /// [`Error::Option`] names the first that does not.
    pub fn check(&self, vocab_size: usize) -> Result<(), Error> {
        let wrong = |option, value: String, allowed| Err(Error::Option { option, value, allowed });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return wrong("temperature", self.temperature.to_string(), "0 or more, and finite");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return wrong("top-p", self.top_p.to_string(), "more than 0 and at most 1");
        }
        if !(self.min_p >= 0.0 && self.min_p <= 1.0) {
            return wrong("min-p", self.min_p.to_string(), "between 0 and 1");
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            return wrong(
                "repetition-penalty",
                self.repetition_penalty.to_string(),
                "more than 0, and finite",
            );
        }
        for (option, value) in [
            ("presence-penalty", self.presence_penalty),
            ("frequency-penalty", self.frequency_penalty),
        ] {
            if !value.is_finite() {
                return wrong(option, value.to_string(), "a finite number");
            }
        }
        for (token, bias) in &self.logit_bias {
            if *token as usize >= vocab_size {
                return wrong(
                    "logit-bias",
                    format!("for token {token}"),
                    "for a token of the vocabulary",
                );
            }
            if bias.is_nan() || *bias == f32::INFINITY {
                return wrong("logit-bias", bias.to_string(), "a finite number or -inf");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_original_command_lines() {
        let options = SamplingOptions::default();
        assert_eq!((options.temperature, options.top_k), (0.2, 50));
        options.check(1).unwrap();
    }

    #[test]
    fn nonsense_is_named_with_what_is_allowed() {
        let check = |change: fn(&mut SamplingOptions)| {
            let mut options = SamplingOptions::default();
            change(&mut options);
            options.check(10).unwrap_err().to_string()
        };
        assert_eq!(
            check(|o| o.temperature = -1.0),
            "temperature is -1; it must be 0 or more, and finite"
        );
        assert_eq!(
            check(|o| o.temperature = f32::NAN),
            "temperature is NaN; it must be 0 or more, and finite"
        );
        assert_eq!(check(|o| o.top_p = 0.0), "top-p is 0; it must be more than 0 and at most 1");
        assert_eq!(check(|o| o.min_p = 2.0), "min-p is 2; it must be between 0 and 1");
        assert!(check(|o| o.repetition_penalty = 0.0).contains("must be more than 0"));
        assert!(check(|o| o.presence_penalty = f32::INFINITY).contains("presence-penalty is inf"));
        assert!(check(|o| o.logit_bias = vec![(10, 1.0)]).contains("for token 10"));
        assert!(check(|o| o.logit_bias = vec![(1, f32::NAN)]).contains("a finite number or -inf"));
    }
}
