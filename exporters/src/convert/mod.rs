//! Weights from the checkpoint's files to a bundle's, in pieces. A thread has the system read ahead,
//! some convert, and the caller's hands what is done to the file in order; buffers go round between
//! them. Memory is bounded by the buffers and the largest tensors that are transposed, not by the
//! model.

mod element;
mod piece;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use cumo_bundle::{Block, FileWriter};
use cumo_checkpoint::Tensor;
use cumo_onnx::external::Layout;

pub use element::Oddities;
use piece::Piece;

use crate::error::Error;
use crate::progress::Progress;
use crate::weight::Weight;

/// The most threads that convert: hashing keeps up with no more.
const MAX_THREADS: usize = 8;

/// Pieces in flight for each converting thread: one being converted, and those that wait to be
/// hashed and written.
const PIECES_PER_THREAD: usize = 4;

/// Bytes of weights that are read from the disk ahead of those being converted; they lie in the
/// page cache, not in this process.
const BYTES_AHEAD: usize = 256 << 20;

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
    out: &mut FileWriter,
    progress: &dyn Progress,
    failed: impl Fn(std::io::Error) -> Error,
) -> Result<Vec<OddWeight>, Error> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let (free, buffers) = channel();
    for _ in 0..threads * PIECES_PER_THREAD {
        let _ = free.send(Block::default()); // `buffers` is there.
    }
    let queue = Queue::new(weights, buffers);
    let oddities = thread::scope(|scope| {
        let (done, pieces) = channel();
        for _ in 0..threads {
            let done = done.clone();
            scope.spawn(|| queue.convert_pieces(done));
        }
        drop(done);
        let (begun, converted) = channel();
        scope.spawn(|| read_ahead(weights, converted));
        let out = InOrder { places: layout.ranges().collect(), out };
        out.write(weights.len(), pieces, free, begun, progress, failed)
    })?;
    let odd = names.iter().zip(oddities).filter(|(_, oddities)| oddities.any());
    Ok(odd.map(|(name, oddities)| OddWeight { name: (*name).to_owned(), oddities }).collect())
}

/// A piece of which the bytes are ready to be written.
struct Done {
    /// Its place among all pieces.
    index: usize,
    weight: usize,
    block: Block,
    oddities: Oddities,
}

/// What a converting thread tells: a piece, or its panic.
type Outcome = thread::Result<Done>;

/// The pieces of all weights, in the order of the file.
struct Queue<'a> {
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
    fn new(weights: &'a [Weight], buffers: Receiver<Block>) -> Self {
        let pieces =
            weights.iter().enumerate().flat_map(|(index, weight)| piece::pieces(index, weight));
        let left = weights.iter().enumerate();
        let left = left.map(|(index, weight)| piece::pieces(index, weight).count().into());
        let next = Next { pieces: Box::new(pieces.enumerate()), buffers };
        Queue { weights, left: left.collect(), next: Mutex::new(next) }
    }

    /// Converts pieces until there is none, or nobody takes them any more.
    fn convert_pieces(&self, done: Sender<Outcome>) {
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

/// Has the system read weights, as far as they are at most [`BYTES_AHEAD`] away from the last one
/// that `begun` tells of; ends when nothing more is told.
fn read_ahead(weights: &[Weight], begun: Receiver<usize>) {
    let bytes = |weight: &Weight| -> usize { weight.tensors().iter().map(Tensor::num_bytes).sum() };
    let (mut next, mut ahead) = (0, 0);
    let mut current = 0;
    loop {
        while let Some(weight) = weights.get(next)
            && (ahead < BYTES_AHEAD || next <= current)
        {
            weight.tensors().iter().for_each(Tensor::prefetch);
            ahead += bytes(weight);
            next += 1;
        }
        let Ok(weight) = begun.recv() else { return };
        let passed = weights.get(current..weight).unwrap_or_default();
        ahead = ahead.saturating_sub(passed.iter().map(bytes).sum());
        current = weight;
    }
}

/// The file, which takes pieces in order.
struct InOrder<'a> {
    /// Where each weight begins, and its bytes.
    places: Vec<(u64, u64)>,
    out: &'a mut FileWriter,
}

