//! Bias, penalties, the filters and the draw.

use std::hash::{BuildHasher, RandomState};

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

use super::SamplingOptions;
use super::logprobs::{self, LogProbs, TokenLogProb};
use super::penalties::Penalties;
use super::top::{self, Candidate};
use crate::error::Error;

/// How many candidates top-p looks at first, where top-k does not say.
const FIRST_CANDIDATES: usize = 64;

/// Bits of a seed that is drawn: whole numbers of so many survive readers of JSON that keep numbers
/// in double precision.
const DRAWN_SEED_BITS: u32 = 53;

fn random_seed() -> u64 {
    RandomState::new().hash_one(0) >> (u64::BITS - DRAWN_SEED_BITS)
}

/// Chooses tokens. What it allocates is made once, and again only for log-probabilities.
#[derive(Debug)]
pub struct Sampler {
    options: SamplingOptions,
    vocab_size: usize,
    penalties: Penalties,
    random: Pcg64Mcg,
    seed: u64,
    candidates: Vec<Candidate>,
}

/// A token that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The token.
    pub token: u32,
    /// Log-probabilities, where they were asked for.
    pub logprobs: Option<LogProbs>,
}

impl Sampler {
    /// A sampler for a vocabulary of `vocab_size` tokens.
    ///
    /// # Errors
    /// As [`SamplingOptions::check`].
    pub fn new(options: SamplingOptions, vocab_size: usize) -> Result<Self, Error> {
        options.check(vocab_size)?;
        let seed = options.seed.unwrap_or_else(random_seed);
        Ok(Sampler {
            vocab_size,
            penalties: Penalties::new(&options, vocab_size),
            random: Pcg64Mcg::seed_from_u64(seed),
            seed,
            candidates: Vec::new(),
            options,
        })
    }

    /// The seed in use.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Notes a token of the prompt, for the repetition penalty.
    pub fn see(&mut self, token: u32) {
        self.penalties.see(token);
    }

    /// Chooses the next token from `scores`, the model's logits `[vocab]`, and notes it for the
    /// penalties. Changes the scores.
    ///
    /// # Errors
    /// [`Error::NoCandidate`] where bias or the model rule every token out.
    pub fn sample(&mut self, scores: &mut [f32]) -> Result<Choice, Error> {
        let logprobs = self.options.logprobs.map(|count| {
            let (log_sum, top) = logprobs::of(scores, count, &mut self.candidates);
            (log_sum, top, scores.to_vec())
        });
        self.penalties.apply(scores);
        let token = match self.options.temperature == 0.0 {
            true => top::best(scores).map(|token| token as u32),
            false => self.draw(scores),
        };
        let token = token.ok_or(Error::NoCandidate)?;
        self.penalties.count(token);
        let logprobs = logprobs.map(|(log_sum, top, raw)| {
            let score = raw.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
            let logprob = (f64::from(score) - log_sum) as f32;
            LogProbs { chosen: TokenLogProb { token, logprob }, top }
        });
        Ok(Choice { token, logprobs })
    }

    /// How many of the best tokens are enough to choose from; none where all logits are needed, for
    /// log-probabilities, penalties, a bias, or draws without top-k.
    pub fn candidates(&self) -> Option<usize> {
        let SamplingOptions { temperature, top_k, logprobs, .. } = self.options;
        match (logprobs, self.penalties.change_nothing()) {
            (None, true) if temperature == 0.0 => Some(1),
            (None, true) if top_k > 0 && top_k < self.vocab_size => Some(top_k),
            _ => None,
        }
    }

    /// Chooses the next token from the best tokens and their logits, of which there are
    /// [`Sampler::candidates`], in any order: the same as [`Sampler::sample`] would.
    ///
    /// # Errors
    /// [`Error::NoCandidate`] where no logit is above minus infinity.
    pub fn sample_candidates(&mut self, candidates: &[(f32, u32)]) -> Result<Choice, Error> {
        self.candidates.clear();
        self.candidates.extend(candidates.iter().filter(|best| best.0 > f32::NEG_INFINITY));
        self.candidates.sort_unstable_by(top::better);
        let (largest, best) = *self.candidates.first().ok_or(Error::NoCandidate)?;
        let temperature = self.options.temperature;
        if temperature == 0.0 {
            return Ok(Choice { token: best, logprobs: None });
        }
        for candidate in &mut self.candidates {
            candidate.0 = (candidate.0 - largest) / temperature;
        }
        self.keep_selected();
        let token = self.pick().ok_or(Error::NoCandidate)?;
        Ok(Choice { token, logprobs: None })
    }

