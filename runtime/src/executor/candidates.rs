//! The best tokens of the last position, where a graph has picked them out.

use cumo_bundle::{Dtype, names};

use super::Executor;
use crate::error::Error;
use crate::tensor;

impl Executor {
    /// Puts the `count` best tokens of the last position and their logits into `out`, in no
    /// particular order. Says false, and leaves `out` empty, where the plan's graphs give fewer: all
    /// are then to be looked at, with [`Executor::logits`].
    ///
    /// # Errors
    /// [`Error::NotFinite`] where one of these `count` logits is NaN or plus infinity: no other of
    /// the position is looked at, and where a graph puts NaN among the best is its own affair.
    /// [`Error::Candidate`] for a token that the vocabulary has not; [`Error::Backend`].
    pub fn candidates(&mut self, count: usize, out: &mut Vec<(f32, u32)>) -> Result<bool, Error> {
        out.clear();
        let Ok(placed) = self.activations.require(names::CANDIDATES) else { return Ok(false) };
        let given = match self.activations.shape(names::CANDIDATES) {
            [_, 2, given] if placed.dtype == Dtype::F32 => *given,
            _ => 0,
        };
        if given < count {
            return Ok(false);
        }
        let bytes = self.backend.read(placed.buffer, 0, 2 * given * placed.dtype.size())?;
        tensor::decode(bytes, placed.dtype, &mut self.candidates);
        let vocab_size = self.manifest.model.llm.vocab_size;
        let (scores, ids) = self.candidates.split_at(given.min(self.candidates.len()));
        for (score, id) in scores.iter().zip(ids).take(count) {
            // Whole numbers below 2^24 are exact; the bounds also refuse NaN.
            if !(*id >= 0.0 && (*id as usize) < vocab_size && id.fract() == 0.0) {
                return Err(Error::Candidate { id: *id, vocab_size });
            }
            if score.is_nan() || *score == f32::INFINITY {
                let (position, token, value) = (self.cache.length(), *id as usize, *score);
                return Err(Error::NotFinite { position, token, value });
            }
            out.push((*score, *id as u32));
        }
        Ok(true)
    }
}
