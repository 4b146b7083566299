//! The file that weights are written to: pieces come as they are ready, and go in order.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender};

use cumo_bundle::{Block, FileWriter};

use super::element::Oddities;
use super::queue::{Done, Outcome};
use crate::error::Error;
use crate::progress::Progress;

/// The file, which takes pieces in order.
pub(super) struct InOrder<'a, F> {
    /// Where each weight begins, and its bytes.
    pub(super) places: Vec<(u64, u64)>,
    pub(super) out: &'a mut FileWriter,
    /// Where written buffers go.
    pub(super) free: Sender<Block>,
    /// Is told the index of each weight as its first piece is written.
    pub(super) begun: Sender<usize>,
    pub(super) progress: &'a dyn Progress,
    /// Makes an error of the writer's.
    pub(super) failed: F,
}

impl<F: Fn(std::io::Error) -> Error> InOrder<'_, F> {
    /// Writes all pieces and gives each weight's odd numbers.
    ///
    /// # Errors
    /// Those of the writer, or [`Error::Interrupted`].
    pub(super) fn write(self, pieces: Receiver<Outcome>) -> Result<Vec<Oddities>, Error> {
        let mut oddities = vec![Oddities::default(); self.places.len()];
        let (mut waiting, mut next) = (BTreeMap::new(), 0);
        let (mut written, mut current) = (0u64, None);
        for outcome in pieces {
            let done = outcome.unwrap_or_else(|panic| resume_unwind(panic));
            waiting.insert(done.index, done);
            while let Some(Done { weight, mut block, oddities: odd, .. }) = waiting.remove(&next) {
                if self.progress.interrupted() {
                    return Err(Error::Interrupted);
                }
                next += 1;
                oddities[weight].add(odd);
                if current != Some(weight) {
                    current = Some(weight);
                    let _ = self.begun.send(weight); // Reading ahead may have ended.
                }
                let length = block.bytes().len();
                written += (length + self.pad(weight, written, &mut block)) as u64;
                self.out.write_block(block, &self.free).map_err(&self.failed)?;
                self.progress.advance(length as u64);
            }
        }
        Ok(oddities)
    }

    /// Puts zeros behind the last piece of a weight, up to where the next one begins, and says how
    /// many.
    fn pad(&self, weight: usize, written: u64, block: &mut Block) -> usize {
        let length = block.bytes().len();
        let (offset, bytes) = self.places[weight];
        let ends = written + length as u64 == offset + bytes;
        // Weights without a byte have no piece: the gap before them belongs to this one, too.
        let following = self.places[weight + 1..].iter().find(|(_, bytes)| *bytes > 0);
        let Some((next, _)) = following.filter(|_| ends) else { return 0 };
        let gap = (next - offset - bytes) as usize;
        block.grow(gap);
        gap
    }
}