    /// Draws from what the filters leave; none where no score is above minus infinity.
    fn draw(&mut self, scores: &mut [f32]) -> Option<u32> {
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if largest == f32::NEG_INFINITY {
            return None;
        }
        // From here on scores are relative to the largest, so that no temperature overflows.
        let temperature = self.options.temperature;
        for score in scores.iter_mut() {
            *score = (*score - largest) / temperature;
        }
        self.filter(scores);
        self.pick()
    }

    /// Draws one of `candidates` by their weights.
    fn pick(&mut self) -> Option<u32> {
        let total: f64 = self.candidates.iter().map(|candidate| f64::from(candidate.0)).sum();
        // 53 random bits: every f64 in [0, 1) that is a multiple of 2^-53.
        let uniform = (self.random.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64);
        let mut left = uniform * total;
        for (weight, token) in &self.candidates {
            left -= f64::from(*weight);
            if left < 0.0 {
                return Some(*token);
            }
        }
        // Rounding may leave a crumb behind the last one.
        self.candidates.iter().rev().find(|candidate| candidate.0 > 0.0).map(|found| found.1)
    }

    /// Leaves in `candidates` the tokens to draw from, with weights relative to the best one's.
    fn filter(&mut self, scores: &[f32]) {
        let SamplingOptions { top_k, top_p, min_p, .. } = self.options;
        let all = top_k == 0 || top_k >= scores.len();
        if all && top_p >= 1.0 {
            self.candidates.clear();
            let tokens = scores.iter().enumerate();
            self.candidates.extend(tokens.map(|(token, score)| (score.exp(), token as u32)));
        } else if all {
            self.nucleus_of_all(scores, top_p);
        } else {
            top::select(scores, top_k, &mut self.candidates);
            return self.keep_selected();
        }
        self.keep_likely(min_p);
    }

    /// Top-p and min-p over the scores relative to the largest that top-k has left in `candidates`,
    /// which become weights.
    fn keep_selected(&mut self) {
        self.weigh();
        if self.options.top_p < 1.0 {
            let total = self.candidates.iter().map(|candidate| f64::from(candidate.0)).sum();
            self.keep_nucleus(self.options.top_p, total);
        }
        self.keep_likely(self.options.min_p);
    }

    fn keep_likely(&mut self, min_p: f32) {
        if min_p > 0.0 {
            self.candidates.retain(|candidate| candidate.0 >= min_p);
        }
    }

    /// Top-p over the whole vocabulary: looks at ever more of the best until they are enough.
    fn nucleus_of_all(&mut self, scores: &[f32], top_p: f32) {
        let total: f64 = scores.iter().map(|score| f64::from(score.exp())).sum();
        let mut count = FIRST_CANDIDATES;
        loop {
            top::select(scores, count, &mut self.candidates);
            let complete = self.candidates.len() < count;
            self.weigh();
            if self.keep_nucleus(top_p, total) || complete {
                return;
            }
            count = count.saturating_mul(4);
        }
    }

    /// Turns scores relative to the largest into weights.
    fn weigh(&mut self) {
        for candidate in &mut self.candidates {
            candidate.0 = candidate.0.exp();
        }
    }

    /// Cuts candidates, best first, behind the one with which they reach `top_p` of `total`; says
    /// whether they reach it.
    fn keep_nucleus(&mut self, top_p: f32, total: f64) -> bool {
        let wanted = f64::from(top_p) * total;
        let mut reached = 0.0;
        for (index, candidate) in self.candidates.iter().enumerate() {
            reached += f64::from(candidate.0);
            if reached >= wanted {
                self.candidates.truncate(index + 1);
                return true;
            }
        }
        false
    }
}
