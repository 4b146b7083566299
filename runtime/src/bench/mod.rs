//! Measuring a model: what `cumo bench` does below its command line.
//!
//! Everything is timed with the executor's [`crate::Clock`]. A question is answered once a
//! repetition, with all parts of its time to first token; text alone is run at several depths of
//! the context; choices of experts and energy are taken in passes of their own, so that nothing
//! disturbs what is timed.

mod answers;
mod depths;
mod energy;
mod environment;
mod experts;
mod facts;
mod images;
#[cfg(test)]
mod tests;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use cumo_processor::IMAGE_TOKEN_ID;
use cumo_results::BenchResult;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

use crate::backend::BackendError;
use crate::cancel::CancelToken;
use crate::error::Error;
use crate::model::Model;

pub use energy::{ENERGY_SPAN, Rest};
pub use environment::{build_commit, conditions, environment};
pub use experts::expert_load;
pub use facts::{image_facts, model_facts, weights_bytes};
pub use images::SyntheticImage;
pub use watch::watched;

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchOptions {
    /// The images of the question.
    pub images: Vec<PathBuf>,
    /// Text tokens of the question, and of the prompts of text alone; at least one.
    pub prompt_tokens: usize,
    /// Tokens that are generated in a repetition.
    pub generate_tokens: usize,
    /// Repetitions that count.
    pub repetitions: usize,
    /// Repetitions before them that do not.
    pub warmup: usize,
    /// Positions that are in the cache before prompts of text alone and before tokens.
    pub depths: Vec<usize>,
    /// Chooses the random tokens.
    pub seed: u64,
}

/// Told of what is being done.
pub trait BenchProgress {
    /// Something begins that has so many steps.
    fn begin(&mut self, what: &str, steps: usize);
    /// One of its steps has ended.
    fn step(&mut self);
}

/// Tells nobody.
impl BenchProgress for () {
    fn begin(&mut self, _: &str, _: usize) {}
    fn step(&mut self) {}
}

/// A model that is being measured.
pub struct Bench<'a> {
    model: &'a mut Model,
    options: &'a BenchOptions,
    cancel: &'a CancelToken,
    progress: &'a mut dyn BenchProgress,
}

impl<'a> Bench<'a> {
    /// Measures `model` until `cancel` says otherwise.
    pub fn new(
        model: &'a mut Model,
        options: &'a BenchOptions,
        cancel: &'a CancelToken,
        progress: &'a mut dyn BenchProgress,
    ) -> Self {
        Bench { model, options, cancel, progress }
    }

    /// The model.
    pub fn model(&mut self) -> &mut Model {
        self.model
    }

    /// Measures times and memory, and puts them into `result`. What could not be measured
    /// is in its notes.
    ///
    /// # Errors
    /// Those of [`Model::encode_images`] and [`Model::generate`];
    /// [`BackendError::Interrupted`] where it was cancelled.
    pub fn run(&mut self, result: &mut BenchResult) -> Result<(), Error> {
        self.note_options(result);
        result.answers = self.answers()?;
        if let Some(tokens) = self.fewer_tokens(&result.answers) {
            result.notes.push(format!(
                "answers have {tokens} tokens instead of {}: the model's context is full",
                self.options.generate_tokens
            ));
        }
        for depth in self.options.depths.clone() {
            match self.depth_problem(depth) {
                None => {
                    let (prefill, generation) = self.depth(depth)?;
                    result.prefill.push(prefill);
                    result.generation.extend(generation);
                }
                Some(problem) => {
                    result.notes.push(format!("depth {depth} was skipped: {problem}"));
                }
            }
        }
        self.memory(result);
        Ok(())
    }

    /// The question's ids: the first token, the images, and random tokens.
    pub fn question(&self) -> Vec<i64> {
        let llm = &self.model.facts().llm;
        let random = self.random(0);
        let images = std::iter::repeat_n(IMAGE_TOKEN_ID, self.options.images.len());
        let text = random.take(self.options.prompt_tokens.saturating_sub(1)).map(i64::from);
        std::iter::once(i64::from(llm.bos_token_id)).chain(images).chain(text).collect()
    }

    /// Tokens drawn from the whole vocabulary, the same for the same number.
    fn random(&self, stream: u64) -> impl Iterator<Item = u32> + use<> {
        let vocab = self.model.facts().llm.vocab_size.max(1) as u64;
        let seed = self.options.seed.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        // A bias of 2^-32 at most, which nothing here can tell.
        std::iter::repeat_with(move || (((random.next_u64() >> 32) * vocab) >> 32) as u32)
    }

    /// Lets the work be cancelled within a graph too.
    fn interruptible<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.cancel.arm(self.model.executor().interrupt());
        let result = work(self);
        self.cancel.disarm();
        result
    }

    /// # Errors
    /// [`BackendError::Interrupted`] where the work was cancelled.
    fn check_cancelled(&self) -> Result<(), Error> {
        match self.cancel.is_cancelled() {
            true => Err(BackendError::Interrupted.into()),
            false => Ok(()),
        }
    }

    fn note_options(&self, result: &mut BenchResult) {
        let configuration = &mut result.configuration;
        configuration.prompt_tokens = self.options.prompt_tokens as u64;
        configuration.generate_tokens = self.options.generate_tokens as u64;
        configuration.repetitions = self.options.repetitions as u64;
        configuration.warmup = self.options.warmup as u64;
        configuration.depths = self.options.depths.iter().map(|depth| *depth as u64).collect();
        configuration.prompt_sha256 = facts::prompt_sha256(&self.question());
    }

    /// Memory after everything that was timed.
    fn memory(&mut self, result: &mut BenchResult) {
        let executor = self.model.executor();
        let backend = executor.backend();
        let card = environment::card_of(&backend);
        result.memory.weights_bytes = Some(weights_bytes(executor.manifest()));
        result.memory.cache_bytes = Some(executor.cache_bytes() as u64);
        result.memory.peak_process_bytes = crate::machine::peak_memory_bytes();
        result.memory.peak_device_bytes = backend.device.map(|device| device.peak_bytes);
        result.memory.device_process_bytes =
            card.and_then(|card| card.process_bytes(std::process::id()));
    }
}

/// Whole nanoseconds; the largest number where they are too many, after 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
