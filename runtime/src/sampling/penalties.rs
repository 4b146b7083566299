//! Changes to logits that depend on the tokens so far.

use super::SamplingOptions;

/// The tokens of prompt and answer, as the penalties need them.
#[derive(Debug)]
pub(super) struct Penalties {
    repetition: f32,
    presence: f32,
    frequency: f32,
    bias: Vec<(u32, f32)>,
    /// How often the answer has each token; empty where no penalty asks.
    counts: Vec<u32>,
    /// Whether prompt or answer have each token; empty where no penalty asks.
    seen: Vec<bool>,
    /// Tokens of prompt and answer, each once.
    tokens: Vec<u32>,
}

impl Penalties {
    pub(super) fn new(options: &SamplingOptions, vocab_size: usize) -> Self {
        let size = |wanted: bool| if wanted { vocab_size } else { 0 };
        let (presence, frequency) = (options.presence_penalty, options.frequency_penalty);
        let counted = presence != 0.0 || frequency != 0.0;
        let repeated = options.repetition_penalty != 1.0;
        Penalties {
            repetition: options.repetition_penalty,
            presence,
            frequency,
            bias: options.logit_bias.clone(),
            counts: vec![0; size(counted)],
            seen: vec![false; size(counted || repeated)],
            tokens: Vec::with_capacity(size(counted || repeated)),
        }
    }

    /// Whether logits stay as they are, whatever the tokens.
    pub(super) fn change_nothing(&self) -> bool {
        self.bias.is_empty() && self.seen.is_empty()
    }

    /// Notes a token of the prompt.
    pub(super) fn see(&mut self, token: u32) {
        if let Some(seen) = self.seen.get_mut(token as usize)
            && !std::mem::replace(seen, true)
        {
            self.tokens.push(token);
        }
    }

    /// Notes a token of the answer.
    pub(super) fn count(&mut self, token: u32) {
        self.see(token);
        if let Some(count) = self.counts.get_mut(token as usize) {
            *count += 1;
        }
    }

    /// Changes the scores. Finite ones stay finite, unless a bias of minus infinity rules them out;
    /// what is ruled out stays so.
    pub(super) fn apply(&self, scores: &mut [f32]) {
        for (token, bias) in &self.bias {
            if let Some(score) = scores.get_mut(*token as usize) {
                if *score == f32::NEG_INFINITY || *bias == f32::NEG_INFINITY {
                    *score = f32::NEG_INFINITY;
                } else {
                    *score = finite(*score + bias);
                }
            }
        }
        for token in &self.tokens {
            let Some(score) = scores.get_mut(*token as usize) else { continue };
            if *score == f32::NEG_INFINITY {
                continue;
            }
            // At once: the difference of two infinities is no number.
            *score = finite(match *score < 0.0 {
                true => *score * self.repetition,
                false => *score / self.repetition,
            });
            let count = self.counts.get(*token as usize).copied().unwrap_or(0);
            if count > 0 {
                *score -= self.presence + self.frequency * count as f32;
            }
            // Penalties move a token down or up; only a bias rules it out.
            *score = finite(*score);
        }
    }
}

/// The nearest finite number.
fn finite(score: f32) -> f32 {
    score.clamp(f32::MIN, f32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(options: &SamplingOptions) -> [f32; 4] {
        let mut penalties = Penalties::new(options, 4);
        penalties.see(0);
        penalties.count(1);
        penalties.count(1);
        penalties.count(2);
        let mut scores = [2.0, 2.0, -2.0, 2.0];
        penalties.apply(&mut scores);
        scores
    }

    #[test]
    fn nothing_changes_by_default() {
        assert_eq!(apply(&SamplingOptions::default()), [2.0, 2.0, -2.0, 2.0]);
    }

    #[test]
    fn repetition_counts_prompt_and_answer_and_pushes_down_on_both_sides_of_zero() {
        let options = SamplingOptions { repetition_penalty: 2.0, ..Default::default() };
        assert_eq!(apply(&options), [1.0, 1.0, -4.0, 2.0]);
    }

    #[test]
    fn presence_and_frequency_count_the_answer_only() {
        let options = SamplingOptions { presence_penalty: 0.5, ..Default::default() };
        assert_eq!(apply(&options), [2.0, 1.5, -2.5, 2.0]);
        let options = SamplingOptions { frequency_penalty: 0.5, ..Default::default() };
        assert_eq!(apply(&options), [2.0, 1.0, -2.5, 2.0]);
    }

    #[test]
    fn bias_comes_before_the_penalties() {
        let options = SamplingOptions {
            logit_bias: vec![(0, 2.0), (3, f32::NEG_INFINITY)],
            repetition_penalty: 2.0,
            ..Default::default()
        };
        assert_eq!(apply(&options), [2.0, 1.0, -4.0, f32::NEG_INFINITY]);
    }

    #[test]
    fn the_largest_options_leave_numbers() {
        let extremes = [f32::MIN, -1.0, -f32::MIN_POSITIVE, 0.0, f32::MIN_POSITIVE, 1.0, f32::MAX];
        for repetition_penalty in [f32::MIN_POSITIVE, 1.0, f32::MAX] {
            for (presence_penalty, frequency_penalty) in
                [(f32::MAX, f32::MAX), (f32::MIN, f32::MIN), (f32::MAX, f32::MIN)]
            {
                for bias in extremes {
                    let options = SamplingOptions {
                        repetition_penalty,
                        presence_penalty,
                        frequency_penalty,
                        logit_bias: (0..7).map(|token| (token, bias)).collect(),
                        ..Default::default()
                    };
                    let mut penalties = Penalties::new(&options, 7);
                    (0..7).chain(0..7).for_each(|token| penalties.count(token));
                    let mut scores = extremes;
                    penalties.apply(&mut scores);
                    assert!(
                        scores.iter().all(|score| score.is_finite()),
                        "{options:?}: {scores:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_a_bias_rules_out_stays_ruled_out() {
        for second in [1.0, f32::MAX, f32::NEG_INFINITY] {
            let options = SamplingOptions {
                logit_bias: vec![(1, f32::NEG_INFINITY), (1, second)],
                repetition_penalty: f32::MIN_POSITIVE,
                presence_penalty: f32::MIN,
                ..Default::default()
            };
            assert_eq!(apply(&options)[1], f32::NEG_INFINITY, "{second}");
        }
    }
}