impl InOrder<'_> {
    /// Writes all pieces and gives each weight's odd numbers. Written buffers go to `free`, the
    /// index of each weight to `begun` as its first piece is written.
    fn write(
        self,
        num_weights: usize,
        pieces: Receiver<Outcome>,
        free: Sender<Block>,
        begun: Sender<usize>,
        progress: &dyn Progress,
        failed: impl Fn(std::io::Error) -> Error,
    ) -> Result<Vec<Oddities>, Error> {
        let mut oddities = vec![Oddities::default(); num_weights];
        let (mut waiting, mut next) = (BTreeMap::new(), 0);
        let (mut written, mut current) = (0u64, None);
        for outcome in pieces {
            let done = outcome.unwrap_or_else(|panic| resume_unwind(panic));
            waiting.insert(done.index, done);
            while let Some(Done { weight, mut block, oddities: odd, .. }) = waiting.remove(&next) {
                if progress.interrupted() {
                    return Err(Error::Interrupted);
                }
                next += 1;
                oddities[weight].add(odd);
                if current != Some(weight) {
                    current = Some(weight);
                    let _ = begun.send(weight); // Reading ahead may have ended.
                }
                let length = block.bytes().len();
                written += (length + self.pad(weight, written, &mut block)) as u64;
                self.out.write_block(block, &free).map_err(&failed)?;
                progress.advance(length as u64);
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

#[cfg(test)]
mod tests {
    use cumo_onnx::DType;

    use super::*;
    use crate::progress::Quiet;
    use crate::weight::{Elements, Source};

    const LENGTHS: [usize; 4] = [5, 9_000_000, 0, 3_000_000];

    fn weights(element: impl Fn(usize) -> f32 + Send + Sync + Clone + 'static) -> Vec<Weight> {
        let weight = |length| Weight {
            source: Source::Computed {
                elements: Elements::new(element.clone()),
                shape: vec![length],
            },
            dtype: DType::F32,
        };
        LENGTHS.into_iter().map(weight).collect()
    }

    /// The file's bytes, and what was odd.
    fn write(weights: &[Weight]) -> Result<(Vec<u8>, Vec<OddWeight>), Error> {
        let layout = Layout::new(LENGTHS.map(|length| 4 * length as u64));
        let failed = |source| Error::Io { path: "file".into(), source };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut out = FileWriter::create(&path).unwrap();
        let odd = write_weights(&["a", "b", "c", "d"], weights, &layout, &mut out, &Quiet, failed)?;
        out.finish().unwrap();
        Ok((std::fs::read(&path).unwrap(), odd))
    }

    #[test]
    fn pieces_are_written_in_order_at_their_places() {
        let (file, odd) = write(&weights(|index| index as f32)).unwrap();
        assert_eq!(odd, []);
        let mut start = 0;
        for length in LENGTHS {
            start = usize::next_multiple_of(start, 4096);
            let bytes = &file[start..start + 4 * length];
            let right =
                |(index, bytes): (usize, &[u8; 4])| f32::from_le_bytes(*bytes) == index as f32;
            assert!(bytes.as_chunks().0.iter().enumerate().all(right));
            start += bytes.len();
        }
        assert_eq!(file.len(), start);
    }

    #[test]
    fn bytes_between_weights_are_zero() {
        let (file, _) = write(&weights(|_| 1.0)).unwrap();
        assert!(file[20..4096].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn odd_numbers_of_all_pieces_are_counted() {
        let nan = |index| if index % 1_000_000 == 999_999 { f32::NAN } else { 1.0 };
        let (_, odd) = write(&weights(nan)).unwrap();
        let found: Vec<_> = odd.iter().map(|odd| (odd.name.as_str(), odd.oddities.nan)).collect();
        assert_eq!(found, [("b", 9), ("d", 3)]);
    }

    #[test]
    #[should_panic(expected = "element")]
    fn a_panic_in_a_thread_ends_all_and_is_passed_on() {
        let element = |index| if index == 5_000_000 { panic!("element {index}") } else { 1.0 };
        let _ = write(&weights(element));
    }

    #[test]
    fn an_interruption_ends_all_threads() {
        struct Interrupted;
        impl Progress for Interrupted {
            fn begin(&self, _part: &str, _bytes: u64) {}
            fn advance(&self, _bytes: u64) {}
            fn interrupted(&self) -> bool {
                true
            }
        }
        let layout = Layout::new(LENGTHS.map(|length| 4 * length as u64));
        let failed = |source| Error::Io { path: "file".into(), source };
        let folder = tempfile::tempdir().unwrap();
        let (weights, out) =
            (weights(|_| 1.0), &mut FileWriter::create(&folder.path().join("file")).unwrap());
        let result = write_weights(&["a"; 4], &weights, &layout, out, &Interrupted, failed);
        assert!(matches!(result, Err(Error::Interrupted)));
    }
}
