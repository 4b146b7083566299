//! Weights from the checkpoint's files to a bundle's, in pieces. A thread has the system read ahead,
//! some convert, and the caller's hands what is done to the file in order; buffers go round between
//! them. Memory is bounded by the buffers and the largest tensors that are transposed, not by the
//! model.

mod data_file;
mod element;
mod in_order;
mod piece;
mod queue;
mod read_ahead;

use std::sync::mpsc::channel;
use std::thread;

use cumo_bundle::{Block, FileWriter};
use cumo_onnx::external::Layout;

pub(crate) use data_file::DataFile;
pub use element::Oddities;
use in_order::InOrder;
use queue::Queue;
use read_ahead::read_ahead;

use crate::error::Error;
use crate::progress::Progress;
use crate::weight::Weight;

/// The most threads that convert: hashing keeps up with no more.
const MAX_THREADS: usize = 8;

/// Pieces in flight for each converting thread: one being converted, and those that wait to be
/// hashed and written.
const PIECES_PER_THREAD: usize = 4;

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
        let places = layout.ranges().collect();
        InOrder { places, out, free, begun, progress, failed }.write(pieces)
    })?;
    let odd = names.iter().zip(oddities).filter(|(_, oddities)| oddities.any());
    Ok(odd.map(|(name, oddities)| OddWeight { name: (*name).to_owned(), oddities }).collect())
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
