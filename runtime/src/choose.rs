//! Choosing a token by the last position's logits, wherever they lie.

use crate::error::Error;
use crate::executor::Executor;
use crate::sampling::{Choice, Sampler};

/// Reads logits for a sampler, no more of them than it needs.
pub(crate) struct Chooser {
    scores: Vec<f32>,
    /// The best tokens with their logits.
    best: Vec<(f32, u32)>,
    /// Whether logits come from a device's memory.
    on_device: bool,
}

impl Chooser {
    pub(crate) fn new(executor: &Executor) -> Self {
        let on_device = executor.backend().device.is_some();
        Chooser { scores: Vec::new(), best: Vec::new(), on_device }
    }

    /// Chooses a token by the last position's logits: by the best of them alone where they are on a
    /// device, which has picked them out, and the sampler needs no others.
    pub(crate) fn choose(
        &mut self,
        executor: &mut Executor,
        sampler: &mut Sampler,
    ) -> Result<Choice, Error> {
        if let Some(count) = sampler.candidates().filter(|_| self.on_device)
            && executor.candidates(count, &mut self.best)?
        {
            return sampler.sample_candidates(&self.best);
        }
        executor.logits(&mut self.scores)?;
        sampler.sample(&mut self.scores)
    }
}
