//! The pieces that wait to be converted, which any number of threads take from.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use cumo_bundle::Block;

use super::element::Oddities;
use super::piece::{self, Piece};
use crate::weight::Weight;

/// A piece of which the bytes are ready to be written.
pub(super) struct Done {
    /// Its place among all pieces.
    pub(super) index: usize,
    pub(super) weight: usize,
    pub(super) block: Block,
    pub(super) oddities: Oddities,
}

/// What a converting thread tells: a piece, or its panic.
pub(super) type Outcome = thread::Result<Done>;

/// The pieces of all weights, in the order of the file.
pub(super) struct Queue<'a> {
    weights: &'a [Weight],
    /// For each weight, its pieces that are not converted yet.
    left: Vec<AtomicUsize>,
    next: Mutex<Next<'a>>,
}

struct Next<'a> {
    pieces: Box<dyn Iterator<Item = (usize, Piece)> + Send + 'a>,
    /// Written buffers, to be filled again: memory fresh from the system costs a page fault for each
    /// 4 KiB.
    buffers: Receiver<Block>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(weights: &'a [Weight], buffers: Receiver<Block>) -> Self {
        let pieces =
            weights.iter().enumerate().flat_map(|(index, weight)| piece::pieces(index, weight));
        let left = weights.iter().enumerate();
        let left = left.map(|(index, weight)| piece::pieces(index, weight).count().into());
        let next = Next { pieces: Box::new(pieces.enumerate()), buffers };
        Queue { weights, left: left.collect(), next: Mutex::new(next) }
    }

    /// Converts pieces until there is none, or nobody takes them any more.
    pub(super) fn convert_pieces(&self, done: Sender<Outcome>) {
        while let Some((index, piece, block)) = self.take() {
            let convert = || self.convert(index, &piece, block);
            let outcome = catch_unwind(AssertUnwindSafe(convert));
            if done.send(outcome).is_err() {
                return;
            }
        }
    }

    /// The next piece and a buffer for it; waits for a buffer. Both are taken in one step: were the
    /// buffers all with later pieces, the file would wait for this one for ever.
    fn take(&self) -> Option<(usize, Piece, Block)> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = next.buffers.recv().ok()?;
        let (index, piece) = next.pieces.next()?;
        Some((index, piece, buffer))
    }

    fn convert(&self, index: usize, piece: &Piece, mut block: Block) -> Done {
        block.resize(piece.num_bytes);
        let weight = &self.weights[piece.weight];
        let oddities = piece.convert(weight, block.bytes_mut());
        if self.left[piece.weight].fetch_sub(1, Ordering::AcqRel) == 1 {
            weight.tensors().iter().for_each(|tensor| tensor.release(0..tensor.num_bytes()));
        }
        Done { index, weight: piece.weight, block, oddities }
    }
}
