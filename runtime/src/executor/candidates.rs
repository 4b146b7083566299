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
    /// [`Error::NotFinite`] where a logit is NaN or plus infinity; [`Error::Candidate`] for a token
    /// that the vocabulary has not; [`Error::Backend`].
    pub fn candidates(&mut self, count: usize, out: &mut Vec<(f32, u32)>) -> Result<bool, Error> {
        out.clear();
        let place = |name: &str, dtype: Dtype| {
            let placed = self.activations.require(name).ok()?;
            let given = self.activations.shape(name).last().copied().unwrap_or(0);
            (placed.dtype == dtype && given >= count).then_some(placed.buffer)
        };
        let logits = place(names::CANDIDATE_LOGITS, Dtype::F32);
        let (Some(logits), Some(ids)) = (logits, place(names::CANDIDATE_IDS, Dtype::I64)) else {
            return Ok(false);
        };
        let mut scores = std::mem::take(&mut self.candidate_scores);
        tensor::decode(self.backend.read(logits, 0, count * 4)?, Dtype::F32, &mut scores);
        let vocab_size = self.manifest.model.llm.vocab_size;
        let position = self.cache.length();
        let ids = self.backend.read(ids, 0, count * 8)?;
        let ids = ids.chunks_exact(8).map(|id| id.try_into().map_or(-1, i64::from_ne_bytes));
        for (score, id) in scores.iter().zip(ids) {
            let token = u32::try_from(id).ok().filter(|token| (*token as usize) < vocab_size);
            let token = token.ok_or(Error::Candidate { id, vocab_size })?;
            if score.is_nan() || *score == f32::INFINITY {
                let (token, value) = (token as usize, *score);
                return Err(Error::NotFinite { position, token, value });
            }
            out.push((*score, token));
        }
        self.candidate_scores = scores;
        Ok(true)
    }
}
