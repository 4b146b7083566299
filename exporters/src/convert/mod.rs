//! Weights from the checkpoint's files to a bundle's, in pieces. A thread has the system read ahead,
//! some convert, and the caller's hands what is done to the file in order; buffers go round between
//! them. Memory is bounded by the buffers and the largest tensors that are transposed, not by the
//! model.

mod element;
mod piece;

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use cumo_checkpoint::Tensor;
use cumo_onnx::external::Layout;

pub use element::Oddities;
use piece::Piece;

use crate::error::Error;
use crate::progress::Progress;
use crate::weight::Weight;

/// The most threads that convert: hashing keeps up with no more.
const MAX_THREADS: usize = 8;

/// Pieces in flight for each converting thread: one being converted, and two that wait for the file.
const PIECES_PER_THREAD: usize = 3;

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
    out: &mut impl Write,
    progress: &dyn Progress,
    failed: impl Fn(std::io::Error) -> Error,
) -> Result<Vec<OddWeight>, Error> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let (free, buffers) = channel();
    for _ in 0..threads * PIECES_PER_THREAD {
        let _ = free.send(Vec::new()); // `buffers` is there.
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
        let out = InOrder { offsets: layout.ranges().map(|(offset, _)| offset).collect(), out };
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
    bytes: Vec<u8>,
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
    buffers: Receiver<Vec<u8>>,
}

impl<'a> Queue<'a> {
    fn new(weights: &'a [Weight], buffers: Receiver<Vec<u8>>) -> Self {
        let pieces =
            weights.iter().enumerate().flat_map(|(index, weight)| piece::pieces(index, weight));
        let left = weights.iter().enumerate();
        let left = left.map(|(index, weight)| piece::pieces(index, weight).count().into());
        let next = Next { pieces: Box::new(pieces.enumerate()), buffers };
        Queue { weights, left: left.collect(), next: Mutex::new(next) }
    }

    /// Converts pieces until there is none, or nobody takes them any more.
    fn convert_pieces(&self, done: Sender<Outcome>) {
        while let Some((index, piece, bytes)) = self.take() {
            let convert = || self.convert(index, &piece, bytes);
            let outcome = catch_unwind(AssertUnwindSafe(convert));
            if done.send(outcome).is_err() {
                return;
            }
        }
    }

    /// The next piece and a buffer for it; waits for a buffer. Both are taken in one step: were the
    /// buffers all with later pieces, the file would wait for this one for ever.
    fn take(&self) -> Option<(usize, Piece, Vec<u8>)> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = next.buffers.recv().ok()?;
        let (index, piece) = next.pieces.next()?;
        Some((index, piece, buffer))
    }

    fn convert(&self, index: usize, piece: &Piece, mut bytes: Vec<u8>) -> Done {
        bytes.resize(piece.num_bytes, 0);
        let weight = &self.weights[piece.weight];
        let oddities = piece.convert(weight, &mut bytes);
        if self.left[piece.weight].fetch_sub(1, Ordering::AcqRel) == 1 {
            weight.tensors().iter().for_each(|tensor| tensor.release(0..tensor.num_bytes()));
        }
        Done { index, weight: piece.weight, bytes, oddities }
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
struct InOrder<'a, W> {
    /// Where each weight begins.
    offsets: Vec<u64>,
    out: &'a mut W,
}

impl<W: Write> InOrder<'_, W> {
    /// Writes all pieces and gives each weight's odd numbers. Written buffers go to `free`, the
    /// index of each weight to `begun` as its first piece is written.
    fn write(
        self,
        num_weights: usize,
        pieces: Receiver<Outcome>,
        free: Sender<Vec<u8>>,
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
            while let Some(done) = waiting.remove(&next) {
                if progress.interrupted() {
                    return Err(Error::Interrupted);
                }
                next += 1;
                oddities[done.weight].add(done.oddities);
                if current != Some(done.weight) {
                    let gap = self.offsets[done.weight].saturating_sub(written);
                    self.out.write_all(&vec![0; gap as usize]).map_err(&failed)?;
                    written += gap;
                    current = Some(done.weight);
                    let _ = begun.send(done.weight); // Reading ahead may have ended.
                }
                self.out.write_all(&done.bytes).map_err(&failed)?;
                written += done.bytes.len() as u64;
                progress.advance(done.bytes.len() as u64);
                let _ = free.send(done.bytes); // The threads may have ended.
            }
        }
        Ok(oddities)
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

    fn write(weights: &[Weight], out: &mut impl Write) -> Result<Vec<OddWeight>, Error> {
        let layout = Layout::new(LENGTHS.map(|length| 4 * length as u64));
        let failed = |source| Error::Io { path: "file".into(), source };
        write_weights(&["a", "b", "c", "d"], weights, &layout, out, &Quiet, failed)
    }

    #[test]
    fn pieces_are_written_in_order_at_their_places() {
        let mut file = Vec::new();
        let odd = write(&weights(|index| index as f32), &mut file).unwrap();
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
    fn odd_numbers_of_all_pieces_are_counted() {
        let nan = |index| if index % 1_000_000 == 999_999 { f32::NAN } else { 1.0 };
        let odd = write(&weights(nan), &mut std::io::sink()).unwrap();
        let found: Vec<_> = odd.iter().map(|odd| (odd.name.as_str(), odd.oddities.nan)).collect();
        assert_eq!(found, [("b", 9), ("d", 3)]);
    }

    /// A disk with room for so many bytes.
    struct Small(usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let count = bytes.len().min(self.0);
            self.0 -= count;
            if count == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_failed_write_ends_all_threads() {
        for room in [0, 3, 20 << 20] {
            let error = write(&weights(|_| 1.0), &mut Small(room)).unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{error}");
        }
    }

    #[test]
    #[should_panic(expected = "element")]
    fn a_panic_in_a_thread_ends_all_and_is_passed_on() {
        let element = |index| if index == 5_000_000 { panic!("element {index}") } else { 1.0 };
        let _ = write(&weights(element), &mut std::io::sink());
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
        let (weights, out) = (weights(|_| 1.0), &mut std::io::sink());
        let result = write_weights(&["a"; 4], &weights, &layout, out, &Interrupted, failed);
        assert!(matches!(result, Err(Error::Interrupted)));
    }
}
