//! Weights from the checkpoint's files to a bundle's, in pieces: converted in parallel, written and
//! hashed in order, and let go of as they are done. Memory is bounded by the largest tensor that is
//! transposed, not by the model.

mod element;
mod piece;

use std::io::Write;
use std::sync::{Mutex, PoisonError, mpsc};

use cumo_onnx::external::Layout;
use rayon::prelude::*;

pub use element::Oddities;
use piece::{PIECE_BYTES, Piece};

use crate::error::Error;
use crate::progress::Progress;
use crate::weight::Weight;

/// The most bytes that are converted before they are handed to the writer; three times this is in
/// flight: being converted, waiting, and being written.
const MAX_BATCH_BYTES: usize = 32 << 20;

/// Weights that are read from the disk ahead of the one being converted.
const PREFETCHED_WEIGHTS: usize = 2;

/// Numbers in one weight that a user should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OddWeight {
    /// The weight's name.
    pub name: String,
    /// How many there are of each kind.
    pub oddities: Oddities,
}

/// Writes weights at the places that `layout` gives them, and reports those with odd numbers.
/// `names` and `layout` go with `weights`; `failed` makes an error of the writer's.
///
/// # Errors
/// Those of the writer, or [`Error::Interrupted`].
pub fn write_weights(
    names: &[&str],
    weights: &[Weight],
    layout: &Layout,
    out: &mut (impl Write + Send),
    progress: &dyn Progress,
    failed: impl Fn(std::io::Error) -> Error + Send,
) -> Result<Vec<OddWeight>, Error> {
    let offsets: Vec<u64> = layout.ranges().map(|(offset, _)| offset).collect();
    let mut oddities = vec![Oddities::default(); weights.len()];
    let buffers = Buffers::default();
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Vec<Done>>(1);
        let writer =
            scope.spawn(|| write_in_order(&offsets, receiver, &buffers, out, progress, failed));
        for batch in batches(weights) {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            prefetch(weights, &batch);
            let done: Vec<Done> = batch
                .par_iter()
                .map(|piece| convert(piece, &weights[piece.weight], &buffers))
                .collect();
            for (piece, done) in batch.iter().zip(&done) {
                oddities[piece.weight].add(done.oddities);
                if piece.is_last {
                    let whole = |t: &cumo_checkpoint::Tensor| t.release(0..t.num_bytes());
                    weights[piece.weight].tensors().iter().for_each(whole);
                }
            }
            if sender.send(done).is_err() {
                break; // The writer has failed; what it says is taken below.
            }
        }
        drop(sender);
        match writer.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    let odd = names.iter().zip(oddities).filter(|(_, oddities)| oddities.any());
    Ok(odd.map(|(name, oddities)| OddWeight { name: (*name).to_owned(), oddities }).collect())
}

/// Has the system read the weights behind those that this batch begins.
fn prefetch(weights: &[Weight], batch: &[Piece]) {
    for piece in batch.iter().filter(|piece| piece.is_first) {
        let next = weights.iter().skip(piece.weight).take(1 + PREFETCHED_WEIGHTS);
        next.flat_map(Weight::tensors).for_each(cumo_checkpoint::Tensor::prefetch);
    }
}

/// A piece's bytes, ready to be written.
struct Done {
    weight: usize,
    bytes: Vec<u8>,
    oddities: Oddities,
}

/// Written buffers, to be filled again: memory fresh from the system costs a page fault for each
/// 4 KiB.
#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A buffer of `length` bytes, of whatever was in it.
    fn take(&self, length: usize) -> Vec<u8> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = free.pop().unwrap_or_default();
        drop(free);
        buffer.resize(length, 0);
        buffer
    }

    fn give_back(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

fn convert(piece: &Piece, weight: &Weight, buffers: &Buffers) -> Done {
    let mut bytes = buffers.take(piece.num_bytes);
    let oddities = piece.convert(weight, &mut bytes);
    Done { weight: piece.weight, bytes, oddities }
}

/// Pieces of all weights in the order of the file, in batches that give every thread one.
fn batches(weights: &[Weight]) -> impl Iterator<Item = Vec<Piece>> {
    let mut pieces =
        weights.iter().enumerate().flat_map(|(index, weight)| piece::pieces(index, weight));
    let batch_bytes = (rayon::current_num_threads() * PIECE_BYTES).min(MAX_BATCH_BYTES);
    std::iter::from_fn(move || {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < batch_bytes {
            let Some(piece) = pieces.next() else { break };
            bytes += piece.num_bytes;
            batch.push(piece);
        }
        (!batch.is_empty()).then_some(batch)
    })
}

fn write_in_order(
    offsets: &[u64],
    batches: mpsc::Receiver<Vec<Done>>,
    buffers: &Buffers,
    out: &mut impl Write,
    progress: &dyn Progress,
    failed: impl Fn(std::io::Error) -> Error,
) -> Result<(), Error> {
    let (mut written, mut current) = (0u64, None);
    for done in batches.into_iter().flatten() {
        if current != Some(done.weight) {
            let gap = offsets[done.weight].saturating_sub(written);
            out.write_all(&vec![0; gap as usize]).map_err(&failed)?;
            written += gap;
            current = Some(done.weight);
        }
        out.write_all(&done.bytes).map_err(&failed)?;
        written += done.bytes.len() as u64;
        progress.advance(done.bytes.len() as u64);
        buffers.give_back(done.bytes);
    }
    Ok(())
}
